"""Which part of an image shows something: figures of a report are taken there, not over the air around it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..fields.background import border_value
from ..fields.quantiles import quantiles, thinned

FAINT = 0.05
"""Of the range between the 1st and 99th percentile: what differs less from the border's typical value is background."""
LEAST = 0.005
"""Of all voxels: where less stands out, the whole image is its content, as in a crop that is filled with tissue."""


def content_of(image: Tensor, mask: Tensor | None = None) -> Tensor:
    """(1, 1, *S) bool: what is inside of ``mask`` and differs from the border; never empty.

    Args:
        image: (1, 1, *S), any intensities.
        mask: (1, 1, *S); 0 where nothing was measured, or where the user does not want to look.
    """
    measured = None if mask is None or not bool((mask > 0).any()) else mask > 0
    values = image.flatten() if measured is None else image[measured]
    low, high = quantiles(thinned(values, 300_000).float(), (0.01, 0.99))
    found = (image - border_value(image, measured)).abs_() > FAINT * (high - low)
    if measured is not None:
        found &= measured
    if int(found.sum()) > LEAST * len(values):
        return found
    return torch.ones_like(found) if measured is None else measured


def coarse_content(content: Tensor, shape: tuple[int, ...]) -> Tensor:
    """``content`` (1, 1, *S) on fewer voxels (*shape) over the same field of view; never empty."""
    pool = F.adaptive_avg_pool2d if content.ndim == 4 else F.adaptive_avg_pool3d
    share = pool(content.float(), shape)[0, 0]  # type: ignore[arg-type]
    return share >= min(0.5, float(share.max()))
