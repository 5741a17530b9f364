"""The harm guard: the field of the coarse levels must speak for itself, or other measures and starts are tried.

The measure that suits most pairs tears some apart: tissue that is bright in one image and dark in the other, or motion
beyond what is seen. Where the evidence (``hypotheses.py``) speaks clearly against the field of the coarse levels
the other measures are tried from the affine alignment, the best of them from the far-seeing stage's field as well; what
is worth more than the affine alignment goes on, and if nothing is, that alignment is the answer. All other pairs go on
as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..settings import AFFINE_ALONE
from .far_seeing import far_fields
from .hypotheses import Evidence, Fields, Scale, apart_mm, weigh
from .level_images import Images
from .levels import Level
from .schedule import BOTH_WAYS, DIRECT

AGAINST = -0.08
"""The worth of the coarse levels' field under which the guard acts. Of pairs as scanners take them that the field made
better none lay under -0.06 (tumor, T1 and T2; sections of one stain: -0.05); 19 of 35 with remapped contrast did."""
LITTLE = 0.1
"""The gain under which images that are not gone through both ways (2-D) are, for the evidence: it costs a tenth."""
MEASURES = ("lncc", DIRECT, "information")
"""What it tries then, but for what has just failed."""

Run = Callable[[Images, Sequence[Level], Tensor], tuple[Tensor, list[int]]]


@dataclass(frozen=True, eq=False)
class Choice:
    """The fields that go on, and all that was weighed.

    Attributes:
        similarity: the measure that goes on.
        there, back: (1, ndim, *S) voxels of the last coarse level; None: the way back was not gone.
        chosen: the name of what goes on; ``AFFINE_ALONE`` if nothing was worth it.
        weighed: the evidence for each, best first; one alone where the guard did not act.
    """

    similarity: str
    there: Tensor
    back: Tensor | None
    chosen: str
    weighed: tuple[Evidence, ...] = field(default_factory=tuple)


def coarse_levels(levels: Sequence[Level]) -> int:
    """How many of ``levels`` are coarse: the guard looks at the field of the last of them."""
    return max(1, next((n for n, level in enumerate(levels) if max(level.factors) < BOTH_WAYS), len(levels)))


def guard(images: Images, plans: Callable[[str], list[Level]], choice: Choice, run: Run) -> Choice:
    """``choice`` with its evidence, or what goes on in its place.

    Args:
        plans: the levels for a measure.
        choice: what the coarse levels found.
        run: takes the steps of coarse levels from a given field.
    """
    levels = plans(choice.similarity)
    level = levels[coarse_levels(levels) - 1]
    pair = images.on(level)
    scale = Scale(pair.fixed, pair.moving, pair.fixed_mask, pair.moving_mask, level.spacing)
    nothing = torch.zeros_like(choice.there)
    there, back = choice.there, choice.back
    found = weigh(choice.chosen, scale, there, back)
    if back is None and found.gain < LITTLE:
        back, _ = run(images.swapped(), levels[: coarse_levels(levels)], nothing)
        found = weigh(choice.chosen, scale, there, back)
    if back is None or found.worth >= AGAINST:
        return replace(choice, weighed=(found,))
    tried: dict[str, tuple[str, Fields]] = {found.name: (choice.similarity, (there, back))}
    tried[AFFINE_ALONE] = choice.similarity, (nothing, nothing)
    weighed = {AFFINE_ALONE: Evidence(AFFINE_ALONE), found.name: found}

    def attempt(name: str, measure: str, start: Fields) -> None:
        own = plans(measure)
        own = own[: coarse_levels(own)]
        fields = run(images, own, start[0])[0], run(images.swapped(), own, start[1])[0]
        tried[name], weighed[name] = (measure, fields), weigh(name, scale, *fields)

    measures = [measure for measure in MEASURES if measure != choice.similarity]
    for measure in measures:
        attempt(measure, measure, (nothing, nothing))
    seen = far_fields(pair.fixed, pair.moving, level.spacing, pair.fixed_mask, pair.moving_mask)
    best = max(measures, key=lambda name: weighed[name].worth)
    # Where little is gained from here, all that tells which measure would serve from there is to try.
    for measure in [best] if weighed[best].worth > 0 else measures:
        attempt(f"far, {measure}", measure, seen)
    best = max(weighed, key=lambda name: weighed[name].worth)
    measure, fields = tried[best]
    weighed = {name: replace(e, apart_mm=apart_mm(scale, tried[name][1][0], fields[0])) for name, e in weighed.items()}
    ranked = sorted(weighed.values(), key=lambda e: -e.worth)
    return Choice(measure, *fields, best, tuple(ranked))
