"""How far apart the boundaries of labeled structures lie, in mm: HD95, ASD, MAD.

A boundary voxel is one of the structure with a face neighbor outside it (beyond the image is outside). Distances run
from center to center of boundary voxels, as in MONAI; ITK's exact distance map (Maurer 2003) finds them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..errors import InputError


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances in mm from each boundary voxel to the other boundary.

    Both are empty, and the figures NaN, where a structure is missing in one of the images.
    """

    to_warped: np.ndarray
    to_fixed: np.ndarray

    @property
    def _missing(self) -> bool:
        return not len(self.to_warped)

    @property
    def hausdorff95(self) -> float:
        """HD95: the larger one of the two directions' 95th percentiles."""
        if self._missing:
            return math.nan
        return float(max(np.percentile(self.to_warped, 95), np.percentile(self.to_fixed, 95)))

    @property
    def average(self) -> float:
        """ASD, symmetric: the mean over the boundary voxels of both."""
        return math.nan if self._missing else float(np.concatenate([self.to_warped, self.to_fixed]).mean())

    @property
    def mean_absolute(self) -> float:
        """MAD: the mean of the two directions' means, so that each boundary counts the same."""
        return math.nan if self._missing else float((self.to_warped.mean() + self.to_fixed.mean()) / 2)


def boundary(mask: np.ndarray) -> np.ndarray:
    """Voxels of a 2-D or 3-D mask (bool) with a face neighbor outside it."""
    inner = mask.copy()
    for axis in range(mask.ndim):
        first: list[slice] = [slice(None)] * mask.ndim
        last, head, tail = first.copy(), first.copy(), first.copy()
        first[axis], last[axis], head[axis], tail[axis] = slice(0, 1), slice(-1, None), slice(None, -1), slice(1, None)
        inner[tuple(tail)] &= mask[tuple(head)]
        inner[tuple(head)] &= mask[tuple(tail)]
        inner[tuple(first)] = inner[tuple(last)] = False
    return mask & ~inner


def surface_distances(fixed: np.ndarray, warped: np.ndarray, spacing: float | Sequence[float]) -> SurfaceDistances:
    """Distances between the boundaries of two masks.

    Args:
        fixed, warped: masks of one shape, 2-D or 3-D.
        spacing: mm along each array axis, or one number for all.

    Raises:
        InputError: if the shapes differ or the spacing does not fit.
    """
    if fixed.shape != warped.shape or fixed.ndim not in (2, 3):
        raise InputError(f"Two masks of one 2-D or 3-D shape are needed, not {fixed.shape} and {warped.shape}.")
    try:
        steps = np.broadcast_to(np.asarray(spacing, dtype=np.float64), (fixed.ndim,))
    except ValueError as error:
        raise InputError(f"A spacing for {fixed.ndim} axes has {fixed.ndim} numbers, not {spacing}.") from error
    if not fixed.any() or not warped.any():
        return SurfaceDistances(np.zeros(0), np.zeros(0))
    box = _bounding_box(fixed | warped)
    one, other = boundary(fixed[box] > 0), boundary(warped[box] > 0)
    return SurfaceDistances(_distance_to(other, steps)[one], _distance_to(one, steps)[other])


def _bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    box = []
    for axis in range(mask.ndim):
        present = np.flatnonzero(mask.any(axis=tuple(d for d in range(mask.ndim) if d != axis)))
        box.append(slice(int(present[0]), int(present[-1]) + 1))
    return tuple(box)


def _distance_to(edge: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    image = sitk.GetImageFromArray(edge.astype(np.uint8))
    image.SetSpacing(spacing[::-1].tolist())
    signed = sitk.SignedMaurerDistanceMap(
        image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True, backgroundValue=0
    )
    # Negative inside the boundary where it is several voxels thick: those voxels are on it.
    return np.maximum(sitk.GetArrayFromImage(signed), 0).astype(np.float64)
