"""What the refinement engine works on: the part of the grid that matters, its resolutions, and normalized images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ..fields.background import border_value
from ..fields.kernels import BandFilter, Bound, gaussian_weights, in_turn
from ..fields.quantiles import quantiles, thinned

MARGIN = 8
"""Voxels of background kept around what is seen in either image."""
FEWEST_ALONG_AN_AXIS = 12
"""Voxels that an axis keeps on a coarse level; fewer show nothing to align."""
MOST_FINE = {2: 16.0, 3: 4.0}
"""How many times finer than every other axis one may be, in 2-D and 3-D, and still give the unit of length."""


@dataclass(frozen=True)
class Window:
    """A box of the grid, ``low`` to ``high`` (exclusive) on each axis; it may reach beyond the grid."""

    low: tuple[int, ...]
    high: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(b - a for a, b in zip(self.low, self.high, strict=True))

    def cut(self, x: Tensor) -> Tensor:
        """The box out of (1, C, *S); beyond the grid the edge is repeated."""
        full = x.shape[2:]
        inner = (slice(None), slice(None), *(slice(max(0, a), b) for a, b in zip(self.low, self.high, strict=True)))
        edges: list[int] = []
        for a, b, n in zip(reversed(self.low), reversed(self.high), reversed(full), strict=True):
            edges += [max(0, -a), max(0, b - n)]
        x = x[inner]
        return F.pad(x, edges, mode="replicate") if any(edges) else x.contiguous()

    def paste(self, x: Tensor, full: Sequence[int]) -> Tensor:
        """Back on the whole grid; outside the box the edge is repeated."""
        inner = tuple(slice(max(0, -a), n - a) for a, n in zip(self.low, full, strict=True))
        x = x[(slice(None), slice(None), *inner)]
        edges: list[int] = []
        for a, b, n in zip(reversed(self.low), reversed(self.high), reversed(list(full)), strict=True):
            edges += [max(0, a), max(0, n - b)]
        return F.pad(x, edges, mode="replicate") if any(edges) else x.contiguous()


def seen(image: Tensor) -> tuple[list[int], list[int]]:
    """Lowest and highest (exclusive) index of what differs from the border's typical intensity, on each axis."""
    ndim = image.ndim - 2
    volume = image[0, 0]
    there = (volume - border_value(image)).abs_() > 0.02
    low, high = [], []
    for axis in range(ndim):
        line = there
        for other in reversed([a for a in range(ndim) if a != axis]):
            line = line.any(other)
        line = torch.nonzero(line).flatten()
        low.append(int(line[0]) if len(line) else 0)
        high.append(int(line[-1]) + 1 if len(line) else volume.shape[axis])
    return low, high


def working_window(images: Sequence[Tensor], multiples: Sequence[int]) -> Window:
    """The smallest box around what is seen in any image, with a margin, of sizes that are ``multiples``."""
    full = images[0].shape[2:]
    boxes = [seen(image) for image in images]
    low, high = [], []
    for axis, (n, multiple) in enumerate(zip(full, multiples, strict=True)):
        a = max(0, min(box[0][axis] for box in boxes) - MARGIN)
        b = min(n, max(box[1][axis] for box in boxes) + MARGIN)
        if b <= a:
            a, b = 0, n
        size = -(-(b - a) // multiple) * multiple
        a = max(0, min(a, n - size)) if size <= n else -((size - n) // 2)
        low.append(a)
        high.append(a + size)
    return Window(tuple(low), tuple(high))


@dataclass(frozen=True)
class Level:
    """One resolution, and how to move on it. Lengths are in voxels of its finest axis.

    Attributes:
        factors: how many voxels of the working grid make one, on each axis.
        spacing: mm on each axis.
        force_sigma: Gaussian on every step's force (fluid); field_sigma: on the whole field after a step (elastic).
        force_times: times ``force_sigma`` for equal shares of the steps, one after the other.
        step: the largest displacement of a step.
        quantile_step: at 0 the longest displacement is scaled to ``step``, and all others with it. Else the one that
            only one voxel in a thousand exceeds is scaled to ``quantile_step * step``, and what is then beyond ``step``
            is cut to it.
        similarity: what is compared on this level.
        radius: of LNCC's window.
        composed: whether a step is composed with the field, or added to it.
        both_ways: whether moving is aligned with fixed as well, and fixed with moving; see ``counterparts.py``.
    """

    shape: tuple[int, ...]
    factors: tuple[int, ...]
    spacing: tuple[float, ...]
    iterations: int
    force_sigma: float
    field_sigma: float
    step: float
    quantile_step: float = 0.0
    similarity: str = "lncc"
    radius: int = 3
    composed: bool = True
    both_ways: bool = False
    force_times: tuple[float, ...] = (1.0,)

    @property
    def voxels(self) -> int:
        return math.prod(self.shape)

    @property
    def cost(self) -> float:
        return float(self.voxels * self.iterations)

    @property
    def unit(self) -> float:
        return unit_of(self.spacing)

    def in_voxels(self, length: float) -> tuple[float, ...]:
        """``length`` on each axis, in that axis's own voxels."""
        return tuple(length * self.unit / s for s in self.spacing)

    def windows(self, radius: float) -> tuple[int, ...]:
        """Odd edge of a local window of ``radius`` on each axis."""
        return tuple(2 * round(r) + 1 for r in self.in_voxels(radius))


class Rim:
    """Keeps steps from carrying voxels out of the grid, where nothing is known.

    The part of a step across the border fades over the outermost ``width`` voxels, to nothing at the border itself;
    along the border all may slide. Inward steps fade as well: were only the outward ones damped, steps to and fro
    would add up to an inward drift.
    """

    def __init__(self, level: Level, window: Window, full: Sequence[int], device: torch.device, width: int = 3) -> None:
        self._ramps: list[Tensor] = []
        for axis, (n, low, size, factor) in enumerate(zip(level.shape, window.low, full, level.factors, strict=True)):
            # The window may reach beyond the grid, whose border lies within it then.
            first = max(0.0, (max(0, -low) + 0.5) / factor - 0.5)
            last = min(n - 1.0, (size - 1 - low + 0.5) / factor - 0.5)
            view = [1] * (len(level.shape) + 1)
            view[axis + 1] = n
            index = torch.arange(n, device=device, dtype=torch.float32)
            within = torch.minimum(index - first, last - index)
            self._ramps.append((within / max(1, min(width, n // 4))).clamp(0, 1).view(view))

    def holding(self, step: Tensor) -> Bound:
        """What damps ``step`` (1, ndim, *S) in place."""
        parts = [partial(part.mul_, ramp) for part, ramp in zip(step.unbind(1), self._ramps, strict=True)]
        return partial(in_turn, parts)


def keep_inside(u: Tensor, beyond: float = 0.25) -> float:
    """Shorten ``u`` (1, ndim, *S), in place, where it leads further than ``beyond`` voxels out of its grid.

    Returns the largest part cut off, in voxels.
    """
    most = 0.0
    for axis, n in enumerate(u.shape[2:]):
        part = u[:, axis]
        low, high = (float(end) for end in torch.aminmax(part))
        view = [1] * (u.ndim - 1)
        view[axis + 1] = -1
        # only so far from either border can the motion lead out
        near = min(n, max(0, math.ceil(-low - beyond) + 1)), min(n, max(0, math.ceil(high - beyond) + 1))
        for first, last in ((0, near[0]), (n - near[1], n)):
            rim = part.narrow(axis + 1, first, last - first)
            index = torch.arange(first, last, device=u.device, dtype=u.dtype).view(view)
            kept = rim.clamp(min=-index - beyond, max=n - 1 - index + beyond)
            if kept.numel():
                most = max(most, float((kept - rim).abs().max()))
            rim.copy_(kept)
    return most


def erode(mask: Tensor, reach: int) -> Tensor:
    """(1, 1, *S) 0 wherever something within ``reach`` voxels is less than wholly inside; the grid's border is none."""
    inside = (mask >= 0.999).float()
    for axis in range(2, mask.ndim):  # pooling would take one thread, and ten times as long
        n, thinner = inside.shape[axis], inside.clone()
        for by in range(1, min(reach, n - 1) + 1):
            thinner.narrow(axis, 0, n - by).mul_(inside.narrow(axis, by, n - by))
            thinner.narrow(axis, by, n - by).mul_(inside.narrow(axis, 0, n - by))
        inside = thinner
    return inside


def unit_of(spacing: Sequence[float]) -> float:
    """The finest side; of one axis alone so fine that all others would count as thick slices, the next one.

    Else these would be kept at full resolution on every level, for an axis of which most voxels say nothing new.
    """
    finest, other = sorted(spacing)[:2]
    return other if other > MOST_FINE[len(spacing)] * finest else finest


def factors_for(factor: int, shape: Sequence[int], spacing: Sequence[float]) -> tuple[int, ...]:
    """How far each axis shrinks when the finest shrinks by ``factor``: thick slices later, short axes less."""
    unit = unit_of(spacing)
    out = []
    for n, s in zip(shape, spacing, strict=True):
        f = factor
        while f > 1 and (s * f > 1.5 * factor * unit or n / f < FEWEST_ALONG_AN_AXIS):
            f //= 2
        out.append(f)
    return tuple(out)


def soften(image: Tensor, sigma: Sequence[float]) -> Tensor:
    """(1, C, *S) through a Gaussian of ``sigma`` voxels along each array axis."""
    image = image.float().contiguous()
    weights = [gaussian_weights(s) if s else None for s in sigma]
    soft = BandFilter(tuple(image.shape[2:]), weights, "mean", device=image.device)
    return soft(image, torch.empty_like(image), torch.empty_like(image))


def normalize(image: Tensor, mask: Tensor | None = None) -> Tensor:
    """About 0 to 1 between the 0.5th and 99.5th percentile of what is not background; outliers are clamped.

    The background is the lowest value; it stays below or at 0.
    """
    image = image.float()
    values, most = image.flatten(), 300_000
    measured = None if mask is None else torch.nonzero(mask.flatten() > 0)[:, 0]
    # Only those that are looked at are gathered.
    values = thinned(values, most) if measured is None or not len(measured) else values[thinned(measured, most)]
    background = values.min()
    inside = values[values > background]
    if len(inside) < 10:
        inside = values
    low, high = quantiles(inside, (0.005, 0.995))
    span = high - low
    if background > low - span:  # air or zero beside tissue, not padding far below every real value
        low = background
    tiny = torch.finfo(image.dtype).tiny  # intensities may be of any size: their range is the only scale there is
    return (image - low).div_((high - low).clamp_min(tiny)).clamp_(-0.25, 1.25)


def shrink(image: Tensor, factors: Sequence[int]) -> Tensor:
    """Means over blocks of ``factors`` voxels; the shape is a multiple of them."""
    if max(factors) == 1:
        return image.contiguous()
    pool = F.avg_pool2d if image.ndim == 4 else F.avg_pool3d
    return pool(image, tuple(factors))
