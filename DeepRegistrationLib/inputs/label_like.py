"""Whether the voxels alone say that an image is a label map."""

from __future__ import annotations

import numpy as np

_MOST_VALUES = 1000
_EQUAL = 0.5


def looks_like_labels(array: np.ndarray) -> bool:
    """Whether these are numbers of regions rather than intensities: whole numbers, few of them, in large pieces.

    Of the neighbors along an axis of which one at least is not background (the most frequent value), more than half
    are equal in a label map; in the images of one byte a voxel that were tried, less than a third are.

    Args:
        array: 2-D or 3-D, of any type.
    """
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or (array != np.rint(array)).any():
            return False
    elif array.dtype.kind not in "iub":
        return False
    values, counts = np.unique(array, return_counts=True)
    if len(values) > _MOST_VALUES:
        return False
    if len(values) <= 2:
        return True
    background = values[counts.argmax()]
    equal = pairs = 0
    for axis in range(array.ndim):
        size = array.shape[axis]
        if size < 2:
            continue
        a, b = np.take(array, range(size - 1), axis), np.take(array, range(1, size), axis)
        seen = (a != background) | (b != background)
        pairs += int(seen.sum())
        equal += int(((a == b) & seen).sum())
    return equal > _EQUAL * pairs
