"""Scores of a transform from what the user knows: label maps and landmarks."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..geometry.image import Image
from ..geometry.points import check_pairs
from ..geometry.transform import displacement_on, lps_to_voxels, map_points, resample
from ..inputs.label_maps import as_labels
from . import metrics


def score_labels(
    transform: sitk.Transform, fixed: Image, moving: Image, chosen: Container[int] | None = None
) -> dict[str, Any]:
    """Dice before and after, and the folding of the transform on the fixed grid.

    Args:
        transform: fixed to moving, LPS mm.
        fixed, moving: label maps on their own grids.
        chosen: the labels to score; all but 0 if None.

    Raises:
        InputError: if dimensions differ, one is no label map, or no label is there.
    """
    fixed, moving = as_labels(fixed), as_labels(moving)
    if not fixed.ndim == moving.ndim == transform.GetDimension():
        raise InputError(
            f"The label maps are {fixed.ndim}-D and {moving.ndim}-D and the transform {transform.GetDimension()}-D; "
            "all three must be alike."
        )
    present = np.union1d(np.unique(fixed.array), np.unique(moving.array))
    labels = [int(v) for v in present if v != 0 and (chosen is None or int(v) in chosen)]
    if not labels:
        raise InputError("None of the labels to score is in the label maps; check --labels.")
    before = metrics.dice(fixed.array, resample(moving, fixed.grid, mode="nearest").array, labels)
    after = metrics.dice(fixed.array, resample(moving, fixed.grid, transform, mode="nearest").array, labels)
    u = lps_to_voxels(displacement_on(transform, fixed.grid), fixed.grid)
    return {
        "mean_dice_before": float(np.nanmean([before[v] for v in labels])),
        "mean_dice_after": float(np.nanmean([after[v] for v in labels])),
        "labels": len(labels),
        "folding_percent": float(metrics.folding_percent(u)),
        "log_jacobian_sd": float(metrics.log_jacobian_sd(u)),
        "learn2reg_sdlogj": float(metrics.learn2reg_sdlogj(u)),
        "dice": {str(v): {"before": float(before[v]), "after": float(after[v])} for v in labels},
    }


def score_layers(
    transform: sitk.Transform, layers: Sequence[tuple[Image, Image]], chosen: Container[int] | None = None
) -> dict[str, Any]:
    """As ``score_labels``, of several pairs of label maps: structures that overlap do not fit into one.

    Raises:
        InputError: as ``score_labels``, or if a label is in more than one pair.
    """
    wanted = [
        pair
        for pair in layers
        if chosen is None or any(int(v) in chosen for image in pair for v in np.unique(as_labels(image).array))
    ]
    found = [score_labels(transform, fixed, moving, chosen) for fixed, moving in wanted or layers]
    each: dict[str, dict[str, float]] = {}
    for one in found:
        twice = sorted(each.keys() & one["dice"].keys())
        if twice:
            raise InputError(
                f"Label {twice[0]} is in more than one pair of label maps; give every structure a number of its own."
            )
        each |= one["dice"]
    means = {f"mean_dice_{when}": float(np.nanmean([v[when] for v in each.values()])) for when in ("before", "after")}
    return found[0] | means | {"labels": len(each), "dice": each}


def score_points(transform: sitk.Transform, fixed: np.ndarray, moving: np.ndarray) -> dict[str, Any]:
    """Landmark distance (TRE) in mm before and after.

    Args:
        transform: fixed to moving, LPS mm.
        fixed, moving: (n, ndim) LPS mm, pairs in the same order.

    Raises:
        InputError: if the two lists differ in length or dimension, or a point lies nowhere (NaN).
    """
    fixed, moving = check_pairs(fixed, moving, transform.GetDimension())
    before = metrics.landmark_errors(fixed, moving)
    after = metrics.landmark_errors(map_points(transform, fixed), moving)
    pairs = zip(before, after, strict=True)
    return {
        "mean_tre_before_mm": float(np.mean(before)),
        "mean_tre_after_mm": float(np.mean(after)),
        "max_tre_before_mm": float(np.max(before)),
        "max_tre_after_mm": float(np.max(after)),
        "tre_mm": {str(i + 1): {"before": float(b), "after": float(a)} for i, (b, a) in enumerate(pairs)},
    }
