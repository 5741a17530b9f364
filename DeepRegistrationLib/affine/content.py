"""What the affine stage sees of an image: a small pyramid of its content, and points scattered over it.

Everything is done on coarse copies: the image is averaged once to at most about 128 voxels along its longest side,
slab by slab, so that a large CT never exists in floating point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from ..geometry.image import Grid, Image

_LONGEST_SIDE = 128
_MARGIN = 0.08  # of the content's size: where points are scattered
_REACH = 0.3  # likewise: what is kept for the other image's points to fall on
_LEVELS = 512
_RANK_SHARE = 0.5


@dataclass(frozen=True)
class Content:
    """The part of an image that holds the anatomy, at moderate resolution.

    Attributes:
        values: (1, 1, *S) intensity, 0 to 1.
        weight: (1, 1, *S) share of each voxel that may be used (mask, finite, not padding), 0 to 1.
        grid: the geometry of all of them.
        region: the part of the grid over which points are scattered.
        center: (ndim,) LPS mm, center of mass of the foreground.
        middle: (ndim,) LPS mm, middle of the foreground's bounding box.
        size: mm, geometric mean of the bounding box's sides.
        slices: (ndim,) voxels of the original image along each array axis of the bounding box.
        voxels: of the original image.
    """

    values: Tensor
    weight: Tensor
    grid: Grid
    region: Grid
    center: np.ndarray
    middle: np.ndarray
    size: float
    slices: np.ndarray
    voxels: int


def pooled(grid: Grid, factors: np.ndarray) -> Grid:
    """The grid of whole blocks of ``factors`` voxels; what is left at the far border is dropped."""
    shape = np.asarray(grid.shape) // factors
    step = np.eye(grid.ndim + 1)
    step[:-1, :-1] = np.diag(factors)
    step[:-1, -1] = (factors - 1) / 2
    return Grid(tuple(int(s) for s in shape), grid.matrix @ step)


def pool(x: Tensor, factors: np.ndarray) -> Tensor:
    """(1, C, *S) averaged over blocks of ``factors`` voxels; ``x`` itself where there is nothing to average."""
    if (factors == 1).all():
        return x
    average = F.avg_pool2d if x.ndim == 4 else F.avg_pool3d
    return average(x, tuple(int(f) for f in factors))


def block_factors(grid: Grid, spacing: float) -> np.ndarray:
    """Voxels to average along each array axis to come near ``spacing`` mm."""
    factors = np.round(spacing / grid.spacing).astype(int)
    return np.clip(factors, 1, np.asarray(grid.shape))


def contents_of(
    fixed: Image, moving: Image, fixed_mask: np.ndarray | None = None, moving_mask: np.ndarray | None = None
) -> tuple[Content, Content] | None:
    """``find_content`` of both images; None where one has nothing to compare."""
    try:
        return find_content(fixed, fixed_mask), find_content(moving, moving_mask)
    except InputError:
        return None


def find_content(image: Image, mask: np.ndarray | None = None) -> Content:
    """Average, find the foreground, crop to it and map the intensities to 0..1.

    Raises:
        InputError: if the mask does not fit the image or leaves nothing, or if the image is constant.
    """
    if mask is not None and tuple(mask.shape) != image.grid.shape:
        raise InputError(f"The mask of the {image.name} has {mask.shape} voxels, the image {image.grid.shape}.")
    factors = np.maximum(1, block_factors(image.grid, float(image.grid.extent.max()) / _LONGEST_SIDE))
    padding = _padding_value(image.array)
    values, weight = _average(image.array, mask, factors, padding)
    if padding is not None and not _shows_something(values, weight):  # a binary segmentation is nothing but outline
        values, weight = _average(image.array, mask, factors, None)
    grid = pooled(image.grid, factors)
    valid = weight > 0.05
    if not valid.any():
        raise InputError(f"The mask of the {image.name} leaves nothing to register; choose another one.")
    low, high = _quantiles(_of(values, valid), (0.001, 0.999))
    if not high > low:
        raise InputError(f"The {image.name} has the same intensity everywhere; there is nothing to register.")

    foreground = _foreground(values.clamp(low, high), valid, low, high)
    lines = _counts(foreground)
    box = _bounding_box(lines)
    size = float(np.prod((box[1] - box[0]) * grid.spacing) ** (1 / grid.ndim))
    middle = [float(line @ torch.arange(len(line))) / int(line.sum()) for line in lines]
    near, (start, stop) = (_widened(box, share * size / grid.spacing, grid) for share in (_MARGIN, _REACH))
    window = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))

    table = _equalization(values[foreground], low, high)
    part = _look_up(table, values[window], low, high)[None, None]
    return Content(
        part,
        weight[window][None, None],
        grid.cropped(start, stop),
        grid.cropped(near[0], near[1]),
        grid.to_world(np.array(middle)),
        grid.to_world((box[0] + box[1] - 1) / 2),
        size,
        (box[1] - box[0]) * factors,
        image.array.size,
    )


def _widened(box: np.ndarray, margin: np.ndarray, grid: Grid) -> np.ndarray:
    edge = np.ceil(margin).astype(int)
    return np.stack([np.maximum(box[0] - edge, 0), np.minimum(box[1] + edge, grid.shape)])


def _padding_value(array: np.ndarray) -> float | None:
    """The value that fills most of the border and at least a tenth of the image, as around a skull-stripped brain."""
    faces = [array.take(end, axis).ravel()[::4] for axis in range(array.ndim) for end in (0, -1)]
    border = np.sort(np.concatenate(faces))
    value = border[len(border) // 2]
    some = array[tuple([slice(None, None, 4 if n > 32 else 1) for n in array.shape])]
    if np.mean(border == value) < 0.5 or np.mean(some == value) < 0.1:
        return None
    return float(value)


def _shows_something(values: Tensor, weight: Tensor) -> bool:
    """Whether the intensity varies where there is no padding."""
    valid = weight > 0.05
    if not valid.any():
        return False
    low, high = _quantiles(_of(values, valid), (0.01, 0.99))
    return high > low


def _average(
    array: np.ndarray, mask: np.ndarray | None, factors: np.ndarray, padding: float | None
) -> tuple[Tensor, Tensor]:
    """Block means over the usable voxels that are not padding, and their share; slab by slab.

    Padding (around a skull-stripped brain, outside the circle that a CT sees) is left out at every resolution: matching
    its outline costs agreement inside, 0.01 to 0.03 of Dice in brains.
    """
    whole = tuple(slice(0, n // f * f) for n, f in zip(array.shape, factors, strict=True))
    array = array[whole]
    usable = None if mask is None else np.asarray(mask[whole]) > 0
    step = int(factors[0]) * max(1, 2**22 // max(1, int(np.prod(array.shape[1:])) * int(factors[0])))
    means, shares = [], []
    for first in range(0, array.shape[0], step):
        slab = torch.from_numpy(np.array(array[first : first + step], dtype=np.float32))[None, None]
        keep = torch.ones_like(slab)
        if np.issubdtype(array.dtype, np.floating):
            keep = torch.isfinite(slab).float()
            slab = torch.nan_to_num(slab, 0, 0, 0)
        if usable is not None:
            keep *= torch.from_numpy(np.ascontiguousarray(usable[first : first + step]))[None, None]
        if padding is not None:
            keep *= slab != padding
        share = pool(keep, factors)
        means.append(pool(slab * keep, factors) / share.clamp_min(1e-6))
        shares.append(share)
    return torch.cat(means, 2)[0, 0], torch.cat(shares, 2)[0, 0]


def _quantiles(x: Tensor, q: tuple[float, ...]) -> list[float]:
    """Quantiles of at most a hundred thousand of the values."""
    x = x.flatten()
    x = x[:: max(1, x.numel() // 100_000)].sort().values
    return [float(x[round(p * (x.numel() - 1))]) for p in q]


def _foreground(values: Tensor, valid: Tensor, low: float, high: float) -> Tensor:
    """Where the intensity is unlike that at the border of the image; everything usable if there is no such place."""
    edges = torch.zeros_like(valid)
    for axis in range(values.ndim):
        edges.select(axis, 0).fill_(True)
        edges.select(axis, -1).fill_(True)
    edges &= valid
    background = _quantiles(values[edges if bool(edges.any()) else valid], (0.5,))[0]
    distance = (values - background).abs_().mul_(1 / (high - low))
    foreground = (distance > _otsu(_of(distance, valid))) & valid
    # Fewer than 3 % of the voxels are an outlier, not the anatomy.
    return foreground if int(foreground.sum()) > 0.03 * int(valid.sum()) else valid


def _of(values: Tensor, valid: Tensor) -> Tensor:
    """``values[valid]``, without gathering where that is all of them."""
    return values.flatten() if bool(valid.all()) else values[valid]


def _otsu(x: Tensor) -> float:
    """The threshold between two classes (Otsu 1979), lowered a little so that dim tissue stays."""
    counts = torch.histc(x, 64, 0, 1).double()
    centers = (torch.arange(64, dtype=torch.float64) + 0.5) / 64
    below = counts.cumsum(0)
    mass = (counts * centers).cumsum(0)
    above = below[-1] - below
    between = below * above * (mass / below.clamp_min(1) - (mass[-1] - mass) / above.clamp_min(1)).square()
    return 0.6 * float(centers[int(between.argmax())])


def _counts(foreground: Tensor) -> list[Tensor]:
    """Of the voxels that are foreground, how many lie at each index of each axis, int64."""
    last = foreground.sum(-1)
    lines = [
        last.sum([d for d in range(last.ndim) if d != axis]) if last.ndim > 1 else last for axis in range(last.ndim)
    ]
    return [*lines, foreground.flatten(0, -2).sum(0)]


def _bounding_box(lines: list[Tensor]) -> np.ndarray:
    """(2, ndim) first and one past the last index, leaving 0.2 % of the foreground out on either side.

    ``lines``: of ``_counts``.
    """
    box = np.zeros((2, len(lines)), dtype=int)
    for axis, line in enumerate(lines):
        share = line.double().cumsum(0)
        share = share / share[-1]
        box[0, axis] = int((share < 0.002).sum())
        box[1, axis] = int((share < 0.998).sum()) + 1
    return box


def _equalization(foreground: Tensor, low: float, high: float) -> Tensor:
    """A table from ``low``..``high`` to 0..1, mostly by rank in the foreground.

    A plain window would leave soft tissue in CT one or two bins of a histogram. Ranks also gave the better affine in
    brains, by 0.01 Dice.
    """
    ranks = torch.histc(foreground, _LEVELS, low, high).cumsum(0)
    return _RANK_SHARE * ranks / ranks[-1] + (1 - _RANK_SHARE) * torch.linspace(0, 1, _LEVELS)


def _look_up(table: Tensor, values: Tensor, low: float, high: float) -> Tensor:
    return table[((values - low) * ((_LEVELS - 1) / (high - low))).round_().long().clamp_(0, _LEVELS - 1)]


def scatter_points(content: Content, count: int, seed: int) -> np.ndarray:
    """About ``count`` positions (N, ndim) in LPS mm, one at random in each cell of a lattice over the content.

    Off the voxel centers on purpose: interpolation there smooths, which shows as false peaks at whole shifts.
    """
    region = content.region
    extent = region.extent
    step = float(np.prod(extent) / count) ** (1 / len(extent))
    shape = np.maximum(1, np.round(extent / step)).astype(int)
    generator = torch.Generator().manual_seed(seed)
    jitter = torch.rand((int(shape.prod()), len(shape)), generator=generator, dtype=torch.float64).numpy()
    lattice = np.indices(shape).reshape(len(shape), -1).T
    return region.to_world((lattice + jitter) / shape * region.shape - 0.5)
