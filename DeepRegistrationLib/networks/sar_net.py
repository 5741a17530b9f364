"""SAR-Net: segmentation-augmented registration with adversarial training (Fig. 1 of the paper).

The registered image is the moving image warped by the predicted field, so that no anatomy is invented. The printed
network is for 2-D; the same class serves 3-D.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import Convolution, Prediction, RegistrationNetwork, check_images, convolution, flow_convolution, like

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

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # Older bundles hold weights of masks that were never trained nor used.
        state_dict.pop(f"{prefix}mask_weights", None)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def last_convolution(self) -> Convolution:
        return self.flow

    def forward(self, fixed: Tensor, moving: Tensor) -> Prediction:
        """(N, 1, *S) each -> displacement (N, ndim, *S), any size."""
        check_images(fixed, moving, self.ndim)
        x = F.relu_(self.enter(like(torch.cat([moving, fixed], 1), self.flow.weight)))
        for block in self.blocks:
            x = block(x)
        extras = {}
        if self.synthesis is not None:
            extras["synthesized"] = torch.sigmoid(self.synthesis(x)).float()
        return Prediction(self.flow(x).float(), extras=extras)


class DenseDiscriminator(nn.Module):
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
