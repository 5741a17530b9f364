"""The affine stage: a matrix that brings two images roughly together, whatever their contrast, grid or orientation.

Coarse to fine, as in FLIRT (Jenkinson 2001): centers and shifts, then rotations are tried exhaustively on a few
thousand points; the best few are improved rigidly, the best of these as an affine. Each improvement is damped
Gauss-Newton on normalized mutual information, all candidates in one batch. Where the images start is always among the
candidates, and the answer is never worse than it by the final measure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..geometry.image import Image
from ..progress import SILENT, Reporter
from .content import Content, find_content
from .measure import JointMeasure, make_side
from .solver import Prior, apart, distinct, effort, growth, improve, plausible, rotation


@dataclass(frozen=True)
class AffineSettings:
    """What the affine stage may do.

    Attributes:
        kind: "rigid" allows rotation and translation, "affine" also scale and shear.
        largest_rotation: degrees that are searched around the starting orientation.
    """

    kind: Literal["affine", "rigid"] = "affine"
    largest_rotation: float = 45.0


@dataclass(frozen=True)
class _Pass:
    """One round of improvement: ``spacing`` relative to the anatomy's size."""

    spacing: float
    points: int
    bins: int
    steps: int
    freedom: Literal["rigid", "similarity", "affine"]
    keep: int


_CLEARLY = 0.08  # how much better the inside must agree before outlines are given up
_DECIDE = 2  # the pass after which that is decided

_SEARCH = _Pass(1 / 20, 2500, 16, 0, "rigid", 12)
_PASSES = (
    _Pass(1 / 20, 5000, 20, 12, "rigid", 6),
    _Pass(1 / 20, 5000, 20, 8, "similarity", 4),
    _Pass(1 / 40, 12000, 32, 10, "affine", 2),
    _Pass(1 / 70, 30000, 32, 8, "affine", 1),
)


def align(
    fixed: Image,
    moving: Image,
    settings: AffineSettings = AffineSettings(),
    *,
    fixed_mask: np.ndarray | None = None,
    moving_mask: np.ndarray | None = None,
    reporter: Reporter = SILENT,
) -> np.ndarray:
    """The matrix that maps points of ``fixed`` onto ``moving``.

    Args:
        fixed, moving: both 2-D or both 3-D, of any contrast, grid and orientation.
        fixed_mask, moving_mask: arrays of the image's shape; where they are 0 the image is not looked at.

    Returns:
        (ndim + 1, ndim + 1) homogeneous, LPS mm to LPS mm, fixed point to moving point.

    Raises:
        InputError: if the dimensions differ, a mask does not fit, or an image is constant.
        Cancelled: if the reporter's token is set.
    """
    if fixed.ndim != moving.ndim:
        raise InputError(
            f"The fixed image has {fixed.ndim} dimensions and the moving image {moving.ndim}; both must have the same."
        )
    with torch.no_grad():
        reporter(0.0, "finding the anatomy")
        a = find_content(fixed, fixed_mask)
        reporter(0.2, "finding the anatomy")
        b = find_content(moving, moving_mask)
        return _Search(a, b, settings, reporter).run()


@dataclass(frozen=True)
class _Track:
    """Candidates (B, ndim, ndim + 1) on their way, best first, and two that are never dropped.

    The ``anchor`` is the best without scale: thin layers (skull, scalp) melt on a coarse grid and may pull the scale;
    on the finest one the anchor gets its own chance. ``home`` began where the images lie.
    """

    inside: bool
    candidates: Tensor
    anchor: Tensor
    home: Tensor


class _Search:
    """The candidates of one pair on their way from many to one."""

    def __init__(self, fixed: Content, moving: Content, settings: AffineSettings, reporter: Reporter) -> None:
        self.fixed, self.moving, self.settings, self.reporter = fixed, moving, settings, reporter
        self.ndim = fixed.grid.ndim
        self.size = min(fixed.size, moving.size)
        self.radius = self.size / 2
        self._prior = Prior.of(fixed, moving)

    def run(self) -> np.ndarray:
        self.reporter(0.4, "trying orientations")
        first = self._first_candidates(self._measure(_SEARCH, False))
        whole = _Track(False, first, first[:1], self._start()[None])
        inside: _Track | None = None
        for number, each in enumerate(_PASSES):
            self.reporter(0.5 + 0.5 * number / len(_PASSES), f"improving, pass {number + 1} of {len(_PASSES)}")
            whole = self._advance(whole, each)
            if inside is not None:
                inside = self._advance(inside, each)
            if number == 0 and (self.fixed.inside or self.moving.inside):
                inside = _Track(True, whole.candidates[:3], whole.anchor, whole.home)
            if number == _DECIDE and inside is not None:
                measure = self._measure(each, True)
                whole, inside = (inside if self._one_is_stripped(measure, whole, inside) else whole), None
        measure = self._measure(_PASSES[-1], whole.inside)
        best = whole.candidates[:1] if plausible(whole.candidates[0]) else whole.anchor
        last = torch.cat([self._start()[None], best])
        losses = measure.losses(last) + self._prior.penalty(last)
        self.reporter(1.0, "aligned")
        return self._to_world(last[int(losses.argmin())])

    def _advance(self, track: _Track, each: _Pass) -> _Track:
        measure = self._measure(each, track.inside)

        def improved(matrices: Tensor, freedom: str) -> tuple[Tensor, Tensor]:
            moved, losses = improve(measure, self._prior, matrices, freedom, each.steps, self.reporter)
            return moved, losses + effort(moved, self._start())

        last = each is _PASSES[-1]
        freedom = "rigid" if self.settings.kind == "rigid" else each.freedom
        others = torch.cat([track.candidates, track.anchor]) if last else track.candidates
        moved, losses = improved(apart(torch.cat([track.home, others]), 0.02), freedom)
        kept = distinct(moved, losses, 0.05, each.keep)
        if freedom == "rigid":
            return _Track(track.inside, kept, kept[:1], moved[:1])
        anchor = track.anchor if last else improved(track.anchor, "rigid")[0]
        return _Track(track.inside, kept, anchor, moved[:1])

    def _one_is_stripped(self, measure: JointMeasure, whole: _Track, inside: _Track) -> bool:
        """Whether the outlines are not of the same thing, so that only what lies inside them may be compared.

        Then matching the outlines costs agreement inside, and takes more scaling than is needed inside.
        """
        a, b = whole.candidates[:1], inside.candidates[:1]
        agreement = measure.losses(torch.cat([a, b]))
        return bool(agreement[1] < (1 + _CLEARLY) * agreement[0]) and bool(growth(b).abs() < growth(a).abs() - 0.03)

    def _measure(self, each: _Pass, inside: bool) -> JointMeasure:
        spacing = self.size * each.spacing
        sides = [
            make_side(content, content.center, self.radius, spacing, each.points, each.bins, inside)
            for content in (self.fixed, self.moving)
        ]
        return JointMeasure(sides[0], sides[1], each.bins)

    def _start(self) -> Tensor:
        """(ndim, ndim + 1) the identity in mm."""
        return self._shift(self.fixed.center - self.moving.center)

    def _shift(self, shift: np.ndarray) -> Tensor:
        t = torch.from_numpy(shift / self.radius).float()
        return torch.cat([torch.eye(self.ndim), t[:, None]], 1)

    def _first_candidates(self, measure: JointMeasure) -> Tensor:
        n = self.ndim
        middle = (self.moving.middle - self.moving.center) - (self.fixed.middle - self.fixed.center)
        starts = torch.stack([self._start(), self._shift(np.zeros(n)), self._shift(middle)])
        axis = torch.tensor([-0.5, -0.25, 0.0, 0.25, 0.5])
        lattice = torch.cartesian_prod(*[axis] * n)
        shifted = starts[:, None].repeat(1, len(lattice), 1, 1)
        shifted[..., -1] += lattice
        shifted = shifted.flatten(0, 1)
        kept = torch.cat([starts, distinct(shifted, measure.losses(shifted), 0.3, 3)])
        rotations = self._rotations()
        turned = kept[:, None].repeat(1, len(rotations), 1, 1)
        turned[..., :-1] = rotations
        turned = turned.flatten(0, 1)
        losses = measure.losses(turned) + effort(turned, self._start())
        return torch.cat([starts, distinct(turned, losses, 0.3, _SEARCH.keep)])

    def _rotations(self) -> Tensor:
        largest = np.deg2rad(self.settings.largest_rotation)
        count = 3 if self.ndim == 3 else 6
        axis = torch.linspace(-largest, largest, 2 * count + 1)
        vectors = torch.cartesian_prod(axis, axis, axis) if self.ndim == 3 else axis[:, None]
        return rotation(vectors[vectors.norm(dim=1) <= largest * 1.01])

    def _to_world(self, matrix: Tensor) -> np.ndarray:
        n = self.ndim
        result = np.eye(n + 1)
        result[:n, :n] = matrix[:, :-1].double().numpy()
        result[:n, n] = self.moving.center + matrix[:, -1].double().numpy() * self.radius
        result[:n, n] -= result[:n, :n] @ self.fixed.center
        return result
