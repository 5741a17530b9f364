"""The papers' figures for one pair before and after a field; ``validation`` has the few that training looks at."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from DeepRegistrationLib import fields
from DeepRegistrationLib.quality import metrics

from ..pairs.batch import Batch
from ..runs.validation import end_point, seen_labels, warped_labels


@dataclass(frozen=True)
class Measure:
    """A figure: ``title`` in tables, ``digits`` after the point, whether ``more`` is better, what it is ``about``."""

    name: str
    title: str
    digits: int
    more: bool
    about: str


MEASURES = (
    Measure("dice", "Dice", 3, True, "overlap of labels, mean over the labels"),
    Measure("jaccard", "Jaccard", 3, True, "overlap of labels, mean over the labels"),
    Measure("hd95", "HD95", 2, False, "95th percentile of the distance between label boundaries"),
    Measure("asd", "ASD", 2, False, "mean distance between label boundaries"),
    Measure("mad", "MAD", 2, False, "mean absolute distance between label boundaries (mean of both directions)"),
    Measure("landmarks", "landmark error", 2, False, "mean distance of landmarks"),
    Measure("end_point", "end-point error (voxels)", 2, False, "distance of the field from the true one"),
    Measure(
        "rmse", "RMSE %", 2, False, "intensities after the field and after the true one, in percent of their range"
    ),
    Measure("folds", "folds %", 3, False, "voxels with a Jacobian determinant of 0 or less"),
    Measure("sdlogj", "SDlogJ", 3, False, "standard deviation of the logarithm of the Jacobian determinant"),
)


def measure(u: Tensor, pair: Batch) -> dict[str, tuple[float, float]]:
    """Figures (before, after) by the names of ``MEASURES``, for all that is known about the pair.

    Args:
        u: (1, ndim, *S) voxels, fixed to moving.
        pair: one pair on the CPU. Distances are in mm where its spacing is known, else in voxels.
    """
    return dict(_measures(u, pair))


def _measures(u: Tensor, pair: Batch) -> Iterator[tuple[str, tuple[float, float]]]:
    still = torch.zeros_like(u)
    spacing = pair.spacing or (1.0,) * pair.ndim
    if pair.fixed_labels is not None and pair.moving_labels is not None:
        fixed = seen_labels(pair, pair.fixed_labels)
        both = [seen_labels(pair, warped_labels(field, pair)) for field in (still, u)]
        ids = [int(v) for v in torch.unique(fixed).tolist() if v > 0]
        for name, overlap in (("dice", metrics.dice), ("jaccard", metrics.jaccard)):
            yield name, _two(metrics.mean(overlap(fixed, labels, ids)) for labels in both)
        surfaces = [metrics.label_surfaces(fixed, labels, spacing, ids) for labels in both]
        for name, figure in (("hd95", "hausdorff95"), ("asd", "average"), ("mad", "mean_absolute")):
            yield name, _two(metrics.mean({v: getattr(s, figure) for v, s in of.items()}) for of in surfaces)
    if pair.fixed_points is not None and pair.moving_points is not None:
        yield "landmarks", _two(_landmarks(field, pair, spacing) for field in (still, u))
    if pair.displacement is not None:
        yield "end_point", _two(end_point(field, pair) for field in (still, u))
        true = fields.warp(pair.moving, pair.displacement)
        if float(true.max()) > float(true.min()):
            mask = None if pair.weight is None else pair.weight[0, 0]
            yield "rmse", _two(metrics.rmse_percent(true, fields.warp(pair.moving, f), mask) for f in (still, u))
    yield "folds", (0.0, metrics.folding_percent(u))
    yield "sdlogj", (0.0, metrics.log_jacobian_sd(u))


def _two(values: Iterator[float]) -> tuple[float, float]:
    before, after = values
    return before, after


def _landmarks(u: Tensor, pair: Batch, spacing: tuple[float, ...]) -> float:
    points = torch.from_numpy(np.asarray(pair.fixed_points, dtype=np.float32))
    at = points.T.reshape(1, pair.ndim, -1, *[1] * (pair.ndim - 1))
    moved = (at + fields.sample(u, at)).reshape(pair.ndim, -1).T.numpy()
    errors = metrics.landmark_errors(moved, np.asarray(pair.moving_points), spacing)
    return float(errors.mean()) if len(errors) else math.nan
