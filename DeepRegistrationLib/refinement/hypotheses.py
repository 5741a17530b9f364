"""Which measure and which start a pair wants: tried on a coarse level, judged by what none of them optimized.

Every hypothesis aligns the coarse images there and back. What speaks for it is how much more one image then tells of
the other (mutual information); what speaks against it is by how much there and back miss each other, and how much
the field squeezes and stretches for its gain. What is not worth its price loses against leaving all as the affine stage
left it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from ..fields import jacobian_determinant, warp
from .choose import choose_similarity
from .far_seeing import far_fields
from .forces import evidence
from .information import normalized_information

MEASURES = ("lncc", "translated", "information")
OWN = 0.7
"""Of a gain of mutual information what counts for the measure that optimized it; all others it holds back from."""
MISS_COST = 0.1
"""What a voxel (of the level) of there-and-back error costs, in relative gain of mutual information."""
ROUGH_COST, ROUGH_SHARE = 0.1, 2.0
"""What a standard deviation of 1 of the log Jacobian costs, and by how much more a gain is then divided."""
FAR = 0.93
"""Of a gain what counts for those that began far off: where both starts lead to the same, the near one is finer."""
SAME_CONTRAST = 0.01
"""What counts for LNCC in advance where the images look like one modality (``choose.py``)."""
STILL = "affine"
"""The name of the hypothesis that nothing is better than the affine alignment."""

Fields = tuple[Tensor, Tensor]
Run = Callable[[str, Fields], Fields]


@dataclass(frozen=True)
class Evidence:
    """What speaks for one hypothesis and against it.

    Attributes:
        name: the measure, after "far, " where it began at the far-seeing stage's field; "affine" moves nothing.
        gain: of normalized mutual information, relative to that after the affine stage (0.1: a tenth more).
        miss_mm: mean distance between a point and where there and back lead it.
        miss: the same in voxels of the coarse level.
        rough: standard deviation of the log Jacobian determinant.
        apart_mm: mean distance between where this hypothesis and the chosen one lead.
        prior: what counts for it in advance.
    """

    name: str
    gain: float = 0.0
    miss_mm: float = 0.0
    miss: float = 0.0
    rough: float = 0.0
    apart_mm: float = 0.0
    prior: float = 0.0

    @property
    def worth(self) -> float:
        """Higher is better; 0 is the affine alignment's."""
        gain = self.gain
        if gain > 0:
            gain *= OWN if self.name.endswith("information") else 1.0
            gain *= FAR if self.name.startswith("far, ") else 1.0
            gain /= 1 + ROUGH_SHARE * self.rough
        return gain + self.prior - MISS_COST * self.miss - ROUGH_COST * self.rough


@dataclass(frozen=True, eq=False)
class Choice:
    """The fields that go on, and all that was weighed.

    Attributes:
        similarity: the measure that goes on.
        there, back: (1, ndim, *S) voxels of the coarse level.
        chosen: the name of the hypothesis; ``STILL`` if none was worth it.
        weighed: the evidence of each, best first.
    """

    similarity: str
    there: Tensor
    back: Tensor
    chosen: str
    weighed: tuple[Evidence, ...] = field(default_factory=tuple)


@dataclass(frozen=True, eq=False)
class Scale:
    """The coarse images, (1, 1, *S), normalized, and what of them is known; mm along each axis."""

    fixed: Tensor
    moving: Tensor
    fixed_mask: Tensor | None
    moving_mask: Tensor | None
    spacing: tuple[float, ...]


def choose(
    scale: Scale, start: Fields, measures: Sequence[str], run: Run, *, may_stay: bool = True, far: bool = True
) -> Choice:
    """Try ``measures`` from ``start``, the best of them from the far-seeing stage's fields as well, and choose.

    Args:
        start: the fields there and back to begin with; their worth is 0.
        run: aligns by a measure from given fields, and returns new ones.
        may_stay: whether ``start`` itself may win.
        far: whether to look far at all.
    """
    before = _information(scale, start[0])
    prior = SAME_CONTRAST if choose_similarity(scale.fixed, scale.moving) == "lncc" else 0.0
    tried: dict[str, tuple[str, Fields]] = {}
    weighed: dict[str, Evidence] = {}

    def weigh(name: str, measure: str, fields: Fields) -> None:
        found = _weigh(name, scale, fields, before)
        tried[name], weighed[name] = (measure, fields), replace(found, prior=prior if measure == "lncc" else 0.0)

    for measure in measures:
        weigh(measure, measure, run(measure, start))
    if far:
        seen = far_fields(scale.fixed, scale.moving, scale.spacing, scale.fixed_mask, scale.moving_mask)
        # Where little was gained from here, all that tells which measure would serve from there is to try.
        best = max(weighed.values(), key=lambda e: e.worth).name
        for measure in [best] if weighed[best].worth > 0 else measures:
            weigh(f"far, {measure}", measure, run(measure, seen))
    best = max(weighed.values(), key=lambda e: e.worth).name
    measure, fields = tried[best]
    if may_stay:
        weighed[STILL] = Evidence(STILL)
        tried[STILL] = measure, start
        if weighed[best].worth <= 0:
            best, fields = STILL, start
    length = _lengths(scale, fields[0])
    body = _body(scale, fields[0])
    for name, (_, other) in tried.items():
        apart = _mean(((other[0] - fields[0]) * length).square().sum(1, keepdim=True).sqrt(), body)
        weighed[name] = replace(weighed[name], apart_mm=apart)
    ranked = sorted(weighed.values(), key=lambda e: -e.worth)
    return Choice(measure, *fields, best, tuple(ranked))


def _weigh(name: str, scale: Scale, fields: Fields, before: float) -> Evidence:
    there, back = fields
    body = _body(scale, there)
    length = _lengths(scale, there)
    missed = ((there + warp(back, there)) * length).square().sum(1, keepdim=True).sqrt()
    rough = jacobian_determinant(there).clamp_min(0.02).log_()
    mean = _mean(missed, body)
    return Evidence(
        name,
        _information(scale, there) / max(before, 1e-3) - 1,
        mean,
        mean / min(scale.spacing),
        _mean(rough.square_(), body) ** 0.5,
    )


def _known(scale: Scale, there: Tensor) -> Tensor | None:
    """(1, 1, *S) 1 where both images are known once aligned."""
    known = None if scale.fixed_mask is None else (scale.fixed_mask > 0.99).float()
    if scale.moving_mask is not None:
        inside = (warp(scale.moving_mask, there) > 0.9).float()
        known = inside if known is None else known * inside
    return known


def _information(scale: Scale, there: Tensor) -> float:
    return normalized_information(scale.fixed, warp(scale.moving, there), _known(scale, there))


def _body(scale: Scale, there: Tensor) -> Tensor:
    known = _known(scale, there)
    there_is = evidence(scale.fixed, warp(scale.moving, there))
    return there_is if known is None else there_is * known


def _lengths(scale: Scale, u: Tensor) -> Tensor:
    return u.new_tensor(scale.spacing).view(1, -1, *[1] * (u.ndim - 2))


def _mean(x: Tensor, weight: Tensor) -> float:
    return float((x * weight).sum() / weight.sum().clamp_min(1e-6))
