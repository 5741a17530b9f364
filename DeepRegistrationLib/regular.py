"""Keeping a field one-to-one: finding folds, removing them where they are, and inverting the field.

Volumes are looked at in slabs that stay in the cache, and folds are repaired voxel by voxel, as they are few.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from .fields import check_field, identity, jacobian_determinant, resize, resize_image, sample, smooth
from .kernels import Sampler, central_difference
from .progress import SILENT, Reporter

SCHEMES = ("central", "forward", "backward")
"""Finite differences by which a field must not fold."""

_SLAB = 200_000


def smallest_determinant(u: Tensor) -> Tensor:
    """(1, 1, *S) the smallest of the Jacobian determinants by central, forward and backward differences."""
    check_field(u)
    rows = u.shape[2]
    step = max(1, _SLAB // max(1, u[0, 0, 0].numel()))
    out = u.new_empty((1, 1, *u.shape[2:]))
    for low in range(0, rows, step):
        high = min(rows, low + step)
        first, last = max(0, low - 1), min(rows, high + 1)
        part = u[:, :, first:last]
        least = jacobian_determinant(part, SCHEMES[0])
        for scheme in SCHEMES[1:]:
            least = torch.minimum(least, jacobian_determinant(part, scheme))
        out[:, :, low:high] = least[:, :, low - first : high - first]
    return out


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

    def _moved(self, position: Tensor, axis: int, by: int) -> Tensor:
        moved = position.clone()
        moved[:, axis] = (moved[:, axis] + by).clamp_(min=0).clamp_(max=int(self._last[axis]))
        return self.flat[:, self.index(moved)]

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
            mean += self._moved(position, axis, 1)
            mean += self._moved(position, axis, -1)
        index = self.index(position)
        self.flat[:, index] = 0.5 * self.flat[:, index] + mean * (0.25 / self.ndim)

    def determinant(self, position: Tensor) -> Tensor:
        """(n,) as ``smallest_determinant``."""
        here = self.flat[:, self.index(position)]
        ahead, behind = [], []
        for axis in range(self.ndim):
            ahead.append(self._moved(position, axis, 1) - here)
            behind.append(here - self._moved(position, axis, -1))
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
            _mend(_Sparse(u), bad, minimum, reporter)
        for _ in range(10):
            u = smooth(u, 2.0)
            if not bool((smallest_determinant(u) < minimum).any()):
                return u
        while bool((smallest_determinant(u) < minimum).any()):
            u *= 0.7
        return u


def _mend(field: _Sparse, bad: Tensor, minimum: float, reporter: Reporter, rounds: int = 48) -> None:
    for turn in range(rounds):
        reporter.check()
        near = field.grow(bad, 1 + turn // 8)
        for _ in range(2 + turn // 8):
            field.relax(near)
        near = field.grow(near, 1)
        bad = near[field.determinant(near) < minimum]
        if len(bad) == 0 or len(bad) * 5 ** len(field.shape) > field.flat.shape[1] * 20:
            return


def inverse_of(u: Tensor, reporter: Reporter = SILENT) -> Tensor:
    """The inverse field w, (1, ndim, *S): ``(id + u) o (id + w) = id``, to a tenth of a voxel or better.

    Newton's steps on the whole field, at half resolution first if it is large, and then voxel by voxel where they did
    not converge.
    """
    check_field(u)
    shape = tuple(u.shape[2:])
    with torch.no_grad():
        w, rounds = -u, 40
        if u[0, 0].numel() > 200_000:
            small = tuple(n // 2 if n >= 32 else n for n in shape)
            scale = u.new_tensor([s / n for s, n in zip(small, shape, strict=True)]).view(1, -1, *[1] * len(shape))
            coarse = resize_image(u, small).mul_(scale)
            w, rounds = resize(_invert(coarse, -coarse, 24, 0.01, reporter), shape).contiguous(), 3
        return _invert(u, w, rounds, 0.005 if rounds > 3 else 0.01, reporter)


def _invert(u: Tensor, w: Tensor, rounds: int, tolerance: float, reporter: Reporter, largest: float = 0.1) -> Tensor:
    """``w`` after at most ``rounds`` corrections, until the mean error is under ``tolerance`` voxels; in place.

    A Newton step is r = u(p + w) + w and w <- w - (I + grad u(p + w))^-1 r, where the inverse of the Jacobian is that
    of the inverse so far, I + grad w. What it leaves wrong by more than ``largest`` is solved voxel by voxel.
    """
    sampler = Sampler(u.shape[2:], device=u.device, dtype=u.dtype)
    residual, step, slope = (torch.empty_like(u) for _ in range(3))
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
        step.zero_()
        for axis in range(u.shape[1]):
            step.addcmul_(central_difference(w, axis, slope), residual[:, axis : axis + 1])
        # Not to be trusted where it is the larger part, or where it did not help before.
        trust = (size / step.square().sum(1, keepdim=True).clamp_min_(1e-12)).sqrt_().clamp_max_(1)
        step.mul_(trust.mul_(damping == 1)).add_(residual)
        w.addcmul_(step, damping, value=-1)
        previous = size
    bad = torch.nonzero(size[0, 0] > largest**2)  # (n, ndim)
    if len(bad):
        _solve_each(u, w, bad, 0.2 * largest, reporter)
    return w


def _solve_each(u: Tensor, w: Tensor, bad: Tensor, tolerance: float, reporter: Reporter) -> None:
    """Newton's steps for the voxels ``bad`` (n, ndim) of ``w``, in place, each by itself.

    They start where ``w`` leads; those that don't arrive start again at the voxel of the fixed grid that lands nearest,
    which is known by sending all of them forward.
    """
    shape, ndim = u.shape[2:], u.shape[1]
    strides = torch.tensor([math.prod(shape[a + 1 :]) for a in range(ndim)], device=u.device)
    at = (bad * strides).sum(1)
    goal = bad.T.to(u)  # (ndim, n)
    x, error = _newton(u, goal + w[0].reshape(ndim, -1)[:, at], goal, tolerance, reporter)
    lost = torch.nonzero(error > 5 * tolerance)[:, 0]
    if len(lost):
        last = torch.tensor(shape, device=u.device).view(ndim, *[1] * ndim) - 1
        base = identity(shape, u.device, u.dtype)
        landing = torch.minimum((base + u)[0].round().long().clamp_min_(0), last).movedim(0, -1)
        source = torch.full((math.prod(shape),), -1, dtype=torch.long, device=u.device)
        source[(landing * strides).sum(-1).flatten()] = torch.arange(len(source), device=u.device)
        known = source[at[lost]]
        lost, known = lost[known >= 0], known[known >= 0]
        near, left = _newton(u, base[0].reshape(ndim, -1)[:, known], goal[:, lost], tolerance, reporter)
        x[:, lost] = torch.where(left < error[lost], near, x[:, lost])
    w[0].view(ndim, -1)[:, at] = x - goal


def _newton(
    u: Tensor, x: Tensor, goal: Tensor, tolerance: float, reporter: Reporter, rounds: int = 20
) -> tuple[Tensor, Tensor]:
    """Points x (ndim, n) with ``x + u(x) = goal`` from near ones, and how far (n,) each misses."""
    ndim = u.shape[1]

    def miss(x: Tensor, goal: Tensor) -> Tensor:
        return x + sample(u, x.reshape(1, ndim, -1, *[1] * (ndim - 1)))[0].reshape(ndim, -1) - goal

    x, r = x.clone(), miss(x, goal)
    length = torch.ones_like(x[:1])
    left = torch.nonzero(r.norm(dim=0) >= tolerance)[:, 0]
    for _ in range(rounds):
        if len(left) == 0:
            break
        reporter.check()
        here, aim = x[:, left], goal[:, left]
        columns = []
        for axis in range(ndim):
            h = torch.zeros_like(here)
            h[axis] = 0.25
            columns.append((miss(here + h, aim) - miss(here - h, aim)) * 2)
        step = _solve(torch.stack(columns, 1), r[:, left])
        step = step / (step.norm(dim=0, keepdim=True) / 2).clamp_min(1)
        moved = here - length[:, left] * step
        error = miss(moved, aim)
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
