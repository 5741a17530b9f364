"""Large motions: every point of a coarse grid looks far around for what resembles it, and neighbors agree on it.

Between the affine stage, which moves all as one, and the refinement, which sees a few voxels far. MIND descriptors,
which are the same in every contrast, are compared over a wide window of displacements; of the costs the field is found
by turns: each point takes the displacement that is cheapest together with staying near the smooth field, the smooth
field is the local mean of what the points took, and staying near it costs more each time (Heinrich 2014,
"Non-parametric discrete registration with convex optimisation"; Siebert 2021, "ConvexAdam"). All of it there and back,
so that the two fields can be made consistent.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..fields import compose, resize, resize_image, smooth, warp
from ..similarity.cropped_mind import cropped_mind, principal_channels
from .forces import structure_mask

ROUNDS = {2: ((20, 6), (40, 4)), 3: ((12, 4), (20, 2), (30, 2))}
"""Of a round, in 2-D and 3-D: about how many points along the mean side, and how many of their steps it sees far."""
COUPLINGS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""What a squared step away from the smooth field costs, in units of what the best displacement typically saves."""
STEP_COST = 0.003
"""What a squared step costs by itself: where nothing is to be seen nothing moves."""
CHANNELS = 6


def far_fields(
    fixed: Tensor,
    moving: Tensor,
    spacing: Sequence[float],
    fixed_mask: Tensor | None = None,
    moving_mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The fields there and back, (1, ndim, *S) in voxels.

    Args:
        fixed, moving: (1, 1, *S) normalized, coarse (the finest detail that is to guide).
        spacing: along each array axis; only the proportions matter.
        fixed_mask, moving_mask: (1, 1, *S); what is 0 is not known.
    """
    shape = tuple(fixed.shape[2:])
    features = principal_channels(cropped_mind(fixed, 1, 2), cropped_mind(moving, 1, 2), CHANNELS)
    known = [
        torch.ones_like(x) if mask is None else (mask > 0.5).to(x)
        for x, mask in ((fixed, fixed_mask), (moving, moving_mask))
    ]
    votes = structure_mask(fixed, fixed) * known[0], structure_mask(moving, moving) * known[1]
    there, back = (fixed.new_zeros(1, len(shape), *shape) for _ in range(2))
    for points, reach in ROUNDS[len(shape)]:
        extent = [n * s for n, s in zip(shape, spacing, strict=True)]
        step = sum(extent) / len(extent) / points
        grid = tuple(min(n, max(4, round(e / step))) for n, e in zip(shape, extent, strict=True))
        lengths = [e / n / step for e, n in zip(extent, grid, strict=True)]
        one = _search(features[0], features[1], known[1], votes[0], there, grid, lengths, reach)
        other = _search(features[1], features[0], known[0], votes[1], back, grid, lengths, reach)
        there, back = _consistent(one, other, shape)
    return there, back


def _search(
    fixed: Tensor,
    moving: Tensor,
    known: Tensor,
    votes: Tensor,
    start: Tensor,
    grid: tuple[int, ...],
    lengths: Sequence[float],
    reach: int,
) -> Tensor:
    """The field on ``grid``, in its steps, after ``start``: what one round adds is composed with it.

    ``lengths``: of a step along each axis, relative to one another.
    """
    ndim = len(grid)
    warped = warp(moving, start) if bool(start.any()) else moving
    inside = warp(known, start) if bool(start.any()) else known
    f, m, k, w = (resize_image(x, grid) for x in (fixed, warped, inside, votes))
    reaches = [min(max(1, round(reach / s)), (n - 1) // 2) for n, s in zip(grid, lengths, strict=True)]
    moves = torch.stack(
        torch.meshgrid(*[torch.arange(-r, r + 1, device=f.device, dtype=f.dtype) for r in reaches], indexing="ij"), -1
    ).reshape(-1, ndim)
    cost = _costs(f, m, k, reaches, moves)
    weight = w.flatten() + 1e-3
    spread = cost.mean(1) - cost.amin(1)
    scale = float((spread * weight).sum() / weight.sum())
    cost /= max(scale, 1e-12)
    far = moves * moves.new_tensor(lengths)
    cost += STEP_COST * far.square().sum(1)
    d = _couple(cost, far, w, grid)
    d /= d.new_tensor(lengths).view(1, ndim, *[1] * ndim)
    return compose(resize(start, grid), d) if bool(start.any()) else d


def _costs(f: Tensor, m: Tensor, known: Tensor, reaches: Sequence[int], moves: Tensor) -> Tensor:
    """(points, displacements) squared difference of the descriptors, a little smoothed over the points.

    A place outside of what is known of the moving image costs what a place does on average: it is neither sought nor
    shunned.
    """
    ndim, shape = f.ndim - 2, f.shape[2:]
    edges = [r for r in reversed(reaches) for _ in range(2)]
    all_known = bool((known > 0.999).all())
    padded, seen = F.pad(m, edges, mode="replicate")[0], F.pad(known, edges, mode="replicate")[0, 0]
    cost = f.new_empty(1, len(moves), *shape)
    there = f.new_empty(0) if all_known else torch.empty_like(cost)
    own, difference = f[0], torch.empty_like(f[0])
    for number, (move, sums) in enumerate(zip(moves.int().tolist(), cost[0], strict=True)):
        at: tuple[slice, ...] = tuple(slice(r + d, r + d + n) for r, d, n in zip(reaches, move, shape, strict=True))
        torch.sub(own, padded[(slice(None), *at)], out=difference).square_()
        torch.sum(difference, 0, out=sums)
        if not all_known:
            there[0, number] = seen[at]
    pool = F.avg_pool2d if ndim == 2 else F.avg_pool3d
    width = [3 if n >= 3 else 1 for n in shape]
    cost = pool(cost, width, 1, [w // 2 for w in width], count_include_pad=False).flatten(2)[0].T.contiguous()
    if all_known:
        return cost
    there = there.flatten(2)[0].T.contiguous()
    usual = (cost * there).sum(1, keepdim=True) / there.sum(1, keepdim=True).clamp_min(1e-3)
    return torch.lerp(usual, cost, there)


def _couple(cost: Tensor, moves: Tensor, votes: Tensor, grid: tuple[int, ...]) -> Tensor:
    """(1, ndim, *grid) in steps: by turns the cheapest displacement near the smooth field, and its local mean."""
    ndim = len(grid)
    weight = votes + 1e-2
    total = _blur(weight)
    squares = moves.square().sum(1)
    d = torch.zeros(1, ndim, *grid, device=cost.device, dtype=cost.dtype)
    for number, coupling in enumerate((0.0, *COUPLINGS)):
        if number == 0:
            best = cost.argmin(1)
        else:
            s = d[0].reshape(ndim, -1).T
            best = torch.addmm(cost + coupling * squares, s, moves.T, alpha=-2 * coupling).argmin(1)
        taken = moves[best].T.reshape(1, ndim, *grid)
        d = _blur(taken * weight) / total
    return d


def _blur(x: Tensor) -> Tensor:
    return smooth(x, 0.8)


def _consistent(there: Tensor, back: Tensor, shape: Sequence[int], rounds: int = 10) -> tuple[Tensor, Tensor]:
    """Both fields moved half way towards the other's inverse, again and again; on ``shape``."""
    for _ in range(rounds):
        one, other = there.clone(), back.clone()
        there = 0.5 * (one - warp(other, one))
        back = 0.5 * (other - warp(one, other))
    return resize(there, shape), resize(back, shape)
