"""MIND: what a voxel's patch looks like beside its neighbors' patches; the same in every contrast.

Heinrich et al., "MIND: Modality independent neighbourhood descriptor", Medical Image Analysis 2012 (``kind="mind"``);
"Towards realtime multimodal fusion for image-guided interventions using self-similarities", MICCAI 2013 (``"ssc"``).
The definition, for networks and losses; ``cropped_mind.py`` is what the refinement takes near the border of an image.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from .windows import at_least_float32, check_image, check_pair, valid_box_sum, weighted_mean

Shift = tuple[int, ...]
_SLAB = 200_000
"""Voxels, for each thread, whose channels are made together."""


def compared_places(kind: str, ndim: int) -> list[tuple[Shift, Shift]]:
    """The two places whose patches each channel compares, in units of the dilation.

    Raises:
        InputError: if ``kind`` is unknown.
    """
    neighbors = []
    for axis, sign in itertools.product(range(ndim), (-1, 1)):
        neighbors.append(tuple(sign if d == axis else 0 for d in range(ndim)))
    if kind == "mind":
        return [((0,) * ndim, n) for n in neighbors]
    if kind != "ssc":
        raise InputError(f'MIND comes as "ssc" (self-similarity context) or "mind" (2012), not {kind!r}.')
    # Neighbors of the center that are sqrt(2) apart: all but the three (two) pairs that face each other.
    return [(a, b) for a, b in itertools.combinations(neighbors, 2) if any(x + y for x, y in zip(a, b, strict=True))]


def mind_channels(ndim: int, kind: str = "ssc") -> int:
    """How many channels ``mind_features`` has: 12 ("ssc") or 6 ("mind") in 3-D, 4 in 2-D."""
    return len(compared_places(kind, ndim))


def mind_features(
    image: Tensor, kind: str = "ssc", radius: int = 2, dilation: int = 2, out: Tensor | None = None
) -> Tensor:
    """Descriptors exp(-(D - min D) / V) in (0, 1], the same for ``image`` and a * ``image`` + b.

    D are mean squared differences of patches of the image, whose edge is repeated outside; V is their local mean over
    the channels, kept between 1/1000 and 1000 times its mean over the image. Every voxel's largest value is 1.

    Args:
        image: (N, 1, *spatial), 2-D or 3-D.
        kind: "ssc" compares neighbors with each other (3-D: 12 channels, 2-D: 4); "mind" compares the six (four)
            neighbors with the center, and takes V before min D is subtracted, as the paper of 2012 does.
        radius: patches are 2 * radius + 1 voxels wide. (2012 weights them by a Gaussian; here they are boxes.)
        dilation: voxels from the center to a neighbor.
        out: where to write the result, in any precision and order of memory; then nothing is differentiated.

    Returns:
        (N, ``mind_channels(ndim, kind)``, *spatial), differentiable.

    Raises:
        InputError: if the image has several channels or ``kind`` is unknown.
    """
    ndim = check_image(image)
    if image.shape[1] != 1:
        raise InputError(f"MIND needs an image of one channel, not {image.shape[1]}; take the channels one by one.")
    pairs = compared_places(kind, ndim)
    image = at_least_float32(image)
    if out is not None or not (image.requires_grad and torch.is_grad_enabled()):
        out = image.new_empty(image.shape[0], len(pairs), *image.shape[2:]) if out is None else out
        descriptors = Descriptors(image, kind, radius, dilation)
        for low in range(0, image.shape[2], descriptors.step):
            high = min(image.shape[2], low + descriptors.step)
            out[:, :, low:high] = descriptors.rows(low, high)
        return out
    padded = _padded(image, radius, dilation)
    sums: dict[int, Tensor] = {}
    for way in _ways(pairs, image.shape[2:], radius, dilation):
        sums.update(way.seen_in(valid_box_sum(way.squares(padded), 2 * radius + 1), image.shape[2:]))
    distances = torch.cat([sums[channel] for channel in range(len(pairs))], 1) / (2 * radius + 1) ** ndim
    low = distances.amin(1, keepdim=True)
    variance = distances.mean(1, keepdim=True)
    if kind == "ssc":
        variance = variance - low
    return torch.exp((low - distances) / torch.clamp(variance, *variance_bounds(variance)))


def variance_bounds(variance: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the largest V of each image, for ``variance`` (N, 1, *spatial)."""
    scale = variance.mean(dim=list(range(1, variance.ndim)), keepdim=True)
    # An image of one value has no scale: all its descriptors are 1.
    return (scale * 1e-3).clamp_min(1e-15), (scale * 1e3).clamp_min(1e-15)


def _padded(image: Tensor, radius: int, dilation: int) -> Tensor:
    return F.pad(image, [dilation + radius] * (2 * (image.ndim - 2)), mode="replicate")


@dataclass(frozen=True)
class _Way:
    """A direction and distance: pairs of places that share it see the same sums from different voxels.

    ``one``, ``two``: where the images to subtract begin in the padded one, ``size`` large. ``members``: channels, and
    where each begins in the sums of the squares.
    """

    one: Shift
    two: Shift
    size: Shift
    members: tuple[tuple[int, Shift], ...]

    def squares(self, padded: Tensor, buffer: Tensor | None = None) -> Tensor:
        """Squared differences, in the memory ``buffer`` if nothing is to be differentiated."""
        one, two = (cut(padded, start, self.size) for start in (self.one, self.two))
        if buffer is None:
            return (one - two).square()
        return torch.sub(one, two, out=buffer[: one.numel()].view(one.shape)).square_()

    def seen_in(self, sums: Tensor, shape: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        """Each member's number and its part of the sums."""
        for channel, start in self.members:
            yield channel, cut(sums, start, shape)


def _ways(pairs: list[tuple[Shift, Shift]], shape: Sequence[int], radius: int, dilation: int) -> list[_Way]:
    """The directions of all pairs, for an image of ``shape``, padded."""
    alike: dict[Shift, list[tuple[int, Shift]]] = {}
    for channel, (a, b) in enumerate(pairs):
        a, b = sorted((a, b))
        alike.setdefault(tuple(y - x for x, y in zip(a, b, strict=True)), []).append((channel, a))
    ways = []
    for step, members in alike.items():
        first, last = (
            tuple(pick(places) for places in zip(*(a for _, a in members), strict=True)) for pick in (min, max)
        )
        one = tuple(dilation * (1 + a) for a in first)
        two = tuple(dilation * (1 + a + w) for a, w in zip(first, step, strict=True))
        size = tuple(s + dilation * (z - a) + 2 * radius for s, a, z in zip(shape, first, last, strict=True))
        starts = [tuple(dilation * (x - y) for x, y in zip(a, first, strict=True)) for _, a in members]
        channels = [channel for channel, _ in members]
        ways.append(_Way(one, two, size, tuple(zip(channels, starts, strict=True))))
    return ways


class Descriptors:
    """``mind_features`` a few rows at a time, without a graph: all channels of a large volume would fill the memory.

    Args:
        image, kind, radius, dilation: as for ``mind_features``.

    Attributes:
        step: how many rows are best made together.
    """

    def __init__(self, image: Tensor, kind: str = "ssc", radius: int = 2, dilation: int = 2) -> None:
        with torch.no_grad():
            image = at_least_float32(image)
            self._shape = image.shape[2:]
            rows = self._shape[0]
            if image.device.type == "cpu":
                rows = _SLAB * torch.get_num_threads() // max(1, math.prod(self._shape[1:]))
            self.step = min(max(1, rows), self._shape[0])
            self._sums = _sums(image, compared_places(kind, image.ndim - 2), radius, dilation, 4 * self.step)
            self._low = torch.empty_like(image)
            self._factor = torch.empty_like(image)
            for first in range(0, self._shape[0], self.step):
                low, total = (x[:, :, first : first + self.step] for x in (self._low, self._factor))
                here = [sums[:, :, first : first + self.step] for sums in self._sums]
                low.copy_(here[0])
                total.copy_(here[0])
                for sums in here[1:]:
                    torch.minimum(low, sums, out=low)
                    total += sums
                total /= len(here)
                if kind == "ssc":
                    total -= low
            # Sums instead of means of the patches: both sides of the quotient are larger by the same.
            self._factor.clamp_(*variance_bounds(self._factor)).reciprocal_().neg_()

    def rows(self, low: int, high: int) -> Tensor:
        """(N, channels, high - low, *spatial[1:]): rows of the first axis of space."""
        least, factor = self._low[:, :, low:high], self._factor[:, :, low:high]
        out = least.new_empty(least.shape[0], len(self._sums), *least.shape[2:])
        with torch.no_grad():
            for channel, sums in enumerate(self._sums):
                torch.sub(sums[:, :, low:high], least, out=out[:, channel : channel + 1])
            return out.mul_(factor).exp_()


def _sums(image: Tensor, pairs: list[tuple[Shift, Shift]], radius: int, dilation: int, step: int) -> list[Tensor]:
    """The sums of squared differences over patches, one a channel; ``step`` rows at a time stay in the cache."""
    padded = _padded(image, radius, dilation)
    found: dict[int, Tensor] = {}
    for way in _ways(pairs, image.shape[2:], radius, dilation):
        rows, *plane = (s - 2 * radius for s in way.size)
        sums = padded.new_empty(image.shape[0], 1, rows, *plane)
        buffer = padded.new_empty(image.shape[0] * (min(step, rows) + 2 * radius) * math.prod(way.size[1:]))
        for low in range(0, rows, step):
            high = min(rows, low + step)
            part = replace(way, size=(high - low + 2 * radius, *way.size[1:]))
            squares = part.squares(padded[:, :, low:], buffer)
            sums[:, :, low:high] = valid_box_sum(squares, 2 * radius + 1)
        found.update(way.seen_in(sums, image.shape[2:]))
    return [found[channel] for channel in range(len(pairs))]


def cut(x: Tensor, start: Sequence[int], size: Sequence[int]) -> Tensor:
    """A view of ``x`` (N, C, *spatial): ``size`` voxels of space from ``start`` on."""
    for axis, (low, length) in enumerate(zip(start, size, strict=True)):
        x = x.narrow(axis + 2, low, length)
    return x


def mind_loss(
    warped: Tensor,
    fixed: Tensor,
    kind: str = "ssc",
    radius: int = 2,
    dilation: int = 2,
    mask: Tensor | None = None,
) -> Tensor:
    """Mean absolute difference of the descriptors of two images (N, 1, *spatial); 0 where they agree.

    The gradient-guided dual branch paper's Eq. 5. ``mask`` (N, 1, *spatial) weights the voxels.
    """
    check_pair(warped, fixed, mask)
    a = mind_features(warped, kind, radius, dilation)
    b = mind_features(fixed, kind, radius, dilation)
    return weighted_mean((a - b).abs(), mask)
