"""Keeping a field one-to-one: finding folds, removing them where they are, and inverting the field.

Volumes are looked at in slabs that stay in the cache, and folds are repaired voxel by voxel, as they are few.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from .fields import check_field, identity, jacobian_determinant, resize, resize_image, sample, smooth, warp
from .kernels import Sampler
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
    """The inverse field w, (1, ndim, *S): ``(id + u) o (id + w) = id``. See Chen 2008.

    The fixed point w <- -u(p + w), damped where it grows, first at half resolution if the field is large.
    """
    check_field(u)
    shape = tuple(u.shape[2:])
    with torch.no_grad():
        if u[0, 0].numel() > 200_000:
            small = tuple(n // 2 if n >= 32 else n for n in shape)
            scale = u.new_tensor([s / n for s, n in zip(small, shape, strict=True)]).view(1, -1, *[1] * len(shape))
            w = resize(_fixed_point(resize_image(u, small).mul_(scale), None, 24, 0.01, reporter), shape)
            return _newton(u, _fixed_point(u, w.contiguous(), 3, 0.02, reporter), reporter)
        return _newton(u, _fixed_point(u, None, 40, 0.005, reporter), reporter)


def _fixed_point(u: Tensor, w: Tensor | None, rounds: int, tolerance: float, reporter: Reporter) -> Tensor:
    """At most ``rounds`` corrections, until the mean error is under ``tolerance`` voxels."""
    w = -u if w is None else w
    sampler = Sampler(u.shape[2:], device=u.device, dtype=u.dtype)
    residual = torch.empty_like(u)
    damping = torch.ones_like(u[:, :1])
    previous: Tensor | None = None
    for _ in range(rounds):
        reporter.check()
        sampler.aim(w)
        sampler.take(u, residual)
        residual.add_(w)
        size = residual.square().sum(1, keepdim=True)
        if float(size.sqrt().mean()) < tolerance:
            break
        if previous is not None:
            damping.mul_(torch.where(size > previous, 0.5, 1.0)).clamp_min_(0.1)
        w.addcmul_(residual, damping, value=-1)
        previous = size
    return w


def _newton(u: Tensor, w: Tensor, reporter: Reporter, tolerance: float = 0.1, rounds: int = 20) -> Tensor:
    """``w`` with the voxels that the fixed point left wrong by more than ``tolerance`` solved one by one, in place.

    The fixed point does not converge where the field stretches more than twofold. Newton's steps do, from near enough:
    the voxel of the fixed grid that lands nearest is known by sending all of them forward.
    """
    shape, ndim = tuple(u.shape[2:]), u.shape[1]
    base = identity(shape, u.device, u.dtype)
    residual = (w + warp(u, w)).square().sum(1).sqrt()[0]
    bad = torch.nonzero(residual > tolerance)  # (n, ndim)
    if len(bad) == 0:
        return w
    last = torch.tensor(shape, device=u.device).view(ndim, *[1] * ndim) - 1
    strides = torch.tensor([math.prod(shape[a + 1 :]) for a in range(ndim)], device=u.device)
    landing = torch.minimum((base + u)[0].round().long().clamp_min_(0), last).movedim(0, -1)
    source = torch.full((math.prod(shape),), -1, dtype=torch.long, device=u.device)
    source[(landing * strides).sum(-1).flatten()] = torch.arange(len(source), device=u.device)
    at = (bad * strides).sum(1)
    goal = bad.T.to(u)  # (ndim, n)

    def miss(x: Tensor) -> Tensor:
        return x + sample(u, x.reshape(1, ndim, -1, *[1] * (ndim - 1)))[0].reshape(ndim, -1) - goal

    x = goal + w[0].reshape(ndim, -1)[:, at]
    r = miss(x)
    known = source[at]
    near = base[0].reshape(ndim, -1)[:, known.clamp_min(0)]
    other = miss(near)
    better = (known >= 0) & (other.norm(dim=0) < r.norm(dim=0))
    x, r = torch.where(better, near, x), torch.where(better, other, r)
    length = torch.ones_like(x[:1])
    for _ in range(rounds):
        reporter.check()
        columns = []
        for axis in range(ndim):
            h = torch.zeros_like(x)
            h[axis] = 0.25
            columns.append((miss(x + h) - miss(x - h)) * 2)
        j = torch.stack(columns, 1).permute(2, 0, 1)  # (n, component, axis)
        step = torch.linalg.lstsq(j + 1e-4 * torch.eye(ndim, device=u.device), r.T[..., None]).solution[..., 0].T
        step = step / (step.norm(dim=0, keepdim=True) / 2).clamp_min(1)
        moved = x - length * step
        left = miss(moved)
        better = (left.norm(dim=0) < r.norm(dim=0))[None]
        x, r = torch.where(better, moved, x), torch.where(better, left, r)
        length = torch.where(better, (2 * length).clamp_max(1), 0.5 * length)
        if float(r.norm(dim=0).max()) < 0.2 * tolerance:
            break
    w[0].view(ndim, -1)[:, at] = x - goal
    return w
