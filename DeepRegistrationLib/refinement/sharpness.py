"""Along which axes one of two volumes was interpolated between thick slices, whatever its voxels are now.

How sharp an image is along an axis shows in its second differences relative to its first ones: noise gives 3, edges
about 1 to 2, what was interpolated far less. An image is compared with the other one blurred step by step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .levels import normalize, soften

LEAST = 0.8
"""Voxels, the standard deviation of a Gaussian: who is no sharper after that lacks nothing. Of 71 pairs of volumes as
scanners took them, of one voxel size, none was; slices of four voxels that were interpolated asked for 1 to 2."""
SHARPER, HARDLY = 2.0, 1.1
"""How many times as sharp an image must be along an axis to be blurred, and to be looked at: on smooth ones a blur
changes little, and rounding would ask for much. Axes as scanners took them gave up to 1.6, interpolated ones 3.8 to
6.4, of noisy livers 1.8."""
STEPS = (1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0)
"""Those that are tried then."""
LOOKED_AT = 96
"""Voxels along each axis around the middle that are looked at."""
FLAT = 1e-8
"""Mean square of differences, of a range of 1, under which there is nothing to tell."""

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
    return _as_soft_as(a, b), _as_soft_as(b, a)


def _middle(image: Tensor) -> Tensor:
    for axis in range(2, image.ndim):
        n = image.shape[axis]
        image = image.narrow(axis, max(0, (n - LOOKED_AT) // 2), min(n, LOOKED_AT))
    return image


def _as_soft_as(image: Tensor, other: Tensor) -> Sigmas:
    axes = range(image.ndim - 2)
    wanted = [_finest(other, axis) for axis in axes]
    times = [_finest(image, axis) / max(w, 1e-9) for axis, w in zip(axes, wanted, strict=True)]
    if max(times) < SHARPER:
        return (0.0,) * len(wanted)
    found = [_along(axis, image, w) if t > HARDLY else 0.0 for axis, w, t in zip(axes, wanted, times, strict=True)]
    least = min(found)
    return tuple(
        math.sqrt(s**2 - least**2) if t >= SHARPER and s >= least + STEPS[0] else 0.0
        for s, t in zip(found, times, strict=True)
    )


def _along(axis: int, image: Tensor, wanted: float) -> float:
    """The first of ``STEPS``, the last at most, after which ``image`` is no sharper than ``wanted``; 0 for less."""
    for step in (LEAST, *STEPS):
        sigmas = [0.0] * (image.ndim - 2)
        sigmas[axis] = step
        if _finest(soften(image, sigmas), axis) <= wanted:
            return step if step > LEAST else 0.0
    return STEPS[-1]


def _finest(image: Tensor, axis: int) -> float:
    """Mean square of the second differences along an axis relative to that of the first ones, 0 to 4."""
    if image.shape[axis + 2] < 3:
        return 0.0
    first = image.diff(dim=axis + 2)
    second = torch.diff(first, dim=axis + 2)
    slope = float(first.square().mean())
    return 0.0 if slope < FLAT else float(second.square().mean()) / slope
