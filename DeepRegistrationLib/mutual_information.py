"""Mutual information of two images, from a smooth joint histogram; memory does not grow with the image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .errors import InputError
from .windows import at_least_float32, check_pair

Range = tuple[float, float]


def _parzen(x: Tensor, bins: int) -> Tensor:
    """(V,) positions in bins to (bins, V) cubic B-spline weights; they sum to 1 for every voxel."""
    distance = (x[None] - torch.arange(bins, device=x.device, dtype=x.dtype)[:, None]).abs()
    return ((2 - distance).clamp_min(0).pow(3) - 4 * (1 - distance).clamp_min(0).pow(3)) / 6


def _counts(a: Tensor, b: Tensor, weights: Tensor | None, bins: int) -> Tensor:
    rows = _parzen(a, bins)
    if weights is not None:
        rows = rows * weights
    return rows @ _parzen(b, bins).T


def _positions(x: Tensor, bins: int, limits: Range | None) -> Tensor:
    """Intensities (V,) as positions from 1 to bins - 2, so that every weight falls on a bin."""
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
    chunk: int = 1 << 18,
) -> Tensor:
    """Joint probabilities (N, bins, bins) of two images, with cubic B-spline Parzen windows (Mattes 2003, symmetric).

    ``range_a`` and ``range_b`` give the intensities of the outer bins (default: the smallest and largest of each item
    of the batch, taken as constants by the gradient); what lies outside counts as the limit. Channels are pooled.
    Weights of ``chunk`` voxels are held at a time and computed again in the backward pass.

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
        x = _positions(a[item].reshape(-1), bins, range_a).split(chunk)
        y = _positions(b[item].reshape(-1), bins, range_b).split(chunk)
        w = [None] * len(x) if weights is None else weights[item].reshape(-1).split(chunk)
        total = a.new_zeros(bins, bins)
        for part in zip(x, y, w, strict=True):
            total = total + checkpoint(_counts, *part, bins, use_reentrant=False, preserve_rng_state=False)
        result.append(total / total.sum().clamp_min(torch.finfo(total.dtype).eps))
    return torch.stack(result)


def _entropy(p: Tensor) -> Tensor:
    """(N, ...) probabilities to (N,) entropies in nats."""
    return -torch.special.xlogy(p, p.clamp_min(torch.finfo(p.dtype).tiny)).flatten(1).sum(1)


def _entropies(p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return _entropy(p.sum(2)), _entropy(p.sum(1)), _entropy(p)


def mutual_information(
    a: Tensor,
    b: Tensor,
    bins: int = 32,
    mask: Tensor | None = None,
    range_a: Range | None = None,
    range_b: Range | None = None,
) -> Tensor:
    """Mutual information in nats, 0 where the images say nothing about each other; see ``joint_histogram``."""
    one, other, both = _entropies(joint_histogram(a, b, bins, mask, range_a, range_b))
    return (one + other - both).mean()


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
