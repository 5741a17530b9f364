"""The affine stage's candidates on their way from many to one, coarse to fine.

Centers and shifts, then rotations of any angle are tried exhaustively on about a thousand points (``search.py``); the
best few are improved rigidly, the best of these as an affine, all in one batch. A turn far from the header's
orientation is believed only where the images are clearly more alike in it. Where one content is larger, its size is
tried as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..progress import Reporter
from .alignment import AffineSettings, Alignment
from .content import Content, block_factors
from .freedom import FREEDOMS, Freedom, nearest
from .measure import JointMeasure
from .quick import measure_of
from .search import angle, far_candidates, near_candidates, of_sizes, scaled, stretched
from .solver import Prior, distinct, effort, far_apart, growth, improve, plausible


@dataclass(frozen=True)
class _Pass:
    """One round of improvement: ``spacing`` relative to the anatomy's size."""

    spacing: float
    points: int
    bins: int
    steps: int
    freedom: Freedom
    keep: int


# Likeness in one orientation relative to that in another. Right orientations gave 1.4 to 130 times that of wrong ones
# after the rigid passes, 1.15 times and more where a part of the body is nearly symmetric.
_NO_CHANCE = 0.5  # below this a far orientation is given up after a few steps
_HOPELESS = 0.75  # below this any is, before scale and shear
_OPEN = 0.85  # above this another orientation is as likely
# Below this the header's orientation is kept. Wrong far ones won by 1.13 and 1.26. Turned by random right angles and up
# to 30 degrees 66 pairs gave 1.36 and more; of 51 turned by half a turn two heads gave 1.18.
_TURN = 1.3
_OTHER_SIZE = 1.15  # from which on one content is larger than the other
_SAME = 0.6  # radians between two orientations that count as one

_SEARCH = _Pass(1 / 24, 1500, 16, 0, "rigid", 12)
_FEWEST = 600  # points of the search in a small image
_FIRST = _Pass(1 / 16, 1000, 16, 5, "rigid", 4)
_FIRST_FAR = replace(_FIRST, keep=8)
_RIGID = _Pass(1 / 20, 2000, 20, 8, "rigid", 4)
_GROW = (
    _Pass(1 / 20, 3000, 20, 6, "similarity", 3),
    _Pass(1 / 40, 10000, 32, 10, "affine", 2),
)
_PROPORTIONS = replace(_GROW[0], freedom="affine", keep=6)
"""From one size along all axes no way may lead to another along one of them."""
_OTHERS = {2: 24, 3: 6}
"""So many of other proportions are improved. In volumes 24 find no more than 6, of 12 in the plane some were missed."""
_LAST = _Pass(1 / 70, 24000, 32, 8, "affine", 1)


@dataclass(frozen=True)
class _Track:
    """Candidates (B, ndim, ndim + 1) on their way, best first, and two that are never dropped.

    The ``anchor`` is the best without scale, after the last rigid pass: thin layers (skull, scalp) melt on a coarse
    grid and may pull the scale; on the finest one the anchor gets its own chance. ``home`` began where the images lie.
    """

    candidates: Tensor
    anchor: Tensor
    home: Tensor


class Search:
    """The candidates of one pair on their way from many to one."""

    def __init__(self, fixed: Content, moving: Content, settings: AffineSettings, reporter: Reporter) -> None:
        self.fixed, self.moving, self.settings, self.reporter = fixed, moving, settings, reporter
        self.ndim = fixed.grid.ndim
        self.size = min(fixed.size, moving.size)
        self.radius = self.size / 2
        self._sizes = _sizes(fixed, moving, settings)
        self._prior = Prior.of(fixed, moving, self._sizes)
        self._measures: dict[tuple[float, int, int], JointMeasure] = {}
        self._home: Tensor | None = None

    def run(self) -> Alignment:
        self.reporter(0.4, "trying orientations")
        near, far = self._first_tracks()
        self.reporter(0.55, "improving the orientations")
        near = self._advance(near, _FIRST)
        far = self._advance(far, _FIRST_FAR) if far else None
        if far and self._likeness(far, _FIRST) < _NO_CHANCE * self._likeness(near, _FIRST):
            far = None
        near, far = self._advance(near, _RIGID), self._advance(far, _RIGID) if far else None
        self.reporter(0.7, "improving size and shape")
        near, is_open = self._choose(near, far)
        return self._finished(near, is_open)

    def run_from(self, start: np.ndarray) -> Alignment:
        """From a matrix (LPS mm) that somebody knows, without a search."""
        n = self.ndim
        landed = start[:n, :n] @ self.fixed.center + start[:n, n]
        linear = nearest(start, self.settings.kind)[:n, :n]
        start = np.c_[linear, landed - linear @ self.fixed.center]
        self._home = home = self._from_world(start)
        self.reporter(0.5, "improving the start")
        track = _Track(home[None], home[None], home[None])
        return self._finished(self._grow(self._advance(track, _RIGID)), False)

    def _finished(self, near: _Track, is_open: bool) -> Alignment:
        """The best on the finest grid."""
        self.reporter(0.85, "improving size and shape")
        finest = _LAST if self._is_finer(_LAST, _GROW[-1]) else _GROW[-1]
        last = self._advance(near, _LAST) if finest is _LAST else near
        measure = self._measure(finest)
        best = last.candidates[:1] if plausible(last.candidates[0]) else self._grown_anchor(near)
        final = torch.cat([self._start()[None], best])
        losses = measure.losses(final) + self._prior.penalty(final)
        self.reporter(1.0, "aligned")
        return Alignment(self._to_world(final[int(losses.argmin())]), is_open, contents=(self.fixed, self.moving))

    def _is_finer(self, a: _Pass, b: _Pass) -> bool:
        """Whether pass ``a`` sees voxels of either image that ``b`` does not."""
        grids = (self.fixed.grid, self.moving.grid)
        return any(
            (block_factors(g, self.size * a.spacing) < block_factors(g, self.size * b.spacing)).any() for g in grids
        )

    def _first_tracks(self) -> tuple[_Track, _Track | None]:
        """The best turns near the header's orientation, and the best of all others."""
        voxels = min(self.fixed.values.numel(), self.moving.values.numel())
        points = int(np.clip(voxels / 80, _FEWEST, _SEARCH.points))
        measure, starts = self._measure(replace(_SEARCH, points=points)), self._starts()
        largest, keep = self.settings.largest_rotation, _SEARCH.keep
        near = of_sizes(near_candidates, self._sizes, starts, measure.rough_losses, self._effort, largest, keep)
        far = of_sizes(far_candidates, self._sizes, starts[1:], measure.rough_losses, largest, 2 * keep)
        return _Track(near, near[:1], self._start()[None]), (_Track(far, far[:1], far[:1]) if len(far) else None)

    def _choose(self, near: _Track, far: _Track | None) -> tuple[_Track, bool]:
        """The orientation that goes on, grown to an affine, and whether another is about as good.

        The header's is believed unless another is clearly better, and never given up before it is grown.
        """
        far, near = self._elsewhere(far, near), self._joined(near, far)
        tracks = [near]
        while far and len(tracks) < 3:
            tracks.append(far)
            far = self._elsewhere(far, far)
        alike = [self._likeness(track, _RIGID) for track in tracks]
        is_hopeless = [value < _HOPELESS * max(alike) for value in alike]
        # A body of other proportions may be as unlike before it is grown as one that is turned: then no less is asked.
        clearly = 1.0 if is_hopeless[0] else _TURN
        tracks = [near, *(track for track, less in zip(tracks[1:], is_hopeless[1:], strict=True) if not less)]
        if len(tracks) == 1:
            return self._grow(near), False
        tracks = [self._grow(track) for track in tracks]
        alike = [self._likeness(track, _GROW[-1]) for track in tracks]
        best = int(np.argmax(alike))
        if alike[best] < clearly * alike[0]:
            best = 0
        chosen = tracks[best]
        firsts = [replace(track, candidates=track.candidates[:1]) for track in tracks]
        others = [v for t, v in zip(firsts, alike, strict=True) if self._elsewhere(t, chosen)]
        return chosen, max(others, default=0.0) > _OPEN * alike[best]

    def _elsewhere(self, track: _Track | None, other: _Track) -> _Track | None:
        """``track`` without what lies in the orientation of ``other``; None if nothing is left."""
        if track is None:
            return None
        left = track.candidates[_turned(track, other) > _SAME]
        return replace(track, candidates=left, anchor=left[:1], home=left[:1]) if len(left) else None

    def _joined(self, near: _Track, far: _Track | None) -> _Track:
        """``near`` with those of ``far`` in its orientation: the best turn there may lie beyond where ``near`` ends."""
        if far is None:
            return near
        joining = far.candidates[_turned(far, near) <= _SAME]
        if not len(joining):
            return near
        both = torch.cat([near.candidates, joining])
        losses = self._measure(_RIGID).losses(both) + self._prior.penalty(both) + self._effort(both)
        kept = distinct(both, losses, 0.05, _RIGID.keep)
        return replace(near, candidates=kept, anchor=kept[:1])

    def _likeness(self, track: _Track, each: _Pass) -> float:
        loss = self._measure(each).losses(track.candidates[:1]) + self._prior.penalty(track.candidates[:1])
        return max(-float(loss), 1e-3)

    def _grow(self, track: _Track) -> _Track:
        """From a rigid turn, as large as it is and as the contents tell, to an affine."""
        sized = [track.candidates]
        if len(self._sizes) > 1:
            unit = scaled(track.candidates, (-growth(track.candidates)).exp()[:, None, None])
            sized = [scaled(unit, size) for size in self._sizes]
        grown = self._advance(replace(track, candidates=torch.cat(sized)), _GROW[0])
        if self.settings.kind != "affine":
            return self._advance(grown, _GROW[1])
        others = self._advance(replace(track, candidates=self._stretched(sized)), _PROPORTIONS)
        both = replace(grown, candidates=torch.cat([grown.candidates, others.candidates]))
        return self._advance(both, replace(_GROW[1], keep=3))

    def _stretched(self, sized: Sequence[Tensor]) -> Tensor:
        """The best of the first two of each size in other proportions."""
        measure, many = self._measure(_PROPORTIONS), torch.cat([stretched(candidates[:2]) for candidates in sized])
        losses = measure.losses(many) + self._prior.penalty(many) + self._effort(many)
        return distinct(many, losses, 0.05, _OTHERS[self.ndim])

    def _advance(self, track: _Track, each: _Pass) -> _Track:
        freedom = self._freedom(each)
        others = torch.cat([track.candidates, self._grown_anchor(track)]) if each is _LAST else track.candidates
        moved, losses = self._improved(far_apart(torch.cat([track.home, others]), 0.02), each, freedom)
        kept = distinct(moved, losses + self._effort(moved), 0.05, each.keep)
        return _Track(kept, kept[:1] if freedom == "rigid" else track.anchor, moved[:1])

    def _grown_anchor(self, track: _Track) -> Tensor:
        """The anchor on the grids that the others of ``track`` grew on: few ask for it, so it comes after."""
        anchor = track.anchor
        for each in _GROW:
            if self._freedom(each) != "rigid":  # else it went along
                anchor = self._improved(anchor, each, "rigid")[0]
        return anchor

    def _freedom(self, each: _Pass) -> Freedom:
        return min(self.settings.kind, each.freedom, key=FREEDOMS.index)

    def _improved(self, matrices: Tensor, each: _Pass, freedom: Freedom) -> tuple[Tensor, Tensor]:
        return improve(self._measure(each), self._prior, matrices, freedom, each.steps, self.reporter)

    def _effort(self, matrices: Tensor) -> Tensor:
        return effort(matrices, self._start(), self._sizes)

    def _measure(self, each: _Pass) -> JointMeasure:
        key = each.spacing, each.points, each.bins
        if key not in self._measures:
            spacing = self.size * each.spacing
            self._measures[key] = measure_of(self.fixed, self.moving, self.radius, spacing, each.points, each.bins)
        return self._measures[key]

    def _start(self) -> Tensor:
        """(ndim, ndim + 1) the identity in mm, or the start that was given."""
        return self._home if self._home is not None else self._shift(self.fixed.center - self.moving.center)

    def _shift(self, shift: np.ndarray) -> Tensor:
        t = torch.from_numpy(shift / self.radius).float()
        return torch.cat([torch.eye(self.ndim), t[:, None]], 1)

    def _starts(self) -> Tensor:
        """(3, ndim, ndim + 1) as the images lie, with the centers of mass and with the middles joined."""
        middle = (self.moving.middle - self.moving.center) - (self.fixed.middle - self.fixed.center)
        return torch.stack([self._start(), self._shift(np.zeros(self.ndim)), self._shift(middle)])

    def likeness(self, matrix: np.ndarray) -> float:
        """How alike the images are on the finest grid through a matrix of LPS mm."""
        return -float(self._measure(_LAST).losses(self._from_world(matrix)[None]))

    def _from_world(self, matrix: np.ndarray) -> Tensor:
        linear = matrix[: self.ndim, :-1]
        shift = linear @ self.fixed.center + matrix[: self.ndim, -1] - self.moving.center
        return torch.from_numpy(np.c_[linear, shift / self.radius]).float()

    def _to_world(self, matrix: Tensor) -> np.ndarray:
        n = self.ndim
        result = np.eye(n + 1)
        result[:n, :n] = matrix[:, :-1].double().numpy()
        result = nearest(result, self.settings.kind)  # single precision leaves a trace of shear
        result[:n, n] = self.moving.center + matrix[:, -1].double().numpy() * self.radius
        result[:n, n] -= result[:n, :n] @ self.fixed.center
        return result


def _sizes(fixed: Content, moving: Content, settings: AffineSettings) -> tuple[float, ...]:
    """The sizes that are tried: from one that is far off no scale finds the way, nor is the right turn seen."""
    ratio = moving.size / fixed.size
    other = settings.kind != "rigid" and max(ratio, 1 / ratio) > _OTHER_SIZE
    return (1.0, ratio) if other else (1.0,)


def _turned(track: _Track, other: _Track) -> Tensor:
    """(B,) radians from the best of ``other`` to each of ``track``."""
    return angle(track.candidates[:, :, :-1] @ torch.linalg.inv(other.candidates[0, :, :-1]))
