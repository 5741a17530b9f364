"""Previews: what a registration has found so far, coarse enough to be shown at once, for whoever looks on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from .fields import resize
from .geometry.image import Grid, PathLike, write_sitk
from .geometry.transform import matrix_displacement, voxels_to_lps
from .inputs.pair import Pair
from .progress import Reporter

MOST = 64
"""Samples on an axis: what is moved lies within a part of a voxel of where the result will put it, for the eye."""


@dataclass(frozen=True)
class Preview:
    """What a registration has found so far.

    Attributes:
        level: "affine", "network", a level of the refinement as progress calls it, or ``REFINED`` for its end.
        displacement: (*grid.shape, ndim) float32, LPS mm, fixed to moving: the whole map, the affine part included.
        grid: the fixed image's field of view, coarsely.
    """

    level: str
    displacement: np.ndarray
    grid: Grid

    @classmethod
    def of(cls, level: str, u: Tensor, grid: Grid, matrix: np.ndarray) -> Preview:
        """``u`` (1, ndim, *shape), in voxels of ``grid``, then ``matrix`` (ndim + 1, ndim + 1), LPS mm."""
        moved = voxels_to_lps(u, grid).reshape(-1, grid.ndim) @ matrix[:-1, :-1].T.astype(np.float32)
        moved = moved.reshape(*grid.shape, grid.ndim) + matrix_displacement(matrix, grid).astype(np.float32)
        return cls(level, moved, grid)

    def save(self, path: PathLike) -> None:
        """A displacement field as an image, whole or not at all; a single slice is repeated, so that it has a depth.

        Raises:
            InputError, NotWritten: as ``write_sitk``.
        """
        flat = [axis for axis, n in enumerate(self.grid.shape) if n == 1]
        low = np.array([-1 if axis in flat else 0 for axis in range(self.grid.ndim)])
        high = np.array([2 if axis in flat else n for axis, n in enumerate(self.grid.shape)])
        vectors = self.displacement
        for axis in flat:
            vectors = np.repeat(vectors, 3, axis)
        write_sitk(self.grid.cropped(low, high).to_sitk(vectors, vector=True), path, compress=False)

    def transform(self) -> sitk.Transform:
        """The map, within the fixed image's field of view."""
        field = self.grid.to_sitk(self.displacement, vector=True)
        return sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))


def begin_previews(pair: Pair, grid: Grid, matrix: np.ndarray, field: Tensor | None, reporter: Reporter) -> None:
    """Show the affine alignment to the reporter's watch, and from now on the fields that come before it.

    Args:
        grid: the working grid.
        matrix: LPS mm, fixed to moving.
        field: (1, ndim, *grid.shape) voxels that a given start has besides; None: it has none.
    """
    watch = reporter.watch
    if watch.on_level is None:
        return
    watch.preview = partial(_preview, watch.on_level, pair, grid, matrix)
    preview_whole("affine", torch.zeros(1, grid.ndim, *_coarse(grid).shape) if field is None else field, reporter)


def preview_whole(name: str, field: Tensor, reporter: Reporter) -> None:
    """Show a field (1, ndim, *S) on the whole grid, in its voxels."""
    reporter.preview(name, partial(resize, field.float()))


def _preview(
    on_level: Callable[[Preview], None],
    pair: Pair,
    grid: Grid,
    matrix: np.ndarray,
    name: str,
    field_on: Callable[[tuple[int, ...]], Tensor],
) -> None:
    small = _coarse(grid)
    field = field_on(small.shape)
    if pair.plane:
        shape = list(small.shape)
        shape.insert(pair.plane.axis, 1)
        small, field = pair.given_fixed.grid.resized(tuple(shape)), pair.plane.lift_field(field)
        matrix = pair.plane.lift_affine(matrix)
    on_level(Preview.of(name, field, small, matrix))


def _coarse(grid: Grid) -> Grid:
    """The same field of view with ``MOST`` voxels on an axis or fewer."""
    return grid.resized(tuple(min(n, MOST) for n in grid.shape))
