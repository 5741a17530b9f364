"""How far a result is off, in mm, by looking for points again in the moved image, whatever was optimized.

Distinctive points of the fixed image are searched in the moved one, a few coarse voxels around, with MIND-SSC
descriptors, which are the same in every contrast, and what was found is searched in the fixed image. Points that come
back say how far the result is off there, at least: what was made to look alike in a wrong place is found there. The
same for the affine alignment alone says which of the two fits better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk
import torch
import torch.nn.functional as F
from torch import Tensor

from ..fields.quantiles import quantiles, thinned
from ..geometry.image import Grid, Image
from ..geometry.transform import resample, resample_seen
from ..similarity.cropped_mind import cropped_mind
from .lost_part import lost_part, middle_of

POINTS_A_SIDE = 56
"""Coarse voxels along the mean side of the content."""
REACH = 3
"""Coarse voxels that the search sees far."""
CANDIDATES, MOST = 1600, 400
"""Places that are looked at, and of these the most distinctive ones, which are searched."""
BLOCK = 2
"""A place is described by its descriptor and those so many voxels beside it."""
BACK = 1.0
"""Coarse voxels by which there and back may miss."""
CHANNELS = 6
"""Axes that descriptors are compared on, of 12 in 3-D."""
LEAST = 20
"""Fewer points that come back measure nothing."""
NEAR, FAR = 2.0, 3.0
"""Coarse voxels: a median up to here is believed; from there on, near what chance gives, the longer step is."""
FLOOR = 0.25
"""Coarse voxels that the search gives where nothing is off. This and the two above came of known errors of 0 to 7
coarse voxels in real images of other contrasts and noise; leaving one kind out chose the same."""


@dataclass(frozen=True)
class Found:
    """What searching the points again gave; lengths in coarse voxels.

    Attributes:
        points: that came back.
        share: of those searched.
        length: median length of their displacement.
        searched: (n, ndim) index of the voxels that were searched; empty if there were too few.
        returned: (n,) bool: those of them that came back.
    """

    points: int = 0
    share: float = 0.0
    length: float = float("nan")
    searched: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.long))
    returned: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))


@dataclass(frozen=True)
class Estimate:
    """How far transforms are off; NaN is what was not measured.

    Attributes:
        step: the coarse voxel that points were looked for with, mm.
        errors: of each transform, mm, on average.
        lost: with the first of them, the share of the anatomy's points that lie where hardly one is found again.
        lost_at: (ndim,) LPS mm, the middle of that part; None if there is none.
    """

    step: float
    errors: list[float]
    lost: float
    lost_at: np.ndarray | None


@dataclass(frozen=True)
class _Starts:
    """Where the rows of a voxel's window begin: the sum of its index times ``stride`` (ndim,) and ``within`` (n,)."""

    stride: Tensor
    within: Tensor


def coarse_grid(grid: Grid, inside: np.ndarray, side: int = POINTS_A_SIDE) -> Grid:
    """A grid around what is ``inside`` (*grid.shape, bool), with about ``side`` voxels along its mean side.

    Never finer than ``grid``, axis by axis.
    """
    box = [np.flatnonzero(inside.any(tuple(a for a in range(inside.ndim) if a != axis))) for axis in range(inside.ndim)]
    low, high = np.array([b[0] for b in box]), np.array([b[-1] + 1 for b in box])
    extent = (high - low) * grid.spacing
    wide = np.array([n > 1 for n in grid.shape])
    step = float(np.exp(np.log(extent[wide]).mean())) / side
    margin = np.where(wide, np.ceil(2 * step / grid.spacing).astype(int), 0)
    low, high = np.maximum(low - margin, 0), np.minimum(high + margin, grid.shape)
    part = grid.cropped(low, high)
    return part.with_spacing(np.maximum(part.spacing, step))


class Searcher:
    """Distinctive points of a fixed image, to be searched in others on the same grid.

    Args:
        fixed: (*S) coarse, 2-D or 3-D.
        inside: (*S) bool: where points may lie.
        spacing: along each array axis, relative to the step the reach is counted in.
    """

    def __init__(self, fixed: Tensor, inside: Tensor, spacing: Sequence[float]) -> None:
        self.shape = tuple(fixed.shape)
        self.spacing = torch.tensor([float(s) for s in spacing])
        self.reach = [max(1, round(REACH / s)) if n > 2 else 0 for s, n in zip(spacing, self.shape, strict=True)]
        if fixed.ndim < 2 or fixed.numel() < 10 * LEAST:
            self.points = torch.zeros(0, fixed.ndim, dtype=torch.long)
            return
        described = _features(fixed)
        some = thinned(described, 50_000)
        # Six of twelve axes hold nearly all of the distances, at half the cost.
        self.axes = torch.linalg.eigh(torch.cov(some.T))[1][:, -CHANNELS:]
        self.features = described @ self.axes
        self.points = self._distinctive(fixed, inside)

    def _distinctive(self, fixed: Tensor, inside: Tensor) -> Tensor:
        """(n, ndim) index of the places least like those around them, where there is something to see."""
        energy = _energy(fixed)
        index = inside.nonzero()
        if not len(index):
            return index
        strong = energy[tuple(index.T)]
        index = index[strong >= quantiles(thinned(strong, 100_000), (0.5,))]
        index = index[:: max(1, -(-len(index) // CANDIDATES))]
        cost = self._costs(self.features, self.features, index, index, every=2)
        cost[:, cost.shape[1] // 2] = float("inf")  # itself
        unlike = cost.amin(1)
        keep = unlike.argsort(descending=True)[: min(MOST, max(1, len(index) // 2))]
        return index[keep.sort().values]

    def search(self, other: Tensor, known: Tensor) -> Found:
        """Look for the points in ``other`` (*S), where it is ``known`` (*S, bool)."""
        points = self.points[known[tuple(self.points.T)]] if len(self.points) else self.points
        if len(points) < LEAST:
            return Found()
        features, moves = _features(other) @ self.axes, _moves(self.reach)
        there, exact = self._best(self.features, features, points, moves)
        landed = self._clamped(points + there)
        back, _ = self._best(features, self.features, landed, moves)
        missed = ((there + back).float() * self.spacing).square().sum(1).sqrt()
        returned = missed <= BACK + 1e-6
        count = int(returned.sum())
        if count < LEAST:
            return Found(count, count / len(points), float("nan"), points, returned)
        length = (exact[returned] * self.spacing).square().sum(1).sqrt()
        return Found(count, count / len(points), float(length.median()), points, returned)

    def lost(self, found: Found) -> tuple[float, list[int]]:
        """Share of what was searched that lies in a part of the anatomy where hardly one came back; ``lost_part``.

        And the index of the voxel in the middle of that part, or of the larger of several; empty if there is none.
        """
        if not len(found.searched):
            return float("nan"), []
        places = found.searched * self.spacing
        lost = lost_part(places, found.returned)
        middle: list[int] = found.searched[lost][middle_of(places[lost])].tolist() if lost.any() else []
        return float(lost.float().mean()), middle

    def _best(self, a: Tensor, b: Tensor, points: Tensor, moves: Tensor) -> tuple[Tensor, Tensor]:
        """(n, ndim) whole voxels, and the same between voxels by a parabola along each axis."""
        cost = self._costs(a, b, points, points)
        best = cost.argmin(1)
        there = moves[best]
        exact = there.float()
        stride = 1
        for axis in reversed(range(len(self.shape))):
            r = self.reach[axis]
            if r:
                free = there[:, axis].abs() < r
                left, middle, right = (cost.gather(1, (best + o * stride * free)[:, None])[:, 0] for o in (-1, 0, 1))
                bend = (left + right - 2 * middle).clamp_min(1e-9)
                exact[:, axis] += torch.where(free, (0.5 * (left - right) / bend).clamp(-0.5, 0.5), 0.0)
            stride *= 2 * r + 1
        return there, exact

    def _costs(self, a: Tensor, b: Tensor, here: Tensor, there: Tensor, every: int = 1) -> Tensor:
        """(n, moves) squared difference of the block at ``here`` in ``a`` and those around ``there`` in ``b``.

        ``every``: only each second, third, ... step of the window, which then is a step or two wide.
        """
        ndim = len(self.shape)
        steps = [r if every == 1 else min(r, 1) for r in self.reach]
        beside = [BLOCK if n > 2 * BLOCK else 0 for n in self.shape]
        cross = torch.zeros(1, ndim, dtype=torch.long)
        for axis, side in enumerate(beside):
            if side:
                arm = torch.zeros(2, ndim, dtype=torch.long)
                arm[:, axis] = torch.tensor([-side, side])
                cross = torch.cat([cross, arm])
        # |f - b|^2 = f.f + (b.b - 2 f.b), and the latter for all arms at once is one product of matrices.
        b = torch.cat([b, b.square().sum(-1, keepdim=True)], -1)
        reach = [r * every + s for r, s in zip(steps, beside, strict=True)]
        rows, starts = self._rows(b, reach)
        stride = torch.tensor(_strides([2 * r + 1 for r in reach]))
        first_of = ((cross + torch.tensor(beside)) @ stride).tolist()  # the first step's place, of each arm
        span = int(2 * every * torch.tensor(steps) @ stride) + 1  # to the last step's place
        moves = [2 * r + 1 for r in steps]
        out = []
        for first in range(0, len(here), 64):
            part = slice(first, first + 64)
            f = a[self._flat(here[part, None] + cross)]
            # Whole rows are copied, and whole spans added: to take the steps one by one takes five times as long.
            around = rows.index_select(0, (there[part] @ starts.stride + starts.within[:, None]).T.flatten())
            around = around.view(len(f), -1, b.shape[-1])
            products = torch.cat([-2 * f, torch.ones_like(f[..., :1])], -1) @ around.transpose(1, 2)
            total = f.square().sum((1, 2))[:, None].repeat(1, span)
            for number, at in enumerate(first_of):
                total += products[:, number, at : at + span]
            wanted = total.as_strided((len(f), *moves), (span, *(every * stride).tolist()))
            out.append(wanted.reshape(len(f), -1))
        return torch.cat(out)

    def _rows(self, x: Tensor, reach: Sequence[int]) -> tuple[Tensor, _Starts]:
        """(n, row) of (voxels, channels): all rows along the last axis of windows of ``reach``, as views.

        And which of them are those of a voxel's window; the border is repeated.
        """
        edges = [r for r in reversed(reach) for _ in range(2)]
        x = F.pad(x.T.unflatten(1, self.shape)[None], edges, mode="replicate")[0].movedim(0, -1).contiguous()
        shape, channels = x.shape[:-1], x.shape[-1]
        stride = torch.tensor(_strides(shape))
        axes = [torch.arange(2 * r + 1) for r in reach[:-1]]
        within = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes)) @ stride[:-1]
        row = 2 * reach[-1] + 1
        rows = x.as_strided((math.prod(shape) - row + 1, row * channels), (channels, 1))
        return rows, _Starts(stride, within)

    def _flat(self, index: Tensor) -> Tensor:
        """(...,) numbers of voxels; those beyond the border are the nearest ones."""
        flat = torch.zeros((), dtype=torch.long)
        for axis, n in enumerate(self.shape):
            flat = flat * n + index[..., axis].clamp(0, n - 1)
        return flat

    def _clamped(self, index: Tensor) -> Tensor:
        return torch.minimum(index.clamp_min(0), torch.tensor(self.shape) - 1)


def _features(image: Tensor) -> Tensor:
    """(voxels, channels)"""
    described = cropped_mind(image[None, None].float(), 1, 2)[0]
    return described.flatten(1).T.contiguous()


def _strides(shape: Sequence[int]) -> list[int]:
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _energy(image: Tensor) -> Tensor:
    total = torch.zeros_like(image)
    for axis, n in enumerate(image.shape):
        if n > 1:
            total += torch.gradient(image, dim=axis)[0].square()
    return total


def _moves(reach: Sequence[int]) -> Tensor:
    """(n, ndim) all whole steps within ``reach``, the last axis fastest."""
    axes = [torch.arange(-r, r + 1) for r in reach]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(reach))


def estimate_errors(
    fixed: Image,
    moving: Image,
    transforms: Sequence[sitk.Transform | None],
    inside: Image,
    moving_mask: np.ndarray | None = None,
) -> Estimate:
    """How far each transform is off, in mm on average, and where the first one loses the anatomy.

    More than about six coarse voxels, a tenth of the content, are not told apart.

    Args:
        fixed, moving: 2-D or 3-D, also of a single slice.
        transforms: fixed to moving, LPS mm.
        inside: > 0.5 where the fixed image shows something.
        moving_mask: (*moving.grid.shape) bool: where that was measured.
    """
    fine = coarse_grid(inside.grid, inside.array > 0.5)
    step = min(float(s) for s, n in zip(fine.spacing, fine.shape, strict=True) if n > 1)
    still, shown = resample(fixed, fine, dtype=np.float32), resample(inside, fine, fill=0.0)
    moved, there = zip(*(resample_seen(moving, fine, transform) for transform in transforms), strict=True)
    if moving_mask is None:
        known = [Image(seen.astype(np.float32), fine) for seen in there]
    else:
        seen = Image(moving_mask.astype(np.float32), moving.grid)
        known = [resample(seen, fine, transform, fill=0.0) for transform in transforms]

    def search(which: Sequence[int], level: int) -> tuple[Searcher, dict[int, Found]]:
        grid = fine if level == 1 else fine.with_spacing(np.maximum(fine.spacing, level * step))
        live = [axis for axis, n in enumerate(grid.shape) if n > 1]
        spacing = [float(grid.spacing[axis]) / (level * step) for axis in live]
        searcher = Searcher(_on(still, grid), _on(shown, grid) > 0.5, spacing)
        return searcher, {k: searcher.search(_on(moved[k], grid), _on(known[k], grid) > 0.99) for k in which}

    searcher, near = search(range(len(transforms)), 1)
    far = [k for k, found in near.items() if not found.length <= NEAR]  # of the others it would not count
    further = search(far, 2)[1] if far else {}
    errors = [step * error_of(found, further.get(k, Found())) for k, found in near.items()]
    lost, middle = searcher.lost(near[0])
    return Estimate(step, errors, lost, _place(middle, fine) if middle else None)


def _place(index: Sequence[float], grid: Grid) -> np.ndarray:
    """(ndim,) LPS mm of an index without axes of a single voxel."""
    full = np.zeros(len(grid.shape))
    full[[axis for axis, n in enumerate(grid.shape) if n > 1]] = index
    return grid.to_world(full[None])[0]


def error_of(near: Found, far: Found) -> float:
    """The mean error in coarse voxels, from what was found with the short and with the long step."""
    lengths = near.length, 2 * far.length
    if math.isfinite(near.length) and math.isfinite(far.length):
        trust = min(max((FAR - near.length) / (FAR - NEAR), 0.0), 1.0)
        length = trust * lengths[0] + (1 - trust) * lengths[1]
    else:
        length = lengths[1] if math.isfinite(far.length) else lengths[0]
    return math.sqrt(max(length**2 - FLOOR**2, 0.0)) if math.isfinite(length) else length


def _on(image: Image, grid: Grid) -> Tensor:
    """Without axes of a single voxel."""
    array = image.array if grid is image.grid else resample(image, grid).array
    return torch.from_numpy(np.ascontiguousarray(array)).squeeze()
