"""How far two images agree in small windows, in one contrast or once one is put into the other's."""

from __future__ import annotations

import torch
from torch import Tensor

from ..fields.kernels import BandFilter, box_weights
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

    body = (fixed > _SEEN) & (moving > _SEEN)
    inside = mean((body if known is None else body & (known > 0.5)).float()) > 0.99
    if float(inside.float().mean()) < 0.02:
        inside = torch.ones_like(inside)
    f, m = mean(fixed), mean(moving)
    var_f = (mean(fixed.square()) - f.square()).clamp_min(1e-8)[inside]
    var_m = (mean(moving.square()) - m.square()).clamp_min(1e-8)[inside]
    correlation = (mean(fixed * moving) - f * m)[inside] / (var_f * var_m).sqrt()
    return correlation[(var_f > 0.25 * var_f.median()) & (var_m > 0.25 * var_m.median())]


def agreement(fixed: Tensor, warped: Tensor, known: Tensor | None = None) -> float:
    """Mean local correlation; 1 where there is too little to say."""
    correlations = local_correlations(fixed, warped, known)
    return float(correlations.mean()) if len(correlations) >= _FEWEST else 1.0


def agreement_across(fixed: Tensor, warped: Tensor, known: Tensor | None = None) -> float:
    """The same after one image was put into the other's contrast; 0 where intensities do not tell of each other."""
    pair = translate(fixed, warped, warped)
    return 0.0 if pair is None else agreement(*pair, known)
