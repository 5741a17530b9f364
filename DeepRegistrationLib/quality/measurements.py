"""The figures of a report: how alike, how smooth, how invertible."""

from __future__ import annotations

import math

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from .. import fields
from ..affine.detail import AROUND, CLEARLY, LEAST_DETAIL, relative
from ..geometry.image import Grid, Image
from ..geometry.transform import Transform, affine_to_sitk, displacement_on, map_points, resample, resample_seen
from ..inputs.content_mask import coarse_content, content_of
from ..inputs.guides import Labels, Landmarks
from ..inputs.pair import Pair
from ..progress import SILENT, Reporter
from ..similarity.mutual_information import nmi
from .error_estimate import estimate_errors
from .expected_error import expected_error
from .metrics import dice, folds_and_spread
from .report import Report
from .there_and_back import left_over

COARSE = 48
"""Voxels along an axis at which likeness and displacement are sampled."""


def measure_field(report: Report, u: Tensor, inverse: Tensor, grid: Grid, content: Tensor) -> None:
    """Fill in what the deformable part alone says.

    Args:
        u, inverse: (1, ndim, *grid.shape) voxels, ``(id + inverse) o (id + u) = id``.
        grid: the working grid.
        content: (1, 1, *grid.shape) bool: where the image shows something.
    """
    report.folding_percent, report.log_jacobian_sd = folds_and_spread(u)
    length = torch.zeros_like(u[:, 0])
    for axis, side in enumerate(grid.spacing.tolist()):
        length.addcmul_(u[:, axis], u[:, axis], value=side**2)
    report.max_deformation_mm = float(length.mul_(content[:, 0]).max().sqrt())

    # There by the field and back by its inverse, as users go. The other way round the points are those that the inverse
    # was solved at, where it is true to its tolerance whatever lies between.
    # Every few voxels is enough for a mean, and every voxel costs a warp of the whole field.
    here, step = fields.identity(grid.shape), u
    for axis, size in enumerate(grid.shape):
        every = torch.arange(0, size, max(1, size // 64))
        here, step = here.index_select(axis + 2, every), step.index_select(axis + 2, every)
    error, there = left_over(step, inverse, here, grid), here + step
    upper = torch.as_tensor(grid.shape).view(1, -1, *[1] * grid.ndim) - 1
    inside = ((there >= 0) & (there <= upper)).all(1)
    error = error[inside]
    if len(error):
        report.inverse_error_mm, report.max_inverse_error_mm = float(error.mean()), float(error.max())
    else:
        report.warnings.append(
            "Whether forward and back cancel could not be measured, as everything leads out of the fixed image."
        )


def measure_result(
    report: Report,
    pair: Pair,
    transform: Transform,
    matrix: np.ndarray,
    content: Tensor,
    grid: Grid,
    guides: tuple[Landmarks | None, Labels | None],
    reporter: Reporter = SILENT,
) -> None:
    """Fill in all that the whole map says, of the images, and of the landmarks and labels that guided it."""
    measure_images(report, pair, transform, content, reporter)
    reporter.check()
    measure_error(report, pair, transform, matrix, content, grid)
    measure_filled(report, pair, transform, matrix, content)
    measure_landmarks(report, guides[0], transform)
    measure_labels(report, guides[1], transform)
    report.estimated_error_mm, report.error_bound_mm = expected_error(report)


def measure_images(
    report: Report, pair: Pair, transform: Transform, content: Tensor, reporter: Reporter = SILENT
) -> None:
    """Fill in what the two images and the whole map say, sampled coarsely.

    Args:
        content: (1, 1, *working grid) bool: where the fixed image shows something.

    Raises:
        Cancelled: if the reporter's token is set.
    """
    grid = pair.given_fixed.grid
    coarse = grid.resized(tuple(min(s, COARSE) for s in grid.shape))
    flat = tuple(min(s, COARSE) for s in pair.fixed.grid.shape)
    length = np.linalg.norm(displacement_on(transform, coarse), axis=-1)
    length = length[coarse_content(content, flat).numpy().reshape(coarse.shape)]
    report.max_displacement_mm, report.mean_displacement_mm = float(length.max()), float(length.mean())
    found = _compared(_Likeness(pair), transform, reporter)
    report.similarity = "normalized mutual information"
    if found[2] < min(found[:2]):  # light that stays in its place of the picture may be most of what they share
        detail = _compared(_Likeness(pair, in_detail=True), transform, reporter)
        if detail[2] > max(LEAST_DETAIL, CLEARLY * max(detail[:2])):
            report.similarity, found = "normalized mutual information of the detail", detail
    report.similarity_before, report.similarity_interpolated, report.similarity_after = found


def measure_error(
    report: Report, pair: Pair, transform: sitk.Transform, matrix: np.ndarray, content: Tensor, grid: Grid
) -> None:
    """Fill in how far the result is off, and how far its affine part alone.

    Args:
        transform: fixed to moving.
        matrix: its affine part, in the plane where the images are single slices.
        content: (1, 1, *working grid) bool: where the fixed image shows something.
        grid: the working grid, with one more axis of a single voxel where the images are single slices.
    """
    whole = affine_to_sitk(pair.plane.lift_affine(matrix) if pair.plane else matrix)
    shown = Image(content.numpy().reshape(grid.shape).astype(np.float32), grid)
    mask = None if pair.moving_mask is None else pair.moving_mask.reshape(pair.clean_moving.grid.shape)
    found = estimate_errors(pair.clean_fixed, pair.clean_moving, (transform, whole), shown, mask)
    report.error_step_mm, (report.points_error_mm, report.affine_points_error_mm) = found.step, found.errors
    report.lost_percent = 100 * found.lost
    if found.lost_at is not None:
        report.lost_at_mm = tuple(found.lost_at.tolist())


def measure_filled(report: Report, pair: Pair, transform: sitk.Transform, matrix: np.ndarray, content: Tensor) -> None:
    """Fill in how much of the anatomy the field alone brought from nothing onto something; arguments as above."""
    if not report.bends:
        return
    fixed, moving = pair.given_fixed.grid, pair.clean_moving
    coarse, flat = (tuple(min(s, COARSE) for s in g.shape) for g in (fixed, pair.fixed.grid))
    anatomy = coarse_content(content, flat).numpy().reshape(coarse)
    small = resample(
        moving, moving.grid.resized(tuple(min(s, 2 * COARSE) for s in moving.grid.shape)), dtype=np.float32
    )
    values = torch.from_numpy(small.array.squeeze())[None, None]
    seen = np.ones(small.grid.shape, bool)
    if pair.moving_mask is not None:
        seen = _seen(pair.moving_mask, moving.grid, small.grid)
    shows = content_of(values, torch.from_numpy(seen.squeeze())[None, None]).numpy().reshape(seen.shape)
    # 0: not known, 1: background, 2: content.
    kinds = Image(seen.astype(np.uint8) * (1 + shows.astype(np.uint8)), small.grid)
    whole = affine_to_sitk(pair.plane.lift_affine(matrix) if pair.plane else matrix)
    bare = [
        (resample(kinds, fixed.resized(coarse), t, "nearest").array == 1)[anatomy].mean() for t in (whole, transform)
    ]
    report.filled_percent = 100 * float(bare[0] - bare[1])


def measure_landmarks(report: Report, landmarks: Landmarks | None, transform: sitk.Transform) -> None:
    """Fill in how far apart the landmarks (n, ndim) LPS mm are with it: root mean square of all that agree."""
    if landmarks is None:
        return
    fixed, moving = (np.delete(points, [k - 1 for k in report.landmarks_apart], axis=0) for points in landmarks)
    left = map_points(transform, fixed) - moving
    report.landmark_after_mm = float(np.sqrt((left**2).sum(1).mean()))


def measure_labels(report: Report, labels: Labels | None, transform: sitk.Transform) -> None:
    """Fill in how far the structures that both label maps hold overlap with it: Dice, on average over labels."""
    if labels is None:
        return
    fixed, moving = labels
    common = np.intersect1d(fixed.array, moving.array)
    overlaps = dice(fixed.array, resample(moving, fixed.grid, transform, mode="nearest").array, common[common != 0])
    known = [overlap for overlap in overlaps.values() if not math.isnan(overlap)]
    report.label_dice = sum(known) / len(known) if known else report.label_dice


def _compared(alike: _Likeness, transform: sitk.Transform, reporter: Reporter) -> tuple[float, float, float]:
    """Likeness without a transform, moved by half a voxel, and with ``transform``."""
    found = []
    for each in (None, alike.half_a_voxel, transform):
        found.append(alike(each))
        reporter.check()
    return found[0], found[1], found[2]


class _Likeness:
    """Normalized mutual information of the fixed image and the moved one, where both were measured.

    ``in_detail``: of each voxel relative to those around it.
    """

    def __init__(self, pair: Pair, in_detail: bool = False) -> None:
        self._pair, self._in_detail, fixed = pair, in_detail, pair.clean_fixed
        self._grid = fixed.grid.resized(tuple(min(s, 2 * COARSE) for s in fixed.grid.shape))
        self._fixed = resample(fixed, self._grid, dtype=np.float32).array
        self._inside = None if pair.fixed_mask is None else _seen(pair.fixed_mask, fixed.grid, self._grid)
        wide = [axis for axis, size in enumerate(self._grid.shape) if size > 1]
        step = self._grid.matrix[:-1, :-1][:, wide].sum(1) / 2
        self.half_a_voxel = sitk.TranslationTransform(self._grid.ndim, step.tolist())

    def __call__(self, transform: sitk.Transform | None) -> float:
        """NaN where less than a hundredth of the fixed image meets the moving one."""
        moving, mask = self._pair.clean_moving, self._pair.moving_mask
        moved, there = resample_seen(moving, self._grid, transform)
        if mask is not None:
            there = _seen(mask, moving.grid, self._grid, transform)
        if self._inside is not None:
            there &= self._inside
        if there.mean() < 0.01:
            return float("nan")
        images = [self._fixed, moved.array]
        if self._in_detail:
            radius = np.ceil(AROUND * np.array(there.shape)).astype(int)
            weight = _tensor(there)
            images = [relative(_tensor(x), weight, radius)[0, 0].numpy() for x in images]
        f, m = (torch.from_numpy(x[there])[None, None, None] for x in images)
        return float(nmi(f, m))


def _tensor(array: np.ndarray) -> Tensor:
    """(1, 1, *array.shape)."""
    return torch.from_numpy(array.astype(np.float32))[None, None]


def _seen(mask: np.ndarray, own: Grid, grid: Grid, transform: sitk.Transform | None = None) -> np.ndarray:
    image = Image(mask.reshape(own.shape).astype(np.uint8), own, "mask")
    return np.asarray(resample(image, grid, transform, mode="nearest").array > 0)
