"""DIRNet, the baseline of the SAR-Net paper: a small regressor of B-spline control points.

After de Vos et al., "End-to-end unsupervised deformable image registration with a convolutional neural network", 2017.
The SAR-Net paper prints no layers; these are four times (convolution k3 of 16 filters, average pooling), two more
convolutions k3, two of 1×1, batch normalization and ELU, and a cubic B-spline with one control point in 16 voxels.
"""

from __future__ import annotations

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

WIDTH = 16
LEVELS = 4


class Layer(nn.Module):
    """Convolution, batch normalization, ELU."""

    def __init__(self, ndim: int, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__()
        self.convolution = convolution(ndim, inputs, outputs, kernel, bias=False)
        self.normalization = nn.BatchNorm2d(outputs) if ndim == 2 else nn.BatchNorm3d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.elu(self.normalization(self.convolution(x)))


class DIRNet(RegistrationNetwork):
    """Extras: ``control_points`` (N, ndim, *S/16), displacement of the control points in voxels of the image."""

    divisor = 2**LEVELS

    def __init__(self, ndim: int = 2) -> None:
        super().__init__(ndim)
        self.down = nn.ModuleList(Layer(ndim, WIDTH if level else 2, WIDTH) for level in range(LEVELS))
        self.middle = nn.ModuleList(Layer(ndim, WIDTH, WIDTH, kernel) for kernel in (3, 3, 1, 1))
        self.flow = flow_convolution(ndim, WIDTH, kernel=1)

    def last_convolution(self) -> Convolution:
        return self.flow

    def forward(self, fixed: Tensor, moving: Tensor) -> Prediction:
        """(N, 1, *S) each -> displacement (N, ndim, *S)."""
        check_images(fixed, moving, self.ndim)
        pool = F.avg_pool2d if self.ndim == 2 else F.avg_pool3d
        x = like(pad_to_multiple(torch.cat([moving, fixed], 1), self.divisor), self.flow.weight)
        for layer in self.down:
            x = pool(layer(x), 2)
        for layer in self.middle:
            x = layer(x)
        points = self.flow(x).float()
        return Prediction(crop(bspline(points, self.divisor), fixed.shape[2:]), extras={"control_points": points})


def bspline(points: Tensor, spacing: int) -> Tensor:
    """Cubic B-spline through control points (N, C, *T), one in ``spacing`` voxels: (N, C, *(spacing * T)).

    A control point lies in the middle of its voxels; beyond the border the outermost one is repeated.
    """
    with torch.autocast(points.device.type, enabled=False):  # a product of matrices would come out in bfloat16
        for axis in range(2, points.ndim):
            points = (points.movedim(axis, -1) @ _basis(points.shape[axis], spacing).to(points).T).movedim(-1, axis)
    return points


def _basis(count: int, spacing: int) -> Tensor:
    """(spacing * count, count): how much each control point says at each voxel; rows sum to 1."""
    position = (torch.arange(count * spacing, dtype=torch.float64) + 0.5) / spacing - 0.5
    first = position.floor()
    t = position - first
    weights = torch.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3],
        1,
    )
    columns = (first[:, None].long() + torch.arange(-1, 3)).clamp(0, count - 1)
    return torch.zeros(count * spacing, count, dtype=torch.float64).scatter_add_(1, columns, weights / 6)
