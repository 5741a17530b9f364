"""A rival for the end: what a network proposes, refined on the finest levels, against what the engine found itself.

Where tissue moved far, the coarse levels see too little of it, and across contrasts they take one edge for another; the
finer levels do not come back from there. A network saw the whole at once. Which of the two lies better is told by what
neither optimized: how much one image tells of the other at full resolution. Both are moved, so that interpolation costs
both alike.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..fields import resize
from ..settings import AFFINE_ALONE, NETWORK_ALONE
from .guard import Choice, Run, believed, coarse_levels, finer, with_distances
from .hypotheses import information, moved_share, weigh
from .level_images import Images
from .levels import Level
from .proposal import Proposal
from .schedule import DIRECT

FAR = {2: 0.02, 3: 0.085}
"""Of the grid's mean side, by axes: how far 1 voxel in 20 moves, from which on the rival is asked. In 2-D it takes a
fifth of a second."""
FAR_ACROSS = 0.045
"""The same across contrasts. Of 60 rivals of such results and those above that told more 40 were better by 0.01 Dice or
0.3 mm (heads, brains, tumors, hippocampi, sections) and one worse; of 17 that told up to 6 % less ten were worse."""
MANY_STEPS = 20
"""Where the last level has fewer, as on large images, the level before it is gone through as well."""
PRICE, WORTH = 0.75, 0.01
"""Where nothing was worth it: what a standard deviation of 1 of the log Jacobian costs, of what the images tell of each
other, and what the rival must be worth on the coarse level. Of 45 such answers 31 rivals told more, up to 0.6 times
their roughness where they were wrong (stained sections, slices, a head with a tumor); four of livers and slices told
1.6 to 2.3 times it, were worth 0.013 to 0.13, and were right. In noise others told 0.8 and 1.3 times it, worth -0.005
and 0.007."""


def challenged(
    images: Images,
    plans: Callable[[str], list[Level]],
    u: Tensor,
    counts: tuple[int, ...],
    choice: Choice,
    run: Run,
    proposal: Proposal | None,
) -> tuple[Tensor, tuple[int, ...], Choice]:
    """``u``, ``counts`` and ``choice``, or the rival's field, steps of each of its levels, and evidence.

    Args:
        plans: the levels for a measure.
        u: the field at the end, (1, ndim, *S) voxels of any level; zero where nothing was worth it.
        counts: steps of each level.
        choice: what came to its end.
        run: takes the steps of levels from a given field.
        proposal: the network's field; None: there is no rival.
    """
    still, across = choice.chosen == AFFINE_ALONE, choice.similarity != "lncc"
    if proposal is None or choice.chosen == NETWORK_ALONE:
        return u, counts, choice
    measure = DIRECT if still or across else choice.similarity
    levels = plans(measure)
    coarse = levels[coarse_levels(levels) - 1]
    scale, there = finer(images, coarse, 1, u)
    if not still and moved_share(scale, there) < (FAR_ACROSS if across else FAR[there.ndim - 2]):
        return u, counts, choice
    fine = levels[-1:] if levels[-1].iterations >= MANY_STEPS else levels[-2:]
    rival, steps = run(images, fine, proposal.fields[0])
    as_given, times = images.as_given(), max(coarse.factors)
    told, before = (information(*finer(as_given, coarse, times, field)) for field in (rival, u))
    if told <= before:
        return u, counts, choice
    name, its = f"{NETWORK_ALONE}, {fine[-1].similarity}", resize(rival, there.shape[2:])
    evidence = weigh(name, scale, its, None)
    worth_it = told >= before * (1 + PRICE * evidence.rough) and evidence.worth > WORTH
    if still and not (worth_it and believed(evidence, scale, its)):
        return u, counts, choice
    leads = {**choice.leads, choice.chosen: there, name: its}
    won = Choice(choice.similarity, its, None, name, (evidence, *choice.weighed), (), leads, scale)
    return rival, tuple(steps), with_distances(won)
