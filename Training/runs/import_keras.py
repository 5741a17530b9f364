"""Published Keras weights of VoxelMorph-1 and -2 (CVPR 2018) as a model bundle.

The weights are their authors'; a bundle made here is for the user's own folder and is never part of this project.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.models.bundle import save_bundle
from DeepRegistrationLib.models.header import Header, NetworkGrid, Normalization
from DeepRegistrationLib.networks.voxelmorph import VoxelMorph

from ..safe_files import keep_inputs

AXES_OF_FLOW = (1, 0, 2)
"""The spatial axis along which each published flow channel moves.

Their spatial transformer adds channel 0 to ``x``, which runs along the width, the second axis (``meshgrid`` in "xy"
order), channel 1 to ``y`` along the first, channel 2 to ``z`` along the third.
"""


@dataclass(frozen=True)
class Convolution:
    """One layer of the file: kernel (*spatial, in, out) as Keras keeps it, bias (out,)."""

    name: str
    kernel: np.ndarray
    bias: np.ndarray


def import_keras(source: Path, target: Path) -> VoxelMorph:
    """Write the weights of a Keras file as a bundle; returns the network, in float32.

    Raises:
        InputError: if h5py is missing, the file is not one of VoxelMorph-1 or -2, or the target cannot be written.
    """
    keep_inputs(target, [source])
    network = network_from(read_convolutions(source))
    variant = network.arguments["variant"]
    header = Header(
        method=f"voxelmorph-{variant}",
        network="VoxelMorph",
        arguments=network.arguments,
        dimensions=3,
        modality="T1 MR of the brain, skull-stripped, affinely aligned",
        grid=NetworkGrid("LIA", (1.0, 1.0, 1.0), (160, 192, 224)),
        # They were trained on FreeSurfer's 8-bit volumes / 255, in which white matter is 110.
        normalization=Normalization("percentile", 0.0, 98.0, (0.0, 110 / 255), clamp=False),
        training={
            "plan": "as in the paper",
            "data": "7329 T1 scans of eight public data sets, atlas-based",
            "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        },
        license="the authors' (research); not part of this project",
        source=f"{source.name}, Balakrishnan et al., CVPR 2018, imported from Keras",
    )
    save_bundle(target, network, header)
    return network


def read_convolutions(source: Path) -> list[Convolution]:
    """The convolutions of a Keras 2 model file (whole model or weights only), in the order of its layers.

    Raises:
        InputError: if h5py is missing, or the file is not a Keras file.
    """
    try:
        import h5py
    except ImportError as error:
        raise InputError(
            "Reading Keras files takes the Python package h5py; install it (pip install h5py) and run this again."
        ) from error
    if not source.is_file():
        raise InputError(f"The Keras file {source} does not exist; check the path.")
    try:
        with h5py.File(source, "r") as file:
            if "model_config" in file.attrs:
                _check_layers(json.loads(file.attrs["model_config"]), source)
            group = file.get("model_weights", file)
            layers = [_convolution(name, group[name]) for name in map(_text, group.attrs["layer_names"])]
    except InputError:
        raise
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"The file {source} could not be read as a Keras model; get it again.") from error
    return [layer for layer in layers if layer is not None]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _convolution(name: str, group: Any) -> Convolution | None:
    arrays = [np.asarray(group[_text(weight)]) for weight in group.attrs["weight_names"]]
    return Convolution(name, *arrays) if len(arrays) == 2 else None


def _check_layers(config: dict[str, Any], source: Path) -> None:
    """Everything the weights alone do not tell must be as this project builds it."""
    for layer in config["config"]["layers"]:
        kind, values = layer["class_name"], layer["config"]
        wrong = (kind.startswith("Conv") and (values["padding"] != "same" or set(values["dilation_rate"]) != {1})) or (
            kind == "LeakyReLU" and abs(values["alpha"] - 0.2) > 1e-6
        )
        if wrong:
            raise InputError(f"The layer {values['name']} in {source} is not one of VoxelMorph-1 or -2.")


def network_from(convolutions: list[Convolution]) -> VoxelMorph:
    """The VoxelMorph with these weights, its flow in ``ij`` order (component c moves along axis c).

    Raises:
        InputError: if the layers are not those of VoxelMorph-1 or -2.
    """
    for variant in (1, 2):
        network = VoxelMorph(3, variant)
        if [tuple(c.weight.shape) for c in _in_order(network)] == [_torch_kernel(c).shape for c in convolutions]:
            for target, layer in zip(_in_order(network), convolutions, strict=True):
                target.weight.data = _torch_kernel(layer)
                target.bias = nn.Parameter(torch.from_numpy(layer.bias.astype(np.float32)))
            flow = network.last_convolution()
            order = [AXES_OF_FLOW.index(axis) for axis in range(3)]
            for parameter in flow.parameters():
                parameter.data = parameter.data[order]
            return network.eval()
    raise InputError("The layers of this Keras file are not those of VoxelMorph-1 or -2; no other network is known.")


def _torch_kernel(layer: Convolution) -> Tensor:
    """(*spatial, in, out) -> (out, in, *spatial)."""
    kernel = np.moveaxis(layer.kernel, (-1, -2), (0, 1))
    return torch.from_numpy(np.ascontiguousarray(kernel, dtype=np.float32))


def _in_order(network: VoxelMorph) -> list[nn.Conv3d]:
    """The convolutions as Keras lists them: from the input to the flow, which is the order they are built in."""
    return [module for module in network.modules() if isinstance(module, nn.Conv3d)]
