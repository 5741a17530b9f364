"""Small matrices along one axis at a time: smooth noise, blur and thick slices for a whole batch in a few products."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor


def along(x: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """Multiply spatial ``axis`` of x (B, C, *S) by ``matrix`` (T, S_axis), or by one matrix an item (B, T, S_axis)."""
    lead, trail = x.shape[: axis + 2], x.shape[axis + 3 :]
    if matrix.ndim == 3:
        matrix = matrix.view(len(matrix), *[1] * (axis + 1 if trail else x.ndim - 3), *matrix.shape[1:])
    if not trail:
        return x @ matrix.transpose(-1, -2)
    product = matrix @ x.reshape(*lead, x.shape[axis + 2], -1)
    return product.reshape(*lead, matrix.shape[-2], *trail)


@lru_cache(maxsize=128)
def spline_matrix(cells: float, size: int) -> Tensor:
    """(size, n) values of n cubic B-splines, ``cells`` along the axis, scaled so that noise keeps variance 1."""
    count = int(cells + 0.999) + 3
    t = (torch.arange(size, dtype=torch.float64) + 0.5) / size * cells
    distance = (t[:, None] + 1 - torch.arange(count, dtype=torch.float64)).abs()
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance).clamp_min(0) ** 3 / 6
    weights = torch.where(distance < 1, near, far)
    return (weights / weights.square().sum(1).mean().sqrt()).float()


def coefficients(shape: Sequence[int], spacing: Sequence[float]) -> tuple[int, ...]:
    """Number of B-spline coefficients for ``shape`` voxels with one every ``spacing`` voxels."""
    return tuple(spline_matrix(n / s, n).shape[1] for n, s in zip(shape, spacing, strict=True))


def spread(noise: Tensor, shape: Sequence[int], spacing: Sequence[float]) -> Tensor:
    """Coefficients (B, C, *coefficients(shape, spacing)) to a smooth field (B, C, *shape)."""
    for axis, (n, s) in enumerate(zip(shape, spacing, strict=True)):
        noise = along(noise, spline_matrix(n / s, n).to(noise.device), axis)
    return noise


def smooth_noise(
    seeds: Sequence[int], channels: int, shape: Sequence[int], spacing: float | Sequence[float], device: torch.device
) -> Tensor:
    """(B, channels, *shape) smooth noise of variance 1, one seed an item; drawn on the CPU, so alike on all devices."""
    steps = [float(spacing)] * len(shape) if isinstance(spacing, int | float) else [float(s) for s in spacing]
    size = coefficients(shape, steps)
    drawn = [torch.randn((channels, *size), generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return spread(torch.stack(drawn).to(device), shape, steps)


def blur_matrix(sigma: Tensor, size: int) -> Tensor:
    """(B, size, size) Gaussian blur of ``sigma`` (B,) voxels; its rows sum to 1, also at the border."""
    index = torch.arange(size, device=sigma.device, dtype=torch.float32)
    offset = (index[:, None] - index).square()
    exponent = offset / (2 * sigma.clamp_min(0.05).square()).view(-1, 1, 1)
    weights = torch.where(exponent < 14, torch.exp(-exponent), 0)  # without denormals, which are slow to multiply
    return weights / weights.sum(-1, keepdim=True)


@lru_cache(maxsize=32)
def linear_matrix(source: int, target: int) -> Tensor:
    """(target, source) linear interpolation with half-pixel centers, the border repeated; as ``fields.resize``."""
    at = ((torch.arange(target, dtype=torch.float32) + 0.5) * source / target - 0.5).clamp(0, source - 1)
    return (1 - (at[:, None] - torch.arange(source, dtype=torch.float32)).abs()).clamp_min(0)


def slice_matrix(thickness: float, size: int) -> Tensor:
    """(size, size) averaged over slices of ``thickness`` voxels, then interpolated linearly back to the grid."""
    count = max(1, round(size / thickness))
    step = size / count
    low = torch.arange(count, dtype=torch.float32)[:, None] * step
    voxel = torch.arange(size, dtype=torch.float32)
    cover = (torch.minimum(low + step, voxel + 1) - torch.maximum(low, voxel)).clamp_min(0) / step
    at = ((voxel + 0.5) / step - 0.5).clamp(0, count - 1)
    back = (1 - (at[:, None] - torch.arange(count, dtype=torch.float32)).abs()).clamp_min(0)
    return back @ cover
