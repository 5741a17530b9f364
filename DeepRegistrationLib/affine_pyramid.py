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

from .errors import InputError
from .image import Grid, Image

_LONGEST_SIDE = 128
_MARGIN = 0.08  # of the content's size, kept around it


@dataclass(frozen=True)
class Content:
    """The part of an image that holds the anatomy, at moderate resolution.

    Attributes:
        values: (1, 1, *S) intensity, 0 to 1.
        weight: (1, 1, *S) share of each voxel that may be used (mask, finite), 0 to 1.
        grid: the geometry of both.
        center: (ndim,) LPS mm, center of mass of the foreground.
        middle: (ndim,) LPS mm, middle of the foreground's bounding box.
        size: mm, geometric mean of the bounding box's sides.
        slices: (ndim,) voxels of the original image along each array axis of the bounding box.
    """

    values: Tensor
    weight: Tensor
    grid: Grid
    center: np.ndarray
    middle: np.ndarray
    size: float
    slices: np.ndarray


def pooled(grid: Grid, factors: np.ndarray) -> Grid:
    """The grid of whole blocks of ``factors`` voxels; what is left at the far border is dropped."""
    shape = np.asarray(grid.shape) // factors
    step = np.eye(grid.ndim + 1)
    step[:-1, :-1] = np.diag(factors)
    step[:-1, -1] = (factors - 1) / 2
    return Grid(tuple(int(s) for s in shape), grid.matrix @ step)


def pool(x: Tensor, factors: np.ndarray) -> Tensor:
    """(1, C, *S) averaged over blocks of ``factors`` voxels."""
    if (factors == 1).all():
        return x
    average = F.avg_pool2d if x.ndim == 4 else F.avg_pool3d
    return average(x, tuple(int(f) for f in factors))


def block_factors(grid: Grid, spacing: float) -> np.ndarray:
    """Voxels to average along each array axis to come near ``spacing`` mm."""
    factors = np.round(spacing / grid.spacing).astype(int)
    return np.clip(factors, 1, np.asarray(grid.shape))


def find_content(image: Image, mask: np.ndarray | None = None) -> Content:
    """Average, find the foreground, crop to it and map the intensities to 0..1.

    Raises:
        InputError: if the mask does not fit the image or leaves nothing, or if the image is constant.
    """
    if mask is not None and tuple(mask.shape) != image.grid.shape:
        raise InputError(f"The mask of the {image.name} has {mask.shape} voxels, the image {image.grid.shape}.")
    factors = np.maximum(1, block_factors(image.grid, float(image.grid.extent.max()) / _LONGEST_SIDE))
    values, weight = _average(image.array, mask, factors)
    grid = pooled(image.grid, factors)
    valid = weight > 0.05
    if not valid.any():
        raise InputError(f"The mask of the {image.name} leaves nothing to register; choose another one.")
    low, high = _quantiles(values[valid], (0.001, 0.999))
    if not high > low:
        raise InputError(f"The {image.name} has the same intensity everywhere; there is nothing to register.")
    values = values.clamp(low, high)

    foreground = _foreground(values, valid, low, high)
    box = _bounding_box(foreground)
    size = float(np.prod((box[1] - box[0]) * grid.spacing) ** (1 / grid.ndim))
    index = np.argwhere(foreground.numpy())
    margin = np.ceil(_MARGIN * size / grid.spacing).astype(int)
    start = np.maximum(box[0] - margin, 0)
    stop = np.minimum(box[1] + margin, grid.shape)
    window = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))

    mapped = _equalize(values[window], values[foreground], low, high)
    return Content(
        mapped[None, None],
        weight[window][None, None],
        grid.cropped(start, stop),
        grid.to_world(index.mean(0)),
        grid.to_world((box[0] + box[1] - 1) / 2),
        size,
        (box[1] - box[0]) * factors,
    )


def _average(array: np.ndarray, mask: np.ndarray | None, factors: np.ndarray) -> tuple[Tensor, Tensor]:
    """Block means over the usable voxels, and their share, computed slab by slab."""
    whole = tuple(slice(0, n // f * f) for n, f in zip(array.shape, factors, strict=True))
    array = array[whole]
    usable = None if mask is None else np.asarray(mask[whole]) > 0
    step = int(factors[0]) * max(1, 2**22 // max(1, int(np.prod(array.shape[1:])) * int(factors[0])))
    parts, shares = [], []
    for first in range(0, array.shape[0], step):
        slab = torch.from_numpy(np.ascontiguousarray(array[first : first + step], dtype=np.float32))[None, None]
        keep = torch.isfinite(slab) if np.issubdtype(array.dtype, np.floating) else None
        if keep is not None and bool(keep.all()):
            keep = None
        if usable is not None:
            inside = torch.from_numpy(np.ascontiguousarray(usable[first : first + step]))[None, None]
            keep = inside if keep is None else keep & inside
        if keep is None:
            parts.append(pool(slab, factors))
            shares.append(torch.ones_like(parts[-1]))
        else:
            share = pool(keep.float(), factors)
            parts.append(pool(torch.where(keep, slab, 0.0), factors) / share.clamp_min(1e-6))
            shares.append(share)
    return torch.cat(parts, 2)[0, 0], torch.cat(shares, 2)[0, 0]


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
    edges = edges & valid if bool((edges & valid).any()) else valid
    background = _quantiles(values[edges], (0.5,))[0]
    distance = (values - background).abs_().mul_(1 / (high - low))
    foreground = (distance > _otsu(distance[valid])) & valid
    # Fewer than 3 % of the voxels are an outlier, not the anatomy.
    return foreground if int(foreground.sum()) > 0.03 * int(valid.sum()) else valid


def _otsu(x: Tensor) -> float:
    """The threshold between two classes (Otsu 1979), lowered a little so that dim tissue stays."""
    counts = torch.histc(x, 64, 0, 1).double()
    centers = (torch.arange(64, dtype=torch.float64) + 0.5) / 64
    below = counts.cumsum(0)
    mass = (counts * centers).cumsum(0)
    above = below[-1] - below
    between = below * above * (mass / below.clamp_min(1) - (mass[-1] - mass) / above.clamp_min(1)).square()
    return 0.6 * float(centers[int(between.argmax())])


def _bounding_box(foreground: Tensor) -> np.ndarray:
    """(2, ndim) first and one past the last index, leaving 0.2 % of the foreground out on either side."""
    box = np.zeros((2, foreground.ndim), dtype=int)
    for axis in range(foreground.ndim):
        others = [d for d in range(foreground.ndim) if d != axis]
        share = foreground.sum(others).double().cumsum(0)
        share = share / share[-1]
        box[0, axis] = int((share < 0.002).sum())
        box[1, axis] = int((share < 0.998).sum()) + 1
    return box


def _equalize(values: Tensor, foreground: Tensor, low: float, high: float) -> Tensor:
    """0..1, half by intensity and half by rank in the foreground.

    A plain window would leave soft tissue in CT one or two bins of a histogram; ranks alone would blow up noise.
    """
    levels = 512
    table = torch.histc(foreground, levels, low, high).cumsum(0)
    table = 0.5 * table / table[-1] + 0.5 * torch.linspace(0, 1, levels)
    index = ((values - low) * ((levels - 1) / (high - low))).round().long().clamp_(0, levels - 1)
    return table[index]


def scatter_points(content: Content, count: int, seed: int) -> np.ndarray:
    """About ``count`` positions (N, ndim) in LPS mm, one at random in each cell of a lattice over the content.

    Off the voxel centers on purpose: interpolation there smooths, which shows as false peaks at whole shifts.
    """
    extent = content.grid.extent
    step = float(np.prod(extent) / count) ** (1 / len(extent))
    shape = np.maximum(1, np.round(extent / step)).astype(int)
    generator = torch.Generator().manual_seed(seed)
    jitter = torch.rand((int(shape.prod()), len(shape)), generator=generator, dtype=torch.float64).numpy()
    lattice = np.indices(shape).reshape(len(shape), -1).T
    return content.grid.to_world((lattice + jitter) / shape * content.grid.shape - 0.5)
