"""Pairs of points as the start of an alignment: the best rigid, similarity or affine map, and the pairs that disagree.

The rigid fit is that of Umeyama (IEEE TPAMI 13, 1991), which is Horn's and Arun's with mirror images excluded. Pairs
that disagree with most of the others are found by the least median of squares over triples (Rousseeuw, JASA 79, 1984)
and do not take part in the fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..errors import InputError
from ..geometry.points import FEWEST_PAIRS
from .freedom import Freedom

MOST_TRIPLES = 600
ON_A_LINE = 0.02
"""Second extent of the points relative to the first, below which a turn about the line is anybody's guess."""
APART = 0.12
"""Of the points' spread: bodies that are no longer as they were move points by less than that against each other."""
FAR = 4.0
"""Times the usual distance, which is estimated from the median."""


@dataclass(frozen=True, eq=False)
class LandmarkFit:
    """What the pairs say.

    Attributes:
        matrix: (ndim + 1, ndim + 1) fixed to moving, LPS mm.
        errors: (n,) mm, by which the matrix misses each moving point.
        apart: places (from 0) of the pairs that disagree with the others and were not fitted.
    """

    matrix: np.ndarray
    errors: np.ndarray
    apart: tuple[int, ...]

    @property
    def error_mm(self) -> float:
        """The fiducial registration error: root mean square over the fitted pairs."""
        return float(np.sqrt(np.mean(np.delete(self.errors, self.apart) ** 2)))

    def warnings(self, names: Sequence[str] | None = None) -> list[str]:
        """A sentence that names the pairs that disagree, and one if left and right are exchanged."""
        out = []
        if self.apart:
            said = [f"{names[k] if names and names[k] else k + 1} ({self.errors[k]:.0f} mm off)" for k in self.apart]
            one = len(said) == 1
            out.append(
                f"Landmark pair{'' if one else 's'} {', '.join(said)} disagree{'s' if one else ''} with the others and "
                f"did not count for the starting alignment: check {'its' if one else 'their'} places."
            )
        if np.linalg.det(self.matrix[:-1, :-1]) < 0:
            out.append("The landmarks mirror the image: check left and right, and whether two are exchanged.")
        return out


def fit_landmarks(fixed: np.ndarray, moving: np.ndarray, kind: Freedom = "rigid") -> LandmarkFit:
    """The best map of the ``fixed`` onto the ``moving`` points; both (n, ndim) LPS mm.

    Raises:
        InputError: if there are fewer than three pairs, or they lie on one line.
    """
    count, ndim = fixed.shape
    if count < FEWEST_PAIRS:
        raise InputError(
            f"An alignment by landmarks needs {FEWEST_PAIRS} pairs or more, and there are {count}; add some."
        )
    for points, which in ((fixed, "fixed"), (moving, "moving")):
        extents = np.linalg.svd(points - points.mean(0), compute_uv=False)
        if extents[ndim - 2] <= ON_A_LINE * extents[0] or extents[0] == 0:
            raise InputError(
                f"The landmarks of the {which} image lie on one line{' or point' if extents[0] == 0 else ''}, which "
                "leaves the turn open; place one beside it."
            )
    apart = _apart(fixed, moving, scaled=kind != "rigid")
    used = np.setdiff1d(np.arange(count), apart)
    matrix = _similarity_transform(fixed[used], moving[used], scaled=kind == "similarity")
    if kind == "affine":
        matrix = _affine(fixed[used], moving[used], matrix)
    return LandmarkFit(matrix, _misses(matrix, fixed, moving), tuple(int(k) for k in apart))


def _similarity_transform(fixed: np.ndarray, moving: np.ndarray, scaled: bool) -> np.ndarray:
    n = fixed.shape[1]
    middles = fixed.mean(0), moving.mean(0)
    a, b = fixed - middles[0], moving - middles[1]
    u, scales, v = np.linalg.svd(b.T @ a)
    signs = np.ones(n)
    signs[-1] = np.sign(np.linalg.det(u @ v)) or 1.0
    scale = float((scales * signs).sum() / (a**2).sum()) if scaled else 1.0
    matrix = np.eye(n + 1)
    matrix[:n, :n] = scale * (u * signs) @ v
    matrix[:n, n] = middles[1] - matrix[:n, :n] @ middles[0]
    return matrix


def _affine(fixed: np.ndarray, moving: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Least squares; of few points, or points in a plane, the smallest change of ``start`` that explains them."""
    n = fixed.shape[1]
    left = moving - (fixed @ start[:n, :n].T + start[:n, n])
    middle = fixed.mean(0)
    slope = np.linalg.lstsq(fixed - middle, left - left.mean(0), rcond=1e-2)[0].T
    matrix = start.copy()
    matrix[:n, :n] += slope
    matrix[:n, n] += left.mean(0) - slope @ middle
    return matrix


def _misses(matrix: np.ndarray, fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    n = fixed.shape[1]
    return np.asarray(np.linalg.norm(fixed @ matrix[:n, :n].T + matrix[:n, n] - moving, axis=1))


def _apart(fixed: np.ndarray, moving: np.ndarray, scaled: bool) -> np.ndarray:
    """Places of the pairs that disagree with most of the others: of three or four, nobody can tell which."""
    count = len(fixed)
    if count < FEWEST_PAIRS + 2:
        return np.zeros(0, int)
    triples = list(combinations(range(count), 3))
    if len(triples) > MOST_TRIPLES:
        chosen = np.random.default_rng(0).choice(len(triples), MOST_TRIPLES, replace=False)
        triples = [triples[k] for k in chosen]
    misses = [_misses(_similarity_transform(fixed[list(t)], moving[list(t)], scaled), fixed, moving) for t in triples]
    # A triple fits itself, so it is judged by the larger half of all.
    best = min(misses, key=lambda each: float(np.sort(each)[: count // 2 + 2].max()))
    usual = 1.5 * float(np.median(best))
    spread = float(np.sqrt(((fixed - fixed.mean(0)) ** 2).sum(1).mean()))
    return np.flatnonzero(best > max(FAR * usual, APART * spread))
