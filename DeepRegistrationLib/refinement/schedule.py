"""What the engine does on an image of some size: the resolutions, and how to move on each.

The figures were chosen on pairs of several kinds; docs/attempts.md says what others give.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import InputError
from ..settings import FOR_ONE_CONTRAST, Settings
from .levels import Level, factors_for

_SMOOTHING = {"lncc": (1.5, 0.5), "ssd": (1.5, 0.5), "translated": (1.5, 0.9), "information": (2.0, 0.8)}
"""Of the coarser levels: Gaussians on the force and on the field, voxels of the level; (2.5, 1.0) for the others."""
DIRECT = "translated, direct"
"""As "translated", which begins with MIND, from the first level on; not for users, the guard tries it."""
BOTH_WAYS = 4
"""From this factor on levels of volumes are gone through both ways: that is a few hundredths of the work. In 2-D tissue
leaves the plane everywhere, or lies behind other tissue: there and back says little then."""
SMALL = 500_000
"""Voxels of an image that is refined at full resolution with many small steps in any case: it costs a second."""
MIDDLE = 1_500_000
"""The same up to here, with fewer steps: their product with the voxels stays. At 1 million voxels, against a few long
steps: lungs 1.31 -> 1.14 mm, with a bias field 2.00 -> 1.54, brains 0.769 -> 0.779 and 0.749 -> 0.751, for a fifth more
time."""
STIFF_FIRST = {2: (4.0, 3.0, 2.0, 1.0), 3: (3.0, 1.7, 1.0)}
"""Times the force's Gaussian over the steps of a coarse level: tissue moves together before its parts do, and what is
small does not catch on what lies beside its counterpart. Not between contrasts: a CT and MR of one head ended farther
apart than by the affine alignment. By axes: in 2-D a finger finds a wrong one sooner. Others: docs/attempts.md."""
SINCE = {2: 15, 1: 10}
"""Steps of a level by its factor, at most, that look for what has moved since an accepted result (``from_here``)."""
SINCE_FINE, FEWEST = 2_600_000, 3
"""Voxels times steps at full resolution, at most, for the same: half a second of a core. Where that does not do for
``FEWEST`` steps the level before is the last."""


def plan(shape: Sequence[int], spacing: Sequence[float], settings: Settings, similarity: str = "lncc") -> list[Level]:
    """The levels, coarse to fine, for a grid of ``shape`` voxels of ``spacing`` mm; shapes are rounded up.

    On large images ``settings.refine`` "fast" takes a few steps at full resolution, "accurate" more of them;
    ``settings.smoothness`` 2 smooths every step twice as far, 0.5 half as far.

    Raises:
        InputError: if ``settings.refine`` is "none", which no level serves.
    """
    if settings.refine == "none":
        raise InputError("With refine none there is nothing to refine; choose fast or accurate.")
    voxels = math.prod(shape)
    small = voxels < SMALL
    # Once aligned roughly, the curve from one image's intensities to the other's is known well enough.
    first = {"translated": "mind", DIRECT: "translated"}.get(similarity, similarity)
    then = "translated" if similarity in ("information", DIRECT) else first
    # A little smoothing keeps what has no counterpart from being dragged about; the last level can afford less.
    # Where full resolution takes over, what more than 20 steps would add here is no better.
    many = 30 if small or then == "translated" else 20
    steps = [_Steps(4, first, *_smoothing(first)), _Steps(2, then, *_smoothing(then), many)]
    if len(shape) == 2 and _rounded(min(shape), 4) >= 128:  # as the window will be: it must not gain a level
        steps.insert(0, _Steps(8, first, *_smoothing(first)))
    if similarity == "translated":
        steps.append(_Steps(2, similarity, *_smoothing(similarity)))
    similarity = "translated" if then == "translated" else similarity
    steps += _full_resolution(settings.refine, similarity, voxels)
    if settings.from_here:
        steps = _since(steps, voxels)
    stiff_first = first == "lncc" and not settings.from_here
    out: list[Level] = []
    for part in steps:
        factors = factors_for(part.factor, shape, spacing)
        if out and out[-1].factors == factors and out[-1].similarity == part.similarity:
            out.pop()
        out.append(
            Level(
                shape=tuple(-(-n // f) for n, f in zip(shape, factors, strict=True)),
                factors=factors,
                spacing=tuple(s * f for s, f in zip(spacing, factors, strict=True)),
                iterations=part.iterations,
                force_sigma=part.force * settings.smoothness,
                field_sigma=part.elastic * settings.smoothness,
                step=part.step,
                quantile_step=part.quantile_step,
                similarity=part.similarity,
                radius=part.radius,
                composed=part.factor > 1,
                force_times=STIFF_FIRST[len(shape)] if stiff_first and part.factor > 1 else (1.0,),
                both_ways=len(shape) == 3 and max(factors) >= BOTH_WAYS,
            )
        )
    return out


def _since(steps: list[_Steps], voxels: int) -> list[_Steps]:
    """Of ``steps`` what looks for what has moved since an accepted result."""
    steps = [replace(s, iterations=min(s.iterations, SINCE.get(s.factor, s.iterations))) for s in steps]
    last = steps[-1]
    if last.factor > 1 or last.iterations * voxels <= SINCE_FINE:
        return steps
    fewer = SINCE_FINE // voxels
    return [*steps[:-1], replace(last, iterations=fewer)] if fewer >= FEWEST else steps[:-1]


def _smoothing(similarity: str) -> tuple[float, float]:
    return _SMOOTHING.get(similarity, (2.5, 1.0))


def _rounded(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


@dataclass(frozen=True)
class _Steps:
    """What a level's steps are like, whatever its shape; lengths in voxels of its finest axis."""

    factor: int
    similarity: str
    force: float
    elastic: float
    iterations: int = 30
    step: float = 1.0
    quantile_step: float = 0.0
    radius: int = 3


def _full_resolution(refine: str, similarity: str, voxels: int) -> list[_Steps]:
    """The last level. On large images a few long steps do most of what many short ones would.

    A few voxels ask for much longer steps than all others: they are cut, or nothing else would move.
    """
    accurate = refine == "accurate"
    if voxels < SMALL or (voxels < MIDDLE and similarity == "lncc"):
        force, elastic = (1.5, 0.4) if similarity in FOR_ONE_CONTRAST else (2.0, 0.8)
        if voxels >= SMALL:
            many = round((60 if accurate else 30) * SMALL / voxels)
        else:
            many = 40 if similarity == "lncc" else 30
        return [_Steps(1, similarity, force, elastic, many, 1.0, 0.6, 4)]
    iterations, quantile_step = (10, 0.6) if accurate else (4, 0.8)
    if similarity in FOR_ONE_CONTRAST:
        return [_Steps(1, similarity, 1.0, 0.3, iterations, 2.0, quantile_step, 5)]
    if similarity == "translated":
        return [_Steps(1, similarity, 2.0, 0.8, iterations, 2.0, quantile_step, 4)]
    return [_Steps(1, similarity, 2.0, 0.8)] if accurate else []
