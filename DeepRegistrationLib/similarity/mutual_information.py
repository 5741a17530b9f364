"""Mutual information of two images, from a smooth joint histogram; memory does not grow with the image."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..errors import InputError
from .windows import at_least_float32, check_pair

Range = tuple[float, float]


CHUNK = 1 << 20
"""Voxels whose weights are in memory at a time."""


def _taps(x: Tensor, bins: int) -> tuple[Tensor, list[Tensor]]:
    """The first of the four bins a voxel at ``x`` touches, and their cubic B-spline weights (sum 1)."""
    base = x.floor().clamp(1, bins - 3)
    t = x - base
    r = 1 - t
    weights = [r**3 / 6, (4 - 3 * t.square() * (1 + r)) / 6, (4 - 3 * r.square() * (1 + t)) / 6, t**3 / 6]
    return base.long() - 1, weights


def _slopes(x: Tensor, bins: int) -> list[Tensor]:
    """Of the weights of ``_taps``."""
    t = x - x.floor().clamp(1, bins - 3)
    r = 1 - t
    return [-r.square() / 2, t * (1.5 * t - 2), r * (2 - 1.5 * r), t.square() / 2]


class _JointCounts(torch.autograd.Function):
    """(bins, bins) sums of the products of the two images' weights. Only positions are kept for the gradient."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, voxel_weights: Tensor | None, bins: int) -> Tensor:
        ctx.save_for_backward(a, b, voxel_weights)
        ctx.bins = bins
        total = a.new_zeros(bins * bins, dtype=torch.float32 if a.device.type == "mps" else torch.float64)
        for part in _chunks(a, b, voxel_weights):
            (first_a, weights_a), (first_b, weights_b) = _taps(part[0], bins), _taps(part[1], bins)
            first = first_a * bins + first_b
            for k, m in itertools.product(range(4), range(4)):
                product = weights_a[k] * weights_b[m]
                product = product if part[2] is None else product * part[2]
                shift = k * bins + m  # of the counts, not of each voxel's bin
                total[shift:] += torch.bincount(first, product, bins * bins)[: bins * bins - shift]
        return total.view(bins, bins).to(a.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        a, b, voxel_weights = ctx.saved_tensors
        bins, table = ctx.bins, gradient.reshape(-1)
        to_a, to_b = torch.zeros_like(a), torch.zeros_like(b)
        for part in _chunks(a, b, voxel_weights, to_a, to_b):
            (first_a, weights_a), (first_b, weights_b) = _taps(part[0], bins), _taps(part[1], bins)
            slopes_a, slopes_b = _slopes(part[0], bins), _slopes(part[1], bins)
            first = first_a * bins + first_b
            for k, m in itertools.product(range(4), range(4)):
                value = table[first + (k * bins + m)]
                value = value if part[2] is None else value * part[2]
                part[3].addcmul_(value, slopes_a[k] * weights_b[m])
                if ctx.needs_input_grad[1]:
                    part[4].addcmul_(value, weights_a[k] * slopes_b[m])
        return to_a, to_b, None, None


def _chunks(*parts: Tensor | None) -> Iterator[tuple[Any, ...]]:
    length = next(len(p) for p in parts if p is not None)
    for start in range(0, length, CHUNK):
        yield tuple(None if p is None else p[start : start + CHUNK] for p in parts)


def _positions(x: Tensor, bins: int, limits: Range | None) -> Tensor:
    """Intensities (V,) as positions from 1 to bins - 2, so that every weight has a bin."""
    low, high = (x.detach().amin(), x.detach().amax()) if limits is None else (x.new_tensor(v) for v in limits)
    span = (high - low).clamp_min(torch.finfo(x.dtype).tiny)
    return ((x - low) / span).clamp(0, 1) * (bins - 3) + 1


def joint_histogram(
    a: Tensor,
    b: Tensor,
    bins: int = 32,
    mask: Tensor | None = None,
    range_a: Range | None = None,
    range_b: Range | None = None,
) -> Tensor:
    """Joint probabilities (N, bins, bins) of two images, with cubic B-spline Parzen windows (Mattes 2003, symmetric).

    ``range_a`` and ``range_b`` give the intensities of the outer bins (default: the smallest and largest of each item
    of the batch, taken as constants by the gradient); what lies outside counts as the limit. Channels are pooled.
    The mask is a constant, too. A voxel touches 16 cells; their weights are computed again for the gradient.

    Raises:
        InputError: if the shapes do not agree or there are fewer than 8 bins.
    """
    check_pair(a, b, mask)
    if bins < 8:
        raise InputError(f"A histogram of {bins} bins is too coarse; use at least 8.")
    a, b = at_least_float32(a), at_least_float32(b)
    weights = None if mask is None else mask.to(a).expand(a.shape)
    result = []
    for item in range(a.shape[0]):
        x = _positions(a[item].reshape(-1), bins, range_a)
        y = _positions(b[item].reshape(-1), bins, range_b)
        total = _JointCounts.apply(x, y, None if weights is None else weights[item].reshape(-1), bins)
        result.append(total / total.sum().clamp_min(torch.finfo(total.dtype).eps))
    return torch.stack(result)


def _entropy(p: Tensor) -> Tensor:
    """(N, ...) probabilities to (N,) entropies in nats."""
    return -torch.special.xlogy(p, p.clamp_min(torch.finfo(p.dtype).tiny)).flatten(1).sum(1)


def _entropies(p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return _entropy(p.sum(2)), _entropy(p.sum(1)), _entropy(p)


def nmi(
    a: Tensor,
    b: Tensor,
    bins: int = 32,
    mask: Tensor | None = None,
    range_a: Range | None = None,
    range_b: Range | None = None,
) -> Tensor:
    """Normalized mutual information in [0, 1]: Studholme's (H(a) + H(b)) / H(a, b), which lies in [1, 2], minus 1.

    See ``joint_histogram`` for the arguments. Parzen windows blur the histogram: identical images stay below 1.
    """
    one, other, both = _entropies(joint_histogram(a, b, bins, mask, range_a, range_b))
    return ((one + other) / both.clamp_min(1e-6) - 1).mean()
