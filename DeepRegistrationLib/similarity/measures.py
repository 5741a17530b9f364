"""How alike two images are. A plain name is larger where they agree; a name that ends in ``_loss`` is smaller.

All take images (N, C, *spatial) of one shape, 2-D or 3-D, an optional mask (N, 1, *spatial) that weights the voxels,
return one number (the mean over batch, channels and voxels), are differentiable, and raise InputError where the
shapes do not fit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..fields import convolve_separable, gaussian_kernel
from .local_gradient import local_gradient, local_gradient_loss
from .mind import mind_channels, mind_features, mind_loss
from .mutual_information import joint_histogram, nmi
from .windows import at_least_float32, box_sum, check_pair, weighted_mean

__all__ = [
    "joint_histogram",
    "l1",
    "lncc",
    "lncc_map",
    "local_gradient",
    "local_gradient_loss",
    "mind_channels",
    "mind_features",
    "mind_loss",
    "mse",
    "nmi",
    "ssim",
]


def mse(a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared difference; 0 where the images agree."""
    check_pair(a, b, mask)
    return weighted_mean((a - b).square(), mask)


def l1(a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute difference; 0 where the images agree."""
    check_pair(a, b, mask)
    return weighted_mean((a - b).abs(), mask)


def lncc_map(a: Tensor, b: Tensor, window: int = 9, signed: bool = False, eps: float = 1e-5) -> Tensor:
    """The correlation of the two images in a box window around every voxel (N, C, *spatial).

    VoxelMorph (CVPR 2018) Eq. 4, as its code computes it: window sums with zeros outside, divided by ``window ** ndim``
    at the border too; cov^2 / (var_a * var_b + eps) on sums, not means. ``signed`` gives cov / sqrt(var_a * var_b +
    eps) in [-1, 1]; the squared form in [0, 1] is blind to a reversed contrast. Variances that rounding made
    negative count as 0. Half precision is computed in float32.
    """
    ndim = check_pair(a, b)
    a, b = at_least_float32(a), at_least_float32(b)
    count = window**ndim
    sum_a, sum_b = box_sum(a, window), box_sum(b, window)
    variance_a = (box_sum(a * a, window) - sum_a * sum_a / count).clamp_min(0)
    variance_b = (box_sum(b * b, window) - sum_b * sum_b / count).clamp_min(0)
    covariance = box_sum(a * b, window) - sum_a * sum_b / count
    if signed:
        return covariance * torch.rsqrt(variance_a * variance_b + eps)
    return covariance.square() / (variance_a * variance_b + eps)


def lncc(
    a: Tensor,
    b: Tensor,
    window: int = 9,
    signed: bool = False,
    eps: float = 1e-5,
    mask: Tensor | None = None,
) -> Tensor:
    """Mean local normalized cross-correlation (LCC), 1 where the images agree; see ``lncc_map``."""
    check_pair(a, b, mask)
    return weighted_mean(lncc_map(a, b, window, signed, eps), mask)


def ssim(a: Tensor, b: Tensor, data_range: float = 1.0, sigma: float = 1.5, mask: Tensor | None = None) -> Tensor:
    """Mean structural similarity (Wang 2004), 1 where the images agree: Gaussian window, K = 0.01 and 0.03.

    Windows that leave the image are not counted, except along axes too short to hold one. ``data_range`` is the
    difference of the largest and the smallest possible intensity.
    """
    ndim = check_pair(a, b, mask)
    a, b = at_least_float32(a), at_least_float32(b)
    kernel = gaussian_kernel(sigma, a.device, a.dtype)
    radius = len(kernel) // 2

    def local_mean(x: Tensor) -> Tensor:
        return convolve_separable(x, [kernel] * ndim)

    mean_a, mean_b = local_mean(a), local_mean(b)
    variance_a = local_mean(a * a) - mean_a * mean_a
    variance_b = local_mean(b * b) - mean_b * mean_b
    covariance = local_mean(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a.square() + mean_b.square() + c1)
    structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
    values = luminance * structure
    for axis, n in enumerate(a.shape[2:]):
        if n > 2 * radius:
            values = values.narrow(axis + 2, radius, n - 2 * radius)
            mask = None if mask is None else mask.narrow(axis + 2, radius, n - 2 * radius)
    return weighted_mean(values, mask)
