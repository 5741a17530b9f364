"""Along which axes one of two volumes was interpolated between thick slices, whatever its voxels are now.

How sharp an image is along an axis shows in its second differences relative to its first ones: noise gives 3, edges
about 1 to 2, what was interpolated far less. An image is compared with the other one blurred step by step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from .levels import normalize, soften

SHARPER, THAN_ALONG_OTHERS = 3.0, 1.9
"""How many times as sharp an image must be along an axis, and how many times more so than along all others. Axes along
which one volume had been slices of four voxels gave 3.9 to 8.0 and 2.0 to 5.1 (53 of 58, in the others noise hides
it). Of 134 pairs of volumes of one voxel size, other contrasts and half of the view among them, none gave both: brains
in contrasts that are not monotone 3.6 and 1.1, a prostate 2.8 and 1.8."""
INTERPOLATED = 1.7
"""How many times as sharp along all axes the fixed image is because the moving one was interpolated onto its grid."""
STEPS = (0.8, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0)
"""Voxels: standard deviations of the Gaussians that are tried."""
LOOKED_AT = 96
"""Voxels along each axis around the middle that are looked at."""
BLOCK = 8
"""Voxels along each axis of the blocks that are looked at one by one: an edge of what was seen is most of what differs
in a few of them, but not in most."""
FLAT = 1e-5
"""Mean square of a block's differences, of a range of 1, under which it tells nothing."""

Sigmas = tuple[float, ...]


def as_soft_as_each_other(
    fixed: Tensor,
    moving: Tensor,
    fixed_mask: Tensor | None = None,
    moving_mask: Tensor | None = None,
    lacking: Sequence[float] = (),
) -> tuple[Tensor, Tensor]:
    """Both images, blurred where the other one shows less: what only one of them shows pulls at the field.

    Args:
        fixed, moving: (1, 1, *S) on one grid, of ``normalize``; as they are returned.
        fixed_mask, moving_mask: likewise, for ``normalize``.
        lacking: standard deviations of a Gaussian, voxels along each array axis, that the fixed one is blurred by at
            least.
    """
    sigmas = list(softening(fixed, moving))
    if lacking:
        sigmas[0] = tuple(map(max, sigmas[0], lacking))
    first, second = (
        normalize(soften(image, sigma), mask) if any(sigma) else image
        for image, mask, sigma in zip((fixed, moving), (fixed_mask, moving_mask), sigmas, strict=True)
    )
    return first, second


def softening(fixed: Tensor, moving: Tensor) -> tuple[Sigmas, Sigmas]:
    """By how much each image is to be blurred to show no more than the other does; nothing in 2-D.

    What all axes lack is left: that may be the contrast, or noise in the other image.

    Args:
        fixed, moving: (1, 1, *S) on one grid, normalized.

    Returns:
        For the fixed and for the moving image (ndim,) standard deviations of a Gaussian in voxels, 0 along most axes.
    """
    if fixed.ndim != 5:
        nothing = (0.0,) * (fixed.ndim - 2)
        return nothing, nothing
    a, b = _middle(fixed), _middle(moving)
    of_a, of_b = ([_finest(x, axis) for axis in range(x.ndim - 2)] for x in (a, b))
    return _as_soft_as(a, of_a, of_b), _as_soft_as(b, of_b, of_a)


def _middle(image: Tensor) -> Tensor:
    for axis in range(2, image.ndim):
        n = image.shape[axis]
        image = image.narrow(axis, max(0, (n - LOOKED_AT) // 2), min(n, LOOKED_AT))
    return image


def _as_soft_as(image: Tensor, own: Sequence[float], of_other: Sequence[float]) -> Sigmas:
    """By how much ``image``, along each axis as fine as ``own`` says, is to be blurred to be as fine as the other."""
    times = [here / there if there > 0 else 0.0 for here, there in zip(own, of_other, strict=True)]
    sigmas = [0.0] * len(times)
    for axis, (here, there) in enumerate(zip(times, of_other, strict=True)):
        along_others = max(1.0, *(t for a, t in enumerate(times) if a != axis))
        if here >= max(SHARPER, THAN_ALONG_OTHERS * along_others):
            sigmas[axis] = _along(axis, image, there * max(1.0, along_others / INTERPOLATED))
    return tuple(sigmas)


def _along(axis: int, image: Tensor, wanted: float) -> float:
    """The first of ``STEPS``, the last at most, after which ``image`` is no sharper than ``wanted``."""
    for step in STEPS:
        sigmas = [0.0] * (image.ndim - 2)
        sigmas[axis] = step
        if _finest(soften(image, sigmas), axis) <= wanted:
            return step
    return STEPS[-1]


def _finest(image: Tensor, axis: int) -> float:
    """Mean square of the second differences along an axis relative to that of the first ones, 0 to 4.

    In the median block; 0 where none shows anything.
    """
    if image.shape[axis + 2] < 3:
        return 0.0
    first = image.diff(dim=axis + 2)
    second = first.diff(dim=axis + 2)
    first = first.narrow(axis + 2, 0, second.shape[axis + 2])
    blocks = [min(BLOCK, n) for n in second.shape[2:]]
    slope, bend = (F.avg_pool3d(x.square(), blocks).flatten() for x in (first, second))
    told = slope > FLAT
    return float((bend[told] / slope[told]).median()) if bool(told.any()) else 0.0
