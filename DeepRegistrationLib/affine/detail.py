"""What is left of two images without slow shading and without the edge of what was seen, and where that lies.

A camera's round opening, a scanner's sector, the light of a microscope or a coil's shading stay where they are when the
anatomy moves, and may be most of what two images share. So each is also seen leveled, as how much it differs from what
lies around it, and compared at all shifts at once by the correlation over what both saw (Padfield 2012).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .content import Content, block_factors, pool, pooled

AROUND = 1 / 24
"""Of the anatomy's size: the half width over which the surroundings are averaged, twice."""
CLEARLY = 1.5
"""How many times as alike the detail must be elsewhere to be believed. Where it lay elsewhere it was 1.8 to 15 times as
alike there, in images of many kinds that lay right at most 1.4 times."""
LEAST_DETAIL = 0.01
"""Its likeness (normalized mutual information), below which images have no detail in common."""
_STEPS = {2: 64, 3: 24}  # lattice points along the anatomy, by the number of dimensions
_MOST = 4  # times as many along all of an image: a small mask in one must not make a lattice of millions in the other
_RIM = 1 / 32  # of the anatomy's size: left out along the edge of what was seen
_FEWEST = 50  # lattice points
_LEAST_SHARED = 0.25  # of the smaller one's lattice points
_DARK, _DARK_BORDER = 0.03, 0.5  # of the range, and the share of the border that must be so
_FLAT = 0.3  # of the deviation of the whole: added to that around each voxel, so that noise in the air stays small


@dataclass(frozen=True)
class Shift:
    """The best of all shifts.

    Attributes:
        matrix: (ndim + 1, ndim + 1) LPS mm, fixed point to moving point.
        correlation: there, its size, 0 to 1.
    """

    matrix: np.ndarray
    correlation: float


def leveled(content: Content) -> Content:
    """``content`` with each voxel's value relative to those around it, 0 to 1."""
    radius = np.round(AROUND * content.size / content.grid.spacing).astype(int)
    return replace(content, values=relative(content.values, content.weight, radius) / 2 + 0.5)


def lit(content: Content) -> Content:
    """``content`` without what is as dark as its border, if that is dark: where a sensor saw only its own noise."""
    values = content.values[0, 0]
    border = torch.ones_like(values, dtype=torch.bool)
    border[tuple(slice(1, -1) for _ in values.shape)] = False
    border &= content.weight[0, 0] > 0
    if not bool(border.any()):
        return content
    dark = (values - values[border].median()).abs() < _DARK
    if float(dark[border].float().mean()) < _DARK_BORDER:
        return content
    return replace(content, weight=content.weight * ~dark)


def best_shift(fixed: Content, moving: Content, turns: Sequence[np.ndarray]) -> Shift | None:
    """The shift, after one of ``turns`` (ndim, ndim), at which the detail correlates most; None where too little is
    seen.
    """
    spacing = _spacing(fixed, moving)
    own = _Patch.of(fixed, np.eye(fixed.grid.ndim), spacing)
    others = [_Patch.of(moving, turn, spacing) for turn in turns]
    shape = [_quick(n + max(ms) - 1) for n, *ms in zip(own.shape, *(other.shape for other in others), strict=True)]
    spectra, found = own.spectra(shape), []
    for turn, other in zip(turns, others, strict=True):
        if min(int(own.seen.sum()), int(other.seen.sum())) < _FEWEST:
            continue
        # What is bright in one may be dark in the other.
        likeness = _correlations(spectra, other.spectra(shape), shape).abs()
        index = np.array(np.unravel_index(int(likeness.argmax()), likeness.shape))
        steps = np.where(index < other.shape, index, index - likeness.shape)
        matrix = np.eye(len(turn) + 1)
        matrix[:-1, :-1] = turn
        matrix[:-1, -1] = turn @ (other.low - own.low + steps * spacing)
        found.append(Shift(matrix, float(likeness.max())))
    return max(found, key=lambda shift: shift.correlation, default=None)


def correlation_at(fixed: Content, moving: Content, matrix: np.ndarray, around: float = AROUND) -> float:
    """How much the detail correlates through a matrix of LPS mm, fixed point to moving point, 0 to 1.

    Args:
        around: what surroundings it is relative to, see ``AROUND``.
    """
    spacing = _spacing(fixed, moving)
    own = _Patch.of(fixed, np.eye(fixed.grid.ndim), spacing, around)
    other = own.through(moving, matrix, spacing, around)
    seen = own.seen * other.seen
    if int(seen.sum()) < _FEWEST:
        return 0.0
    a, b = own.values[seen > 0], other.values[seen > 0]
    a, b = a - a.mean(), b - b.mean()
    return abs(float(a @ b / (a.norm() * b.norm()).clamp_min(1e-6)))


def _spacing(fixed: Content, moving: Content) -> float:
    """mm between lattice points."""
    longest = max(float(content.grid.extent.max()) for content in (fixed, moving))
    return max(min(fixed.size, moving.size), longest / _MOST) / _STEPS[fixed.grid.ndim]


@dataclass(frozen=True)
class _Patch:
    """A leveled image on an even lattice along the axes of LPS, x first, in a frame of its own.

    Attributes:
        values, seen: (*S), -1 to 1, and 1 where something was seen, else 0.
        low: (ndim,) mm, the first lattice point in the frame.
    """

    values: Tensor
    seen: Tensor
    low: np.ndarray

    @classmethod
    def of(cls, content: Content, turn: np.ndarray, spacing: float, around: float = AROUND) -> _Patch:
        """All of ``content``, in a frame from which ``turn`` (ndim, ndim) leads to LPS."""
        n = content.grid.ndim
        ends = np.stack(np.meshgrid(*[(0, s - 1) for s in content.grid.shape], indexing="ij"), -1).reshape(-1, n)
        ends = content.grid.to_world(ends) @ np.linalg.inv(turn).T
        low = ends.min(0)
        shape = tuple(int(s) for s in np.ceil((ends.max(0) - low) / spacing - 1e-6) + 1)
        return cls(*_seen_at(content, turn, turn @ low, spacing, shape, around), low)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape)

    def spectra(self, shape: Sequence[int]) -> list[Tensor]:
        """Of what was seen, of the values there and of their squares, with zeros up to ``shape``."""
        return [torch.fft.rfftn(self.values**power * self.seen, s=list(shape)) for power in (0, 1, 2)]

    def through(self, content: Content, matrix: np.ndarray, spacing: float, around: float) -> _Patch:
        """``content`` where ``matrix`` sends this lattice."""
        linear = matrix[:-1, :-1]
        start = linear @ self.low + matrix[:-1, -1]
        return _Patch(*_seen_at(content, linear, start, spacing, self.shape, around), self.low)


def _seen_at(
    content: Content, linear: np.ndarray, start: np.ndarray, spacing: float, shape: tuple[int, ...], around: float
) -> tuple[Tensor, Tensor]:
    """Leveled values and what was seen, at the points ``start`` + ``linear`` (index * ``spacing``)."""
    factors = block_factors(content.grid, spacing)
    grid = pooled(content.grid, factors)
    weight, weighted = pool(content.weight, factors), pool(content.values * content.weight, factors)
    steps = np.indices(shape).reshape(len(shape), -1).T * spacing
    index = grid.to_index(start + steps @ linear.T)
    places = ((2 * index + 1) / np.array(grid.shape) - 1)[:, ::-1].reshape(1, *shape, len(shape))
    at = torch.from_numpy(np.ascontiguousarray(places, dtype=np.float32))
    weight, weighted = (F.grid_sample(x, at, align_corners=False) for x in (weight, weighted))
    value = weighted / weight.clamp_min(1e-3)
    seen = (weight > 0.9).float()
    radius = np.full(len(shape), round(around * content.size / spacing))
    rim = np.where(np.array(shape) >= 8, max(1, round(_RIM * content.size / spacing)), 0)
    return relative(value, seen, radius)[0, 0], _without_rim(seen, rim)[0, 0]


def relative(values: Tensor, weight: Tensor, radius: np.ndarray) -> Tensor:
    """(1, 1, *S) values less the mean around them, over the deviation around them, bounded to -1 to 1.

    Args:
        values, weight: (1, 1, *S); what has weight 0 does not count.
        radius: (ndim,) voxels of the surroundings.
    """
    share = _around(weight, radius).clamp_min(1e-3)
    off = (values - _around(values * weight, radius) / share) * weight
    square = off.square()
    whole = square.sum() / weight.sum().clamp_min(1e-6)
    deviation = (_around(square, radius) / share).clamp_min_(0).sqrt_()
    return torch.tanh(off / (deviation + _FLAT * whole.sqrt() + 1e-6))


def _around(x: Tensor, radius: np.ndarray) -> Tensor:
    """Means over windows of twice ``radius`` voxels and one, twice; zero beyond the border."""
    for axis, r in enumerate(int(r) for r in radius):
        for _ in range(2 if r else 0):
            pad = [0, 0] * x.ndim
            pad[2 * (x.ndim - axis - 3) : 2 * (x.ndim - axis - 2)] = r + 1, r
            total = F.pad(x, pad).cumsum(axis + 2)
            n = x.shape[axis + 2]
            x = (total.narrow(axis + 2, 2 * r + 1, n) - total.narrow(axis + 2, 0, n)) / (2 * r + 1)
    return x


def _without_rim(seen: Tensor, rim: np.ndarray) -> Tensor:
    """``seen`` (1, 1, *S) eroded by ``rim`` voxels along each axis; nothing is seen beyond the border."""
    seen = F.pad(seen, [int(r) for r in reversed(rim) for _ in range(2)])
    # One axis after the other: to pool all at once takes ten times as long.
    for axis, r in enumerate(int(r) for r in rim):
        n = seen.shape[axis + 2] - 2 * r
        seen = torch.stack([seen.narrow(axis + 2, first, n) for first in range(2 * r + 1)]).amin(0)
    return seen


def _correlations(own: Sequence[Tensor], other: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
    """Of one image at p with another at p + d for all d, those below 0 from the end; 0 where little is shared.

    Args:
        own, other: the spectra of what was seen, the values and their squares.
        shape: of the lattice, wide enough for both.
    """

    def sums(a: int, b: int) -> Tensor:
        return torch.fft.irfftn(own[a].conj() * other[b], s=list(shape))

    count = sums(0, 0)
    enough = count > _LEAST_SHARED * min(float(x[0].flatten()[0].real) for x in (own, other))
    count = count.clamp_min(1)
    a, b = sums(1, 0) / count, sums(0, 1) / count
    spread = ((sums(2, 0) / count - a * a).clamp_min(1e-3) * (sums(0, 2) / count - b * b).clamp_min(1e-3)).sqrt()
    return torch.where(enough, (sums(1, 1) / count - a * b) / spread, torch.zeros(()))


def _quick(least: int) -> int:
    """The first length from ``least`` on that is a product of 2, 3 and 5, which Fourier transforms are quick on."""
    n = least
    while True:
        left = n
        for factor in (2, 3, 5):
            while left % factor == 0:
                left //= factor
        if left == 1:
            return n
        n += 1
