"""How much less sharp the moving image is than the fixed one, as thick slices are beside a volume of small voxels."""

from __future__ import annotations

import numpy as np

from ..geometry.image import Grid

COARSER = 1.5
"""How many times as long a voxel must be along an axis to count as coarser."""
VARIANCE = 1 / 6
"""Of a voxel's square: what a slice averages over is 1/12, linear interpolation between slices adds up to 1/6, and the
fixed image has some of its own."""


def lacking(fixed: Grid, moving: Grid, matrix: np.ndarray) -> tuple[float, ...]:
    """By how much the fixed image is to be blurred to show no more than the moving one does: what only one of them
    shows pulls at the field, and there is nothing to be found.

    Args:
        fixed, moving: grids of both images.
        matrix: (ndim + 1, ndim + 1) LPS mm, fixed point to moving point.

    Returns:
        (ndim,) standard deviations of a Gaussian in voxels of ``fixed``; 0 along axes that are not coarser.
    """
    sides = np.linalg.solve(matrix[:-1, :-1], moving.directions * moving.spacing)
    length = np.sqrt(np.square(fixed.directions.T @ sides).sum(1)) / fixed.spacing
    sigma = np.sqrt(VARIANCE * np.clip(length**2 - 1, 0, None))
    return tuple(float(s) for s in np.where(length > COARSER, sigma, 0.0))
