"""Local correlation: how well each voxel's features match those around the same place in the other image."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def local_correlation(a: Tensor, b: Tensor, radius: int) -> Tensor:
    """Inner products of the features a(p) and b(p + d) for all shifts |d_c| <= radius.

    Args:
        a, b: (N, C, *S); beyond its border b is zero.
        radius: in voxels.

    Returns:
        (N, (2 * radius + 1)**ndim, *S), the shifts in the order of ``itertools.product``; differentiable once.
    """
    return _LocalCorrelation.apply(a, b, radius)


class _LocalCorrelation(torch.autograd.Function):
    """By shifted products into one preallocated result.

    Written out by hand, as the graph of (2r + 1)**ndim slices and sums that autograd would keep takes several times the
    time and memory of the products themselves.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, radius: int) -> Tensor:
        ndim, a = a.ndim - 2, a.contiguous()
        padded = F.pad(b.contiguous(), [radius] * (2 * ndim))
        ctx.save_for_backward(a, padded)
        ctx.radius = radius
        out = a.new_empty((a.shape[0], (2 * radius + 1) ** ndim, *a.shape[2:]))
        product = torch.empty_like(a)
        for index, window in enumerate(_windows(padded, a.shape[2:], radius)):
            torch.mul(a, window, out=product)
            torch.sum(product, 1, out=out[:, index])
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        a, padded = ctx.saved_tensors
        # From a concatenation or a convolution it may come in any order of memory; a thousand passes want a plain one.
        radius, gradient = ctx.radius, gradients[0].contiguous()
        grad_a, grad_padded = torch.zeros_like(a), torch.zeros_like(padded)
        windows = _windows(padded, a.shape[2:], radius)
        targets = _windows(grad_padded, a.shape[2:], radius)
        for index, (window, target) in enumerate(zip(windows, targets, strict=True)):
            weight = gradient[:, index : index + 1]
            grad_a.addcmul_(window, weight)
            target.addcmul_(a, weight)
        inner = (slice(None), slice(None), *(slice(radius, radius + s) for s in a.shape[2:]))
        return grad_a, grad_padded[inner], None


def _windows(padded: Tensor, shape: torch.Size, radius: int) -> Iterator[Tensor]:
    """Views of ``padded``, one a shift."""
    for shift in itertools.product(range(2 * radius + 1), repeat=len(shape)):
        yield padded[(slice(None), slice(None), *(slice(d, d + s) for d, s in zip(shift, shape, strict=True)))]
