"""Deform-GAN: unsupervised registration of large deformations between modalities (Fig. 1 of the paper).

T predicts the field and is what a user runs. In training G turns the warped floating image into one of the reference
modality, and D judges it. T and G are the same U-Net with different ends.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import (
    Convolution,
    Prediction,
    RegistrationNetwork,
    check_images,
    convolution,
    crop,
    flow_convolution,
    like,
    pad_to_multiple,
)

WIDTHS = (16, 32, 64, 128, 256)
DISCRIMINATOR_WIDTHS = (32, 64, 128, 256, 256)


class TwoConvolutions(nn.Module):
    """Two convolutions k3, each followed by ReLU."""

    def __init__(self, ndim: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = convolution(ndim, inputs, outputs)
        self.second = convolution(ndim, outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu_(self.second(F.relu_(self.first(x))))


class UpConvolution(nn.Module):
    """Nearest upsampling by 2, then a convolution k2 ``same`` (one zero at the far end of each axis) and ReLU."""

    def __init__(self, ndim: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolution = convolution(ndim, inputs, outputs, kernel=2)
        self.convolution.padding = (0,) * ndim

    def forward(self, x: Tensor) -> Tensor:
        up = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return F.relu_(self.convolution(F.pad(up, (0, 1) * (x.ndim - 2))))


class PoolingUNet(nn.Module):
    """(N, channels, *S) -> (N, 16, *S), S a multiple of 16: two convolutions a level, max-pooling, skips."""

    divisor = 16

    def __init__(self, ndim: int, channels: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(TwoConvolutions(ndim, i, o) for i, o in pairwise((channels, *WIDTHS)))
        upwards = list(pairwise(reversed(WIDTHS)))
        self.up = nn.ModuleList(UpConvolution(ndim, i, o) for i, o in upwards)
        self.merge = nn.ModuleList(TwoConvolutions(ndim, 2 * o, o) for _, o in upwards)

    def forward(self, x: Tensor) -> Tensor:
        pool = F.max_pool2d if x.ndim == 4 else F.max_pool3d
        skips = []
        for level, convolutions in enumerate(self.down):
            x = convolutions(x if level == 0 else pool(x, 2))
            skips.append(x)
        skips.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([up(x), skips.pop()], 1))
        return x


class DeformGAN(RegistrationNetwork):
    """The transformation network T: concat(R, F) -> U-Net -> field; R is the fixed, F the moving image."""

    def __init__(self, ndim: int = 3) -> None:
        super().__init__(ndim)
        self.unet = PoolingUNet(ndim, 2)
        self.flow = flow_convolution(ndim, WIDTHS[0])

    def last_convolution(self) -> Convolution:
        return self.flow

    def forward(self, fixed: Tensor, moving: Tensor) -> Prediction:
        """(N, 1, *S) each -> displacement (N, ndim, *S)."""
        check_images(fixed, moving, self.ndim)
        pair = like(pad_to_multiple(torch.cat([fixed, moving], 1), self.unet.divisor), self.flow.weight)
        return Prediction(crop(self.flow(self.unet(pair)), fixed.shape[2:]).float())


class Generator(nn.Module):
    """G: an image (N, 1, *S) in [−1, 1] -> one of the reference modality, (N, 1, *S) in [−1, 1]. Training only."""

    def __init__(self, ndim: int = 3) -> None:
        super().__init__()
        self.unet = PoolingUNet(ndim, 1)
        self.image = convolution(ndim, WIDTHS[0], 1, kernel=1)

    def forward(self, image: Tensor) -> Tensor:
        padded = pad_to_multiple(image, self.unet.divisor)
        return crop(torch.tanh(self.image(self.unet(padded))), image.shape[2:])


class Discriminator(nn.Module):
    """D: an image (N, 1, *S) -> (N, 1) logit that it is real; the paper's one sigmoid is left to the loss.

    Training only. ``conditional``: also takes the warped floating image, never R, which would leak the alignment.
    """

    def __init__(self, ndim: int = 3, conditional: bool = False) -> None:
        super().__init__()
        normalization = nn.BatchNorm2d if ndim == 2 else nn.BatchNorm3d
        layers: list[nn.Module] = []
        for i, o in pairwise((2 if conditional else 1, *DISCRIMINATOR_WIDTHS)):
            layers.append(convolution(ndim, i, o, stride=2))
            if len(layers) > 1:  # on 2 to 5
                layers.append(normalization(o))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        self.features = nn.Sequential(*layers)
        self.decide = nn.Linear(DISCRIMINATOR_WIDTHS[-1], 1)

    def forward(self, image: Tensor, condition: Tensor | None = None) -> Tensor:
        x = image if condition is None else torch.cat([image, condition], 1)
        return self.decide(self.features(x).flatten(2).mean(2))
