"""The steps of the refinement on one level: force, smoothing, pace, and what guides by hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..fields import resize_image
from ..fields.kernels import BandFilter, Bound, Sampler, differencing, gaussian_weights
from ..fields.quantiles import thinned
from ..progress import Reporter
from ..similarity.cropped_mind import cropped_mind, principal_channels
from .forces import Force, Lncc, LocalGradient, Ssd, structure_mask, translate
from .guidance import LandmarkPull
from .information import Information
from .level_images import LevelPair
from .levels import Level, Rim, erode
from .pace import Pace

MIND_CHANNELS = 4
KEPT = 4
"""Steps for which what is in view is kept: it moves by less than these steps, and costs as much as a third of one."""
SAME = 1e-4
"""Of the intensity range: images that nowhere differ by more are the same."""


Spare = tuple[Tensor, ...]
Made = tuple[Force, Tensor]


def _lncc(fixed: Tensor, moving: Tensor, level: Level, spare: Spare) -> Made:
    return Lncc(fixed, level.windows(level.radius), spare=spare), moving


def _information(fixed: Tensor, moving: Tensor, level: Level, spare: Spare) -> Made:
    return Information(fixed), moving


def _mind(fixed: Tensor, moving: Tensor, level: Level, spare: Spare) -> Made:
    features = principal_channels(cropped_mind(fixed), cropped_mind(moving), MIND_CHANNELS)
    return Ssd(features[0]), features[1]


def _ssd(fixed: Tensor, moving: Tensor, level: Level, spare: Spare) -> Made:
    return Ssd(fixed), moving


def _gradient(fixed: Tensor, moving: Tensor, level: Level, spare: Spare) -> Made:
    return LocalGradient(fixed, moving, level.windows(1.0), level.in_voxels(1.0)), moving


FORCES: dict[str, Callable[[Tensor, Tensor, Level, Spare], Made]] = {
    "lncc": _lncc,
    "translated": _lncc,  # of images that ``_make_force`` brought to one contrast
    "information": _information,
    "mind": _mind,
    "ssd": _ssd,
    "gradient": _gradient,
}
"""Every similarity of ``Settings`` but "auto" (a test compares): its force, and the moving channels that it wants
warped."""


def _make_force(fixed: Tensor, moving: Tensor, level: Level, sampler: Sampler, spare: Spare) -> Made:
    """The force, and the moving channels that it wants warped; a call of it may overwrite ``spare``.

    ``sampler`` aims at the field so far.

    Raises:
        InputError: if the level's similarity has no force.
    """
    similarity = level.similarity
    if similarity not in FORCES:
        raise InputError(f"The refinement has no similarity {similarity!r}; it has {', '.join(FORCES)}.")
    if similarity == "translated":
        pair = translate(fixed, moving, sampler.take(moving, torch.empty_like(moving)))
        if pair is None:
            similarity = "mind"
        else:
            fixed, moving = pair
    return FORCES[similarity](fixed, moving, level, spare)


class _Term:
    """One similarity at work on one level: from the field to a force in ``out``, in memory of its own."""

    def __init__(
        self, level: Level, force: Force, source: Tensor, sampler: Sampler, out: Tensor, gain: float = 1.0
    ) -> None:
        self._force = force
        self._warped = torch.empty_like(source)
        self._slope = None if source.shape[1] == 1 else torch.empty_like(source)
        self._parts = []
        for axis, scale in enumerate(level.in_voxels(1.0)):
            part = out[:, axis : axis + 1]
            slope = part if self._slope is None else self._slope
            self._parts.append((part, gain * scale**2, differencing(self._warped, axis, slope)))
        self.warp = sampler.taking(source, self._warped)
        """See the moving channels where ``sampler`` aims."""

    def __call__(self, weight: Tensor | None, there: Tensor | None = None) -> Tensor:
        """dS/dd in ``out`` (1, ndim, *S), in mm-isotropic units, times ``there`` (1, 1, *S); the value of S."""
        value, gradient = self._force(self._warped, weight)
        if there is not None:
            gradient.mul_(there)
        for part, scale, differentiate in self._parts:
            differentiate()
            if self._slope is None:
                part.mul_(gradient)
            else:
                torch.sum(self._slope.mul_(gradient), 1, True, out=part)
            if scale != 1:
                part.mul_(scale)
        return value


class _Mover:
    """From a force in ``buffer`` to a step in ``d`` and the field ``u`` after it, each (1, ndim, *S)."""

    def __init__(self, level: Level, u: Tensor, d: Tensor, buffer: Tensor, scratch: Tensor, rim: Rim) -> None:
        self._level, self._u, self._d, self._buffer, self._scratch = level, u, d, buffer, scratch
        self._fluids = [
            _gaussian(level, level.force_sigma * times, u.device).bound(buffer, d, scratch)
            for times in level.force_times
        ]
        self._elastic: Bound = partial(u.copy_, buffer)
        if level.field_sigma > 0:
            self._elastic = _gaussian(level, level.field_sigma, u.device).bound(buffer, u, scratch)
        self._parts, self._length = d.split(1, 1), buffer[:, :1]
        self._slopes = [differencing(u, axis, scratch) for axis in range(u.shape[1])]
        self._hold = rim.holding(d)

    def smooth(self, count: int) -> None:
        """The force of step ``count`` smoothed, into ``d``."""
        self._fluids[count * len(self._fluids) // self._level.iterations]()

    def length(self) -> Tensor:
        """(1, 1, *S) of ``d``, in ``buffer``'s memory; a sum over channels takes five times as long."""
        first, *others = self._parts
        length = torch.mul(first, first, out=self._length)
        for part in others:
            length.addcmul_(part, part)
        return length.sqrt_()

    def move(self) -> None:
        """Compose ``u`` with ``d``, or add it, and smooth the whole."""
        self._hold()
        torch.add(self._u, self._d, out=self._buffer)
        if self._level.composed:
            # d + u o (id + d) to first order in d: a quarter of the cost of sampling, and it does not blur u.
            for differentiate, part in zip(self._slopes, self._parts, strict=True):
                differentiate()
                self._buffer.addcmul_(self._scratch, part)
        self._elastic()


def run_level(
    level: Level, pair: LevelPair, u: Tensor, rim: Rim, trust: Tensor | None, reporter: Reporter, message: str
) -> int:
    """Steps on one level; ``u`` is updated in place. Returns how many. ``trust`` may be of a coarser level."""
    d, buffer, scratch = torch.empty_like(u), torch.empty_like(u), torch.empty_like(u)
    sampler = Sampler(level.shape, device=u.device)
    aim = sampler.aiming(u)
    aim()
    if pair.landmarks is None and pair.codes is None and _same(pair, sampler, d):
        return 0
    force, source = _make_force(pair.fixed, pair.moving, level, sampler, (d, scratch))
    terms = [_Term(level, force, source, sampler, buffer)]
    if pair.codes is not None:
        terms.append(_Term(level, Ssd(pair.codes[0]), pair.codes[1], sampler, d, gain=2.0))
    aim()
    moved = sampler.take(pair.moving, torch.empty_like(pair.moving))
    there = structure_mask(pair.fixed, moved, spare=(d, buffer, scratch))
    del moved
    if trust is not None:
        there.mul_(resize_image(trust, level.shape))
    weight = pair.fixed_mask
    moving_mask = None
    if pair.moving_mask is not None:
        moving_mask = erode(pair.moving_mask, 1 if level.similarity == "lncc" else 2)
    pull = None if pair.landmarks is None else LandmarkPull(level, *pair.landmarks, pair.reach)
    # Landmarks may ask for what the images like less.
    pace, mover = Pace(level.step, None if pull is not None else u), _Mover(level, u, d, buffer, scratch, rim)
    for count in range(level.iterations):
        reporter(count / level.iterations, message)
        if reporter.stopped(message):
            pace.settle(u)
            return count
        aim()
        if moving_mask is not None and count % KEPT == 0:
            weight = sampler.take(moving_mask, torch.empty_like(moving_mask))
            weight = weight if pair.fixed_mask is None else weight.mul_(pair.fixed_mask)
        for term in terms:
            term.warp()
        value = float(terms[0](weight, there))
        for term in terms[1:]:
            value += float(term(weight))
            buffer.add_(d)
        if pace.turned_back(value, u):
            if pace.over:
                return count
            continue
        mover.smooth(count)
        length = mover.length()
        largest = float(length.max())
        if pull is None and largest == 0:
            return count  # nothing to see: a start field stays as it is
        long = max(_longest(length, largest, level.quantile_step), 1e-12)
        d.mul_(length.clamp_(min=long).reciprocal_().mul_(pace.step))
        if pull is not None:
            pull(u, d, level.step)
        mover.move()
    pace.settle(u)
    return level.iterations


def _same(pair: LevelPair, sampler: Sampler, spare: Tensor) -> bool:
    """Whether the moving image where ``sampler`` aims is the fixed one: what is left is rounding, and must not pull."""
    return float(sampler.take(pair.moving, spare[:, :1]).sub_(pair.fixed).abs_().max()) < SAME


def _longest(length: Tensor, largest: float, quantile_step: float, samples: int = 100_000) -> float:
    """The displacement that becomes a whole step, of those in ``length`` (1, 1, *S); see ``Level.quantile_step``."""
    if quantile_step == 0:
        return largest
    some = thinned(length.flatten(), samples)
    if some.device.type == "cpu":
        count = int(np.count_nonzero(some.numpy() > 1e-3 * largest))
    else:
        count = int((some > 1e-3 * largest).sum())
    return min(largest, _quantile(some, 0.999, count) / quantile_step) if count else largest


def _quantile(values: Tensor, share: float, count: int) -> float:
    """As ``torch.quantile`` of the ``count`` highest, without sorting all."""
    rank = float(torch.tensor(share) * (count - 1))
    low = int(rank)
    if values.device.type == "cpu":  # numpy's partition takes a third of the time of ``topk``
        first = len(values) - count + low
        parted = np.partition(values.numpy(), first)
        below, above = (torch.tensor(x) for x in (parted[first], parted[first + 1 :].min(initial=np.inf)))
        above = torch.where(above.isinf(), below, above)
    else:
        highest = torch.topk(values, count - low).values
        below, above = highest[-1], highest[max(-2, -len(highest))]
    return float(torch.lerp(below, above, rank - low))


def _gaussian(level: Level, sigma: float, device: torch.device) -> BandFilter:
    weights = [gaussian_weights(s) if s > 0.2 else None for s in level.in_voxels(sigma)]
    return BandFilter(level.shape, weights, "zero", device=device)
