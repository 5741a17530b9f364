"""When a result is harm, and what is left to be done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

HARM_DICE, HARM_MM = 0.01, 0.3


def harmed(record: Mapping[str, Any]) -> bool:
    """Whether the result is worse than the affine alignment; of several landmark groups each counts."""
    after, affine = record["after"], record["affine"]
    for key, value in after.items():
        if key == "dice" and value < affine[key] - HARM_DICE:
            return True
        if key.startswith("mm") and value > affine[key] + HARM_MM:
            return True
    return False


def loss(record: Mapping[str, Any], which: str = "after") -> float:
    """What is left to be done, lower is better: 1 - Dice, or mm."""
    scores = record[which]
    return 1 - scores["dice"] if "dice" in scores else float(scores["mm"])


def worst_tenth(values: Sequence[float]) -> float:
    """Mean of the worst tenth (at least one) of losses."""
    ordered = sorted(values, reverse=True)
    return float(np.mean(ordered[: max(1, round(len(ordered) / 10))]))
