"""Local correlation: how well each voxel's features match those around the same place in the other image."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Shift = tuple[int, ...]
_SLAB = 150_000
"""Numbers of one image that all shifts are multiplied with before the next ones."""
_ROW = 32
"""The most voxels of a row that are multiplied with those of another one."""


def cube(ndim: int, radius: int) -> list[Shift]:
    """All shifts |d_c| <= radius, in the order of ``itertools.product``."""
    return list(itertools.product(range(-radius, radius + 1), repeat=ndim))


def star(ndim: int, radius: int) -> list[Shift]:
    """The shifts of ``cube`` along one axis only, and none, in its order."""
    return [shift for shift in cube(ndim, radius) if sum(map(bool, shift)) <= 1]


def local_correlation(a: Tensor, b: Tensor, shifts: Sequence[Shift], out: Tensor | None = None) -> Tensor:
    """Inner products of the features a(p) and b(p + d) for all ``shifts`` d.

    Args:
        a, b: (N, C, *S); beyond its border b is zero.
        shifts: in voxels.
        out: where to write the result, in any precision and order of memory; then nothing is differentiated.

    Returns:
        (N, len(shifts), *S); differentiable once.
    """
    if out is None:
        return _LocalCorrelation.apply(a, b, shifts)
    with torch.no_grad():
        return _correlate(a.contiguous(), _padded(b, shifts), shifts, out)


class _LocalCorrelation(torch.autograd.Function):
    """By shifted products.

    Written out by hand, as the graph of slices and sums, one a shift, that autograd would keep takes several times the
    time and memory of the products themselves.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, shifts: Sequence[Shift]) -> Tensor:
        a, padded = a.contiguous(), _padded(b, shifts)
        ctx.save_for_backward(a, padded)
        ctx.shifts = shifts
        return _correlate(a, padded, shifts, a.new_empty((a.shape[0], len(shifts), *a.shape[2:])))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        a, padded = ctx.saved_tensors
        # From a concatenation or a convolution it may come in any order of memory; a thousand passes want a plain one.
        shifts, gradient = ctx.shifts, gradients[0].contiguous()
        grad_a, grad_padded = torch.zeros_like(a), torch.zeros_like(padded)
        for item, low, high in _slabs(a):
            here, grad_here = a[item, :, low:high], grad_a[item, :, low:high]
            windows = _windows(padded[item], here.shape[1:], shifts, low)
            targets = _windows(grad_padded[item], here.shape[1:], shifts, low)
            for index, (window, target) in enumerate(zip(windows, targets, strict=True)):
                weight = gradient[item, index, low:high]
                grad_here.addcmul_(window, weight)
                target.addcmul_(here, weight)
        radius = _radius(shifts)
        inner = (slice(None), slice(None), *(slice(radius, radius + s) for s in a.shape[2:]))
        return grad_a, grad_padded[inner], None


def _radius(shifts: Sequence[Shift]) -> int:
    return max(abs(d) for shift in shifts for d in shift)


def _padded(b: Tensor, shifts: Sequence[Shift]) -> Tensor:
    return F.pad(b.contiguous(), [_radius(shifts)] * (2 * (b.ndim - 2)))


def _correlate(a: Tensor, padded: Tensor, shifts: Sequence[Shift], out: Tensor) -> Tensor:
    radius = _radius(shifts)
    if radius > 1 and a.device.type == "cpu" and list(shifts) == cube(a.ndim - 2, radius):
        return _correlate_rows(a, padded, radius, out)
    for item, low, high in _slabs(a):
        here = a[item, :, low:high]
        product = torch.empty_like(here)
        # Summed up in the cache: ``out`` may be large and in another order.
        sums = here.new_empty((out.shape[1], *here.shape[1:]))
        for index, window in enumerate(_windows(padded[item], here.shape[1:], shifts, low)):
            torch.mul(here, window, out=product)
            torch.sum(product, 0, out=sums[index])
        out[item, :, low:high] = sums
    return out


def _correlate_rows(a: Tensor, padded: Tensor, radius: int, out: Tensor) -> Tensor:
    """A cube of shifts: all products of two rows at once, of which the diagonals are wanted.

    Most of the products are for nothing, and yet a matrix product takes half the time of going over the rows for each
    shift.
    """
    if a.ndim == 4:  # one slice of a volume
        return _correlate_rows(a[:, :, None], padded[:, :, None], radius, out[:, :, None])[:, :, 0]
    depth, height, width = a.shape[2:]
    size = 2 * radius + 1
    slices = padded.shape[2] - depth + 1
    step = -(-width // -(-width // _ROW))
    for item, z, low in itertools.product(range(a.shape[0]), range(depth), range(0, width, step)):
        high = min(width, low + step)
        length, longer = high - low, high - low + 2 * radius
        here = a[item, :, z, :, low:high].permute(1, 2, 0)
        products = a.new_empty((height, length, longer))
        diagonals = products.as_strided((size, height, length), (1, length * longer, longer + 1))
        found = a.new_empty((slices, size, size, height, length))
        for dz, dy in itertools.product(range(slices), range(size)):
            there = padded[item, :, z + dz, dy : dy + height, low : low + longer].transpose(0, 1)
            torch.bmm(here, there, out=products)
            found[dz, dy] = diagonals
        out[item, :, z, :, low:high] = found.flatten(0, 2)
    return out


def _slabs(a: Tensor) -> Iterator[tuple[int, int, int]]:
    """(item, first row, last row + 1): pieces of (N, C, *S) that stay in the cache while all shifts go over them."""
    rows = max(1, _SLAB // max(1, a[0, :, 0].numel())) if a.device.type == "cpu" else a.shape[2]
    for item in range(a.shape[0]):
        for low in range(0, a.shape[2], rows):
            yield item, low, min(low + rows, a.shape[2])


def _windows(padded: Tensor, shape: torch.Size, shifts: Sequence[Shift], low: int) -> Iterator[Tensor]:
    """Views (C, *shape) of ``padded`` (C, *padded shape) from row ``low`` on, one a shift."""
    radius = _radius(shifts)
    for shift in shifts:
        first = (shift[0] + radius + low, *(d + radius for d in shift[1:]))
        yield padded[(slice(None), *(slice(d, d + s) for d, s in zip(first, shape, strict=True)))]
