"""How good a network is on pairs it was not trained on, network alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from DeepRegistrationLib import fields
from DeepRegistrationLib.networks import RegistrationNetwork
from DeepRegistrationLib.quality import metrics
from DeepRegistrationLib.similarity.mutual_information import nmi

from ..pairs.batch import Batch
from ..synthesis.anatomy import pick

Scores = dict[str, float]


def validate(network: RegistrationNetwork, pairs: Sequence[Batch], device: torch.device, precision: str) -> Scores:
    """Means over the pairs, for what is known about them.

    Returns:
        "dice" and "dice_before" over labels; "end_point" and "end_point_before" in voxels where both images show it;
        where nothing is known, "information" and "information_before", the normalized mutual information; "folds" in
        percent; "score", larger is better: Dice, else minus the end-point error, else the information less the share of
        folds.
    """
    if not pairs:
        return {}
    rows = [score_pair(network, pair, device, precision) for pair in pairs]
    names = dict.fromkeys(name for row in rows for name in row)
    means = {name: _mean([row[name] for row in rows if name in row]) for name in names}  # some pairs may lack labels
    if "dice" in means:
        means["score"] = means["dice"]
    elif "end_point" in means:
        means["score"] = -means["end_point"]
    else:
        means["score"] = means["information"] - means["folds"] / 100
    return means


def _mean(values: Sequence[float]) -> float:
    known = [v for v in values if not math.isnan(v)]
    return float(np.mean(known)) if known else math.nan


def predict_field(network: RegistrationNetwork, pair: Batch, device: torch.device, precision: str) -> Tensor:
    """(1, ndim, *S) on the CPU."""
    was = network.training
    network.eval()
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        u = network(pair.fixed.to(device), pair.moving.to(device)).displacement
    network.train(was)
    return u.float().cpu().clone()


def score_pair(network: RegistrationNetwork, pair: Batch, device: torch.device, precision: str) -> Scores:
    """See ``validate``; one pair."""
    u = predict_field(network, pair, device, precision)
    pair = pair.to(torch.device("cpu"))
    scores: Scores = {"folds": metrics.folding_percent(u)}
    still = torch.zeros_like(u)
    if pair.fixed_labels is not None and pair.moving_labels is not None:
        fixed = seen_labels(pair, pair.fixed_labels)
        ids = [int(v) for v in torch.unique(fixed).tolist() if v > 0]
        for name, field in (("dice", u), ("dice_before", still)):
            overlaps = metrics.dice(fixed, seen_labels(pair, warped_labels(field, pair)), ids)
            scores[name] = metrics.mean(overlaps)
    if pair.displacement is not None:
        scores["end_point"], scores["end_point_before"] = end_point(u, pair), end_point(still, pair)
    if len(scores) == 1:
        for name, field in (("information", u), ("information_before", still)):
            scores[name] = float(nmi(pair.fixed, fields.warp(pair.moving, field)))
    return scores


def warped_labels(u: Tensor, pair: Batch) -> Tensor:
    """(1, 1, *S): the moving image's labels through the field, nearest."""
    assert pair.moving_labels is not None
    return pick(pair.moving_labels, fields.identity(u.shape[2:]) + u)


def seen_labels(pair: Batch, labels: Tensor) -> Tensor:
    """The labels where both images show the same; 0 elsewhere."""
    return labels if pair.weight is None else labels * (pair.weight > 0).to(labels.dtype)


def end_point(u: Tensor, pair: Batch) -> float:
    """Mean distance in voxels from the true field, over the labeled voxels (or all) that both images show."""
    assert pair.displacement is not None
    counted = torch.ones_like(pair.fixed) if pair.weight is None else pair.weight
    if pair.fixed_labels is not None:
        counted = counted * (pair.fixed_labels > 0)
    error = (u - pair.displacement).square().sum(1, keepdim=True).sqrt()
    return float((error * counted).sum() / counted.sum().clamp_min(1e-6))
