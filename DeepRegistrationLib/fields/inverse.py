"""The inverse of a field, by Newton's method: everywhere at once, and voxel by voxel where that does not do."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..progress import SILENT, Reporter
from .folding import SparseField
from .kernels import Sampler, central_difference
from .operations import check_field, determinant, resize, resize_image, sample

_SLAB = 400_000
"""Voxels that are corrected together."""
_MANY = 0.01
"""Of those: where more miss, another step for all costs less than one for each (30 times as much a voxel)."""


def invert(u: Tensor, reporter: Reporter = SILENT, tolerance: float | None = None) -> Tensor:
    """The inverse field w, (1, ndim, *S): ``(id + u) o (id + w) = id``, to a tenth of a voxel or better.

    Newton's steps on the whole field, at half resolution first if it is large, and then voxel by voxel where they did
    not converge.

    Args:
        tolerance: voxels, where a tenth does not do; costs as much again on a large field.
    """
    check_field(u)
    shape = tuple(u.shape[2:])
    with torch.no_grad():
        if u[0, 0].numel() <= 200_000:
            return _invert(u, -u, 40, tolerance or 0.005, reporter, tolerance or 0.1)
        small = tuple(n // 2 if n >= 32 else n for n in shape)
        scale = u.new_tensor([s / n for s, n in zip(small, shape, strict=True)]).view(1, -1, *[1] * len(shape))
        coarse = resize_image(u, small).mul_(scale)
        w = resize(_invert(coarse, -coarse, 24, 0.03, reporter), shape).contiguous()
        w = _correct(u, w, reporter)
        return w if tolerance is None else _invert(u, w, 40, tolerance, reporter, tolerance)


def _correct(u: Tensor, w: Tensor, reporter: Reporter, largest: float = 0.1) -> Tensor:
    """``w``, nearly the inverse of ``u``, after one or a few of Newton's steps; in place, in slabs: half of the memory.

    What that leaves wrong by more than ``largest`` is solved voxel by voxel.
    """
    shape = tuple(u.shape[2:])
    threads = torch.get_num_threads()
    step = max(threads, _SLAB // max(1, math.prod(shape[1:])) // threads * threads)
    bad = []
    sampler = Sampler(shape, rows=step, device=u.device, dtype=u.dtype)
    room = u.new_empty(1, u.shape[1], min(step, shape[0]), *shape[1:])
    for low in range(0, shape[0], step):
        reporter.check()
        high = min(shape[0], low + step)
        first, last = max(0, low - 1), min(shape[0], high + 1)
        part, residual, around = w[:, :, low:high], room[:, :, : high - low], w[:, :, first:last]
        sampler.aim(part, low)
        sampler.take(u, residual).add_(part)
        for _ in range(3):
            slopes = [
                central_difference(around, axis, torch.empty_like(around))[:, :, low - first : high - first]
                for axis in range(len(shape))
            ]
            part -= _newton_step(residual, slopes)
            sampler.aim(part, low)
            sampler.take(u, residual).add_(part)
            found = torch.nonzero(residual[0].square().sum(0) > (0.9 * largest) ** 2)  # the sampler rounds
            if len(found) < _MANY * part[0, 0].numel():
                break
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
    inverse = SparseField(w)
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


def _from_neighbors(u: Tensor, inverse: SparseField, bad: Tensor, goal: Tensor) -> Tensor:
    """(ndim, n) of the points where the voxels next to ``bad`` come from, the one that lands nearest to ``goal``."""
    best, least = goal.clone(), torch.full_like(goal[0], math.inf)
    for axis in range(u.shape[1]):
        for by in (-1, 1):
            x = goal + inverse.moved(bad, axis, by)
            miss = _length(_miss(u, x, goal))
            best, least = torch.where(miss < least, x, best), torch.minimum(miss, least)
    return best


def _from_landings(u: Tensor, inverse: SparseField, bad: Tensor, goal: Tensor) -> Tensor:
    """(ndim, n) the voxels of the fixed grid that land nearest to ``bad``: all are sent forward."""
    shape = tuple(u.shape[2:])
    landing = torch.zeros(shape, dtype=torch.long, device=u.device)
    for axis, (n, stride) in enumerate(zip(shape, inverse.strides, strict=True)):
        own = torch.arange(n, device=u.device).view([n if a == axis else 1 for a in range(len(shape))])
        landing.add_((u[0, axis] + own).round_().clamp_(0, n - 1).long(), alpha=stride)
    wanted = torch.full((landing.numel(),), -1, dtype=torch.long, device=u.device)
    wanted[inverse.index(bad)] = torch.arange(len(bad), device=u.device)
    found = wanted[landing.flatten()]
    source = torch.nonzero(found >= 0)[:, 0]
    start = goal.clone()
    start[:, found[source]] = inverse.position(source).T.to(goal)
    return start


def _length(vectors: Tensor) -> Tensor:
    """(n,) of (ndim, n); ``norm`` along the first axis takes a hundred times as long."""
    return vectors.square().sum(0).sqrt_()


def _miss(u: Tensor, x: Tensor, goal: Tensor) -> Tensor:
    """By how much (ndim, n) the points ``x`` miss ``goal``: ``x + u(x) - goal``."""
    ndim = u.shape[1]
    return x + sample(u, x.reshape(1, ndim, -1, *[1] * (ndim - 1)))[0].reshape(ndim, -1) - goal


def _settle(
    u: Tensor, inverse: SparseField, bad: Tensor, goal: Tensor, tolerance: float, reporter: Reporter, rounds: int = 8
) -> tuple[Tensor, Tensor]:
    """As ``_newton``, for the voxels ``bad``, with the Jacobian of the inverse so far at the voxel all along.

    A round costs one look at ``u`` instead of seven, and a few are enough for most.
    """
    x = goal + inverse.flat[:, inverse.index(bad)]
    slopes = torch.stack([inverse.slope(bad, axis) for axis in range(u.shape[1])], 1)  # (component, axis, n)
    best, least = x.clone(), torch.full_like(x[0], math.inf)
    # Of those that are left: the best point so far, how far it misses, the step from it, how much of that is tried.
    left, start, error, step = torch.arange(len(bad), device=u.device), x, least, torch.zeros_like(x)
    length = torch.ones_like(least)
    for turn in range(rounds):
        reporter.check()
        r = _miss(u, x, goal)
        miss = _length(r)
        better = miss < error
        start, error = torch.where(better, x, start), torch.minimum(miss, error)
        best[:, left], least[left] = start, error
        missing = error >= tolerance
        if turn + 1 == rounds or not bool(missing.any()):
            break
        step = torch.where(better, r + (slopes * r[None]).sum(1), step)
        length = torch.where(better, length, 0.5 * length)
        keep = torch.nonzero(missing)[:, 0]
        left, error, length = left[keep], error[keep], length[keep]
        start, step, goal, slopes = start[:, keep], step[:, keep], goal[:, keep], slopes[..., keep]
        x = start - length * step
    return best, least


def _newton(
    u: Tensor, x: Tensor, goal: Tensor, tolerance: float, reporter: Reporter, rounds: int = 20
) -> tuple[Tensor, Tensor]:
    """Points x (ndim, n) with ``x + u(x) = goal`` from near ones, and how far (n,) each misses."""
    x, r = x.clone(), _miss(u, x, goal)
    length = torch.ones_like(x[:1])
    left = torch.nonzero(_length(r) >= tolerance)[:, 0]
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
        step = step / (_length(step) / 2).clamp_min(1)
        moved = here - length[:, left] * step
        error = _miss(u, moved, aim)
        better = (_length(error) < _length(r[:, left]))[None]
        x[:, left], r[:, left] = torch.where(better, moved, here), torch.where(better, error, r[:, left])
        length[:, left] = torch.where(better, (2 * length[:, left]).clamp_max(1), 0.5 * length[:, left])
        left = left[_length(r[:, left]) >= tolerance]
    return x, _length(r)


def _solve(j: Tensor, r: Tensor) -> Tensor:
    """x of ``j x = r`` for n small systems, by Cramer's rule: ``j`` (component, axis, n), ``r`` (component, n)."""
    det = determinant(j)
    det = torch.where(det.abs() < 1e-3, torch.full_like(det, 1e-3).copysign(det), det)
    out = []
    for axis in range(j.shape[1]):
        replaced = j.clone()
        replaced[:, axis] = r
        out.append(determinant(replaced) / det)
    return torch.stack(out)
