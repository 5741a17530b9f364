"""How far two images agree in small windows, in one contrast or once one is put into the other's, and whether one
contrast is a steady curve of the other."""

from __future__ import annotations

import torch
from torch import Tensor

from ..fields.kernels import BandFilter, box_weights
from ..fields.precision import in_double
from .forces import translate

_SEEN = 0.05
_WIDTH = 5
_FEWEST = 20


def local_correlations(fixed: Tensor, moving: Tensor, known: Tensor | None = None) -> Tensor:
    """(n,) correlation in each small window that lies inside both bodies and has some contrast.

    The outline against the background is the same in every modality and says nothing.

    Args:
        fixed, moving: (1, 1, *S) coarse, background at or under 0, tissue up to about 1.
        known: (1, 1, *S) 1 where both images were measured.
    """
    shape = tuple(fixed.shape[2:])
    weights = [box_weights(_WIDTH) / _WIDTH if n >= _WIDTH else None for n in shape]
    box = BandFilter(shape, weights, "mean", device=fixed.device)

    def mean(x: Tensor) -> Tensor:
        x = x.contiguous()
        return box(x, torch.empty_like(x), torch.empty_like(x))

    inside = mean(in_both(fixed, moving, known).float()) > 0.99
    if float(inside.float().mean()) < 0.02:
        inside = torch.ones_like(inside)
    f, m = mean(fixed), mean(moving)
    var_f = (mean(fixed.square()) - f.square()).clamp_min(1e-8)[inside]
    var_m = (mean(moving.square()) - m.square()).clamp_min(1e-8)[inside]
    correlation = (mean(fixed * moving) - f * m)[inside] / (var_f * var_m).sqrt()
    return correlation[(var_f > 0.25 * var_f.median()) & (var_m > 0.25 * var_m.median())]


def in_both(fixed: Tensor, moving: Tensor, known: Tensor | None) -> Tensor:
    """True where both images show a body, of what is ``known``."""
    body = (fixed > _SEEN) & (moving > _SEEN)
    return body if known is None else body & (known > 0.5)


def agreement(fixed: Tensor, warped: Tensor, known: Tensor | None = None, unsaid: float = 1.0) -> float:
    """Mean local correlation; ``unsaid`` where there is too little to say."""
    correlations = local_correlations(fixed, warped, known)
    return float(correlations.mean()) if len(correlations) >= _FEWEST else unsaid


def agreement_across(fixed: Tensor, warped: Tensor, known: Tensor | None = None) -> float:
    """The same after one image was put into the other's contrast; 0 where intensities do not tell of each other."""
    pair = translate(fixed, warped, warped)
    return 0.0 if pair is None else agreement(*pair, known)


def turning(fixed: Tensor, moving: Tensor, known: Tensor | None = None) -> float:
    """How much more of either image a free curve of the other's intensities explains than one that only rises.

    Share of the variance, inside both bodies. Near 0 within one contrast, however scanned.
    """
    both = in_both(fixed, moving, known)
    f, m = in_double(fixed[both]), in_double(moving[both])
    if len(f) < 100:
        return 0.0
    bins = min(max(len(f) // 50, 6), 32)
    return max(_turning(f, m, bins), _turning(m, f, bins))


def _turning(x: Tensor, y: Tensor, bins: int) -> float:
    at = (x * bins).long().clamp_(0, bins - 1)
    count = torch.bincount(at, minlength=bins).double()
    known = count > max(10.0, 0.001 * len(x))
    mean = (torch.bincount(at, y, minlength=bins) / count.clamp_min(1))[known]
    blocks: list[tuple[float, float]] = []  # of the rising curve: mean and weight (pool adjacent violators)
    for value, weight in zip(mean.tolist(), count[known].tolist(), strict=True):
        blocks.append((value, weight))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, p), (b, q) = blocks[-2:]
            blocks[-2:] = [((a * p + b * q) / (p + q), p + q)]
    # Both curves have the same mean: what they explain differs by the difference of their squares.
    free = float((mean.square() * count[known]).sum())
    rising = sum(value**2 * weight for value, weight in blocks)
    return (free - rising) / max(float(len(y) * y.var(unbiased=False)), 1e-12)
