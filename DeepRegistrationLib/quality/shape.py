"""What a transform does to the anatomy as a body: how it turns, scales, bends and squeezes it.

Only SimpleITK and numpy are needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..geometry.image import Grid
from ..geometry.volume_change import volume_change

SQUEEZED = 0.1
"""Tissue is not squeezed to a tenth of its volume nor blown up tenfold: there the two images have no counterpart."""


@dataclass(frozen=True)
class Shape:
    """Of the anatomy, after the best turn, scaling and shift have been taken off.

    Attributes:
        bend_mm: 95 of 100 points stay within this distance.
        bend_percent: the same in % of the anatomy's size (mean side of the box around it).
        largest_bend_mm, largest_bend_percent: 999 of 1000 points do.
        squeezed_percent: of the anatomy squeezed to a tenth of its volume, or blown up tenfold, or turned inside out.
        turn_degrees: by how much the best affine map turns it; 0 if that mirrors it.
        scale_low, scale_high: its smallest and largest scaling.
    """

    bend_mm: float = 0.0
    bend_percent: float = 0.0
    largest_bend_mm: float = 0.0
    largest_bend_percent: float = 0.0
    squeezed_percent: float = 0.0
    turn_degrees: float = 0.0
    scale_low: float = 1.0
    scale_high: float = 1.0


def points_of(grid: Grid) -> tuple[list[int], list[float], list[float], list[float]]:
    """Size, origin, spacing and direction as SimpleITK takes them."""
    return (
        [int(s) for s in reversed(grid.shape)],
        grid.origin.tolist(),
        grid.spacing[::-1].tolist(),
        grid.directions[:, ::-1].ravel().tolist(),
    )


def measure_shape(transform: sitk.Transform | None, grid: Grid, anatomy: np.ndarray) -> Shape:
    """Look at ``transform`` (LPS mm) over the voxels of ``anatomy`` (*grid.shape, bool)."""
    wide = [axis for axis, size in enumerate(grid.shape) if size > 1]
    if transform is None or np.count_nonzero(anatomy) < 10 * (len(wide) + 1):
        return Shape()
    # Coordinates along the grid's own axes, so that a single slice is two-dimensional.
    axes = grid.directions[:, wide]
    field = sitk.TransformToDisplacementField(transform, sitk.sitkVectorFloat32, *points_of(grid))
    displacement = sitk.GetArrayViewFromImage(field)
    index = np.stack(np.nonzero(anatomy), -1)
    here = grid.to_world(index) @ axes
    there = displacement[anatomy] @ axes
    size = float(np.prod([np.ptp(along) for along in here.T]) ** (1 / len(wide))) or 1.0
    basis = np.c_[here - here.mean(0), np.ones(len(here))]
    fit = np.linalg.pinv(basis.T @ basis, hermitian=True) @ (basis.T @ there)  # centered: well conditioned
    left = np.linalg.norm(there - basis @ fit, axis=1)
    usual, largest = (float(v) for v in np.percentile(left, (95, 99.9)))
    left_turn, scales, right_turn = np.linalg.svd(np.eye(len(wide)) + fit[:-1].T)
    turn = left_turn @ right_turn
    handed = float(np.sign(np.linalg.det(turn)))
    cosine = 1.0 if handed < 0 else (np.trace(turn) - 1) / 2 if len(wide) == 3 else np.trace(turn) / 2
    changes = handed * volume_change(displacement, grid)[anatomy]
    return Shape(
        usual,
        100 * usual / size,
        largest,
        100 * largest / size,
        100 * float(((changes < SQUEEZED) | (changes > 1 / SQUEEZED)).mean()),
        float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))),
        float(scales.min()),
        float(scales.max()),
    )
