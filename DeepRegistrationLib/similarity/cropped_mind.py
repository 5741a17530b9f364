"""MIND-SSC for the refinement: ``mind.mind_features`` but for the border, where patches are cropped to the image.

Levels of the refinement can be three slices thick: repeated edges would be most of every patch there, and an axis
cannot be looked along further than it goes. No gradient; memory is that of the result.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..fields.kernels import BandFilter, box_weights
from ..fields.precision import in_double
from .mind import compared_places, cut, variance_bounds


def cropped_mind(image: Tensor, radius: int = 2, dilation: int = 2) -> Tensor:
    """The descriptors (1, 12 or 4, *S), values in (0, 1], of an image (1, 1, *S).

    ``radius`` and ``dilation`` as for ``mind_features``; on axes of few voxels both are smaller.
    """
    shape = tuple(image.shape[2:])
    places = compared_places("ssc", len(shape))
    reach = tuple(min(dilation, max(0, (n - 1) // 4)) for n in shape)
    edges = [r for r in reversed(reach) for _ in range(2)]
    padded = F.pad(image, edges, mode="replicate")
    width = [2 * min(radius, max(0, (n - 1) // 4)) + 1 for n in shape]
    box = BandFilter(
        shape, [box_weights(w) if w > 1 else None for w in width], "mean", device=image.device, dtype=image.dtype
    )
    out = image.new_empty((1, len(places), *shape))
    difference, scratch = torch.empty_like(image), torch.empty_like(image)
    for channel, pair in enumerate(places):
        one, two = (cut(padded, [r + r * o for r, o in zip(reach, at, strict=True)], shape) for at in pair)
        torch.sub(one, two, out=difference)
        box(difference.square_(), out[:, channel : channel + 1], scratch)
    out.sub_(out.amin(1, keepdim=True))
    variance = out.mean(1, keepdim=True)
    variance.clamp_(*variance_bounds(variance))
    return out.div_(variance).neg_().exp_()


def principal_channels(first: Tensor, second: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """Both (1, C, *S) features on their ``channels`` common principal axes, (1, channels, *S).

    Squared distances between descriptors stay nearly what they were (four axes hold about nine tenths of MIND's
    variance), at a third of the cost. In place of a mean, which cancels in differences, nothing is subtracted.
    """
    total = first.shape[1]
    if channels >= total:
        return first, second
    stride = max(1, first[0, 0].numel() // 100_000)
    samples = in_double(torch.cat([x[0].reshape(total, -1)[:, ::stride] for x in (first, second)], 1))
    samples = samples - samples.mean(1, keepdim=True)
    _, vectors = torch.linalg.eigh(samples @ samples.T)
    axes = vectors[:, -channels:].T
    axes = axes * axes.sum(1, keepdim=True).sign()  # one sign on every machine
    axes = axes.to(first)
    return tuple((axes @ x[0].reshape(total, -1)).reshape(1, channels, *x.shape[2:]) for x in (first, second))  # type: ignore[return-value]
