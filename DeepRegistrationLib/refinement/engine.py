"""The refinement engine: the field that best aligns this pair, found without any network.

Greedy compositive registration from coarse to fine. One step warps the moving image by the field so far, takes the
exact gradient of the similarity, smooths it (a fluid regularization), scales it, and composes it with the field:
u <- d + u o (id + d), which for steps below a voxel is u + d + (grad u) d. Coarse levels are gone through both ways,
which tells where the images have no counterpart; there nothing pulls (``counterparts.py``). At full resolution, where
little is left to be done, steps are longer and are added: that ends higher on every pair tried, in half of the time. At
the end folds are removed and the inverse is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..errors import InputError
from ..fields import resize
from ..fields.folding import unfold
from ..fields.inverse import invert
from ..progress import SILENT, Reporter
from ..settings import AFFINE_ALONE, AUTO, NETWORK_ALONE, Settings
from .choose import choose_similarity
from .counterparts import fill_in, trust_in
from .guard import Choice, coarse_levels, confirmed, guard, last_resort, refused, with_stiff
from .hypotheses import Fields
from .level_images import Images
from .levels import Level, Rim, Window, keep_inside, normalize, shrink, working_window
from .one_level import run_level
from .proposal import Proposal
from .rival import LAST_LOOK, challenged, looked_again
from .schedule import plan
from .sharpness import as_soft_as_each_other


@dataclass(frozen=True, eq=False)
class Refined:
    """What came out.

    Attributes:
        field: (1, ndim, *S) voxels, fixed to moving, without folds.
        inverse: (1, ndim, *S) voxels, moving to fixed.
        similarity: the measure that was used.
        spacing: mm along each array axis of the level that the field was last looked for on.
        iterations: steps taken on each level, coarse to fine.
        choice: what went on from the coarse levels, and the evidence for it; see ``guard.py``. Its ``chosen`` is ""
            where a user stopped before that was decided: the field is nothing then.
    """

    field: Tensor
    inverse: Tensor
    similarity: str
    spacing: tuple[float, ...]
    iterations: tuple[int, ...]
    choice: Choice


Propose = Callable[[Reporter, Tensor | None], Fields]
Planner = Callable[[Sequence[int], Sequence[float], Settings, str], list[Level]]


def refine(
    fixed: Tensor,
    moving: Tensor,
    settings: Settings | None = None,
    *,
    spacing: Sequence[float] | None = None,
    lacking: Sequence[float] = (),
    start: Tensor | None = None,
    fixed_mask: Tensor | None = None,
    moving_mask: Tensor | None = None,
    landmarks: tuple[Tensor, Tensor] | None = None,
    labels: tuple[Tensor, Tensor] | None = None,
    propose: Propose | None = None,
    planner: Planner | None = None,
    reporter: Reporter = SILENT,
) -> Refined:
    """The field that aligns ``moving`` with ``fixed``; both (1, 1, *S) on one grid, any intensities.

    Args:
        settings: of these, ``refine``, ``similarity``, ``smoothness`` and ``from_here`` (fewer steps, soft at once).
        spacing: mm along each array axis (1 if None).
        lacking: by how much the moving image is known to be less sharp, see ``as_soft_as_each_other``.
        start: (1, ndim, *S) field to begin with, in voxels, fixed to moving.
        fixed_mask, moving_mask: (1, 1, *S); what is 0 does not count.
        landmarks: (n, ndim) voxel positions in fixed and in moving that belong together.
        labels: (1, 1, *S) integer maps of fixed and moving; equal labels attract.
        propose: gives other fields to begin with, there and back, (1, ndim, *S) voxels, as a network does, of the
            moving image as it is or moved by a given field. It is asked where the images tell that the engine's own
            field cannot be trusted.
        planner: makes the levels, in place of ``plan``: for those who measure other settings.
        reporter: told about every step; raises Cancelled.

    Raises:
        InputError: if the images do not share one grid, or nothing shall be refined.
    """
    settings = settings or Settings()
    shape = tuple(fixed.shape[2:])
    ndim = len(shape)
    if fixed.shape != moving.shape or fixed.shape[:2] != (1, 1) or ndim not in (2, 3):
        raise InputError(
            f"Fixed and moving must share one grid, as (1, 1, *shape); they are {tuple(fixed.shape)} and "
            f"{tuple(moving.shape)}."
        )
    if landmarks is not None and (landmarks[0].shape != landmarks[1].shape or landmarks[0].shape[1:] != (ndim,)):
        raise InputError("The landmarks must come in pairs: as many points in fixed as in moving.")
    if landmarks is not None:
        landmarks = landmarks[0].to(fixed.device), landmarks[1].to(fixed.device)
    if labels is not None:
        labels = labels[0].to(fixed.device), labels[1].to(fixed.device)
    mm = [float(s) for s in (spacing if spacing is not None else [1.0] * ndim)]
    with torch.no_grad():
        f, m = normalize(fixed, fixed_mask), normalize(moving, moving_mask)
        multiples = plan(shape, mm, settings)[0].factors
        window = working_window([f, m], multiples)
        given = window.cut(f), window.cut(m)
        fixed_mask, moving_mask = (
            None if mask is None else window.cut(mask.float()) for mask in (fixed_mask, moving_mask)
        )
        f, m = as_soft_as_each_other(*given, fixed_mask, moving_mask, lacking)
        images = Images(f, m, fixed_mask, moving_mask, landmarks, labels, window, shape, settings.smoothness, *given)
        begin = None if start is None else window.cut(start.float())
        similarity = settings.similarity
        if similarity == AUTO:
            similarity = choose_similarity(shrink(f, multiples), shrink(m, multiples))
        # What was asked for or guided by hand is not judged by the images alone.
        guarded = settings.similarity == AUTO and begin is None and landmarks is None and labels is None
        plans = with_stiff(partial(planner or plan, window.shape, mm, settings))
        u, counts, choice = _descend(images, plans, similarity, begin, guarded, propose, reporter)
        last = tuple(s * (w / n) for s, w, n in zip(mm, window.shape, u.shape[2:], strict=True))
        reporter(0.87, "removing folds")
        u = _on_grid(u, window, shape, start)
        if start is None:
            keep_inside(u)
        u = unfold(u, reporter=reporter)
        for _ in range(4):  # mending folds at the border may lead out again
            if start is not None or keep_inside(u, 0.35) == 0:
                break
            u = unfold(u, reporter=reporter)
        reporter(0.92, "inverting")
        inverse = invert(u, reporter)
        reporter(1.0, "")
    return Refined(u, inverse, choice.similarity, last, counts, choice)


def _descend(
    images: Images,
    plans: Callable[[str], list[Level]],
    similarity: str,
    begin: Tensor | None,
    guarded: bool,
    propose: Propose | None,
    reporter: Reporter,
) -> tuple[Tensor, tuple[int, ...], Choice]:
    """The field on the last level, how many steps each took, and what went on from the coarse levels.

    Guarded, the fine levels are gone through from one choice after another, until one of these ends it:

    * nothing was worth it: no field (``AFFINE_ALONE``); or the network's field is taken as it is (``NETWORK_ALONE``);
    * the user stopped, or the end of the choice is confirmed.

    What is confirmed, or left as it is, may still lose to a rival (``challenged``).
    """
    levels = plans(similarity)
    coarse = coarse_levels(levels) if guarded else sum(level.both_ways for level in levels)
    u = begin if begin is not None else images.fixed.new_zeros(1, images.fixed.ndim - 2, *images.window.shape)
    begins: tuple[Tensor | None, Tensor | None] = (begin, None)
    if begin is not None and coarse:
        begins = begin, invert(resize(begin, levels[coarse - 1].shape).contiguous())
    v_start = u if begins[1] is None else begins[1]
    both = coarse > 0 and levels[coarse - 1].both_ways
    costs = [level.cost * (2 if number < coarse and both else 1) for number, level in enumerate(levels)]
    share = 0.85 * sum(costs[:coarse]) / sum(costs)
    middle = share / 2 if both else share
    v: Tensor | None = None
    u, counts = _one_way(images, levels[:coarse], u, begins[0], reporter.stage(reporter.name, 0, middle), not guarded)
    if both:
        back = reporter.stage(reporter.name, middle, share)
        v, _ = _one_way(images.swapped(), levels[:coarse], v_start, begins[1], back)
    choice = Choice(similarity, u, v, similarity)
    go_on = partial(_fine_levels, images, begin=begin, share=share, reporter=reporter)
    if not guarded:
        return *go_on(levels, coarse, choice, counts), choice
    part = reporter.stage(reporter.name, share, share)
    proposal = None if propose is None else Proposal(partial(propose, part), images.window)
    run = partial(_one_way, begin=None, reporter=part)
    last_look = partial(run, where=LAST_LOOK)
    contest = partial(challenged, images, plans, run=last_look, proposal=proposal, reporter=part)
    judge = partial(guard, images, plans, run=run)
    resort = partial(last_resort, images, plans, run=run, proposal=proposal)
    choice, first = judge(choice), (levels, coarse, counts)
    if reporter.stopped("the coarse levels"):  # nothing but the beginning was shown
        nothing = torch.zeros_like(u)
        return nothing, (0,) * len(levels), Choice(similarity, nothing, None, "")
    while True:
        if choice.chosen == AFFINE_ALONE and choice.rest is None:
            choice = resort(choice)
        if choice.chosen == AFFINE_ALONE:
            return contest(torch.zeros_like(choice.there), (0,) * len(levels), choice)
        if choice.chosen == NETWORK_ALONE and proposal is not None:
            u, choice = looked_again(images, plans, choice, proposal, part)
            return u, (0,) * len(levels), choice
        levels, coarse, counts = first
        if choice.chosen != similarity:
            levels = plans(choice.similarity)
            coarse = coarse_levels(levels)
            counts = [level.iterations for level in levels[:coarse]]
        reporter.preview("coarse levels", partial(images.field_on, choice.there, levels[coarse - 1]))
        u, taken = go_on(levels, coarse, choice, counts)
        if reporter.stopped("the last level"):
            return u, taken, choice
        if confirmed(images, levels[coarse - 1], choice, u):
            return contest(u, taken, choice)
        if len(choice.weighed) > 1:
            choice = refused(choice) if choice.rest else resort(choice)
            continue
        seen, choice = choice, judge(choice, refuted=True)
        if reporter.stopped(LAST_LOOK):
            return u, taken, seen


def _fine_levels(
    images: Images,
    levels: Sequence[Level],
    coarse: int,
    choice: Choice,
    counts: Sequence[int],
    *,
    begin: Tensor | None,
    share: float,
    reporter: Reporter,
) -> tuple[Tensor, tuple[int, ...]]:
    """The field on the last of ``levels`` from what goes on, and ``counts`` with those of the levels after the coarse.

    ``share``: of the refinement's work, what the coarse levels were.
    """
    u, counts = choice.there, [*counts]
    trust: Tensor | None = None
    if coarse and levels[coarse - 1].both_ways and choice.back is not None:
        pair = images.on(levels[coarse - 1])
        trust = trust_in(pair.fixed, pair.moving, u, choice.back, levels[coarse - 1])
        u = u.clone()  # what it began with may be asked for again
        fill_in(u, trust, levels[coarse - 1])
    costs = [level.cost for level in levels[coarse:]]
    for number, level in enumerate(levels[coarse:]):
        if coarse + number:
            u = unfold(u, 0.02, reporter)
        low, high = (share + (0.85 - share) * sum(costs[:n]) / sum(costs) for n in (number, number + 1))
        part, message = reporter.stage(reporter.name, low, high), f"level {coarse + number + 1} of {len(levels)}"
        u = _carry(u, level, begin)
        rim = Rim(level, images.window, images.shape, u.device)
        counts.append(run_level(level, images.on(level), u, rim, trust, part, message))
        reporter.preview(message, partial(images.field_on, u, level))
        if reporter.stopped(message):
            break
    return u, tuple(counts)


def _one_way(
    images: Images,
    levels: Sequence[Level],
    u: Tensor,
    begin: Tensor | None,
    reporter: Reporter,
    shows: bool = False,
    where: str = "",
) -> tuple[Tensor, list[int]]:
    """Coarse ``levels`` from the field ``u``: the field, and how many steps each level took.

    ``shows``: this is the way that a user wants to see. ``where``: what the levels are called, if not coarse.
    """
    counts: list[int] = []
    costs = [level.cost for level in levels]
    for number, level in enumerate(levels):
        part = reporter.stage(reporter.name, *(sum(costs[:n]) / sum(costs) for n in (number, number + 1)))
        u = _carry(unfold(u, 0.02, reporter) if number else u, level, begin)
        rim = Rim(level, images.window, images.shape, u.device)
        message = where or f"coarse level {number + 1} of {len(levels)}"
        counts.append(run_level(level, images.on(level), u, rim, None, part, message))
        if shows:
            reporter.preview(message, partial(images.field_on, u, level))
    return u, counts


def _carry(u: Tensor, level: Level, begin: Tensor | None) -> Tensor:
    """The field on ``level``; what ``begin`` (on the whole window) holds in detail is not lost on the way."""
    if begin is None or u is begin:
        resized = resize(u, level.shape)
        return resized.clone(memory_format=torch.contiguous_format) if resized is u else resized
    added = u - resize(begin, u.shape[2:])
    return resize(begin, level.shape) + resize(added, level.shape)


def _on_grid(u: Tensor, window: Window, shape: tuple[int, ...], start: Tensor | None) -> Tensor:
    """The field on the whole grid; what was added to ``start`` goes on beyond the window."""
    if start is None:
        return window.paste(resize(u, window.shape), shape)
    added = u - resize(window.cut(start.float()), u.shape[2:])
    return start.float() + window.paste(resize(added, window.shape), shape)
