"""What a trained network reaches on held-out generated pairs of its own plan, by the metrics of the papers."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from DeepRegistrationLib import fields
from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.models.bundle import Model
from DeepRegistrationLib.models.header import Header
from DeepRegistrationLib.models.predict import run_network
from DeepRegistrationLib.quality import metrics
from Training.pairs.batch import VALIDATION, Batch
from Training.pairs.synthetic import SyntheticSource
from Training.steps.region import region_of
from Training.synthesis.anatomy import pick
from Training.synthesis.plan import plan_from

HELD_OUT = VALIDATION + 1000
"""Pairs from here on were seen neither in training nor when the best weights were chosen."""
Row = dict[str, float]


def source_of(header: Header) -> SyntheticSource:
    """The generated pairs of the plan in a bundle's header.

    Raises:
        InputError: if it was not trained on generated pairs.
    """
    plan = header.training.get("plan") or {}
    if not plan.get("synthesis"):
        raise InputError("This model was not trained on generated pairs, so there are none of its own protocol.")
    signed = header.normalization.output[0] < 0
    return SyntheticSource(plan_from(plan["synthesis"]), int(plan.get("seed", 0)), torch.device("cpu"), signed=signed)


def region_in(header: Header) -> tuple[int, ...]:
    """The labels of the plan's region of interest; empty: all labels are scored."""
    return tuple((header.training.get("plan") or {}).get("options", {}).get("region", ()))


def held_out(header: Header, count: int) -> Iterator[Batch]:
    """The first ``count`` held-out pairs, the same for every model of one plan's data."""
    source = source_of(header)
    for k in range(count):
        yield source.batch([HELD_OUT + k])


def score_held_out(model: Model, count: int) -> dict[str, list[Row]]:
    """Per pair, the metrics before ("identity") and by the network alone ("network")."""
    found: dict[str, list[Row]] = {"identity": [], "network": []}
    region = region_in(model.header)
    for pair in held_out(model.header, count):
        started = time.perf_counter()
        u = run_network(model.network, pair.fixed, pair.moving, torch.device("cpu")).displacement.float()
        seconds = time.perf_counter() - started
        found["identity"].append(score_field(torch.zeros_like(u), pair, region))
        found["network"].append({**score_field(u, pair, region), "seconds": seconds})
    return found


def score_field(u: Tensor, pair: Batch, region: tuple[int, ...] = ()) -> Row:
    """The papers' metrics of a field on a pair whose answer is known.

    Dice, Jaccard, HD95, ASD and MAD (pixels) over all labels, or of the ``region``; ``end_point`` and its 95th
    percentile in pixels where both images show the body; ``rmse`` in percent, of the moving image warped by the
    predicted against the true field; ``folds`` in percent.
    """
    assert pair.fixed_labels is not None
    assert pair.moving_labels is not None
    assert pair.displacement is not None
    assert pair.weight is not None
    seen = (pair.weight > 0).to(pair.fixed_labels.dtype)
    warped = pick(pair.moving_labels, fields.identity(u.shape[2:]) + u)
    if region:
        one, other = (region_of(labels * seen, region).to(torch.uint8) for labels in (pair.fixed_labels, warped))
    else:
        one, other = pair.fixed_labels * seen, warped * seen
    ids = [int(v) for v in torch.unique(one).tolist() if v > 0]
    surfaces = metrics.label_surfaces(one, other, labels=ids).values()
    body = (pair.weight * (pair.fixed_labels > 0)) > 0
    errors = (u - pair.displacement).square().sum(1, keepdim=True).sqrt()[body].numpy()
    true, found = (fields.warp(pair.moving, field) for field in (pair.displacement, u))
    return {
        "dice": metrics.mean(metrics.dice(one, other, ids)),
        "jaccard": metrics.mean(metrics.jaccard(one, other, ids)),
        "hd95": _mean([s.hausdorff95 for s in surfaces]),
        "asd": _mean([s.average for s in surfaces]),
        "mad": _mean([s.mean_absolute for s in surfaces]),
        "end_point": float(errors.mean()) if errors.size else math.nan,
        "end_point_95": float(np.percentile(errors, 95)) if errors.size else math.nan,
        "rmse": metrics.rmse_percent(true, found, body),
        "folds": metrics.folding_percent(u),
    }


def _mean(values: list[float]) -> float:
    known = [v for v in values if not math.isnan(v)]
    return float(np.mean(known)) if known else math.nan


def difference(better: list[Row], worse: list[Row], key: str) -> tuple[float, float]:
    """Mean of the paired differences and its standard error."""
    values = np.array([a[key] - b[key] for a, b in zip(better, worse, strict=False)])
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return (float(values.mean()) if len(values) else math.nan), math.nan
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))


def summary(rows: list[Row]) -> dict[str, Any]:
    """Mean of each metric, for the bundle's header."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return {key: round(_mean([row[key] for row in rows if key in row]), 5) for key in keys}
