"""A rival for the end: what a network proposes, refined on the finest levels, against what the engine found itself.

Where tissue moved far, the coarse levels see too little of it, and across contrasts they take one edge for another; the
finer levels do not come back from there. A network saw the whole at once. Which of the two lies better is told by what
neither optimized: how much one image tells of the other at full resolution. Both are moved, so that interpolation costs
both alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from ..fields import compose, resize, warp
from ..progress import Reporter
from ..settings import AFFINE_ALONE, NETWORK_ALONE
from .guard import Choice, Run, believed, coarse_levels, finer, with_distances
from .hypotheses import information, moved_share, weigh
from .level_images import Images
from .levels import Level
from .proposal import Proposal
from .schedule import DIRECT

FAR = {2: 0.02, 3: 0.085}
"""Of the grid's mean side, by axes: how far 1 voxel in 20 moves, from which on the rival is asked."""
FAR_ACROSS = {2: 0.045, 3: 0.03}
"""The same across contrasts. Of 60 rivals of such results and those above that told more 40 were better by 0.01 Dice or
0.3 mm (heads, brains, tumors, hippocampi, sections) and one worse; of 17 that told up to 6 % less ten were worse. In
3-D, a hippocampus that moved by 0.042 comes from 0.77 to 0.82 Dice; a brain that hardly moved (0.009) would go from
0.84 to 1.02 mm."""
MANY_STEPS = 20
"""Where the last level has fewer, as on large images, the level before it is gone through as well."""
ROUNDS = 3
"""How often the network looks at what it has moved, at most, as long as that tells more: 16 heads with 40 mm of elastic
motion ended at 4.4 mm with one look and at 3.9 with three; two heads and a tumor moved by a fifth of the image at 4.3,
3.6 and 4.5, and with two looks at 3.6, 3.3 and 3.8."""
PRICE, WORTH = 0.75, 0.01
"""Where nothing was worth it: what a standard deviation of 1 of the log Jacobian costs, of what the images tell of each
other, and what the rival must be worth on the coarse level. Of 45 such answers 31 rivals told more, up to 0.6 times
their roughness where they were wrong (stained sections, slices, a head with a tumor); four of livers and slices told
1.6 to 2.3 times it, were worth 0.013 to 0.13, and were right. In noise others told 0.8 and 1.3 times it, worth -0.005
and 0.007."""


LAST_LOOK = "the last look"
"""Where a user stops who stops meanwhile; what was shown before then stays."""


def challenged(
    images: Images,
    plans: Callable[[str], list[Level]],
    u: Tensor,
    counts: tuple[int, ...],
    choice: Choice,
    run: Run,
    proposal: Proposal | None,
    reporter: Reporter,
) -> tuple[Tensor, tuple[int, ...], Choice]:
    """``u``, ``counts`` and ``choice``, or the rival's field, steps of each of its levels, and evidence.

    Args:
        plans: the levels for a measure.
        u: the field at the end, (1, ndim, *S) voxels of any level; zero where nothing was worth it.
        counts: steps of each level.
        choice: what came to its end.
        run: takes the steps of levels from a given field.
        proposal: the network's field; None: there is no rival.
        reporter: asked whether the user stopped, and shown each rival that tells more.
    """
    still, across = choice.chosen == AFFINE_ALONE, choice.similarity != "lncc"
    if proposal is None or choice.chosen == NETWORK_ALONE or reporter.stopped(LAST_LOOK):
        return u, counts, choice
    levels = plans(DIRECT if still or across else choice.similarity)
    coarse = levels[coarse_levels(levels) - 1]
    scale, there = finer(images, coarse, 1, u)
    if not still and moved_share(scale, there) < (FAR_ACROSS if across else FAR)[there.ndim - 2]:
        return u, counts, choice
    tells = partial(_tells, images.as_given(), coarse)
    name = f"{NETWORK_ALONE}, {levels[-1].similarity}"
    told = before = tells(u)
    best = choice
    for start in islice(proposal.rounds(), ROUNDS):
        rival, steps = _refined(images, levels, start, run, anew=across and not still)
        if reporter.stopped(LAST_LOOK) or (more := tells(rival)) <= told:
            break
        its = resize(rival, there.shape[2:])
        evidence = weigh(name, scale, its, None)
        worth_it = more >= before * (1 + PRICE * evidence.rough) and evidence.worth > WORTH
        if still and not (worth_it and believed(evidence, scale, its)):
            break
        leads = {**choice.leads, choice.chosen: there, name: its}
        won = Choice(choice.similarity, its, None, name, (evidence, *choice.weighed), (), leads, scale)
        told, u, counts, best = more, rival, tuple(steps), with_distances(won)
        reporter.preview(LAST_LOOK, partial(images.field_on, rival, levels[-1]))
    return u, counts, best


def looked_again(
    images: Images, plans: Callable[[str], list[Level]], choice: Choice, proposal: Proposal, reporter: Reporter
) -> tuple[Tensor, Choice]:
    """``choice``, which is the proposed field as it is, with what the network sees once the image is moved by that.

    As long as that tells more and is worth more by ``WORTH``. A chest in other contrasts came from 0.843 to 0.904 Dice
    so, a slice moved by a fifth of it from 11.7 to 10.7 px. Second looks that told less, or were hardly worth more,
    would have taken a brain from 0.688 to 0.594 and four heads of which half was seen from 10.6 to 12.5 mm.

    Returns:
        the field, (1, ndim, *S) voxels of the images; the choice that leads there.
    """
    levels = plans("information")
    coarse = levels[coarse_levels(levels) - 1]
    tells, best = partial(_tells, images.as_given(), coarse), proposal.fields[0]
    told, worth = -math.inf, -math.inf
    for look, u in enumerate(islice(proposal.rounds(), ROUNDS)):
        scale, there = finer(images, coarse, 1, u)
        more = tells(u)
        evidence = weigh(NETWORK_ALONE, scale, there, None)
        if more <= told or evidence.worth < worth + WORTH:
            break
        told, worth, best = more, evidence.worth, u
        reporter.preview(LAST_LOOK, partial(images.field_on, resize(u, levels[-1].shape), levels[-1]))
        if look:
            leads = {**choice.leads, NETWORK_ALONE: there}
            choice = with_distances(replace(choice, there=there, weighed=(evidence, *choice.weighed[1:]), leads=leads))
        if reporter.stopped(LAST_LOOK):
            break
    return best, choice


def _tells(images: Images, coarse: Level, u: Tensor) -> float:
    """What one image tells of the other at full resolution, moved by ``u`` (1, ndim, *S) voxels of any level."""
    return information(*finer(images, coarse, max(coarse.factors), u))


def _refined(images: Images, levels: Sequence[Level], start: Tensor, run: Run, anew: bool) -> tuple[Tensor, list[int]]:
    """``start`` (1, ndim, *S), voxels of the images, after the last of ``levels``; steps of each that was gone through.

    ``anew``, volumes are moved by it first, so that only what is added is smoothed: of heads in two contrasts with
    40 mm of elastic motion, begun at the truth, 2.1 to 3.3 mm were lost with the whole smoothed, 1.6 to 1.9 so; begun
    at a network's field they ended at 4.2 to 5.8 and at 3.7 to 5.3. Sections end farther away so, by a twentieth to a
    half; in one contrast volumes end as near, but tell less of each other, being interpolated twice meanwhile, so that
    of 12 livers, skulls, hippocampi and prostates with elastic motion of a fifth six rivals lost what they had won.
    """
    fine = levels[-1:] if levels[-1].iterations >= MANY_STEPS else levels[-2:]
    if not anew or start.ndim == 4:
        return run(images, fine, start)
    mask = images.moving_mask
    moved = replace(images, moving=warp(images.moving, start), moving_mask=mask if mask is None else warp(mask, start))
    added, steps = run(moved, fine, torch.zeros_like(start))
    return compose(start, resize(added, start.shape[2:])), steps
