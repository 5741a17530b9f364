"""Smoothness over time: what the maps to neighboring frames have in common is motion, what they have not is error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk
from torch import Tensor

from ..errors import InputError
from ..geometry.image import Grid
from ..geometry.transform import Transform, displacement_on
from ..inputs.start import split_start
from ..system import check_memory


def weights_over_time(count: int, smooth: float, cyclic: bool = False) -> np.ndarray:
    """(count, count); row t makes the smoothed frame t of all frames.

    A parabola is fitted to each frame and those around it (local regression with Gaussian weights: Cleveland, J. Am.
    Stat. Assoc. 74, 1979), and read at that frame. A mean would flatten the turning points of a breath, where the
    motion is largest; a parabola goes through them, and needs nothing beyond the first and the last frame.

    Args:
        smooth: standard deviation of the weights in frames; 0 changes nothing.
        cyclic: the last frame comes before the first.
    """
    rows = np.eye(count)
    if smooth <= 0 or count < 4:  # a parabola goes through three points
        return rows
    for row, middle in enumerate(range(count)):
        away = np.arange(count) - middle
        if cyclic:
            away = (away + count // 2) % count - count // 2
        far = np.argsort(np.abs(away), kind="stable")
        weight = np.exp(-0.5 * (away / smooth) ** 2)
        weight[far[:3]] = np.maximum(weight[far[:3]], 1e-6)  # so that there is always a parabola
        root = np.sqrt(weight)[:, None]
        powers = np.stack([np.ones(count), away, away.astype(float) ** 2], 1)
        rows[row] = np.linalg.pinv(powers * root)[0] * root[:, 0]
    return rows


def smooth_over_time(
    transforms: Sequence[sitk.Transform], grid: Grid, content: Tensor, smooth: float, cyclic: bool = False
) -> list[Transform]:
    """The maps from one fixed image to its frames, smoothed point by point.

    Args:
        transforms: fixed to moving, LPS mm, in the order of time.
        grid: the fixed grid.
        content: (1, 1, *grid.shape) bool: where the fixed image shows something.
        smooth, cyclic: as of ``weights_over_time``.

    Raises:
        InputError: if a transform is a matrix, which would not stay one, or all fields together do not fit the memory.
    """
    if any(t.IsLinear() for t in transforms):
        raise InputError("Smoothing over time is for deformable results, and one of these is a matrix; leave it out.")
    check_memory(12 * (len(transforms) + 3) * int(np.prod(grid.shape)), "The smoothing over time of so many frames")
    maps = [displacement_on(t, grid) for t in transforms]
    found = []
    for row in weights_over_time(len(maps), smooth, cyclic):
        mean = np.zeros_like(maps[0])
        for share, one in zip(row, maps, strict=True):
            if abs(share) > 1e-6:
                mean += np.float32(share) * one
        field = sitk.Cast(grid.to_sitk(mean, vector=True), sitk.sitkVectorFloat64)
        matrix, rest = split_start(sitk.DisplacementFieldTransform(field), grid, content)
        shape = (1, grid.ndim, *grid.shape)
        found.append(Transform.from_field(content.new_zeros(shape).float() if rest is None else rest, grid, matrix))
    return found
