"""There and back: how far one map after the other misses the point it started from.

Asked in two ways that differ: of the engine's fields on the working grid, while they are there; and of any two
transforms, as files hold them, which takes twenty times as long. A transform fades outside its grid and a field repeats
its border, so they part where points leave the fixed image; a test holds them together inside of it.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from .. import fields
from ..geometry.image import Grid, Image
from ..geometry.transform import displacement_on

MOST_POINTS = 36
"""Along an axis, that go there and back; it is a long way, and what misses does so over a centimeter."""


def left_over(step: Tensor, back: Tensor, here: Tensor, grid: Grid) -> Tensor:
    """(1, *points) mm by which ``back`` misses ``here``, coming from ``here + step``.

    Args:
        step, here: (1, ndim, *points) voxels of ``grid``.
        back: (1, ndim, *grid.shape) displacement, likewise.
    """
    spacing = torch.as_tensor(grid.spacing, dtype=step.dtype).view(1, -1, *[1] * grid.ndim)
    return ((step + fields.sample(back, here + step)) * spacing).square().sum(1).sqrt()


def missed_by_fields(u: Tensor, inverse: Tensor, grid: Grid, onto: Grid) -> Image:
    """How far, in mm, ``inverse`` after ``u`` misses each point of a coarse grid over the fixed image.

    The affine part cancels.

    Args:
        u, inverse: (1, ndim, *grid.shape) voxels of ``grid``.
        onto: the grid of the answer before it is made coarse: ``grid``, or that with one more axis of a single voxel.
    """
    coarse = grid.resized(tuple(min(s, MOST_POINTS) for s in grid.shape))
    index = grid.to_index(coarse.to_world(np.indices(coarse.shape).reshape(grid.ndim, -1).T))
    here = torch.as_tensor(index.T.reshape(1, grid.ndim, *coarse.shape), dtype=u.dtype)
    lifted = onto.resized(tuple(min(s, MOST_POINTS) for s in onto.shape))
    missed = left_over(fields.sample(u, here), inverse, here, grid)
    return Image(missed.reshape(lifted.shape).numpy(), lifted)


def missed_by_transforms(
    transform: sitk.Transform, inverse: sitk.Transform, grid: Grid, points: int = MOST_POINTS
) -> Image:
    """How far, in mm, ``inverse`` after ``transform`` misses each point of a coarse grid over ``grid``.

    The coarse grid has at most ``points`` along an axis.
    """
    coarse = grid.resized(tuple(min(s, points) for s in grid.shape))
    here = coarse.to_world(np.moveaxis(np.indices(coarse.shape), 0, -1))
    there = here + displacement_on(transform, coarse)
    # Point by point: a composite of the two would be a copy of both.
    back = np.array([inverse.TransformPoint(point) for point in there.reshape(-1, grid.ndim).tolist()])
    length = np.linalg.norm(back.reshape(here.shape) - here, axis=-1)
    return Image(length.astype(np.float32), coarse)
