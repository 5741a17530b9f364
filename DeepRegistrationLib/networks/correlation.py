"""Local correlation: how well each voxel's features match those around the same place in the other image."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_SLAB = 150_000
"""Numbers of one image that all shifts are multiplied with before the next ones."""


def local_correlation(a: Tensor, b: Tensor, radius: int, out: Tensor | None = None) -> Tensor:
    """Inner products of the features a(p) and b(p + d) for all shifts |d_c| <= radius.

    Args:
        a, b: (N, C, *S); beyond its border b is zero.
        radius: in voxels.
        out: where to write the result, in any precision and order of memory; then nothing is differentiated.

    Returns:
        (N, (2 * radius + 1)**ndim, *S), the shifts in the order of ``itertools.product``; differentiable once.
    """
    if out is None:
        return _LocalCorrelation.apply(a, b, radius)
    with torch.no_grad():
        return _correlate(a.contiguous(), _padded(b, radius), radius, out)


class _LocalCorrelation(torch.autograd.Function):
    """By shifted products.

    Written out by hand, as the graph of (2r + 1)**ndim slices and sums that autograd would keep takes several times the
    time and memory of the products themselves.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, radius: int) -> Tensor:
        a, padded = a.contiguous(), _padded(b, radius)
        ctx.save_for_backward(a, padded)
        ctx.radius = radius
        return _correlate(a, padded, radius, a.new_empty((a.shape[0], (2 * radius + 1) ** (a.ndim - 2), *a.shape[2:])))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        a, padded = ctx.saved_tensors
        # From a concatenation or a convolution it may come in any order of memory; a thousand passes want a plain one.
        radius, gradient = ctx.radius, gradients[0].contiguous()
        grad_a, grad_padded = torch.zeros_like(a), torch.zeros_like(padded)
        for item, low, high in _slabs(a):
            here, grad_here = a[item, :, low:high], grad_a[item, :, low:high]
            windows = _windows(padded[item], here.shape[1:], radius, low)
            targets = _windows(grad_padded[item], here.shape[1:], radius, low)
            for index, (window, target) in enumerate(zip(windows, targets, strict=True)):
                weight = gradient[item, index, low:high]
                grad_here.addcmul_(window, weight)
                target.addcmul_(here, weight)
        inner = (slice(None), slice(None), *(slice(radius, radius + s) for s in a.shape[2:]))
        return grad_a, grad_padded[inner], None


def _padded(b: Tensor, radius: int) -> Tensor:
    return F.pad(b.contiguous(), [radius] * (2 * (b.ndim - 2)))


def _correlate(a: Tensor, padded: Tensor, radius: int, out: Tensor) -> Tensor:
    for item, low, high in _slabs(a):
        here = a[item, :, low:high]
        product = torch.empty_like(here)
        # Summed up in the cache: ``out`` may be large and in another order.
        sums = here.new_empty((out.shape[1], *here.shape[1:]))
        for index, window in enumerate(_windows(padded[item], here.shape[1:], radius, low)):
            torch.mul(here, window, out=product)
            torch.sum(product, 0, out=sums[index])
        out[item, :, low:high] = sums
    return out


def _slabs(a: Tensor) -> Iterator[tuple[int, int, int]]:
    """(item, first row, last row + 1): pieces of (N, C, *S) that stay in the cache while all shifts go over them."""
    rows = max(1, _SLAB // max(1, a[0, :, 0].numel())) if a.device.type == "cpu" else a.shape[2]
    for item in range(a.shape[0]):
        for low in range(0, a.shape[2], rows):
            yield item, low, min(low + rows, a.shape[2])


def _windows(padded: Tensor, shape: torch.Size, radius: int, low: int) -> Iterator[Tensor]:
    """Views (C, *shape) of ``padded`` (C, *padded shape) from row ``low`` on, one a shift."""
    for shift in itertools.product(range(2 * radius + 1), repeat=len(shape)):
        first = (shift[0] + low, *shift[1:])
        yield padded[(slice(None), *(slice(d, d + s) for d, s in zip(first, shape, strict=True)))]
