"""How large an error to expect, in mm: what results that measured alike turned out to have.

No measure tells it alone: points that are found again (``error_estimate.py``) say little of what lies between them, and
nothing once they lie within a coarse voxel. Together with how much of the anatomy is in doubt (``doubt.py``), how far
the affine alignment alone was off, and how far the anatomy is bent (``shape.py``) they do. The relation was fitted on
results whose error is known (``python -m benchmarks robustness``, which prints it anew):

    error + LEAST = exp(c0) (affine + LEAST)^c1 (1 + doubt)^c2 (bend + LEAST_BEND)^c3

with errors in the coarse voxels that points are looked for with (a 56th of the anatomy's size), doubt and bend in
percent of the anatomy. docs/robustness.md says how near it comes on kinds of images that it was not fitted on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .verdict import ERROR_CHECK

if TYPE_CHECKING:
    from .report import Report

LEAST, LEAST_BEND = 0.1, 0.5
"""Coarse voxels and percent; what is 0 has no power."""


def terms(affine: ArrayLike, doubt: ArrayLike, bend: ArrayLike) -> np.ndarray:
    """(..., 4): what the powers c0 to c3 are multiplied by; of numbers or of arrays of one shape."""
    affine, doubt, bend = np.asarray(affine, float), np.asarray(doubt, float), np.asarray(bend, float)
    return np.stack([np.ones_like(affine), np.log(affine + LEAST), np.log1p(doubt), np.log(bend + LEAST_BEND)], -1)


@dataclass(frozen=True)
class Relation:
    """The powers c0 to c3, and by what factor 9 of 10 errors stay below what is expected."""

    powers: tuple[float, float, float, float]
    factor: float

    def expected(self, affine: float, doubt: float, bend: float) -> tuple[float, float]:
        """The error to expect and the one that 9 of 10 stay below, in coarse voxels."""
        with_least = float(np.exp(terms(affine, doubt, bend) @ np.array(self.powers)))
        return max(with_least - LEAST, 0.0), max(self.factor * with_least - LEAST, 0.0)


OF_A_FIELD = Relation((-1.79, 0.18, 0.27, 0.61), 2.14)
OF_A_MATRIX = Relation((-0.92, 0.22, 0.52, 0.0), 1.62)
"""Also where the affine alignment is the answer, or nothing was refined."""


def relation_for(report: Report) -> Relation:
    """The one that holds for what came out: a field that bends something, or no more than a matrix."""
    return OF_A_FIELD if report.bends and report.max_deformation_mm > 0 else OF_A_MATRIX


def measures(report: Report) -> dict[str, float]:
    """What a relation is of: ``affine`` in coarse voxels, ``doubt`` and ``bend`` in percent."""
    affine = report.affine_points_error_mm / report.error_step_mm
    return {"affine": affine, "doubt": report.doubt_percent, "bend": report.shape.bend_percent}


def expected_error(report: Report) -> tuple[float, float]:
    """(the error to expect, what 9 of 10 stay below), mm; NaN where points could not be found again.

    Where the result's own points lie farther off than the verdict lets pass, it is no less than that.
    """
    step, relation = report.error_step_mm, relation_for(report)
    expected, bound = relation.expected(**measures(report))
    own = report.points_error_mm / step
    if own > ERROR_CHECK and own > expected:
        expected, bound = own, max(bound, relation.factor * own)
    return expected * step, bound * step
