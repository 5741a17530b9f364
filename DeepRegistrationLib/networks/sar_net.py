"""SAR-Net: segmentation-augmented registration with adversarial training (Fig. 1 of the paper).

The registered image is the moving image warped by the predicted field, so that no anatomy is invented. The printed
network is for 2-D; the same class serves 3-D.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..fields import warp
from .blocks import Convolution, Prediction, RegistrationNetwork, check_pair, convolution, flow_convolution, like

DISCRIMINATOR_LAYERS = ((64, 1), (64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1), (512, 2))
"""Filters and stride of each convolution (n64s1, n64s2, ...)."""
POOLED = 4
"""Voxels a side that reach the dense layers, whatever the size of the image."""


def _batch_norm(ndim: int, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if ndim == 2 else nn.BatchNorm3d(channels)


class ResidualBlock(nn.Module):
    """Two convolutions k3 with batch normalization; ReLU between them and after the sum."""

    def __init__(self, ndim: int, width: int) -> None:
        super().__init__()
        self.first, self.first_norm = convolution(ndim, width, width, bias=False), _batch_norm(ndim, width)
        self.second, self.second_norm = convolution(ndim, width, width, bias=False), _batch_norm(ndim, width)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu_(self.first_norm(self.first(x)))
        return F.relu_(self.second_norm(self.second(y)).add_(x))


class SARNet(RegistrationNetwork):
    """The generator G (and, with the images exchanged, F): residual blocks at full resolution, then the field.

    Args:
        blocks, width: 16 blocks of 64 filters as in the paper.
        synthesis: also paint an image (extras ``synthesized``, (N, 1, *S) in [0, 1]). Off: a medical tool must not
            invent anatomy.
    """

    def __init__(self, ndim: int = 2, blocks: int = 16, width: int = 64, synthesis: bool = False) -> None:
        super().__init__(ndim, blocks=blocks, width=width, synthesis=synthesis)
        self.enter = convolution(ndim, 2, width)
        self.blocks = nn.ModuleList(ResidualBlock(ndim, width) for _ in range(blocks))
        self.flow = flow_convolution(ndim, width)
        self.synthesis = convolution(ndim, width, 1) if synthesis else None
        # How much each feature map says about the mask of the fixed and of the moving image.
        self.mask_weights = nn.Parameter(torch.zeros(2, blocks, width))

    def last_convolution(self) -> Convolution:
        return self.flow

    def forward(self, fixed: Tensor, moving: Tensor, masks: bool = False) -> Prediction:
        """(N, 1, *S) each -> displacement (N, ndim, *S), any size.

        Extras with ``masks``: ``warped`` (N, 1, *S) the moving image through the field; ``masks`` (N, 2, *S) in [0, 1],
        soft masks of the fixed and of the warped moving image: normalized feature maps fused by learned weights.
        ``otsu`` makes them binary.
        """
        check_pair(fixed, moving, self.ndim)
        x = F.relu_(self.enter(like(torch.cat([moving, fixed], 1), self.flow.weight)))
        fused = torch.zeros(1, device=fixed.device)
        importance = torch.softmax(self.mask_weights.float().flatten(1), 1).view_as(self.mask_weights)
        for index, block in enumerate(self.blocks):
            x = block(x)
            if masks:
                fused = fused + torch.einsum("nc...,kc->nk...", normalized_maps(x.float()), importance[:, index])
        displacement = self.flow(x).float()
        extras = {}
        if masks:
            extras["warped"] = warp(moving, displacement)
            extras["masks"] = torch.cat([fused[:, :1], warp(fused[:, 1:], displacement)], 1)
        if self.synthesis is not None:
            extras["synthesized"] = torch.sigmoid(self.synthesis(x)).float()
        return Prediction(displacement, extras=extras)


def normalized_maps(x: Tensor) -> Tensor:
    """Each map of (N, C, *S) from its smallest value 0 to its largest 1; a constant map is 0."""
    dims = tuple(range(2, x.ndim))
    low = x.amin(dims, keepdim=True)
    return (x - low) / (x.amax(dims, keepdim=True) - low).clamp_min(1e-6)


def otsu(x: Tensor, bins: int = 256) -> Tensor:
    """(N, C, *S) in [0, 1] -> bool of that shape: above the threshold that best splits each map in two (Otsu 1979)."""
    out = torch.zeros_like(x, dtype=torch.bool)
    centers = (torch.arange(bins, dtype=torch.float64) + 0.5) / bins
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            counts = torch.histc(x[n, c].detach().float().cpu(), bins, 0, 1).double()
            below, above = counts.cumsum(0), counts.flip(0).cumsum(0).flip(0)
            mass = (counts * centers).cumsum(0)
            mean_below = mass / below.clamp_min(1)
            mean_above = (mass[-1] - mass + counts * centers) / above.clamp_min(1)
            between = below[:-1] * above[1:] * (mean_below[:-1] - mean_above[1:]).square()
            out[n, c] = x[n, c] > (int(between.argmax()) + 1) / bins
    return out


class Discriminator(nn.Module):
    """Eight convolutions from 64 to 512 filters, dense 1024, dense 1: (N, channels, *S) -> (N, 1) logit. Training only.

    The paper's sigmoid is left to the loss. The dense layers see an average of 4 voxels a side, so that any image size
    fits and their weights stay few.
    """

    def __init__(self, ndim: int = 2, channels: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index, (outputs, stride) in enumerate(DISCRIMINATOR_LAYERS):
            layers.append(convolution(ndim, channels, outputs, stride=stride))
            if index:
                layers.append(_batch_norm(ndim, outputs))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            channels = outputs
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(POOLED) if ndim == 2 else nn.AdaptiveAvgPool3d(POOLED)
        self.dense = nn.Linear(channels * POOLED**ndim, 1024)
        self.decide = nn.Linear(1024, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.pool(self.features(image)).flatten(1)
        return self.decide(F.leaky_relu(self.dense(x), 0.2))
