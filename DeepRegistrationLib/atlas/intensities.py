"""The mean image of a cohort: what differs from most counts less, and what was not seen does not count."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import SimpleITK as sitk

from ..geometry.image import Grid, Image
from ..geometry.padding import background_of, seen_part
from ..geometry.transform import resample

TOLERANCE = 2.0
"""Standard deviations from the mean at which a subject counts half (Cauchy's weight)."""
SHARPEN = 0.5
"""What of the detail finer than a voxel that a mean loses is put back."""

Subjects = Callable[[], Iterable[tuple[Image, sitk.Transform | None]]]


def in_unit_range(image: Image) -> Image:
    """Background 0, the brightest half percent 1: scanners give the same tissue any number."""
    array = image.array.astype(np.float32)
    seen = seen_part(array)
    values = array if seen is None else array[seen]
    values = values.ravel()[:: max(1, values.size // 500_000)]
    low, high = background_of(array), float(np.quantile(values, 0.995))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    span = max(high - low, float(np.finfo(np.float32).tiny))
    return Image(np.clip((array - low) / span, -0.25, 1.25), image.grid, image.name)


def robust_mean(grid: Grid, subjects: Subjects) -> np.ndarray:
    """(*grid.shape) float32 mean of images seen through their transforms, 0 to 1.

    Args:
        subjects: called twice; gives each image, in any units, and the map of ``grid`` onto it (LPS mm).
    """
    total, squares, count = (np.zeros(grid.shape, np.float64) for _ in range(3))
    for value, known in _seen(grid, subjects):
        total += value * known
        squares += value**2 * known
        count += known
    mean = total / np.maximum(count, 1e-3)
    spread = np.sqrt(np.maximum(squares / np.maximum(count, 1e-3) - mean**2, 1e-6))
    total[:] = count[:] = 0
    for value, known in _seen(grid, subjects):
        weight = known / (1 + ((value - mean) / (TOLERANCE * spread)) ** 2)
        total += value * weight
        count += weight
    return np.asarray(np.where(count > 1e-3, total / np.maximum(count, 1e-3), 0), dtype=np.float32)


def _seen(grid: Grid, subjects: Subjects) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Each image on the grid, 0 to 1, and where it is known."""
    for image, transform in subjects():
        few = image.grid.resized(tuple(min(n, 8) for n in image.grid.shape))
        there = Image(np.ones(few.shape, np.float32), few)
        value = resample(in_unit_range(image), grid, transform, fill=0.0, dtype=np.float32).array
        yield value, resample(there, grid, transform, fill=0.0).array


def sharpened(image: Image) -> Image:
    """Detail of about a voxel put back (an unsharp mask): a mean of what nearly lies on each other is blurred."""
    smooth = sitk.SmoothingRecursiveGaussian(image.to_sitk(), float(np.mean(image.grid.spacing)))
    array = image.array + SHARPEN * (image.array - sitk.GetArrayFromImage(smooth))
    return Image(np.clip(array, 0, 1.25).astype(np.float32), image.grid, image.name)
