"""Openings through which both images were seen, such as a camera's or a sector's, that did not move with the anatomy.

A skull-stripped brain ends where the anatomy ends; a round opening ends where the camera could not see. Both are dark
around. The edge of the one belongs to the anatomy and is as good as any other; that of the other stays in its place of
the picture whatever moves behind it, and pulls the anatomy there.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import SimpleITK as sitk
from torch import Tensor

from ..geometry.image import Grid, Image
from ..geometry.padding import background_of
from ..geometry.transform import affine_to_sitk, resample
from .content_mask import content_of
from .pair import Pair, fixed_on

SIDE = 96
"""Voxels along an axis on which outlines are compared."""
FAINT = 0.02
"""Of the range of nearly all voxels: what differs less from the background is as dark, if it is not all around lit."""
NOISY = 5.0
"""Times the upper quartile of how far the darkest face of the border is from the background: what differs by less is
dark as well, up to ``MOST_NOISY`` of the range. More is no noise, but anatomy all along the border."""
MOST_NOISY = 0.3
LEAST = 0.1
"""Of all voxels: where less is dark, no opening shows."""
IN_PLACE = 0.02
"""How unlike the lit parts may be as pictures, 0 to 1: the same opening comes to less than 0.01, one stripped brain at
two times to 0.015 to 0.018, two people's to 0.05 to 0.13."""
CONVEX = 0.993
"""``_convexity`` of an opening: an eye's came to 0.995, as it was and resampled; slices of brains to 0.985 to 0.989,
whole brains to 0.95 to 0.97, all else to 0.8 to 0.975."""
MOVED = 0.08
"""How unlike they must be once the anatomy is aligned: a shift by 3 % of the opening. An eye seen twice comes to 0.3,
that brain to 0.03 to 0.05."""


def without_openings(pair: Pair, matrix: np.ndarray) -> Pair:
    """``pair``, with masks of what was seen if both images were seen through the same opening.

    Args:
        matrix: (ndim + 1, ndim + 1) LPS mm, fixed to moving, which aligns the anatomy.
    """
    fixed, moving = _lit(_thinned(pair.fixed)), _lit(_thinned(pair.moving))
    if fixed is None or moving is None:
        return pair
    n = fixed.ndim
    onto = np.eye(n + 1)
    onto[:n, :n] = np.diag((np.array(moving.grid.shape) - 1) / np.maximum(np.array(fixed.grid.shape) - 1, 1))
    as_pictures = affine_to_sitk(moving.grid.matrix @ onto @ fixed.grid.inverse_matrix)
    # Of an image that was resampled beforehand the opening no longer lies where it lay, but it is still one.
    is_opening = _unlike(fixed, moving, as_pictures) < IN_PLACE or min(map(_convexity, (fixed, moving))) > CONVEX
    if not is_opening or _unlike(fixed, moving, affine_to_sitk(matrix)) < MOVED:
        return pair
    masks = []
    for image, mask in ((pair.fixed, pair.fixed_mask), (pair.moving, pair.moving_mask)):
        lit = _lit(image)
        seen = np.ones(image.grid.shape, bool) if lit is None else lit.array > 0
        masks.append(seen if mask is None else mask & seen)
    return replace(pair, fixed_mask=masks[0], moving_mask=masks[1]) if all(mask.any() for mask in masks) else pair


def seen_on(
    pair: Pair, grid: Grid, matrix: np.ndarray, fixed_on_grid: tuple[Tensor, Tensor | None], content: Tensor
) -> tuple[Pair, tuple[Tensor, Tensor | None], Tensor]:
    """``without_openings``, and with it the fixed image on ``grid`` with its mask, and the content there."""
    seen = without_openings(pair, matrix)
    if seen is pair:
        return pair, fixed_on_grid, content
    fixed_on_grid = fixed_on(seen, grid)
    return seen, fixed_on_grid, content_of(*fixed_on_grid)


def _convexity(lit: Image) -> float:
    """The share of the middles between two points of its edge that belong to it."""
    inside = lit.array > 0
    core = sitk.BinaryErode(sitk.GetImageFromArray(inside.astype(np.uint8)), [1] * lit.ndim)
    edge = np.argwhere(inside & (sitk.GetArrayFromImage(core) == 0))
    pairs = np.random.default_rng(0).integers(len(edge), size=(2, 4000))
    return float(inside[tuple(edge[pairs].sum(0).T // 2)].mean())


def _thinned(image: Image) -> Image:
    """Every so many voxels, ``SIDE`` or less along each axis: enough for an outline, and a hundredth of the time."""
    steps = [-(-n // SIDE) for n in image.grid.shape]
    array = image.array[tuple(slice(None, None, step) for step in steps)]
    return Image(array, Grid(array.shape, image.grid.matrix @ np.diag([*steps, 1.0])), image.name)


def _lit(image: Image) -> Image | None:
    """1 where the image is not as dark as around it, holes filled; None where hardly anything or nearly all is."""
    array = image.array
    some = array[tuple(slice(None, None, 4 if n > 64 else 1) for n in array.shape)]
    low, high = np.quantile(some, (0.01, 0.99))
    away = np.abs(array - background_of(array))
    faces = [np.take(away, end, axis) for axis, n in enumerate(away.shape) if n > 1 for end in (0, -1)]
    noise = NOISY * min(float(np.quantile(face, 0.75)) for face in faces)
    noise = noise if noise < MOST_NOISY * (high - low) else 0.0
    lit = sitk.GetImageFromArray((away > FAINT * (high - low) + noise).astype(np.uint8))
    if noise > 0:  # some of it still stands out
        lit = sitk.BinaryMedian(lit, [1] * image.ndim)
    filled = sitk.GetArrayFromImage(sitk.BinaryFillhole(lit))
    return Image(filled, image.grid, image.name) if 0 < filled.mean() <= 1 - LEAST else None


def _unlike(fixed: Image, moving: Image, transform: sitk.Transform) -> float:
    """1 - intersection over union of the lit parts, where the moving image reaches."""
    reached = resample(Image(np.ones(moving.grid.shape, np.uint8), moving.grid), fixed.grid, transform, mode="nearest")
    warped = resample(moving, fixed.grid, transform, mode="nearest").array > 0
    both, either = (warped & (fixed.array > 0)), (warped | (fixed.array > 0)) & (reached.array > 0)
    return 1 - float(both.sum()) / max(1, int(either.sum()))
