"""The coarse levels of a refinement: hypotheses are tried there (``hypotheses.py``), and the best goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..fields import resize
from ..fields.folding import unfold
from ..fields.inverse import invert
from ..progress import Reporter
from .hypotheses import MEASURES, STILL, Choice, Fields, Scale, choose
from .levels import Level, Rim
from .schedule import BOTH_WAYS

if TYPE_CHECKING:
    from .engine import Images, RunLevel

TRIAL = 12
"""Steps by which a hypothesis is tried on the coarse level of a volume; the chosen one takes the rest."""
CHEAP = 30_000
"""Voxels of a level up to which a hypothesis takes all its steps."""


def coarse_levels(levels: Sequence[Level]) -> int:
    """How many of ``levels`` are coarse: hypotheses are tried on them."""
    return max(1, next((n for n, level in enumerate(levels) if max(level.factors) < BOTH_WAYS), len(levels)))


def run_coarse(
    images: Images,
    plans: Callable[[str], list[Level]],
    similarity: str,
    begin: Tensor | None,
    run_level: RunLevel,
    reporter: Reporter,
) -> Choice:
    """Choose among the measures (one, if ``similarity`` is not "auto") and starts; all coarse levels are done then.

    Args:
        plans: the levels for a measure.
        begin: (1, ndim, *S) the field to begin with, on the whole window; None: 0, or what the far-seeing stage finds.
        run_level: takes the steps of one level, in place.
    """
    measures = MEASURES if similarity == "auto" else (similarity,)
    levels = {measure: plans(measure) for measure in measures}
    levels = {measure: own[: coarse_levels(own)] for measure, own in levels.items()}
    last = levels[measures[0]][-1]
    pair = images.on(last)
    guided = images.landmarks is not None or images.labels is not None
    trials = len(measures) + (begin is None)
    done = 0

    def run(measure: str, fields: Fields, steps: slice = slice(0, None)) -> Fields:
        nonlocal done
        u, v = fields
        part = reporter.stage(reporter.name, min(1.0, done / (trials + 1)), min(1.0, (done + 1) / (trials + 1)))
        done += 1
        for level in levels[measure] if steps.start == 0 else levels[measure][-1:]:
            u, v = (_on(x, level) for x in (u, v))
            some = _part(level, steps)
            there = images.on(level)
            rim = Rim(level, images.window, images.shape, u.device)
            run_level(some, there, u, rim, None, part, f"trying {measure}")
            run_level(some, there.swapped(), v, rim, None, part, f"trying {measure}")
            u, v = unfold(u, 0.02, reporter), unfold(v, 0.02, reporter)
        return u, v

    scale = Scale(pair.fixed, pair.moving, pair.fixed_mask, pair.moving_mask, last.spacing)
    if begin is None:
        u = images.fixed.new_zeros(1, len(last.shape), *last.shape)
        start = u, u
    else:
        u = resize(begin, last.shape).contiguous()
        start = u, invert(u)
    choice = choose(
        scale,
        start,
        measures,
        lambda measure, fields: run(measure, fields, slice(0, TRIAL)),
        may_stay=similarity == "auto" and not guided,
        far=begin is None,
    )
    if choice.chosen == STILL:
        return choice
    there, back = run(choice.similarity, (choice.there, choice.back), slice(TRIAL, None))
    return replace(choice, there=there, back=back)


def _on(u: Tensor, level: Level) -> Tensor:
    u = resize(u, level.shape)
    return u.clone(memory_format=torch.contiguous_format)


def _part(level: Level, steps: slice) -> Level:
    """``level`` with some of its steps; where they are cheap all belong to the trial."""
    if level.voxels <= CHEAP:
        return level if steps.start == 0 else replace(level, iterations=0)
    return replace(level, iterations=len(range(level.iterations)[steps]))
