"""The networks, one file a paper, and how a bundle's header names one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InputError
from .blocks import Prediction, RegistrationNetwork, parameter_count
from .voxelmorph import VoxelMorph

NETWORKS: tuple[type[RegistrationNetwork], ...] = (VoxelMorph,)
"""Every network a bundle may hold."""

__all__ = ["NETWORKS", "Prediction", "RegistrationNetwork", "build_network", "parameter_count"]


def build_network(class_name: str, arguments: Mapping[str, Any]) -> RegistrationNetwork:
    """The network with fresh weights: the class of ``NETWORKS`` with that name, called with ``arguments``.

    Raises:
        InputError: if there is no such class or it does not take these arguments.
    """
    for network in NETWORKS:
        if network.__name__ == class_name:
            try:
                return network(**arguments)
            except TypeError as error:
                raise InputError(
                    f"The network {class_name} cannot be built as its bundle says; the bundle may be newer than this "
                    "version: update, or choose another model."
                ) from error
    raise InputError(f"There is no network {class_name} in this version; update, or choose another model.")
