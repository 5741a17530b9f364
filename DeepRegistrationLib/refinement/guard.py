"""The harm guard: the field of the coarse levels must speak for itself, or other measures and starts are tried.

The measure that suits most pairs tears some apart: tissue that is bright in one image and dark in the other, or motion
beyond what is seen. Where the evidence (``hypotheses.py``) does not speak for the field of the coarse levels, or where
the images do not agree at the end (``confirmed``), the other measures are tried from the affine alignment, the best of
them from the far-seeing stage's field as well; the worthiest goes on, and is confirmed at its end. Where the evidence
was only silent, that field itself goes on next. Where nothing is worth it or nothing is confirmed, mutual information
goes on so stiffly that it cannot tear, or from the field that a network proposes, or that field is taken as it is, or
it goes on as it was where another measure leads the same way, or else the affine alignment is the answer. All other
pairs go on as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..fields import resize
from ..settings import AFFINE_ALONE, NETWORK_ALONE
from .agreement import turning
from .far_seeing import far_fields
from .hypotheses import Evidence, Fields, Scale, alike, apart_mm, cosine, known, tells_more, weigh
from .level_images import Images
from .levels import Level
from .proposal import Proposal
from .schedule import BOTH_WAYS, DIRECT

AGAINST = -0.08
"""The worth of the coarse levels' field under which leaving all as it is may be better. Of pairs as scanners take them
that the field made better none lay under -0.06 (tumor, T1 and T2; sections of one stain: -0.05); 19 of 35 with remapped
contrast did."""
WORTHLESS = 0.0
"""The same for LNCC, under which other measures are tried: its field is not worth its price, which another's may be."""
LITTLE = 0.1
"""The gain under which images that are not gone through both ways (2-D) are, for the evidence: it costs a tenth."""
DOUBTED = 0.85
"""The mean local correlation after the coarse levels from which on what LNCC aligned is not looked at again."""
ALIKE = 0.77
"""The same at the end: under it they are not of one contrast, however aligned. Of 72 pairs of one contrast LNCC made 69
0.79 to 1.0 alike, sections of two stains 0.43 and 0.67, and a skull that the affine stage does not find 0.45. Remapped
by a curve that is not monotone 24 pairs came to 0.36 to 0.79, one to 0.88."""
LEAD = 0.05
"""By how much more LNCC must be worth than any other measure, to go on where one contrast is doubted at once."""
TURNING = 0.015
"""Of the variance: what a curve that turns explains more than one that rises, from which on one contrast is doubted at
once. 70 pairs of one contrast gave 0 to 0.006, sections of two stains 0.09, people with one prostate each 0.04;
remapped by a curve that is not monotone 16 of 25 gave 0.017 to 0.31."""
AGREED = 0.42
"""The mean local correlation at the end, in one contrast, under which nothing confirms a result across contrasts. Right
results gave 0.44 to 0.99, harmed ones 0 to 0.41. Leaving one kind out gave 0.38 or 0.42, and 1 of 35 harmed."""
MEASURES = (DIRECT, "information")
"""What it tries, but for what has just failed."""
STIFF, STIFFER = "stiff, ", 4.0
"""What begins a measure's name where all its steps are smoothed so many times as far."""
CANNOT_TEAR = f"{STIFF}information"
"""What is tried where nothing else was confirmed: sections of two stains came from 7.4 to 6.7 px and from 5.2 to 3.6,
where what was free to bend ended at 7.8 to 14 and 4.4 to 12."""
FROM_NETWORK = f"{NETWORK_ALONE}, information"
PROPOSED = {2: 0.08, 3: 0.03}
"""By axes, the worth from which on the proposed field can be the answer: nothing confirms it, as where contrasts hide
each other only it is left. Of 86 volumes with remapped contrast 18 gave 0.018 to 0.17, and it was right in all (brains,
hippocampi, skulls, a prostate); of the others, where most often it led away, none gave more than -0.01. Slices, a hand
and sections gave up to 0.07 where it led away."""
ROUGHEST = 0.45
"""Standard deviation of the log Jacobian up to which the proposed field can be the answer, as it was not confirmed.
Where it served it was 0.13 to 0.39, on slices of CT and MR 0.23 to 0.43; heads drawn onto the sector that ultrasound
sees gave 0.55, and ended 13 mm off where the affine alignment was 4 and 6."""

GAINED, PAYS, SAME_WAY, SMOOTH = 0.04, 0.13, 0.35, 0.3
"""From which on what mutual information finds may be the answer though it is not worth its price: its gain, that over
its miss, the cosine between its field and that of ``DIRECT``; and how rough it may be. Of hearts, livers and heads with
a tumor whose answer was the affine alignment 14 then gained, by 0.06 to 0.21 Dice or 0.1 to 1.5 mm, their gain 0.13 to
0.25 of their miss, at most 0.27 rough; a head that lay right had 0.06 to 0.12, a lung led away a cosine of 0.12."""

Run = Callable[[Images, Sequence[Level], Tensor], tuple[Tensor, list[int]]]


@dataclass(frozen=True, eq=False)
class Choice:
    """The fields that go on, and all that was weighed.

    Attributes:
        similarity: the measure that goes on.
        there, back: (1, ndim, *S) voxels of the last coarse level; None: the way back was not gone.
        chosen: the name of what goes on; ``AFFINE_ALONE`` if nothing was worth it; "" if it was stopped before.
        weighed: the evidence for each, best first; one alone where the guard did not act.
        rest: what goes on in its place, in turn, where it is not confirmed; None, or none left: ``last_resort`` is to
            be asked.
        leads: by name, where each that was weighed leads, (1, ndim, *S); empty where the guard did not act.
        scale: what it was weighed on.
    """

    similarity: str
    there: Tensor
    back: Tensor | None
    chosen: str
    weighed: tuple[Evidence, ...] = field(default_factory=tuple)
    rest: tuple[Choice, ...] | None = None
    leads: Mapping[str, Tensor] = field(default_factory=dict)
    scale: Scale | None = None


def with_stiff(plans: Callable[[str], list[Level]]) -> Callable[[str], list[Level]]:
    """``plans``, also of measures whose name begins with ``STIFF``."""

    def levels(measure: str) -> list[Level]:
        if not measure.startswith(STIFF):
            return plans(measure)
        return [
            replace(x, force_sigma=STIFFER * x.force_sigma, field_sigma=STIFFER * x.field_sigma)
            for x in plans(measure.removeprefix(STIFF))
        ]

    return levels


def coarse_levels(levels: Sequence[Level]) -> int:
    """How many of ``levels`` are coarse: the guard looks at the field of the last of them."""
    return max(1, next((n for n, level in enumerate(levels) if max(level.factors) < BOTH_WAYS), len(levels)))


def guard(
    images: Images,
    plans: Callable[[str], list[Level]],
    choice: Choice,
    run: Run,
    refuted: bool = False,
) -> Choice:
    """``choice`` with its evidence, or what goes on in its place.

    Args:
        plans: the levels for a measure.
        choice: what the coarse levels found.
        run: takes the steps of coarse levels from a given field.
        refuted: ``choice`` was not confirmed at its end, and another goes on whatever it is worth.
    """
    levels = plans(choice.similarity)
    level = levels[coarse_levels(levels) - 1]
    scale = _scale_on(images, level)
    nothing, doubted = torch.zeros_like(choice.there), refuted
    if choice.similarity == "lncc":
        doubted = doubted or turning(scale.fixed, scale.moving, known(scale, nothing)) > TURNING
    there, back = choice.there, choice.back
    found = weigh(choice.chosen, scale, there, back)
    if back is None and (doubted or found.gain < LITTLE):
        back, _ = run(images.swapped(), levels[: coarse_levels(levels)], nothing)
        found = weigh(choice.chosen, scale, there, back)
    if back is None or not (doubted or found.worth < (WORTHLESS if choice.similarity == "lncc" else AGAINST)):
        return replace(choice, weighed=(found,))
    against = doubted or found.worth < AGAINST
    tried: dict[str, tuple[str, Fields]] = {found.name: (choice.similarity, (there, back))}
    weighed = {found.name: found}
    if against:
        tried[AFFINE_ALONE] = choice.similarity, (nothing, nothing)
        weighed[AFFINE_ALONE] = Evidence(AFFINE_ALONE)

    def attempt(name: str, measure: str, start: Fields) -> None:
        fields = _there_and_back(images, _coarse(plans, measure), start, run)
        tried[name], weighed[name] = (measure, fields), weigh(name, scale, *fields)

    measures = [measure for measure in MEASURES if measure != choice.similarity]
    for measure in measures:
        attempt(measure, measure, (nothing, nothing))
    seen = far_fields(scale.fixed, scale.moving, scale.spacing, scale.fixed_mask, scale.moving_mask)
    best = max(measures, key=lambda name: weighed[name].worth)
    # Where little is gained from here, all that tells which measure would serve from there is to try.
    for measure in [best] if weighed[best].worth > 0 else measures:
        attempt(f"far, {measure}", measure, seen)

    def rank(evidence: Evidence) -> float:
        if evidence.name != found.name:
            return evidence.worth
        return -math.inf if refuted else evidence.worth - (LEAD if doubted else 0.0)

    ranked = sorted(weighed.values(), key=rank, reverse=True)
    measure, fields = tried[ranked[0].name]
    rest = None if against or ranked[0] is found else (replace(choice, there=there, back=back, rest=()),)
    leads = {name: fields[0] for name, (_, fields) in tried.items()}
    return with_distances(Choice(measure, *fields, ranked[0].name, tuple(ranked), rest, leads, scale))


def last_resort(
    images: Images, plans: Callable[[str], list[Level]], choice: Choice, run: Run, proposal: Proposal | None
) -> Choice:
    """What is left where nothing was worth it, or the end of ``choice`` was not confirmed; the affine comes last.

    Args:
        plans, run: as for ``guard``.
        proposal: a network's field, to begin with or to take as it is; without one the affine alignment is left.
    """
    nothing = torch.zeros_like(choice.there)
    affine = Choice(choice.similarity, nothing, nothing, AFFINE_ALONE)
    left, found = [affine], {e.name: e for e in choice.weighed}
    leads = {**choice.leads, AFFINE_ALONE: nothing}
    found.setdefault(AFFINE_ALONE, Evidence(AFFINE_ALONE))
    own = _coarse(plans, CANNOT_TEAR)
    begun = _there_and_back(images, own, (nothing, nothing), run)
    leads[CANNOT_TEAR] = begun[0]
    found[CANNOT_TEAR] = weigh(CANNOT_TEAR, _scale_on(images, own[-1]), *begun)
    if found[CANNOT_TEAR].worth > 0:
        left.append(Choice(CANNOT_TEAR, *begun, CANNOT_TEAR))
    if proposal is not None:
        own = _coarse(plans, "information")
        there, back = proposal.on(own[-1])
        scale = _scale_on(images, own[-1])
        begun = _there_and_back(images, own, (there, back), run)
        leads |= {NETWORK_ALONE: there, FROM_NETWORK: begun[0]}
        found[NETWORK_ALONE] = weigh(NETWORK_ALONE, scale, there, back)
        found[FROM_NETWORK] = weigh(FROM_NETWORK, scale, *begun)
        if found[FROM_NETWORK].worth > 0:
            left.append(Choice("information", *begun, FROM_NETWORK))
        enough = PROPOSED[there.ndim - 2]
        if found[NETWORK_ALONE].worth >= enough and believed(found[NETWORK_ALONE], scale, there):
            left.append(Choice(choice.similarity, there, back, NETWORK_ALONE))
    left.sort(key=lambda c: found[c.chosen].worth, reverse=True)
    if agreed(choice):
        begun = _there_and_back(images, _coarse(plans, "information"), (nothing, nothing), run)
        left.insert(left.index(affine), Choice("information", *begun, "information"))
    return refused(replace(choice, weighed=tuple(found.values()), rest=tuple(left), leads=leads))


def agreed(choice: Choice) -> bool:
    """Whether mutual information gains much for its miss, the way that another measure leads, if at too high a price.

    The price is that of many places to err, as in few thick slices; two measures do not err alike.
    """
    told = next((e for e in choice.weighed if e.name == "information"), None)
    if told is None or DIRECT not in choice.leads or choice.scale is None or told.worth > 0:
        return False
    pays = told.gain > max(GAINED, PAYS * told.miss) and told.rough < SMOOTH
    return pays and cosine(choice.scale, choice.leads[told.name], choice.leads[DIRECT]) > SAME_WAY


def believed(evidence: Evidence, scale: Scale, there: Tensor) -> bool:
    """Whether a proposed field that nothing else confirms neither tears tissue nor fits outlines alone."""
    return evidence.rough <= ROUGHEST and tells_more(scale, there, inside=True)


def confirmed(images: Images, level: Level, choice: Choice, u: Tensor) -> bool:
    """Whether the images agree once moved by ``u``; of two contrasts, no less than before, with one made the other.

    What ``CANNOT_TEAR`` finds must only tell more: where it is asked, the contrasts hide each other from any such look.

    Where the guard acted one must tell more of the other at full resolution, too. Fields that moved heads which lay
    right by half a voxel gained 3 % at a quarter of the resolution, 2 at half of it, and lost 1 to 2 at full
    resolution; right ones gained 1 to 31 there.

    Args:
        level: the last coarse one; they are compared at twice its resolution.
        u: (1, ndim, *S) voxels of any level.
    """
    if choice.similarity == "lncc":
        acted = len(choice.weighed) > 1
        if not acted and choice.weighed[0].alike >= DOUBTED:
            return True
        is_alike = alike(*finer(images, level, 2, u)) >= ALIKE
        if not acted or not is_alike:
            return is_alike
    elif choice.similarity != CANNOT_TEAR:
        scale, there = finer(images, level, 2, u)
        if alike(scale, there, across=True) < max(AGREED, alike(scale, torch.zeros_like(there), across=True)):
            return False
    return tells_more(*finer(images.as_given(), level, max(level.factors), u))


def _coarse(plans: Callable[[str], list[Level]], measure: str) -> list[Level]:
    """The coarse levels for a measure."""
    levels = plans(measure)
    return levels[: coarse_levels(levels)]


def _there_and_back(images: Images, levels: Sequence[Level], start: Fields, run: Run) -> Fields:
    """What ``levels`` make of ``start``, each way by itself."""
    return run(images, levels, start[0])[0], run(images.swapped(), levels, start[1])[0]


def finer(images: Images, level: Level, times: int, u: Tensor) -> tuple[Scale, Tensor]:
    """The images at ``times`` the resolution of ``level``, full at most, and ``u`` there."""
    factors = tuple(max(1, f // times) for f in level.factors)
    spacing = tuple(s * f / g for s, f, g in zip(level.spacing, factors, level.factors, strict=True))
    shape = tuple(-(-n // f) for n, f in zip(images.window.shape, factors, strict=True))
    return _scale_on(images, replace(level, factors=factors, spacing=spacing, shape=shape)), resize(u, shape)


def _scale_on(images: Images, level: Level) -> Scale:
    pair = images.on(level)
    return Scale(pair.fixed, pair.moving, pair.fixed_mask, pair.moving_mask, level.spacing)


def refused(choice: Choice) -> Choice:
    """The next of ``choice.rest`` in place of what goes on, with all that was weighed."""
    following, *rest = choice.rest or ()
    first = next(e for e in choice.weighed if e.name == following.chosen)
    others = sorted((e for e in choice.weighed if e is not first), key=lambda e: e.worth, reverse=True)
    following = replace(following, leads=choice.leads, scale=choice.scale)
    return with_distances(replace(following, weighed=(first, *others), rest=tuple(rest)))


def with_distances(choice: Choice) -> Choice:
    """``choice`` with how far all that was weighed leads from what goes on."""
    if choice.scale is None:
        return choice
    scale, leads = choice.scale, choice.leads
    told = (replace(e, apart_mm=apart_mm(scale, leads[e.name], choice.there)) for e in choice.weighed)
    return replace(choice, weighed=tuple(told))
