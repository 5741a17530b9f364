"""Which part of an image was filled up with a constant because nothing had been measured there.

An image that was resampled onto another grid before it came here ends somewhere inside of its own grid. Taken for
background, the cut through the tissue looks like an edge and pulls: on 40 hippocampi, resampled beforehand, that costs
0.03 of Dice on average and 0.3 in the worst case.
"""

from __future__ import annotations

import numpy as np
import torch

LEAST = 0.005
"""Of all voxels: less of them does no harm."""
MOST_HOLES = 0.002
LEAST_FILL = {2: 0.85, 3: 0.6}
"""What was seen is convex and nearly a box: a box turned by some degrees, not an ellipse (0.79; 0.52 in 3-D).

Real images: what is left of a box held at most 0.0001 holes and filled 0.67 or more of its bounding box; anatomy on a
background of zeros (brains, slices, hearts, radiographs) had 0.002 to 0.05 holes or was all there."""


def seen_part(array: np.ndarray) -> np.ndarray | None:
    """True where ``array`` (2-D or 3-D) was measured; None where it has no padding.

    Padding is the value that most corners share, all around a convex part that nearly fills its bounding box.
    """
    image = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    corners, counts = image[np.ix_(*[[0, -1]] * image.ndim)].unique(return_counts=True)
    if int(counts.max()) == 1:
        return None
    inside = image != corners[counts.argmax()]
    count = int(inside.sum())
    box = 1
    for axis in range(inside.ndim):
        there = torch.nonzero(inside.movedim(axis, 0).flatten(1).any(1)).flatten()
        box *= int(there[-1] - there[0]) + 1
    if count > (1 - LEAST) * inside.numel() or count < (1 - MOST_HOLES) * LEAST_FILL[inside.ndim] * box:
        return None
    seen = inside.clone()
    for axis in range(inside.ndim):
        before = inside.cummax(axis).values
        after = inside.flip(axis).cummax(axis).values.flip(axis)
        seen |= before & after
    return None if int(seen.sum()) - count > MOST_HOLES * count else seen.numpy()
