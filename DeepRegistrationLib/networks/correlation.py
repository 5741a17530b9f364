"""Local correlation: how well each voxel's features match those around the same place in the other image."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Shift = tuple[int, ...]
_SLAB = 150_000
"""Numbers of one image, for each thread, that all shifts are multiplied with before the next ones."""
_ROW = 32
"""The most voxels of a row that are multiplied with those of another one."""


def cube(ndim: int, radius: int) -> list[Shift]:
    """All shifts |d_c| <= radius, in the order of ``itertools.product``."""
    return list(itertools.product(range(-radius, radius + 1), repeat=ndim))


def star(ndim: int, radius: int) -> list[Shift]:
    """The shifts of ``cube`` along one axis only, and none, in its order."""
    return [shift for shift in cube(ndim, radius) if sum(map(bool, shift)) <= 1]


def reach(shifts: Sequence[Shift]) -> int:
    """The longest way along an axis, in voxels."""
    return max(abs(d) for shift in shifts for d in shift)


def bordered(x: Tensor, shifts: Sequence[Shift]) -> Tensor:
    """(N, C, *S) -> (N, C, *(S + 2 r)), zeros all around as far as the shifts lead, r = ``reach(shifts)``."""
    return F.pad(x, [reach(shifts)] * (2 * (x.ndim - 2)))


def inside(x: Tensor, shifts: Sequence[Shift]) -> Tensor:
    """What ``bordered`` put its zeros around: a view."""
    radius = reach(shifts)
    for axis in range(2, x.ndim):
        x = x.narrow(axis, radius, x.shape[axis] - 2 * radius)
    return x


def local_correlation(a: Tensor, b: Tensor, shifts: Sequence[Shift], out: Tensor | None = None) -> Tensor:
    """Inner products of the features a(p) and b(p + d) for all ``shifts`` d.

    Args:
        a, b: (N, C, *(S + 2 r)), ``bordered`` by r voxels of zeros.
        shifts: in voxels.
        out: where to write the result, in any precision and order of memory; then nothing is differentiated.

    Returns:
        (N, len(shifts), *S); differentiable once.
    """
    if out is None:
        return _LocalCorrelation.apply(a, b, shifts)
    with torch.no_grad():
        return _correlate(a.contiguous(), b.contiguous(), shifts, out)


class _LocalCorrelation(torch.autograd.Function):
    """By shifted products.

    Written out by hand, as the graph of slices and sums, one a shift, that autograd would keep takes several times the
    time and memory of the products themselves.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, shifts: Sequence[Shift]) -> Tensor:
        a, b = a.contiguous(), b.contiguous()
        ctx.save_for_backward(a, b)
        ctx.shifts = shifts
        return _correlate(a, b, shifts, a.new_empty((a.shape[0], len(shifts), *inside(a, shifts).shape[2:])))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        a, b = ctx.saved_tensors
        gradient = bordered(gradients[0].contiguous(), ctx.shifts)
        grad_a, grad_b = torch.zeros_like(a), torch.zeros_like(b)
        offsets = _offsets(ctx.shifts, a)
        for one, two, weights, grad_one, grad_two in zip(
            *(x.flatten(2) for x in (a, b, gradient, grad_a, grad_b)), strict=True
        ):
            for low, high in _slabs(one, offsets):
                here, grad_here = one[:, low:high], grad_one[:, low:high]
                for weight, offset in zip(weights, offsets, strict=True):
                    weight, there = weight[low:high], slice(low + offset, high + offset)
                    grad_here.addcmul_(two[:, there], weight)
                    grad_two[:, there].addcmul_(here, weight)
        return grad_a, grad_b, None


def _correlate(a: Tensor, b: Tensor, shifts: Sequence[Shift], out: Tensor) -> Tensor:
    radius = reach(shifts)
    if radius > 1 and a.device.type == "cpu" and list(shifts) == cube(a.ndim - 2, radius):
        return _correlate_rows(inside(a, shifts), b, radius, out)
    offsets, channels = _offsets(shifts, a), a.shape[1]
    found = a.new_empty((len(shifts), *a.shape[2:]))
    part = -(-channels // 4)  # what is summed up before it is written
    for one, two, target in zip(a.flatten(2), b.flatten(2), out, strict=True):
        for low, high in _slabs(one, offsets):
            here = one[:, low:high]
            product = torch.empty_like(here[:part])
            for sums, offset in zip(found.flatten(1), offsets, strict=True):
                there = two[:, low + offset : high + offset]
                torch.mul(here[:part], there[:part], out=product)
                for first in range(part, channels, part):
                    last = min(first + part, channels)
                    product[: last - first].addcmul_(here[first:last], there[first:last])
                torch.sum(product, 0, out=sums[low:high])
        target.copy_(inside(found[None], shifts)[0])
    return out


def _offsets(shifts: Sequence[Shift], x: Tensor) -> list[int]:
    """How far the shifts lead in memory: with a border, no shift leads from one row into the next."""
    strides = [math.prod(x.shape[axis + 3 :]) for axis in range(x.ndim - 2)]
    return [sum(d * stride for d, stride in zip(shift, strides, strict=True)) for shift in shifts]


def _slabs(x: Tensor, offsets: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(first, last + 1) of (C, voxels): pieces that stay in the cache while all shifts go over them.

    What lies so near to either end that a shift leads out of the memory is border.
    """
    edge = max(map(abs, offsets))
    step = max(1, _SLAB * torch.get_num_threads() // len(x)) if x.device.type == "cpu" else x.shape[1]
    for low in range(edge, x.shape[1] - edge, step):
        yield low, min(low + step, x.shape[1] - edge)


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
