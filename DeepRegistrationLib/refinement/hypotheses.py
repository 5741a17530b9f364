"""The evidence for a field of the coarse levels, from what no measure optimized there.

What speaks for it is how much more one image then tells of the other (mutual information); what speaks against it is by
how much there and back, found each by itself, miss each other, and how much the field squeezes and stretches for its
gain. What is not worth its price loses against leaving all as the affine stage left it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..fields import jacobian_determinant, warp
from ..fields.quantiles import quantiles, thinned
from .agreement import agreement, agreement_across, in_both
from .forces import structure_mask
from .information import normalized_information

OWN = 0.7
"""Of a gain of mutual information what counts for the measure that optimized it; all others it holds back from."""
MISS_COST = 0.1
"""What a voxel (of the level) of there-and-back error costs, in relative gain of mutual information."""
ROUGH_COST, ROUGH_SHARE = 0.1, 2.0
"""What a standard deviation of 1 of the log Jacobian costs, and by how much more a gain is then divided."""
FAR = 0.93
"""Of a gain what counts for those that began far off: where both starts lead to the same, the near one is finer."""

Fields = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Evidence:
    """What speaks for one hypothesis and against it.

    Attributes:
        name: the measure, after "far, " where it began at the far-seeing stage's field; "affine" moves nothing.
        gain: of normalized mutual information, relative to that after the affine stage (0.1: a tenth more).
        miss_mm: mean distance between a point and where there and back lead it.
        miss: the same in voxels of the coarse level.
        rough: standard deviation of the log Jacobian determinant.
        alike: mean correlation in small windows, of the images as they are: near 1 in one contrast once aligned.
        apart_mm: mean distance between where this hypothesis and the chosen one lead.
    """

    name: str
    gain: float = 0.0
    miss_mm: float = 0.0
    miss: float = 0.0
    rough: float = 0.0
    alike: float = 0.0
    apart_mm: float = 0.0

    @property
    def worth(self) -> float:
        """Higher is better; 0 is the affine alignment's."""
        gain = self.gain
        if gain > 0:
            gain *= OWN if self.name.endswith("information") else 1.0
            gain *= FAR if self.name.startswith("far, ") else 1.0
            gain /= 1 + ROUGH_SHARE * self.rough
        return gain - MISS_COST * self.miss - ROUGH_COST * self.rough


@dataclass(frozen=True, eq=False)
class Scale:
    """The coarse images, (1, 1, *S), normalized, and what of them is known; mm along each axis."""

    fixed: Tensor
    moving: Tensor
    fixed_mask: Tensor | None
    moving_mask: Tensor | None
    spacing: tuple[float, ...]


def weigh(name: str, scale: Scale, there: Tensor, back: Tensor | None) -> Evidence:
    """The evidence for a field, (1, ndim, *S) voxels of the level; without the way back nothing is known to miss."""
    body = _body(scale, there)
    rough = jacobian_determinant(there).clamp_min(0.02).log_()
    missed = 0.0 if back is None else _mean(_length(scale, there + warp(back, there)), body)
    before = information(scale, there.new_zeros(there.shape))
    return Evidence(
        name,
        information(scale, there) / max(before, 1e-3) - 1,
        missed,
        missed / min(scale.spacing),
        _mean(rough.square_(), body) ** 0.5,
        agreement(scale.fixed, warp(scale.moving, there), known(scale, there), unsaid=0.0),
    )


def alike(scale: Scale, there: Tensor, across: bool = False) -> float:
    """Mean local correlation of the images moved by ``there``; ``across`` contrasts: after one was made the other."""
    measure = agreement_across if across else agreement
    return measure(scale.fixed, warp(scale.moving, there), known(scale, there))


def tells_more(scale: Scale, there: Tensor, inside: bool = False) -> bool:
    """Whether one image tells more of the other once moved by ``there`` than as they are.

    Moved images are blurred by interpolation, which at full resolution costs a twentieth or a tenth: what does not make
    up for that is not worth it.

    Args:
        inside: only where both bodies are, before and after: their outlines, which may be the edge of what was seen or
            how densely spots lie, then say nothing.
    """
    nothing = there.new_zeros(there.shape)
    both: Tensor | None = None
    if inside:
        after, before = (in_both(scale.fixed, warp(scale.moving, u), known(scale, u)) for u in (there, nothing))
        both = (after & before).float()
    return information(scale, there, both) >= information(scale, nothing, both)


def apart_mm(scale: Scale, one: Tensor, other: Tensor) -> float:
    """Mean distance between where two fields lead."""
    return _mean(_length(scale, one - other), _body(scale, other))


def cosine(scale: Scale, one: Tensor, other: Tensor) -> float:
    """How far two fields lead the same way over the anatomy, -1 to 1; 0 where one leads nowhere."""
    mm = one.new_tensor(scale.spacing).view(1, -1, *[1] * (one.ndim - 2))
    weight = _body(scale, torch.zeros_like(one))
    one, other = one * mm, other * mm
    lengths = (one.square() * weight).sum() * (other.square() * weight).sum()
    return float((one * other * weight).sum() / lengths.sqrt().clamp_min(1e-9))


def moved_share(scale: Scale, there: Tensor) -> float:
    """How far 1 voxel in 20 of what is seen moves at least, relative to the mean side of the grid."""
    lengths = _length(scale, there)[_body(scale, there) > 0.5]
    if not len(lengths):
        return 0.0
    sides = [n * s for n, s in zip(there.shape[2:], scale.spacing, strict=True)]
    return float(quantiles(thinned(lengths, 100_000), (0.95,))) / (sum(sides) / len(sides))


def known(scale: Scale, there: Tensor) -> Tensor | None:
    """(1, 1, *S) 1 where both images are known once aligned."""
    seen = None if scale.fixed_mask is None else (scale.fixed_mask > 0.99).float()
    if scale.moving_mask is not None:
        inside = (warp(scale.moving_mask, there) > 0.9).float()
        seen = inside if seen is None else seen * inside
    return seen


def information(scale: Scale, there: Tensor, weight: Tensor | None = None) -> float:
    """What the fixed image and the moving one, moved by ``there``, tell of each other (normalized).

    ``weight`` (1, 1, *S): how far each voxel counts; None: all that is known.
    """
    weight = known(scale, there) if weight is None else weight
    return normalized_information(scale.fixed, warp(scale.moving, there), weight)


def _body(scale: Scale, there: Tensor) -> Tensor:
    seen = known(scale, there)
    there_is = structure_mask(scale.fixed, warp(scale.moving, there))
    return there_is if seen is None else there_is * seen


def _length(scale: Scale, u: Tensor) -> Tensor:
    """(1, 1, *S) mm."""
    mm = u.new_tensor(scale.spacing).view(1, -1, *[1] * (u.ndim - 2))
    return (u * mm).square().sum(1, keepdim=True).sqrt()


def _mean(x: Tensor, weight: Tensor) -> float:
    return float((x * weight).sum() / weight.sum().clamp_min(1e-6))
