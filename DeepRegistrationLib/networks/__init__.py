"""The networks, one file a paper, and how a bundle's header names one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InputError
from .blocks import Prediction, RegistrationNetwork, parameter_count
from .deform_gan import DeformGAN
from .dir_net import DIRNet
from .dual_branch import DualBranch, MonoBranch
from .flownet_roi import FlowNetROI
from .sar_net import SARNet
from .universal import UniversalNetwork
from .voxelmorph import VoxelMorph

NETWORKS: tuple[type[RegistrationNetwork], ...] = (
    VoxelMorph,
    DualBranch,
    MonoBranch,
    DeformGAN,
    SARNet,
    DIRNet,
    FlowNetROI,
    UniversalNetwork,
)
"""Every network a bundle may hold."""

__all__ = [
    "NETWORKS",
    "DIRNet",
    "DeformGAN",
    "DualBranch",
    "FlowNetROI",
    "MonoBranch",
    "Prediction",
    "RegistrationNetwork",
    "SARNet",
    "UniversalNetwork",
    "VoxelMorph",
    "build_network",
    "parameter_count",
]


def build_network(class_name: str, arguments: Mapping[str, Any]) -> RegistrationNetwork:
    """The network with fresh weights: the class of ``NETWORKS`` with that name, called with ``arguments``.

    Raises:
        InputError: if there is no such class or it does not take these arguments.
    """
    for network in NETWORKS:
        if network.__name__ == class_name:
            try:
                return network(**arguments)
            except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(
                    f"The network {class_name} cannot be built as its bundle says; the bundle may be newer than this "
                    "version: update, or choose another model."
                ) from error
    raise InputError(f"There is no network {class_name} in this version; update, or choose another model.")
