"""The affine stage's measure: normalized mutual information of scattered points, for many candidates at once.

Points are scattered over both images; the fixed image's points look into the moving image and the other way round, and
both fill one joint histogram (so that swapping the images gives the inverse, and neither can shrink to a spot). A
sample shares its weight between the two nearest bins, and the histogram is then smoothed: a Parzen estimate whose
derivative with respect to each sample is a difference of two entries of a small table.

Coordinates are normalized: X = (x - fixed center) / radius, Y = (y - moving center) / radius, Y = A X + t.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..geometry.image import Grid
from .content import Content, block_factors, pool, pooled, scatter_points


@dataclass(frozen=True)
class Side:
    """One image at one level: what is sampled, and its own points.

    Attributes:
        codes: (*S) the nearest bin at each voxel; ``bins`` where there is nothing.
        table: (voxels, 2 + ndim) value in bins, weight, gradient of the value per normalized unit.
        to_index: (ndim, ndim + 1) normalized position to array index.
        points: (N, ndim) normalized positions.
        bins: (N,) histogram bin at each point.
        weight: (N,) weight of each point, 0 to 1.
    """

    codes: Tensor
    table: Tensor
    to_index: Tensor
    points: Tensor
    bins: Tensor
    weight: Tensor


def make_side(content: Content, center: np.ndarray, radius: float, spacing: float, count: int, bins: int) -> Side:
    """``content`` at about ``spacing`` mm with about ``count`` points."""
    factors = block_factors(content.grid, spacing)
    grid = pooled(content.grid, factors)
    weight, value = pool(content.weight, factors), pool(content.values * content.weight, factors)
    value = _filled(value, weight) * (bins - 1)
    to_index = _normalized_to_index(grid, center, radius)
    gradient = torch.cat([_derivative(value, d) for d in range(grid.ndim)], 1)
    gradient = torch.einsum("dc,nd...->nc...", to_index[:, :-1], gradient)
    table = torch.cat([value, weight, gradient], 1)[0].flatten(1).T.contiguous()
    codes = value[0, 0].round().clamp(0, bins - 1).masked_fill(weight[0, 0] < 0.3, bins)
    points = torch.from_numpy((scatter_points(content, count, seed=count) - center) / radius).float()
    index = to_index[:, :-1] @ points.T + to_index[:, -1:]
    found = look_up(table, codes.shape, index[None])[0]
    keep = found[1] > 0.05
    return Side(codes, table, to_index, points[keep], found[0, keep].round().long(), found[1, keep])


def _filled(weighted: Tensor, weight: Tensor) -> Tensor:
    """Weighted values divided by their weight; where there is none, what lies around, so that no edge appears there."""
    value = weighted / weight.clamp_min(1e-6)
    missing = weight < 0.02
    if bool(missing.any()):
        average = F.avg_pool2d if weight.ndim == 4 else F.avg_pool3d
        around, share = (average(x, 3, 1, 1) for x in (weighted, weight))
        mean = weighted.sum() / weight.sum().clamp_min(1e-6)
        value = torch.where(missing, torch.where(share > 1e-4, around / share.clamp_min(1e-4), mean), value)
    return value


def _normalized_to_index(grid: Grid, center: np.ndarray, radius: float) -> Tensor:
    inverse = grid.inverse_matrix[:-1]
    linear = inverse[:, :-1] * radius
    offset = inverse[:, :-1] @ center + inverse[:, -1]
    return torch.from_numpy(np.concatenate([linear, offset[:, None]], 1)).float()


def _derivative(x: Tensor, axis: int) -> Tensor:
    """Central differences per voxel along a spatial axis of (1, 1, *S); zero across the border."""
    n = x.shape[axis + 2]
    result = torch.zeros_like(x)
    if n > 2:
        inner = x.narrow(axis + 2, 2, n - 2) - x.narrow(axis + 2, 0, n - 2)
        result.narrow(axis + 2, 1, n - 2).copy_(inner).mul_(0.5)
    if n > 1:
        for edge, a, b in ((0, 1, 0), (n - 1, n - 1, n - 2)):
            result.select(axis + 2, edge).copy_(x.select(axis + 2, a) - x.select(axis + 2, b))
    return result


def look_up(table: Tensor, shape: Sequence[int], index: Tensor) -> Tensor:
    """``table`` (voxels of ``shape``, C) linearly at array indices (B, ndim, N): (B, C, N); zero outside.

    Up to half a voxel beyond the outermost centers counts as inside.
    """
    batch, ndim, count = index.shape
    index = index.transpose(0, 1).reshape(ndim, -1)
    cell = index.new_zeros(batch * count, dtype=torch.long)
    inside: Tensor | None = None
    corners, weights = torch.zeros(1, dtype=torch.long), None
    for x, n in zip(index, shape, strict=True):
        near = (x >= -0.5) & (x <= n - 0.5)
        inside = near if inside is None else inside & near
        x = x.clamp(0, n - 1)
        low = x.floor().clamp_(max=max(0, n - 2))
        cell = cell * n + low.long()
        step = torch.arange(2 if n > 1 else 1)
        corners = (corners[:, None] * n + step).flatten()
        part = (x - low)[:, None] if n > 1 else None
        if part is not None:
            weights = torch.cat([1 - part, part], 1) if weights is None else _products(weights, part)
    assert inside is not None
    weights = torch.ones(len(cell), 1) if weights is None else weights
    found = F.embedding_bag(
        cell[:, None] + corners, table, per_sample_weights=weights.mul_(inside[:, None]), mode="sum"
    )
    return found.view(batch, count, -1).transpose(1, 2).contiguous()


def _products(weights: Tensor, part: Tensor) -> Tensor:
    """(M, 2 K) of the weights (M, K) of corners: 1 - ``part`` and ``part`` of each."""
    right = weights * part
    return torch.stack([weights - right, right], 2).flatten(1)


@dataclass(frozen=True)
class Evaluation:
    """For B candidates: the loss, its gradient and the Gauss-Newton matrix of A|t.

    Attributes:
        loss: (B,) see ``JointMeasure``.
        gradient: (B, ndim * (ndim + 1)) with respect to the rows of A|t.
        curvature: (B, ndim * (ndim + 1), ndim * (ndim + 1)) positive semidefinite.
    """

    loss: Tensor
    gradient: Tensor
    curvature: Tensor


@dataclass(frozen=True)
class _Samples:
    """The points of one side for B candidates.

    A sample's value lies between ``cell`` and ``cell + stride`` of the table. What an entry (i, j) of A|t does to it is
    ``slope`` i times ``lever`` j.

    Attributes:
        cell, weight: (B, N).
        slope: (B, ndim, N); lever: (B or 1, ndim + 1, N).
    """

    cell: Tensor
    stride: int
    own_bins: Tensor
    weight: Tensor
    slope: Tensor
    lever: Tensor


@dataclass(frozen=True)
class _Rough:
    """One image's points and the other's voxels, for ``JointMeasure.rough_losses``.

    Attributes:
        points: (N, ndim + 1) homogeneous normalized positions.
        rows: (N,) where each point's row of the joint histogram begins.
        share: the weight of one point.
        codes: the other image's bin at each voxel, with a rim that is outside, flat, int32.
        strides: (ndim,) of ``codes``.
        last: (ndim,) the largest index.
        to_index: the other image's.
    """

    points: Tensor
    rows: Tensor
    share: float
    codes: Tensor
    strides: Tensor
    last: Tensor
    to_index: Tensor

    @classmethod
    def of(cls, own: Side, other: Side, bins: int) -> _Rough:
        code = F.pad(other.codes, (1, 1) * other.codes.ndim, value=bins)
        size = code.new_tensor(code.shape)
        strides = torch.tensor(code.stride(), dtype=torch.float32)
        points = torch.cat([own.points, torch.ones(len(own.points), 1)], 1)
        share = float(own.weight.sum()) / max(1, len(points))
        return cls(points, own.bins * (bins + 1), share, code.int().flatten(), strides, size - 1, other.to_index)


def _curvature(slope: Tensor, lever: Tensor, stiffness: Tensor) -> Tensor:
    """(B, P, P) sum over the samples of ``stiffness`` (B, N) times J J', where J is ``slope`` x ``lever``, flat.

    Of the products of two slopes, and of two levers, only those that differ are made: 60 sums in place of 144 in 3-D.
    """
    (slopes, i), (levers, j) = _squares(slope), _squares(lever)
    sums = slopes.mul_(stiffness[:, None]) @ levers.transpose(1, 2)
    return sums[:, i[:, None, :, None], j[None, :, None, :]].flatten(3).flatten(1, 2)


def _squares(x: Tensor) -> tuple[Tensor, Tensor]:
    """The products (B, n (n + 1) / 2, N) of two rows of ``x`` (B, n, N), and which of them belongs to two (n, n)."""
    n = x.shape[1]
    pairs = [(a, b) for a in range(n) for b in range(a, n)]
    out = x.new_empty(len(x), len(pairs), x.shape[2])
    where = torch.empty(n, n, dtype=torch.long)
    for number, (a, b) in enumerate(pairs):
        torch.mul(x[:, a], x[:, b], out=out[:, number])
        where[a, b] = where[b, a] = number
    return out, where


class JointMeasure:
    """Both images at one level, compared through matrices A|t (B, ndim, ndim + 1).

    The loss is minus (NMI - 1) times the overlap, -1 to 0: NMI alone likes a small overlap that happens to agree.
    """

    def __init__(self, fixed: Side, moving: Side, bins: int) -> None:
        self.fixed, self.moving, self.bins = fixed, moving, bins
        kernel = torch.zeros(bins, bins)
        for offset, share in ((-1, 0.25), (0, 0.5), (1, 0.25)):
            rows = torch.arange(bins)
            kernel.index_put_((rows, (rows + offset).clamp(0, bins - 1)), torch.tensor(share), accumulate=True)
        self._kernel = kernel
        self._rough: list[_Rough] = []
        self._possible = (float(fixed.weight.sum()), float(moving.weight.sum()))

    def losses(self, matrices: Tensor, chunk: int = 2**18) -> Tensor:
        """(B,) losses only, in pieces that keep memory small."""
        count = max(1, chunk // max(len(self.fixed.points), len(self.moving.points)))
        return torch.cat([self._loss(self._fill(part, False)[0])[0] for part in matrices.split(count)])

    def rough_losses(self, matrices: Tensor, chunk: int = 2**17) -> Tensor:
        """(B,) losses from the nearest voxels and whole points, several times as fast; for an exhaustive search."""
        if not self._rough:
            self._rough = [_Rough.of(own, other, self.bins) for own, other in self._sides()]
        count = max(1, chunk // max(len(x.points) for x in self._rough))
        return torch.cat([self._loss(self._fill_roughly(part))[0] for part in matrices.split(count)])

    def _sides(self) -> tuple[tuple[Side, Side], tuple[Side, Side]]:
        return (self.fixed, self.moving), (self.moving, self.fixed)

    def _fill_roughly(self, matrices: Tensor) -> Tensor:
        """Joint histograms as of ``_fill``."""
        size = self.bins + 1  # the last bin is outside
        batch = len(matrices)
        linear, shift = matrices[..., :-1], matrices[..., -1:]
        inverse = torch.linalg.inv_ex(linear)[0]
        tables = []
        for side, (a, t) in enumerate(((linear, shift), (inverse, -inverse @ shift))):
            rough = self._rough[side]
            to_index = rough.to_index[:, :-1] @ torch.cat([a, t], 2)
            to_index[..., -1] += rough.to_index[:, -1]
            index = torch.nan_to_num(rough.points @ to_index.transpose(1, 2), -1)
            index = index.add_(1.5).clamp_(min=0).minimum(rough.last).floor_()  # by 1: the rim is outside
            cell = rough.codes[(index @ rough.strides).long()] + rough.rows
            cell += (torch.arange(batch) * size * size)[:, None]
            table = torch.bincount(cell.flatten(), minlength=batch * size * size).view(batch, size, size)
            table = table[:, : self.bins, : self.bins].float()
            tables.append((table if side == 0 else table.transpose(1, 2)) * rough.share)
        return torch.stack(tables, 1)

    def evaluate(self, matrices: Tensor) -> Evaluation:
        """Losses with derivatives (the overlap's and the weights' own are left out)."""
        table, samples = self._fill(matrices, True)
        table.requires_grad_(True)
        with torch.enable_grad():
            loss, spread = self._loss(table)
            (slope,) = torch.autograd.grad(loss.sum(), table)
        size = matrices[0].numel()
        gradient = matrices.new_zeros(len(matrices), size)
        curvature = matrices.new_zeros(len(matrices), size, size)
        scale = 1 / table.detach().sum((1, 2, 3)).clamp_min(1e-6)
        for side, x in enumerate(samples):
            flat = slope[:, side].flatten(1)
            force = (flat[:, x.stride :] - flat[:, : -x.stride]).gather(1, x.cell) * x.weight
            stiffness = x.weight * (scale[:, None] / spread[side]).index_select(1, x.own_bins)
            gradient += ((x.slope * force[:, None]) @ x.lever.transpose(1, 2)).flatten(1)
            curvature += _curvature(x.slope, x.lever, stiffness)
        return Evaluation(loss.detach(), gradient, curvature)

    def _fill(self, matrices: Tensor, derivatives: bool) -> tuple[Tensor, list[_Samples]]:
        """Joint histograms (B, 2 sides, bins of fixed, bins of moving), and each sample's part in the derivatives."""
        linear, shift = matrices[..., :-1], matrices[..., -1]
        inverse = torch.linalg.inv_ex(linear)[0]
        batch, bins = len(matrices), self.bins
        table = matrices.new_zeros(batch, 2, bins * bins)
        samples: list[_Samples] = []
        for side, (own, other) in enumerate(self._sides()):
            points = own.points.T
            there = linear @ points + shift[..., None] if side == 0 else inverse @ (points - shift[..., None])
            there = torch.nan_to_num_(there, 1e6)  # a singular matrix sends everything outside
            index = other.to_index[:, :-1] @ there + other.to_index[:, -1:]
            found = look_up(other.table if derivatives else other.table[:, :2], other.codes.shape, index)
            weight = found[:, 1] * own.weight
            low = found[:, 0].clamp(0, bins - 1.001)
            part = low.floor()
            share = (low - part) * weight
            # Rows are the fixed image's bins whichever side the sample comes from.
            stride = 1 if side == 0 else bins
            cell = part.long() * stride + own.bins * (bins if side == 0 else 1)
            table[:, side].scatter_add_(1, cell, weight - share)
            table[:, side].scatter_add_(1, cell + stride, share)
            if derivatives:
                slope, at = found[:, 2:], points[None]
                if side == 1:  # X = A^-1 (Y - t), so dX = -A^-1 (dA X + dt)
                    slope, at = -inverse.transpose(1, 2) @ slope, there
                lever = torch.cat([at, torch.ones_like(at[:, :1])], 1)
                samples.append(_Samples(cell, stride, own.bins, weight, slope, lever))
        return table.view(batch, 2, bins, bins), samples

    def _loss(self, table: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(B,) losses, and the variance of one image given each bin of the other, (B, bins) for either side."""
        joint = self._kernel.T @ table.sum(1) @ self._kernel
        total = joint.sum((1, 2), keepdim=True).clamp_min(1e-6)
        p = joint / total
        entropy = [-(q * (q + 1e-9).log()).flatten(1).sum(1) for q in (p.sum(2), p.sum(1), p)]
        shared = (entropy[0] + entropy[1]) / entropy[2].clamp_min(1e-3) - 1
        overlap = torch.stack([table[:, s].sum((1, 2)) / max(self._possible[s], 1e-6) for s in (0, 1)]).amax(0)
        loss = -shared * overlap.detach()
        return loss, self._spread(p, entropy[2])

    def _spread(self, p: Tensor, joint_entropy: Tensor) -> tuple[Tensor, Tensor]:
        """The variances of ``_loss`` of the joint probability ``p`` (B, bins, bins)."""
        with torch.no_grad():
            value = torch.arange(self.bins, dtype=p.dtype)
            factor = joint_entropy.clamp_min(0.1)[:, None]
            spread = []
            for q in (p, p.transpose(1, 2)):
                mass = q.sum(2).clamp_min(1e-9)
                mean = q @ value / mass
                spread.append(((q @ value.square()) / mass - mean.square()).clamp_min(0.5) * factor)
        return spread[0], spread[1]
