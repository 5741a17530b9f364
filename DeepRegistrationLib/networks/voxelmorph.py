"""VoxelMorph-1 and VoxelMorph-2 (Balakrishnan, Zhao, Sabuncu, Guttag, Dalca: CVPR 2018, Fig. 3).

Layers run in TensorFlow's order and padding, so that the weights the authors published give the field they gave.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from .blocks import (
    Convolution,
    Prediction,
    RegistrationNetwork,
    TensorFlowStride,
    UpsampleConcatenateConvolve,
    check_images,
    convolution,
    crop,
    flow_convolution,
    like,
    pad_to_multiple,
)

ENCODER = (16, 32, 32, 32)
DECODER = 32


def activate(x: Tensor) -> Tensor:
    return F.leaky_relu_(x, 0.2)


class VoxelMorphUNet(nn.Module):
    """The U-Net of Fig. 3: (N, channels, *S) -> flow (N, ndim, *S), S a multiple of 16.

    Args:
        ndim: 2 or 3.
        channels: of the input; the raw input is also the skip connection at full resolution.
        half: filters of the extra convolution at half resolution (VM-1: 8, VM-2: 32), None for none.
        full: filters of the convolutions at full resolution (VM-1: 8; VM-2: 16, 16).
    """

    divisor = 16

    def __init__(self, ndim: int, channels: int = 2, half: int | None = 32, full: Sequence[int] = (16, 16)) -> None:
        super().__init__()
        widths = (channels, *ENCODER)
        self.encoder = nn.ModuleList(TensorFlowStride(ndim, i, o) for i, o in zip(widths, ENCODER, strict=False))
        self.bottom = convolution(ndim, ENCODER[-1], DECODER)
        self.decoder = nn.ModuleList(
            UpsampleConcatenateConvolve(ndim, DECODER, skip, DECODER) for skip in reversed(ENCODER[:-1])
        )
        self.half_resolution = None if half is None else convolution(ndim, DECODER, half)
        self.last_up = UpsampleConcatenateConvolve(ndim, half or DECODER, channels, full[0])
        self.full_resolution = nn.ModuleList(convolution(ndim, i, o) for i, o in pairwise(full))
        self.flow = flow_convolution(ndim, full[-1])

    def forward(self, x: Tensor) -> Tensor:
        skips = [x]
        for layer in self.encoder:
            skips.append(activate(layer(skips[-1])))
        y = activate(self.bottom(skips.pop()))
        for layer in self.decoder:
            y = activate(layer(y, skips.pop()))  # each skip is freed as soon as it was used
        if self.half_resolution is not None:
            y = activate(self.half_resolution(y))
        y = activate(self.last_up(y, skips.pop()))
        for layer in self.full_resolution:
            y = activate(layer(y))
        return self.flow(y)


class VoxelMorph(RegistrationNetwork):
    """VoxelMorph-1 (259 675 parameters in 3-D) or VoxelMorph-2 (300 547); images in [0, 1], affinely aligned."""

    def __init__(self, ndim: int = 3, variant: int = 2) -> None:
        super().__init__(ndim, variant=variant)
        if variant not in (1, 2):
            raise InputError(f"There is a VoxelMorph-1 and a VoxelMorph-2, but no VoxelMorph-{variant}.")
        self.unet = VoxelMorphUNet(ndim, 2, 8, (8,)) if variant == 1 else VoxelMorphUNet(ndim, 2, 32, (16, 16))

    def last_convolution(self) -> Convolution:
        return self.unet.flow

    def forward(self, fixed: Tensor, moving: Tensor) -> Prediction:
        """(N, 1, *S) each -> displacement (N, ndim, *S)."""
        check_images(fixed, moving, self.ndim)
        pair = pad_to_multiple(torch.cat([moving, fixed], 1), self.unet.divisor)
        return Prediction(crop(self.unet(like(pair, self.unet.flow.weight)), fixed.shape[2:]).float())
