"""The few operations a refinement step is made of, in preallocated memory: filter, sample, differentiate, advect.

On a CPU these are ruled by memory traffic. Measured on two cores, three channels of 80x96x112: a separable filter as
banded matrix products takes 4 ms (grouped convolution 21 ms, pooling 57 ms), as the product is a tuned GEMM; reusing
buffers keeps large volumes from being mapped, faulted in and unmapped at every step.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_BLOCKS = (16, 36, 32)
"""Rows of a band matrix that are multiplied at once along the first axis, the axes between and the last: what is
fastest. It also keeps the cost linear in the number of voxels."""
_LARGE = 1 << 20
"""From so many voxels on channels are filtered one by one: what lies between two products stays near the processor."""
_KEPT_LENGTH = 160
"""Voxels of an axis whose band matrices are kept for the next filter: they are the same in every image of that size."""

Bound = Callable[[], Any]
"""An operation on memory that was cut beforehand: on small images the cutting costs as much as the arithmetic."""


def box_weights(width: int) -> Tensor:
    """(width,) ones: the filter then sums over the window."""
    return torch.ones(width)


@lru_cache(64)
def gaussian_weights(sigma: float) -> Tensor:
    """(2 r + 1,) a Gaussian of ``sigma`` voxels integrated over each voxel, sum 1; not to be written to.

    Integrated rather than sampled, so that a sigma well below one voxel still means what it says.
    """
    radius = max(1, int(3 * sigma + 0.5))
    edges = torch.arange(-radius, radius + 2, dtype=torch.float64) - 0.5
    weights = torch.erf(edges / (sigma * 2**0.5)).diff()
    return (weights / weights.sum()).float()


def _band(n: int, kernel: tuple[float, ...], border: str, stride: int) -> Tensor:
    """(ceil(n / stride), n) float64: the filter along an axis of ``n`` voxels as a matrix."""
    radius = len(kernel) // 2
    offset = torch.arange(0, n, stride)[:, None] - torch.arange(n)[None, :]
    matrix = torch.tensor(kernel, dtype=torch.float64)[(offset + radius).clamp(0, 2 * radius)]
    matrix = matrix * (offset.abs() <= radius)
    return matrix / matrix.sum(1, keepdim=True) if border == "mean" else matrix


@lru_cache(128)
def _kept_band(n: int, kernel: tuple[float, ...], border: str, stride: int) -> Tensor:
    return _band(n, kernel, border, stride).float()


class _Band(NamedTuple):
    """One axis of a filter: ``matrix`` (rows, columns), whose row k is centered on column k * down / up."""

    matrix: Tensor
    radius: int
    down: int = 1
    up: int = 1

    def reach(self, low: int, high: int) -> tuple[int, int]:
        """The columns, first and last + 1, that rows ``low`` to ``high`` - 1 see."""
        first = -((self.radius - low * self.down) // self.up)
        last = ((high - 1) * self.down + self.radius) // self.up + 1
        return max(0, first), min(self.matrix.shape[1], last)


class BandFilter:
    """A separable filter over (1, C, *shape) by products with banded matrices.

    Args:
        weights: an odd, symmetric kernel for each spatial axis; None leaves that axis alone.
        border: "zero" (nothing outside: self-adjoint) or "mean" (weights renormalized to sum 1 at the border).
        strides: on each axis, every how manieth voxel is wanted, from the first on (1 where nothing filters).

    Attributes:
        shape, wanted: of what comes in, and of what comes out.
    """

    def __init__(
        self,
        shape: Sequence[int],
        weights: Sequence[Tensor | None],
        border: str = "zero",
        strides: Sequence[int] | None = None,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.shape = tuple(shape)
        self._bands: list[_Band | None] = []
        for n, kernel, stride in zip(self.shape, weights, strides or [1] * len(self.shape), strict=True):
            if kernel is None or n == 1:
                self._bands.append(None)
                continue
            kept = n <= _KEPT_LENGTH and dtype == torch.float32
            matrix = (_kept_band if kept else _band)(n, tuple(kernel.tolist()), border, stride)
            self._bands.append(_Band(matrix.to(device=device, dtype=dtype), len(kernel) // 2, down=stride))
        self.wanted = tuple(
            n if band is None else band.matrix.shape[0] for n, band in zip(self.shape, self._bands, strict=True)
        )

    def adjoint(self) -> BandFilter:
        """The transposed filter; another one with border "mean" or strides only."""
        other = copy.copy(self)
        other.shape, other.wanted = self.wanted, self.shape
        other._bands = [
            band and _Band(band.matrix.T.contiguous(), band.radius, band.up, band.down) for band in self._bands
        ]
        return other

    def __call__(self, x: Tensor, out: Tensor, scratch: Tensor) -> Tensor:
        """``x`` (1, C, *shape) filtered into ``out`` (1, C, *wanted); both and ``scratch``, which is as large as the
        larger of the two, are contiguous and distinct."""
        self.bound(x, out, scratch)()
        return out

    def bound(self, x: Tensor, out: Tensor, scratch: Tensor) -> Bound:
        """``__call__`` on these, to be done again and again."""
        axes = [axis for axis, band in enumerate(self._bands) if band is not None]
        if not axes:
            return partial(out.copy_, x)
        channels = x.shape[1]
        if channels > 1 and max(x[0, 0].numel(), out[0, 0].numel()) > _LARGE:
            each = [self.bound(x[:, c : c + 1], out[:, c : c + 1], scratch[:, :1]) for c in range(channels)]
            return partial(in_turn, each)
        if self.shape != self.wanted:
            return self._bound_between(axes, x, out, scratch)
        steps: list[Bound] = []
        source = x
        for done, axis in enumerate(axes):
            # The last product must land in ``out``; ``x`` itself is never written.
            target = out if (len(axes) - done) % 2 else scratch
            band = self._bands[axis]
            assert band is not None
            steps += _products(source, axis, band, target)
            source = target
        return partial(in_turn, steps)

    def _bound_between(self, axes: Sequence[int], x: Tensor, out: Tensor, scratch: Tensor) -> Bound:
        """Between grids of two sizes: one product alone sees the larger one."""
        axes = sorted(axes, key=lambda axis: self.wanted[axis] / self.shape[axis])
        steps: list[Bound] = []
        source, room = x, scratch.view(-1)
        for axis in axes:
            band = self._bands[axis]
            assert band is not None
            shape = list(source.shape)
            shape[axis + 2] = self.wanted[axis]
            size = math.prod(shape)
            if axis == axes[-1]:
                target = out
            elif size > len(room):
                target = out.new_empty(shape)
            else:
                target, room = room[:size].view(shape), room[size:]
            steps += _products(source, axis, band, target)
            source = target
        return partial(in_turn, steps)


def in_turn(steps: Sequence[Bound]) -> None:
    """Do one after the other."""
    for step in steps:
        step()


def _products(x: Tensor, axis: int, band: _Band, out: Tensor) -> list[Bound]:
    """What filters ``x`` along ``axis`` into ``out``."""
    n, after = band.matrix.shape[0], math.prod(x.shape[axis + 3 :])
    step = -(-n // max(1, round(n / _BLOCKS[2 if after == 1 else min(axis, 1)])))
    if after == 1:  # of 28 columns a product takes half as long again as of 32
        step = -(-step // 8) * 8
    source, target = (
        t.view(-1, t.shape[axis + 2]) if after == 1 else t.view(-1, t.shape[axis + 2], after) for t in (x, out)
    )
    steps: list[Bound] = []
    for low in range(0, n, step):
        high = min(n, low + step)
        first, last = band.reach(low, high)
        part, here, onto = band.matrix[low:high, first:last], source[:, first:last], target[:, low:high]
        if after == 1:
            steps.append(partial(torch.mm, here, part.T, out=onto))
            continue
        part = part.expand(len(here), -1, -1)
        if axis == 0 or high - low == n:
            steps.append(partial(torch.bmm, part, here, out=onto))
        else:  # a product of many matrices uses one thread if its result has gaps
            steps.append(partial(_multiply, part, here, onto))
    return steps


def _multiply(part: Tensor, here: Tensor, onto: Tensor) -> None:
    onto.copy_(torch.bmm(part, here))


class Sampler:
    """Linear interpolation of images on one grid at displaced voxels, in parallel and in small pieces.

    ``grid_sample`` uses one CPU thread per batch item, and large results cost more in page faults than in arithmetic:
    the grid is cut along its first axis into as many items as there are threads, in several rounds if it is large.
    Only in 2-D is it vectorized there. So a volume on the CPU is seen as one tall image, its slices below each other,
    and the two slices next to a point are mixed: a third of the time. Positions are rounded to the precision of float32
    at the tall image's height, 0.004 voxels in a head.

    Args:
        shape: of the images.
        rows: the most rows that are aimed at in one go; all if None.
        exact: no such rounding, three times as slow.

    Attributes:
        points: (1, ndim, rows, *shape[1:]) what is aimed at; once all is taken, others may write there until the next
            ``aim``.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        rows: int | None = None,
        exact: bool = False,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.shape = tuple(shape)
        self.ndim = len(self.shape)
        rows = self.shape[0] if rows is None else min(rows, self.shape[0])
        self.points = torch.empty((1, self.ndim, rows, *self.shape[1:]), device=device, dtype=dtype)
        self._tall = not exact and self.ndim == 3 and self.points.device.type == "cpu" and self.shape[0] > 1
        self._base = []
        for axis, n in enumerate(self.shape):
            view = [1] * self.ndim
            view[axis] = n
            self._base.append(torch.arange(n, device=device, dtype=dtype).view(view))
        self._aimed = rows

    def aim(self, u: Tensor, first: int = 0) -> None:
        """Point at ``p + u(p)``; ``u`` (1, ndim, rows, *shape[1:]) in voxels begins at row ``first``."""
        self.aiming(u, first)()

    def aiming(self, u: Tensor, first: int = 0) -> Bound:
        """``aim`` at ``u``, whatever it holds by then, to be done again and again; no other rows may be aimed at."""
        self._aimed = u.shape[2]
        target = self.points[0, :, : self._aimed].unbind()[::-1]  # grid_sample wants the last axis first
        base = [self._base[0][first : first + self._aimed], *self._base[1:]]
        sums = [partial(torch.add, here, part, out=at) for here, part, at in zip(base, u[0], target, strict=True)]
        return partial(self._aim_tall if self._tall else self._aim, sums, target)

    def _aim(self, sums: Sequence[Bound], target: Sequence[Tensor]) -> None:
        for add, at, n in zip(sums, target, self.shape, strict=True):
            add()
            _normalize(at, n)

    def _aim_tall(self, sums: Sequence[Bound], target: Sequence[Tensor]) -> None:
        in_turn(sums)
        z, y, x = target  # the share of the lower slice takes the place of z
        depth, height, width = self.shape
        slices = z.clamp_(0, depth - 1).floor().clamp_(max=depth - 2)
        z.sub_(slices)
        # Rounding must not lead over a slice's border to the other end of the next one.
        edge = depth * height * 2.0**-22 if height > 1 else 0.0
        _normalize(y.clamp_(edge, height - 1 - edge).add_(slices, alpha=height), (depth - 1) * height)
        _normalize(x, width)

    def take(self, image: Tensor, out: Tensor) -> Tensor:
        """``image`` (1, C, *shape) at the points aimed at, into ``out`` (1, C, rows, *shape[1:]), not ``image``.

        Beyond its border the image goes on as it ends there.
        """
        self.taking(image, out)()
        return out

    def taking(self, image: Tensor, out: Tensor) -> Bound:
        """``take``, to be done again and again wherever it is aimed then; ``image`` stays as it is."""
        threads = torch.get_num_threads() if self.points.device.type == "cpu" else 1
        block = (1 << 19) // max(1, self.points[0, 0, 0].numel()) if self.points.device.type == "cpu" else self._aimed
        block = max(threads, block // threads * threads)
        steps: list[Bound] = []
        low = 0
        while low < self._aimed:
            size = min(block, self._aimed - low)
            items = threads if size >= threads else 1
            size -= size % items
            grid, target = (
                x.narrow(1, low, size).unflatten(1, (items, size // items)).movedim(1, 0)
                for x in (self.points[0], out[0])
            )
            source = image.expand(items, *image.shape[1:])
            if self._tall:
                steps.append(self._taking_tall(source, grid, target))
            else:
                steps.append(partial(_take, source, grid.movedim(1, -1), target))
            low += size
        return steps[0] if len(steps) == 1 else partial(in_turn, steps)

    def _taking_tall(self, image: Tensor, points: Tensor, target: Tensor) -> Bound:
        """``image`` (items, C, *shape), ``points`` (items, 3, rows, height, width), ``target`` (items, C, ...)."""
        items, channels = target.shape[:2]
        height, width = self.shape[1:]
        parts = [x.reshape(items, channels, -1, width) for x in (image[:, :, :-1], image[:, :, 1:])]
        grid = points[:, :2].view(items, 2, -1, width).movedim(1, -1)
        shape = (items, channels, -1, height, width)
        return partial(_take_tall, parts, grid, points[:, 2:], shape, target)


def _take_tall(parts: list[Tensor], grid: Tensor, share: Tensor, shape: tuple[int, ...], target: Tensor) -> None:
    upper, lower = (F.grid_sample(part, grid, "bilinear", "border", align_corners=True).view(shape) for part in parts)
    torch.lerp(upper, lower, share, out=target)


def _take(image: Tensor, grid: Tensor, target: Tensor) -> None:
    target.copy_(F.grid_sample(image, grid, "bilinear", "border", align_corners=True))


def _normalize(position: Tensor, n: int) -> None:
    """Voxels to -1 to 1, in place; an axis of one voxel has no extent: every position is inside."""
    if n > 1:
        position.mul_(2 / (n - 1)).sub_(1)


def central_difference(x: Tensor, axis: int, out: Tensor) -> Tensor:
    """Half the difference of the two neighbors along spatial ``axis`` of (1, C, *S), into ``out``; 0 at the border."""
    differencing(x, axis, out)()
    return out


def differencing(x: Tensor, axis: int, out: Tensor) -> Bound:
    """``central_difference`` on these, to be done again and again."""
    dim, n = axis + 2, x.shape[axis + 2]
    if n < 3:
        return out.zero_
    border = out[(slice(None),) * dim + (slice(None, None, n - 1),)]
    return partial(_difference, x.narrow(dim, 2, n - 2), x.narrow(dim, 0, n - 2), out.narrow(dim, 1, n - 2), border)


def _difference(ahead: Tensor, behind: Tensor, inner: Tensor, border: Tensor) -> None:
    border.zero_()
    torch.sub(ahead, behind, out=inner).mul_(0.5)


def central_difference_adjoint(x: Tensor, axis: int, out: Tensor) -> Tensor:
    """The transpose of ``central_difference``, added to ``out``."""
    dim, n = axis + 2, x.shape[axis + 2]
    if n < 3:
        return out
    inner = x.narrow(dim, 1, n - 2)
    out.narrow(dim, 2, n - 2).add_(inner, alpha=0.5)
    out.narrow(dim, 0, n - 2).sub_(inner, alpha=0.5)
    return out
