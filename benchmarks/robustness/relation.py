"""The relation of ``quality/expected_error.py``, fitted: what errors results had that measured so.

The powers minimize the mean deviation of the logarithm (median regression, solved as a linear program); the factor is
what 9 of 10 errors stay below, each against the relation fitted without its own kind of image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from DeepRegistrationLib.quality.expected_error import LEAST, Relation, terms

Record = Mapping[str, Any]
FEWEST = 40
"""Results that a relation is fitted on."""
BELOW = 0.9


class Fit:
    """Of results of one sort, of fields or of matrices; those without a truth in mm are left out.

    Attributes:
        records: that it is of, each with "measured" (``expected_error.measures``), "step_mm" and "after" ("mm").
        relation: fitted on all.
        expected, bounds: (n,) mm, each by the relation fitted without the record's own kind.
        true: (n,) mm.
    """

    def __init__(self, records: Sequence[Record], with_bend: bool) -> None:
        self.records = usable(records)
        measured = {name: [r["measured"][name] for r in self.records] for name in ("affine", "doubt", "bend")}
        step = np.array([r["step_mm"] for r in self.records], float)
        self.true = np.array([r["after"]["mm"] for r in self.records], float)
        x, y = terms(**measured)[:, : 4 if with_bend else 3], np.log(self.true / step + LEAST)
        kinds = np.array([r["kind"] for r in self.records])
        held_out = np.zeros_like(y)
        for kind in set(kinds):
            own = kinds == kind
            held_out[own] = x[own] @ _median_powers(x[~own], y[~own])
        factor = float(np.exp(np.quantile(y - held_out, BELOW)))
        powers = np.zeros(4)
        powers[: x.shape[1]] = _median_powers(x, y)
        self.relation = Relation((powers[0], powers[1], powers[2], powers[3]), factor)
        self.expected, self.bounds = (np.maximum(f * np.exp(held_out) - LEAST, 0) * step for f in (1.0, factor))
        self.kinds = kinds

    def covered(self) -> dict[str, float]:
        """Of each kind, the share of errors below the bound."""
        return {
            kind: float(np.mean((self.true <= self.bounds)[self.kinds == kind])) for kind in sorted(set(self.kinds))
        }


def can_fit(records: Sequence[Record]) -> bool:
    """Whether there are enough results, of two kinds or more."""
    found = usable(records)
    return len(found) >= FEWEST and len({r["kind"] for r in found}) > 1


def usable(records: Sequence[Record]) -> list[Record]:
    """Those with a truth in mm of which all was measured."""
    return [r for r in records if "mm" in r.get("after", {}) and None not in (r.get("measured") or {"": None}).values()]


def _median_powers(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(k,) that minimize the sum of absolute deviations of ``x`` (n, k) times them from ``y`` (n,)."""
    from scipy.optimize import linprog

    n, k = x.shape
    cost = np.r_[np.zeros(k), np.ones(2 * n)]
    equal = np.hstack([x, np.eye(n), -np.eye(n)])
    found = linprog(cost, A_eq=equal, b_eq=y, bounds=[(None, None)] * k + [(0, None)] * (2 * n))
    powers: np.ndarray = found.x[:k]
    return powers
