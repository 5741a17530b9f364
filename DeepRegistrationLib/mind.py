"""MIND: what a voxel's patch looks like beside its neighbors' patches; the same in every contrast.

Heinrich et al., "MIND: Modality independent neighbourhood descriptor", Medical Image Analysis 2012 (``kind="mind"``);
"Towards realtime multimodal fusion for image-guided interventions using self-similarities", MICCAI 2013 (``"ssc"``).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import InputError
from .windows import at_least_float32, check_image, check_pair, valid_box_sum, weighted_mean

Shift = tuple[int, ...]
_SLAB = 200_000
"""Voxels whose channels are made together."""


def _pairs(kind: str, ndim: int) -> list[tuple[Shift, Shift]]:
    """The two places whose patches each channel compares, in units of the dilation."""
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
    return len(_pairs(kind, ndim))


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
    pairs = _pairs(kind, ndim)
    image = at_least_float32(image)
    padded = F.pad(image, [dilation + radius] * (2 * ndim), mode="replicate")
    if out is not None or not (image.requires_grad and torch.is_grad_enabled()):
        out = image.new_empty(image.shape[0], len(pairs), *image.shape[2:]) if out is None else out
        with torch.no_grad():
            return _features_in_slabs(padded, pairs, kind, radius, dilation, out)
    sums = dict(_patch_sums(padded, pairs, radius, dilation))
    distances = torch.cat([sums[channel] for channel in range(len(pairs))], 1) / (2 * radius + 1) ** ndim
    low = distances.amin(1, keepdim=True)
    variance = distances.mean(1, keepdim=True)
    if kind == "ssc":
        variance = variance - low
    return torch.exp((low - distances) / torch.clamp(variance, *_bounds(variance)))


def _bounds(variance: Tensor) -> tuple[Tensor, Tensor]:
    scale = variance.mean(dim=list(range(1, variance.ndim)), keepdim=True)
    # An image of one value has no scale: all its descriptors are 1.
    return (scale * 1e-3).clamp_min(1e-15), (scale * 1e3).clamp_min(1e-15)


def _features_in_slabs(
    padded: Tensor, pairs: list[tuple[Shift, Shift]], kind: str, radius: int, dilation: int, out: Tensor
) -> Tensor:
    """Without a graph to keep: a few rows at a time, which stay in the cache until their channels are done."""
    n, channels, rows, *plane = out.shape
    edge = dilation + radius
    step = max(1, _SLAB // max(1, math.prod(plane)))
    distances = padded.new_empty(n, channels, min(step, rows), *plane)
    lent = padded.new_empty(padded[:, :, : step + 2 * edge].numel())
    variance = padded.new_empty(n, 1, rows, *plane)
    for low in range(0, rows, step):
        high = min(rows, low + step)
        here = distances[:, :, : high - low]
        for channel, sums in _patch_sums(padded[:, :, low : high + 2 * edge], pairs, radius, dilation, lent):
            here[:, channel : channel + 1] = sums
        least, mean = here.amin(1, keepdim=True), here.mean(1, keepdim=True)
        variance[:, :, low:high] = mean - least if kind == "ssc" else mean
        out[:, :, low:high] = torch.sub(least, here, out=here)
    # Sums instead of means of the patches: both sides of the quotient are larger by the same.
    variance.clamp_(*_bounds(variance))
    for low in range(0, rows, step):
        here = out[:, :, low : low + step].to(variance)
        out[:, :, low : low + step] = here.div_(variance[:, :, low : low + step]).exp_()
    return out


def _patch_sums(
    padded: Tensor, pairs: list[tuple[Shift, Shift]], radius: int, dilation: int, lent: Tensor | None = None
) -> Iterator[tuple[int, Tensor]]:
    """Each channel's number and its sums of squared differences over patches, of an image ``padded`` for both.

    Pairs of places that are equally far from each other, in the same direction, see the same sums from different
    voxels: these are made once. ``lent``: memory for squares, if nothing is to be differentiated.
    """
    shape = [s - 2 * (dilation + radius) for s in padded.shape[2:]]
    alike: dict[Shift, list[tuple[int, Shift]]] = {}
    for channel, (a, b) in enumerate(pairs):
        a, b = sorted((a, b))
        way = tuple(y - x for x, y in zip(a, b, strict=True))
        alike.setdefault(way, []).append((channel, a))
    for way, members in alike.items():
        first = [min(places) for places in zip(*(a for _, a in members), strict=True)]
        last = [max(places) for places in zip(*(a for _, a in members), strict=True)]
        size = [s + dilation * (z - a) + 2 * radius for s, a, z in zip(shape, first, last, strict=True)]
        one = _cut(padded, [dilation * (1 + a) for a in first], size)
        two = _cut(padded, [dilation * (1 + a + w) for a, w in zip(first, way, strict=True)], size)
        if lent is None:
            squares = (one - two).square()
        else:
            squares = torch.sub(one, two, out=lent[: one.numel()].view(one.shape)).square_()
        sums = valid_box_sum(squares, 2 * radius + 1)
        for channel, a in members:
            yield channel, _cut(sums, [dilation * (x - y) for x, y in zip(a, first, strict=True)], shape)


def _cut(x: Tensor, start: Sequence[int], size: Sequence[int]) -> Tensor:
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
