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
from ..fields import resize, resize_image
from ..fields.folding import unfold
from ..fields.inverse import invert
from ..fields.kernels import BandFilter, Sampler, central_difference, gaussian_weights
from ..progress import SILENT, Reporter
from ..settings import AFFINE_ALONE, AUTO, Settings
from ..similarity.cropped_mind import cropped_mind, principal_channels
from .choose import choose_similarity
from .counterparts import fill_in, trust_in
from .forces import Force, Lncc, LocalGradient, Ssd, structure_mask, translate
from .guard import Choice, coarse_levels, guard
from .guidance import LandmarkPull
from .information import Information
from .level_images import Images, Pair
from .levels import Level, Rim, Window, erode, keep_inside, normalize, shrink, working_window
from .pace import Pace
from .schedule import plan

MIND_CHANNELS = 4
SAME = 1e-4
"""Of the intensity range: images that nowhere differ by more are the same."""


@dataclass(frozen=True, eq=False)
class Refined:
    """What came out.

    Attributes:
        field: (1, ndim, *S) voxels, fixed to moving, without folds.
        inverse: (1, ndim, *S) voxels, moving to fixed.
        similarity: the measure that was used.
        iterations: steps taken on each level, coarse to fine.
        choice: what went on from the coarse levels, and the evidence for it; see ``guard.py``.
    """

    field: Tensor
    inverse: Tensor
    similarity: str
    iterations: tuple[int, ...]
    choice: Choice


Planner = Callable[[Sequence[int], Sequence[float], Settings, str], list[Level]]


def refine(
    fixed: Tensor,
    moving: Tensor,
    settings: Settings | None = None,
    *,
    spacing: Sequence[float] | None = None,
    start: Tensor | None = None,
    fixed_mask: Tensor | None = None,
    moving_mask: Tensor | None = None,
    landmarks: tuple[Tensor, Tensor] | None = None,
    labels: tuple[Tensor, Tensor] | None = None,
    planner: Planner | None = None,
    reporter: Reporter = SILENT,
) -> Refined:
    """The field that aligns ``moving`` with ``fixed``; both (1, 1, *S) on one grid, any intensities.

    Args:
        settings: of these, ``refine``, ``similarity`` and ``smoothness``.
        spacing: mm along each array axis (1 if None).
        start: (1, ndim, *S) field to begin with, in voxels, fixed to moving.
        fixed_mask, moving_mask: (1, 1, *S); what is 0 does not count.
        landmarks: (n, ndim) voxel positions in fixed and in moving that belong together.
        labels: (1, 1, *S) integer maps of fixed and moving; equal labels attract.
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
        f, m = window.cut(f), window.cut(m)
        fixed_mask, moving_mask = (
            None if mask is None else window.cut(mask.float()) for mask in (fixed_mask, moving_mask)
        )
        images = Images(f, m, fixed_mask, moving_mask, landmarks, labels, window, shape, settings.smoothness)
        begin = None if start is None else window.cut(start.float())
        similarity = settings.similarity
        if similarity == AUTO:
            similarity = choose_similarity(shrink(f, multiples), shrink(m, multiples))
        # What was asked for or guided by hand is not judged by the images alone.
        guarded = settings.similarity == AUTO and begin is None and landmarks is None and labels is None
        plans = partial(planner or plan, window.shape, mm, settings)
        u, counts, choice = _descend(images, plans, similarity, begin, guarded, reporter)
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
    return Refined(u, inverse, choice.similarity, counts, choice)


def _descend(
    images: Images,
    plans: Callable[[str], list[Level]],
    similarity: str,
    begin: Tensor | None,
    guarded: bool,
    reporter: Reporter,
) -> tuple[Tensor, tuple[int, ...], Choice]:
    """The field on the last level, how many steps each took, and what went on from the coarse levels."""
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
    u, counts = _one_way(images, levels[:coarse], u, begins[0], reporter.stage(reporter.name, 0, middle))
    if both:
        back = reporter.stage(reporter.name, middle, share)
        v, _ = _one_way(images.swapped(), levels[:coarse], v_start, begins[1], back)
    choice = Choice(similarity, u, v, similarity)
    if guarded:
        part = reporter.stage(reporter.name, share, share)
        choice = guard(images, plans, choice, partial(_one_way, begin=None, reporter=part))
    if choice.chosen == AFFINE_ALONE:
        return choice.there, (0,) * len(levels), choice
    if choice.chosen != similarity:
        levels, u = plans(choice.similarity), choice.there
        coarse = coarse_levels(levels)
        counts = [level.iterations for level in levels[:coarse]]
    trust: Tensor | None = None
    if coarse and levels[coarse - 1].both_ways and choice.back is not None:
        pair = images.on(levels[coarse - 1])
        trust = trust_in(pair.fixed, pair.moving, u, choice.back, levels[coarse - 1])
        fill_in(u, trust, levels[coarse - 1])
    costs = [level.cost for level in levels[coarse:]]
    for number, level in enumerate(levels[coarse:]):
        if coarse + number:
            u = unfold(u, 0.02, reporter)
        low, high = (share + (0.85 - share) * sum(costs[:n]) / sum(costs) for n in (number, number + 1))
        part, message = reporter.stage(reporter.name, low, high), f"level {coarse + number + 1} of {len(levels)}"
        u = _carry(u, level, begin)
        rim = Rim(level, images.window, images.shape, u.device)
        counts.append(_run_level(level, images.on(level), u, rim, trust, part, message))
    return u, tuple(counts), choice


def _one_way(
    images: Images, levels: Sequence[Level], u: Tensor, begin: Tensor | None, reporter: Reporter
) -> tuple[Tensor, list[int]]:
    """Coarse ``levels`` from the field ``u``: the field, and how many steps each level took."""
    counts: list[int] = []
    costs = [level.cost for level in levels]
    for number, level in enumerate(levels):
        part = reporter.stage(reporter.name, *(sum(costs[:n]) / sum(costs) for n in (number, number + 1)))
        u = _carry(unfold(u, 0.02, reporter) if number else u, level, begin)
        rim, message = Rim(level, images.window, images.shape, u.device), f"coarse level {number + 1} of {len(levels)}"
        counts.append(_run_level(level, images.on(level), u, rim, None, part, message))
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


def _make_force(
    fixed: Tensor, moving: Tensor, level: Level, sampler: Sampler, spare: tuple[Tensor, ...]
) -> tuple[Force, Tensor]:
    """The force, and the moving channels that it wants warped; a call of it may overwrite ``spare``.

    ``sampler`` aims at the field so far; to make the force may overwrite its points, too.
    """
    similarity = level.similarity
    if similarity == "translated":
        pair = translate(fixed, moving, sampler.take(moving, torch.empty_like(moving)))
        if pair is not None:
            return Lncc(pair[0], level.windows(level.radius), spare=spare), pair[1]
        similarity = "mind"
    if similarity == "lncc":
        return Lncc(fixed, level.windows(level.radius), spare=spare), moving
    if similarity == "gradient":
        return LocalGradient(fixed, moving, level.windows(1.0), level.in_voxels(1.0)), moving
    if similarity == "information":
        return Information(fixed), moving
    if similarity == "mind":
        features = principal_channels(cropped_mind(fixed), cropped_mind(moving), MIND_CHANNELS)
        return Ssd(features[0]), features[1]
    return Ssd(fixed), moving


class _Term:
    """One similarity at work on one level: from the field to a force, in memory of its own."""

    def __init__(self, level: Level, force: Force, source: Tensor, gain: float = 1.0) -> None:
        self._level, self._force, self._source, self._gain = level, force, source, gain
        self._warped, self._slope = torch.empty_like(source), torch.empty_like(source)

    def warp(self, sampler: Sampler) -> None:
        """See the moving channels where ``sampler`` aims."""
        sampler.take(self._source, self._warped)

    def add(self, weight: Tensor | None, out: Tensor) -> Tensor:
        """Add dS/dd to ``out`` (1, ndim, *S), in mm-isotropic units; the value of S."""
        value, gradient = self._force(self._warped, weight)
        for axis, scale in enumerate(self._level.in_voxels(1.0)):
            central_difference(self._warped, axis, self._slope)
            if self._source.shape[1] == 1:
                out[:, axis : axis + 1].addcmul_(self._slope, gradient, value=self._gain * scale**2)
            else:
                out[:, axis].add_(self._slope.mul_(gradient).sum(1), alpha=self._gain * scale**2)
        return value


def _run_level(
    level: Level, pair: Pair, u: Tensor, rim: Rim, trust: Tensor | None, reporter: Reporter, message: str
) -> int:
    """Steps on one level; ``u`` is updated in place. Returns how many. ``trust`` may be of a coarser level."""
    d, buffer, scratch = torch.empty_like(u), torch.empty_like(u), torch.empty_like(u)
    sampler = Sampler(level.shape, device=u.device)
    sampler.aim(u)
    if pair.landmarks is None and pair.codes is None and _same(pair, sampler, d):
        return 0
    force, source = _make_force(pair.fixed, pair.moving, level, sampler, (d, scratch, sampler.points))
    terms = [_Term(level, force, source)]
    if pair.codes is not None:
        terms.append(_Term(level, Ssd(pair.codes[0]), pair.codes[1], gain=2.0))
    fluid = _gaussian(level, level.force_sigma, u.device)
    elastic = _gaussian(level, level.field_sigma, u.device) if level.field_sigma > 0 else None
    sampler.aim(u)
    moved = sampler.take(pair.moving, torch.empty_like(pair.moving))
    there = structure_mask(pair.fixed, moved, spare=(d, buffer, scratch))
    del moved
    if trust is not None:
        there.mul_(resize_image(trust, level.shape))
    weight = pair.fixed_mask
    moving_mask = None
    if pair.moving_mask is not None:
        moving_mask = erode(pair.moving_mask, 1 if level.similarity == "lncc" else 2)
    warped_mask = None if moving_mask is None else torch.empty_like(moving_mask)
    pull = None if pair.landmarks is None else LandmarkPull(level, *pair.landmarks, pair.reach)
    # Landmarks may ask for what the images like less.
    pace = Pace(level.step, None if pull is not None else u)
    for count in range(level.iterations):
        reporter(count / level.iterations, message)
        sampler.aim(u)
        if moving_mask is not None and warped_mask is not None:
            sampler.take(moving_mask, warped_mask)
            weight = warped_mask if pair.fixed_mask is None else warped_mask * pair.fixed_mask
        for term in terms:
            term.warp(sampler)
        buffer.zero_()
        value = float(terms[0].add(weight, buffer))
        buffer.mul_(there)
        value += sum(float(term.add(weight, buffer)) for term in terms[1:])
        if pace.turned_back(value, u):
            if pace.over:
                return count
            continue
        fluid(buffer, d, scratch)
        length = _length(d, buffer)
        largest = float(length.max())
        if pull is None and largest == 0:
            return count  # nothing to see: a start field stays as it is
        long = max(_longest(length, largest, level.quantile_step), 1e-12)
        d.mul_(length.clamp_(min=long).reciprocal_().mul_(pace.step))
        if pull is not None:
            pull(u, d, level.step)
        rim.hold(d)
        if level.composed:
            _compose(u, d, buffer, scratch)
        else:
            torch.add(u, d, out=buffer)
        if elastic is None:
            u.copy_(buffer)
        else:
            elastic(buffer, u, scratch)
    pace.settle(u)
    return level.iterations


def _same(pair: Pair, sampler: Sampler, spare: Tensor) -> bool:
    """Whether the moving image where ``sampler`` aims is the fixed one: what is left is rounding, and must not pull."""
    return float(sampler.take(pair.moving, spare[:, :1]).sub_(pair.fixed).abs_().max()) < SAME


def _length(d: Tensor, out: Tensor) -> Tensor:
    """(1, 1, *S) of ``d`` (1, ndim, *S), in ``out``'s memory; a sum over channels takes five times as long."""
    length = torch.mul(d[:, :1], d[:, :1], out=out[:, :1])
    for axis in range(1, d.shape[1]):
        length.addcmul_(d[:, axis : axis + 1], d[:, axis : axis + 1])
    return length.sqrt_()


def _longest(length: Tensor, largest: float, quantile_step: float, samples: int = 100_000) -> float:
    """The displacement that becomes a whole step, of those in ``length`` (1, 1, *S); see ``Level.quantile_step``."""
    if quantile_step == 0:
        return largest
    some = length.flatten()[:: max(1, length.numel() // samples)]
    some = some[some > 1e-3 * largest]
    return min(largest, _quantile(some, 0.999) / quantile_step) if len(some) else largest


def _quantile(values: Tensor, share: float) -> float:
    """As ``torch.quantile``, without sorting all: the highest are enough."""
    rank = float(torch.tensor(share) * (len(values) - 1))
    low = int(rank)
    highest = torch.topk(values, len(values) - low).values
    return float(torch.lerp(highest[-1], highest[max(-2, -len(highest))], rank - low))


def _compose(u: Tensor, d: Tensor, out: Tensor, scratch: Tensor) -> None:
    """``out`` = d + u o (id + d) to first order in ``d``: a quarter of the cost of sampling, and it does not blur u."""
    torch.add(u, d, out=out)
    for axis in range(u.shape[1]):
        out.addcmul_(central_difference(u, axis, scratch), d[:, axis : axis + 1])


def _gaussian(level: Level, sigma: float, device: torch.device) -> BandFilter:
    weights = [gaussian_weights(s) if s > 0.2 else None for s in level.in_voxels(sigma)]
    return BandFilter(level.shape, weights, "zero", device=device)
