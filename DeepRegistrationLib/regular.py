"""Keeping a field one-to-one: finding folds, removing them where they are, and inverting the field.

Volumes are looked at in slabs that stay in the cache, and folds are repaired voxel by voxel, as they are few.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from .fields import check_field, identity, jacobian_determinant_in_slabs, resize, resize_image, sample, smooth
from .kernels import Sampler, central_difference
from .progress import SILENT, Reporter

_SLAB = 200_000
"""Voxels that are looked at together."""
SCHEMES = ("central", "forward", "backward")
"""Finite differences by which a field must not fold."""


def smallest_determinant(u: Tensor) -> Tensor:
    """(1, 1, *S) the smallest of the Jacobian determinants by central, forward and backward differences."""
    return jacobian_determinant_in_slabs(u, SCHEMES)


class _Sparse:
    """A field seen as a list of voxels, for repairs that touch few of them. Positions are (n, ndim) indices."""

    def __init__(self, u: Tensor) -> None:
        self.ndim, self.shape = u.shape[1], u.shape[2:]
        self.flat = u[0].reshape(self.ndim, -1)  # a view: ``u`` is contiguous
        self._last = torch.tensor(self.shape, device=u.device) - 1
        strides = [1]
        for n in reversed(self.shape[1:]):
            strides.insert(0, strides[0] * n)
        self._strides = torch.tensor(strides, device=u.device)

    def index(self, position: Tensor) -> Tensor:
        return (position * self._strides).sum(1)

    def moved(self, position: Tensor, axis: int, by: int) -> Tensor:
        moved = position.clone()
        moved[:, axis] = (moved[:, axis] + by).clamp_(min=0).clamp_(max=int(self._last[axis]))
        return self.flat[:, self.index(moved)]

    def slope(self, position: Tensor, axis: int) -> Tensor:
        """(ndim, n) half the difference of the two neighbors."""
        return 0.5 * (self.moved(position, axis, 1) - self.moved(position, axis, -1))

    def grow(self, position: Tensor, reach: int) -> Tensor:
        """All voxels within ``reach`` (in the largest coordinate)."""
        steps = torch.tensor(
            list(itertools.product(range(-reach, reach + 1), repeat=self.ndim)), device=position.device
        )
        near = (position[:, None] + steps).reshape(-1, self.ndim)
        near = torch.minimum(near.clamp_min_(0), self._last)
        return self.position(torch.unique(self.index(near)))

    def position(self, index: Tensor) -> Tensor:
        parts = []
        for stride, n in zip(self._strides.tolist(), self.shape, strict=True):
            parts.append(torch.div(index, stride, rounding_mode="floor") % n)
        return torch.stack(parts, 1)

    def relax(self, position: Tensor) -> None:
        """Half way to the mean of the direct neighbors."""
        mean = torch.zeros((self.ndim, len(position)), device=self.flat.device, dtype=self.flat.dtype)
        for axis in range(self.ndim):
            mean += self.moved(position, axis, 1)
            mean += self.moved(position, axis, -1)
        index = self.index(position)
        self.flat[:, index] = 0.5 * self.flat[:, index] + mean * (0.25 / self.ndim)

    def determinant(self, position: Tensor) -> Tensor:
        """(n,) as ``smallest_determinant``."""
        here = self.flat[:, self.index(position)]
        ahead, behind = [], []
        for axis in range(self.ndim):
            ahead.append(self.moved(position, axis, 1) - here)
            behind.append(here - self.moved(position, axis, -1))
        forward, backward = torch.stack(ahead, 1), torch.stack(behind, 1)  # (component, axis, n)
        inner = ((position > 0) & (position < self._last)).T[None]
        central = torch.where(inner, (forward + backward) * 0.5, forward + backward)
        unit = torch.eye(self.ndim, device=here.device, dtype=here.dtype)[:, :, None]
        found = [_determinant(j + unit) for j in (central, forward, backward)]
        return torch.stack(found).amin(0)


def _determinant(j: Tensor) -> Tensor:
    if j.shape[0] == 2:
        return j[0, 0] * j[1, 1] - j[0, 1] * j[1, 0]
    return (
        j[0, 0] * (j[1, 1] * j[2, 2] - j[1, 2] * j[2, 1])
        - j[0, 1] * (j[1, 0] * j[2, 2] - j[1, 2] * j[2, 0])
        + j[0, 2] * (j[1, 0] * j[2, 1] - j[1, 1] * j[2, 0])
    )


def unfold(u: Tensor, minimum: float = 0.02, reporter: Reporter = SILENT) -> Tensor:
    """The field with every determinant at least ``minimum``: relaxed where it folds, left alone elsewhere.

    Voxels that fold are relaxed towards their neighbors together with a neighborhood that grows with the rounds.
    Should that not be enough, the whole field is smoothed, and at last shrunk; so the promise always holds.

    Args:
        u: (1, ndim, *S) in voxels; not changed.
    """
    with torch.no_grad():
        u = u.clone(memory_format=torch.contiguous_format)
        for attempt in range(6):
            bad = torch.nonzero(smallest_determinant(u)[0, 0] < minimum)
            if len(bad) == 0:
                return u
            reporter.check()
            if len(bad) > 0.03 * u[0, 0].numel():  # too many to mend one by one
                u = smooth(u, 0.5 * (1 + attempt))
                continue
            if _mend(_Sparse(u), bad, minimum, reporter):
                return u
        for _ in range(10):
            u = smooth(u, 2.0)
            if not bool((smallest_determinant(u) < minimum).any()):
                return u
        while bool((smallest_determinant(u) < minimum).any()):
            u *= 0.7
        return u


def _mend(field: _Sparse, bad: Tensor, minimum: float, reporter: Reporter, rounds: int = 48) -> bool:
    """Whether all is well: every voxel whose determinant changed was looked at again."""
    for turn in range(rounds):
        reporter.check()
        near = field.grow(bad, 1 + turn // 8)
        for _ in range(2 + turn // 8):
            field.relax(near)
        near = field.grow(near, 1)
        bad = near[field.determinant(near) < minimum]
        if len(bad) == 0:
            return True
        if len(bad) * 5 ** len(field.shape) > field.flat.shape[1] * 20:
            return False
    return False


def inverse_of(u: Tensor, reporter: Reporter = SILENT) -> Tensor:
    """The inverse field w, (1, ndim, *S): ``(id + u) o (id + w) = id``, to a tenth of a voxel or better.

    Newton's steps on the whole field, at half resolution first if it is large, and then voxel by voxel where they did
    not converge.
    """
    check_field(u)
    shape = tuple(u.shape[2:])
    with torch.no_grad():
        if u[0, 0].numel() <= 200_000:
            return _invert(u, -u, 40, 0.005, reporter)
        small = tuple(n // 2 if n >= 32 else n for n in shape)
        scale = u.new_tensor([s / n for s, n in zip(small, shape, strict=True)]).view(1, -1, *[1] * len(shape))
        coarse = resize_image(u, small).mul_(scale)
        w = resize(_invert(coarse, -coarse, 24, 0.01, reporter), shape).contiguous()
        return _correct(u, w, reporter)


def _correct(u: Tensor, w: Tensor, reporter: Reporter, largest: float = 0.1) -> Tensor:
    """``w``, nearly the inverse of ``u``, after one of Newton's steps; in place, in slabs: half of the memory.

    What that leaves wrong by more than ``largest`` is solved voxel by voxel.
    """
    shape = tuple(u.shape[2:])
    threads = torch.get_num_threads()
    step = max(threads, 2 * _SLAB // max(1, math.prod(shape[1:])) // threads * threads)
    bad = []
    for low in range(0, shape[0], step):
        reporter.check()
        high = min(shape[0], low + step)
        first, last = max(0, low - 1), min(shape[0], high + 1)
        here = identity((high - low, *shape[1:]), u.device, u.dtype)
        here[:, 0] += low
        part = w[:, :, low:high]
        residual = sample(u, here + part).add_(part)
        around = w[:, :, first:last]
        slopes = [
            central_difference(around, axis, torch.empty_like(around))[:, :, low - first : high - first]
            for axis in range(len(shape))
        ]
        part -= _newton_step(residual, slopes)
        residual = sample(u, here + part).add_(part)
        found = torch.nonzero(residual[0].square().sum(0) > largest**2)
        found[:, 0] += low
        bad.append(found)
    left = torch.cat(bad)
    if len(left):
        _solve_each(u, w, left, 0.2 * largest, reporter)
    return w


def _newton_step(residual: Tensor, slopes: list[Tensor]) -> Tensor:
    """(I + grad u)^-1 r, where the inverse of the Jacobian is that of the inverse so far, I + grad w."""
    step = slopes[0] * residual[:, :1]
    for axis in range(1, len(slopes)):
        step.addcmul_(slopes[axis], residual[:, axis : axis + 1])
    # Not to be trusted where it is the larger part.
    size, more = (x.square().sum(1, keepdim=True) for x in (residual, step))
    return step.mul_((size / more.clamp_min_(1e-12)).sqrt_().clamp_max_(1)).add_(residual)


def _invert(u: Tensor, w: Tensor, rounds: int, tolerance: float, reporter: Reporter, largest: float = 0.1) -> Tensor:
    """``w`` after at most ``rounds`` corrections, until the mean error is under ``tolerance`` voxels; in place.

    A Newton step is r = u(p + w) + w and w <- w - (I + grad u(p + w))^-1 r. What it leaves wrong by more than
    ``largest`` is solved voxel by voxel.
    """
    sampler = Sampler(u.shape[2:], device=u.device, dtype=u.dtype)
    residual = torch.empty_like(u)
    damping = torch.ones_like(u[:, :1])
    previous: Tensor | None = None
    for turn in range(rounds + 1):
        reporter.check()
        sampler.aim(w)
        sampler.take(u, residual)
        residual.add_(w)
        size = residual.square().sum(1, keepdim=True)
        if turn == rounds or float(size.sqrt().mean()) < tolerance:
            break
        if previous is not None:
            damping.mul_(torch.where(size > previous, 0.5, 1.0)).clamp_min_(0.1)
        slopes = [central_difference(w, axis, torch.empty_like(w)) for axis in range(u.shape[1])]
        # Where a step did not help before, the slopes were to blame.
        step = torch.where(damping == 1, _newton_step(residual, slopes), residual)
        w.addcmul_(step, damping, value=-1)
        previous = size
    bad = torch.nonzero(size[0, 0] > largest**2)  # (n, ndim)
    if len(bad):
        _solve_each(u, w, bad, 0.2 * largest, reporter)
    return w


def _solve_each(u: Tensor, w: Tensor, bad: Tensor, tolerance: float, reporter: Reporter) -> None:
    """Newton's steps for the voxels ``bad`` (n, ndim) of ``w``, in place, each by itself.

    They start where ``w`` leads; those that don't arrive start again from where their neighbors come from, and at last
    from the voxel of the fixed grid that lands nearest.
    """
    inverse = _Sparse(w)
    at, goal = inverse.index(bad), bad.T.to(u)
    x, error = _settle(u, inverse, bad, goal, tolerance, reporter)
    left = torch.nonzero(error > tolerance)[:, 0]
    x[:, left], error[left] = _newton(u, x[:, left], goal[:, left], tolerance, reporter)
    inverse.flat[:, at] = x - goal
    for start in (_from_neighbors, _from_landings):
        lost = torch.nonzero(error > 5 * tolerance)[:, 0]
        if len(lost) == 0:
            return
        begin = start(u, inverse, bad[lost], goal[:, lost])
        again, missed = _newton(u, begin, goal[:, lost], tolerance, reporter)
        better = missed < error[lost]
        lost = lost[better]
        error[lost] = missed[better]
        inverse.flat[:, at[lost]] = again[:, better] - goal[:, lost]


def _from_neighbors(u: Tensor, inverse: _Sparse, bad: Tensor, goal: Tensor) -> Tensor:
    """(ndim, n) of the points where the voxels next to ``bad`` come from, the one that lands nearest to ``goal``."""
    best, least = goal.clone(), torch.full_like(goal[0], math.inf)
    for axis in range(u.shape[1]):
        for by in (-1, 1):
            x = goal + inverse.moved(bad, axis, by)
            miss = _miss(u, x, goal).norm(dim=0)
            best, least = torch.where(miss < least, x, best), torch.minimum(miss, least)
    return best


def _from_landings(u: Tensor, inverse: _Sparse, bad: Tensor, goal: Tensor) -> Tensor:
    """(ndim, n) the voxels of the fixed grid that land nearest to ``bad``: all are sent forward."""
    shape, ndim = u.shape[2:], u.shape[1]
    last = torch.tensor(shape, device=u.device).view(ndim, *[1] * ndim) - 1
    base = identity(shape, u.device, u.dtype)
    landing = torch.minimum((base + u)[0].round().long().clamp_min_(0), last).flatten(1).T
    source = torch.full((math.prod(shape),), -1, dtype=torch.long, device=u.device)
    source[inverse.index(landing)] = torch.arange(len(source), device=u.device)
    known = source[inverse.index(bad)]
    return torch.where(known >= 0, base[0].reshape(ndim, -1)[:, known.clamp_min(0)], goal)


def _miss(u: Tensor, x: Tensor, goal: Tensor) -> Tensor:
    """By how much (ndim, n) the points ``x`` miss ``goal``: ``x + u(x) - goal``."""
    ndim = u.shape[1]
    return x + sample(u, x.reshape(1, ndim, -1, *[1] * (ndim - 1)))[0].reshape(ndim, -1) - goal


def _settle(
    u: Tensor, inverse: _Sparse, bad: Tensor, goal: Tensor, tolerance: float, reporter: Reporter, rounds: int = 8
) -> tuple[Tensor, Tensor]:
    """As ``_newton``, for the voxels ``bad``, with the Jacobian of the inverse so far at the voxel all along.

    A round costs one look at ``u`` instead of seven, and a few are enough for most.
    """
    x = goal + inverse.flat[:, inverse.index(bad)]
    slopes = torch.stack([inverse.slope(bad, axis) for axis in range(u.shape[1])], 1)  # (component, axis, n)
    length = torch.ones_like(x[0])
    best, least, step = x, torch.full_like(length, math.inf), torch.zeros_like(x)
    for _ in range(rounds):
        reporter.check()
        r = _miss(u, x, goal)
        error = r.norm(dim=0)
        better = error < least
        best, least = torch.where(better, x, best), torch.minimum(error, least)
        step = torch.where(better, r + (slopes * r[None]).sum(1), step)
        length = torch.where(better, length, 0.5 * length)
        if bool((least < tolerance).all()):
            break
        x = best - length * step
    return best, least


def _newton(
    u: Tensor, x: Tensor, goal: Tensor, tolerance: float, reporter: Reporter, rounds: int = 20
) -> tuple[Tensor, Tensor]:
    """Points x (ndim, n) with ``x + u(x) = goal`` from near ones, and how far (n,) each misses."""
    x, r = x.clone(), _miss(u, x, goal)
    length = torch.ones_like(x[:1])
    left = torch.nonzero(r.norm(dim=0) >= tolerance)[:, 0]
    for _ in range(rounds):
        if len(left) == 0:
            break
        reporter.check()
        here, aim = x[:, left], goal[:, left]
        columns = []
        for axis in range(u.shape[1]):
            h = torch.zeros_like(here)
            h[axis] = 0.25
            columns.append((_miss(u, here + h, aim) - _miss(u, here - h, aim)) * 2)
        step = _solve(torch.stack(columns, 1), r[:, left])
        step = step / (step.norm(dim=0, keepdim=True) / 2).clamp_min(1)
        moved = here - length[:, left] * step
        error = _miss(u, moved, aim)
        better = (error.norm(dim=0) < r[:, left].norm(dim=0))[None]
        x[:, left], r[:, left] = torch.where(better, moved, here), torch.where(better, error, r[:, left])
        length[:, left] = torch.where(better, (2 * length[:, left]).clamp_max(1), 0.5 * length[:, left])
        left = left[r[:, left].norm(dim=0) >= tolerance]
    return x, r.norm(dim=0)


def _solve(j: Tensor, r: Tensor) -> Tensor:
    """x of ``j x = r`` for n small systems, by Cramer's rule: ``j`` (component, axis, n), ``r`` (component, n)."""
    det = _determinant(j)
    det = torch.where(det.abs() < 1e-3, torch.full_like(det, 1e-3).copysign(det), det)
    out = []
    for axis in range(j.shape[1]):
        replaced = j.clone()
        replaced[:, axis] = r
        out.append(_determinant(replaced) / det)
    return torch.stack(out)
