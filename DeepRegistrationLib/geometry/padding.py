"""What was measured in an image, and what value stands for nothing: the one place that decides both.

Registration, doubt, likeness and verdict take ``measured_part`` as their mask and compare what ``comparable`` gives;
whatever is resampled is filled with ``background_of`` where it ends. Without torch, for Slicer's own process.

An image that was resampled onto another grid before it came here ends somewhere inside of its own grid. Taken for
background, the cut through the tissue looks like an edge and pulls: on 40 hippocampi, resampled beforehand, that costs
0.03 of Dice on average and 0.3 in the worst case.
"""

from __future__ import annotations

import numpy as np

from .image import Image

LEAST = 0.005
"""Of all voxels: less of them does no harm."""
MOST_HOLES = 0.002
LEAST_FILL = {2: 0.85, 3: 0.6}
"""What was seen is convex and nearly a box: a box turned by some degrees, not an ellipse (0.79; 0.52 in 3-D).

Real images: what is left of a box held at most 0.0001 holes and filled 0.67 or more of its bounding box; anatomy on a
background of zeros (brains, slices, hearts, radiographs) had 0.002 to 0.05 holes or was all there."""


LOWEST_CT = -1100
"""Hounsfield units: air is -1000 and scanners write -1024; what is lower (-1500, -2000, -3024) is nothing measured."""
LEAST_PADDING = 0.001
"""Of all voxels: fewer are artifacts of metal."""
_CLASSES = 64
_PLAIN = (1e-3, 1e6)
"""A range of intensities that single precision and absolute floors take well."""
_OUTLIER = 30.0
"""Times the range of the background and the middle four fifths of what is shown, beyond it: what is so far off would
leave nothing of the others on a scale. Skulls reach 9; maps of relaxation or diffusion 1e3 to 1e7 where a fit failed.
"""
_BESIDE = 3.0
"""The same, of single voxels in an image that has one so far off: failed fits come in all sizes."""
_FEW_OUTLIERS = 0.02
"""Of what is shown: more, and not alone, is no outlier, but what is to be seen, as vessels or spots over noise."""
_SINGLE = 1e6
"""Times that range: more would leave nothing of the others in single precision."""
_ALONE = 2
"""Fewer neighbors, corners counted, that are outliers too: such a voxel shows nothing of a body."""


def measured_part(array: np.ndarray) -> np.ndarray | None:
    """(*array.shape) bool, True where ``array`` (2-D or 3-D) was measured; None where it was everywhere.

    Left out are the constant around a box that was resampled beforehand (``seen_part``), and what is filled up with a
    value below all that CT can show.
    """
    padding = ct_padding(array)
    if padding is not None:
        return np.asarray(array != padding)
    return seen_part(array)


def ct_padding(array: np.ndarray) -> float | None:
    """The value below ``LOWEST_CT`` that fills up a CT, if all else is at or above it."""
    lowest = float(array.min())
    if lowest >= LOWEST_CT or lowest != round(lowest):
        return None
    rest = array[array != array.min()]
    if not rest.size or float(rest.min()) < LOWEST_CT or array.size - rest.size < LEAST_PADDING * array.size:
        return None
    return lowest


def background_of(array: np.ndarray) -> float:
    """The value that stands for nothing around what is shown: that of most of the image's border, if it is alike.

    Else, as in an image cropped within the anatomy: 0, or the nearest value that the image has.

    Args:
        array: 2-D or 3-D, one value a voxel; those that are no numbers are left out, and some must be.
    """
    faces = [np.take(array, end, axis).ravel() for axis, n in enumerate(array.shape) if n > 1 for end in (0, n - 1)]
    border = np.concatenate(faces).astype(np.float64) if faces else array.ravel().astype(np.float64)
    border = border[np.isfinite(border)]
    values = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    low, high = float(values.min()), float(values.max())
    if low == high:
        return low
    # Neighbors of the fullest class count too: noise around a value may lie in two of them. Halves cannot overflow.
    share = (border / 2 - low / 2) / (high / 2 - low / 2)
    classes = np.minimum(share * _CLASSES, _CLASSES - 1).astype(int)
    fullest = int(np.bincount(classes, minlength=_CLASSES).argmax())
    alike = border[np.abs(classes - fullest) <= 1]
    if alike.size < 0.5 * border.size or not border.size:
        return min(max(0.0, low), high)
    exact, counts = np.unique(alike, return_counts=True)
    # An exact value of its own, or the middle of noise.
    return float(exact[counts.argmax()]) if counts.max() > 0.5 * alike.size else float(np.median(alike))


def comparable(image: Image) -> Image:
    """``image`` as it is compared: padding is background, and no value is out of all proportion.

    The same object where there is nothing to change. Intensities are only shifted and scaled as a whole where single
    precision could not hold them (1e-12, 1e300, noise on an offset of millions); of single voxels that are far off all
    others see ``_without_outliers``.
    """
    array, padding = image.array, ct_padding(image.array)
    if padding is not None:
        rest = array[array != padding]
        array = np.where(array == padding, rest.min(), array).astype(array.dtype)
    array = _without_outliers(array)
    with np.errstate(all="ignore"):
        low, high = float(array.min()), float(array.max())
        size = high - low
        if not (_PLAIN[0] <= size <= _PLAIN[1] and max(abs(low), abs(high)) <= 100 * _PLAIN[1]):
            share = (array.astype(np.float64) / 2 - low / 2) / (high / 2 - low / 2)
            array = (1000 * share).astype(np.float32)
    return image if array is image.array else Image(array, image.grid, image.name)


def _without_outliers(array: np.ndarray) -> np.ndarray:
    """``array`` where no value is out of all proportion: single voxels are what is around them, others come nearer.

    The same object where there is nothing to change. What is bright and has a size (a bladder full of tracer) stays
    brighter than all else: its excess counts by its square root.
    """
    thinned = array.ravel()[:: max(1, array.size // 100_000)]
    background = background_of(array)
    shown = thinned[thinned != background].astype(np.float64)
    if not shown.size:
        return array
    with np.errstate(all="ignore"):
        low, high = (float(x) for x in np.quantile(shown, [0.1, 0.9]))
        low, high = min(low, background), max(high, background)
        span = high - low
        bottom, top = low - _OUTLIER * span, high + _OUTLIER * span
    if not (span > 0 and np.isfinite([bottom, top]).all()) or (array.min() >= bottom and array.max() <= top):
        return array
    far = (array < bottom) | (array > top)
    beside = (array < low - _BESIDE * span) | (array > high + _BESIDE * span)
    changed, places = array.astype(np.float64), np.argwhere(beside)
    for part in np.array_split(places, len(places) // 100_000 + 1):  # there are 27 neighbors of each
        values, outliers = _around(array, part), _around(beside, part)
        alone = tuple(part[outliers.sum(1) - 1 < _ALONE].T)
        values = np.where(outliers, np.nan, values.astype(np.float64))[outliers.sum(1) - 1 < _ALONE]
        changed[alone], far[alone] = np.nanmedian(values, axis=1), False
    if far.sum() <= _FEW_OUTLIERS * (array != background).sum() or np.ptp(changed) > _SINGLE * span:
        excess = np.maximum(np.maximum(changed - top, bottom - changed), 0.0)
        changed = changed.clip(bottom, top) + np.where(changed > top, 1, -1) * np.sqrt(excess) * np.sqrt(span)
    return changed.astype(np.float32)


def _around(array: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(n, 3**ndim) values at ``places`` (n, ndim) and beside them; the border is repeated."""
    steps = np.indices((3,) * array.ndim).reshape(array.ndim, -1).T - 1
    near = np.clip(places[:, None] + steps, 0, np.array(array.shape) - 1)
    return array[tuple(np.moveaxis(near, -1, 0))]


def seen_part(array: np.ndarray) -> np.ndarray | None:
    """True where ``array`` (2-D or 3-D) was measured; None where it has no padding.

    Padding is the value that most corners share, all around a convex part that nearly fills its bounding box and has
    more than one value.
    """
    corners, counts = np.unique(array[np.ix_(*[[0, -1]] * array.ndim)], return_counts=True)
    if int(counts.max()) == 1:
        return None
    inside = array != corners[counts.argmax()]
    count = int(inside.sum())
    box = 1
    for axis in range(inside.ndim):
        there = np.flatnonzero(inside.any(tuple(a for a in range(inside.ndim) if a != axis)))
        box *= int(there[-1] - there[0]) + 1 if len(there) else 0
    if count > (1 - LEAST) * inside.size or count < (1 - MOST_HOLES) * LEAST_FILL[inside.ndim] * box:
        return None
    if count and np.ptp(np.quantile(array[inside], (0.05, 0.95))) == 0:  # a box of one value is what is shown
        return None
    seen = inside.copy()
    for axis in range(inside.ndim):
        before = np.maximum.accumulate(inside, axis)
        after = np.flip(np.maximum.accumulate(np.flip(inside, axis), axis), axis)
        seen |= before & after
    return None if int(seen.sum()) - count > MOST_HOLES * count else seen
