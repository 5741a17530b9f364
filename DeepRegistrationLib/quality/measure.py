"""The figures of a report: how alike, how smooth, how invertible."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .. import fields
from ..geometry.image import Grid, Image
from ..geometry.transform import Transform, displacement_on, resample
from ..similarity.mutual_information import nmi
from .doubt import MOST_POINTS
from .metrics import folds_and_spread
from .report import Report

COARSE = 48
"""Voxels along an axis at which similarity and displacement are sampled."""


def measure_field(report: Report, u: Tensor, inverse: Tensor, grid: Grid) -> None:
    """Fill in what the deformable part alone says.

    Args:
        u, inverse: (1, ndim, *grid.shape) voxels, ``(id + u) o (id + inverse) = id``.
        grid: the working grid.
    """
    report.folding_percent, report.log_jacobian_sd = folds_and_spread(u)
    spacing = torch.as_tensor(grid.spacing, dtype=u.dtype).view(1, -1, *[1] * grid.ndim)
    report.max_deformation_mm = float((u * spacing).square().sum(1).max().sqrt())

    # Every few voxels is enough for a mean, and every voxel costs a warp of the whole field.
    base, there = fields.identity(grid.shape), inverse
    for axis, size in enumerate(grid.shape):
        every = torch.arange(0, size, max(1, size // 64))
        base, there = base.index_select(axis + 2, every), there.index_select(axis + 2, every)
    there = base + there
    left = (there - base + fields.sample(u, there)) * spacing
    upper = torch.as_tensor(grid.shape).view(1, -1, *[1] * grid.ndim) - 1
    inside = ((there >= 0) & (there <= upper)).all(1)
    error = left.square().sum(1).sqrt()[inside]
    if len(error):
        report.inverse_error_mm, report.max_inverse_error_mm = float(error.mean()), float(error.max())


def misses(u: Tensor, inverse: Tensor, grid: Grid, onto: Grid) -> Image:
    """How far, in mm, there and back misses each point of a coarse grid over the fixed image.

    The affine part cancels; as ``doubt.there_and_back`` finds with the transforms.

    Args:
        u, inverse: (1, ndim, *grid.shape) voxels of ``grid``.
        onto: the grid of the answer before it is made coarse: ``grid``, or that with one more axis of a single voxel.
    """
    coarse = grid.resized(tuple(min(s, MOST_POINTS) for s in grid.shape))
    index = grid.to_index(coarse.to_world(np.indices(coarse.shape).reshape(grid.ndim, -1).T))
    here = torch.as_tensor(index.T.reshape(1, grid.ndim, *coarse.shape), dtype=u.dtype)
    there = fields.sample(u, here)
    spacing = torch.as_tensor(grid.spacing, dtype=u.dtype).view(1, -1, *[1] * grid.ndim)
    missed = ((there + fields.sample(inverse, here + there)) * spacing).square().sum(1).sqrt()
    lifted = onto.resized(tuple(min(s, MOST_POINTS) for s in onto.shape))
    return Image(missed.reshape(lifted.shape).numpy(), lifted)


def measure_images(report: Report, fixed: Image, moving: Image, transform: Transform) -> None:
    """Fill in what the two images and the whole map say, sampled coarsely."""
    coarse = fixed.grid.resized(tuple(min(s, COARSE) for s in fixed.grid.shape))
    length = np.linalg.norm(displacement_on(transform, coarse), axis=-1)
    report.max_displacement_mm, report.mean_displacement_mm = float(length.max()), float(length.mean())
    fine = fixed.grid.resized(tuple(min(s, 2 * COARSE) for s in fixed.grid.shape))
    reference = _tensor(resample(fixed, fine, dtype=np.float32))
    report.similarity = "normalized mutual information"
    report.similarity_before = float(nmi(reference, _tensor(resample(moving, fine, dtype=np.float32))))
    report.similarity_after = float(nmi(reference, _tensor(resample(moving, fine, transform, dtype=np.float32))))


def _tensor(image: Image) -> Tensor:
    return torch.from_numpy(image.array)[None, None]
