"""Anatomy out of smooth signed distances, painted on a canvas that can then be sampled at any mapped point.

Coordinates are LPS mm about the middle of the canvas; arrays are in the order (k, j, i) or (j, i) as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from DeepRegistrationLib import fields
from DeepRegistrationLib.geometry.image import Grid

from ..changes import enlarged

Axes = Sequence[np.ndarray] | np.ndarray
"""x, y(, z) in mm, arrays that broadcast against each other."""
Vector = Sequence[float] | np.ndarray
"""(n,)."""
Segment = tuple[Vector, Vector, float, float]
"""Two ends, mm, and the radius at each."""


@dataclass(frozen=True)
class Shape:
    """``distance``: about the signed mm from the border, negative inside; ``low``, ``high``: (ndim,) mm, its box."""

    distance: Callable[[Axes], np.ndarray]
    low: np.ndarray
    high: np.ndarray

    def __or__(self, other: Shape) -> Shape:
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        return Shape(lambda p: np.minimum(self.distance(p), other.distance(p)), low, high)

    def __and__(self, other: Shape) -> Shape:
        low, high = np.maximum(self.low, other.low), np.minimum(self.high, other.high)
        return Shape(lambda p: np.maximum(self.distance(p), other.distance(p)), low, high)

    def __sub__(self, other: Shape) -> Shape:
        return Shape(lambda p: np.maximum(self.distance(p), -other.distance(p)), self.low, self.high)

    def grown(self, mm: float) -> Shape:
        return Shape(lambda p: self.distance(p) - mm, self.low - mm, self.high + mm)

    def blended(self, other: Shape, mm: float) -> Shape:
        """Both as one, the seam rounded over ``mm``."""

        def distance(p: Axes) -> np.ndarray:
            a, b = self.distance(p), other.distance(p)
            h = np.maximum(mm - np.abs(a - b), 0) / mm
            return np.asarray(np.minimum(a, b) - h * h * (mm / 4))

        return Shape(distance, np.minimum(self.low, other.low) - mm / 4, np.maximum(self.high, other.high) + mm / 4)


def turn(degrees: float, axis: int) -> np.ndarray:
    """(3, 3) about x, y or z."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    a, b = [d for d in range(3) if d != axis]
    matrix = np.eye(3)
    matrix[a, a], matrix[a, b], matrix[b, a], matrix[b, b] = c, -s, s, c
    return matrix


def ellipsoid(center: Vector, radii: Vector, turned: np.ndarray | None = None) -> Shape:
    """``turned``: (ndim, ndim), the directions of its axes as columns."""
    reach = np.asarray(radii, float) if turned is None else np.full(len(radii), max(radii))

    def distance(p: Axes) -> np.ndarray:
        q = [(a - c).astype(np.float32) for a, c in zip(p, center, strict=True)]
        if turned is not None:
            q = [sum(float(turned[r, d]) * q[r] for r in range(len(q))) for d in range(len(q))]  # type: ignore[misc]
        k = np.sqrt(sum((a / r) ** 2 for a, r in zip(q, radii, strict=True)))
        slope = np.sqrt(sum((a / r**2) ** 2 for a, r in zip(q, radii, strict=True)))
        return np.asarray(k * (k - 1) / np.maximum(slope, 1e-6))

    return Shape(distance, np.asarray(center) - reach, np.asarray(center) + reach)


def below(axis: int, mm: float, sign: int = 1, size: int = 3) -> Shape:
    """The half space where x, y or z is less than ``mm`` (more, if ``sign`` is -1)."""
    low, high = np.full(size, -1e4), np.full(size, 1e4)
    (high if sign > 0 else low)[axis] = mm
    return Shape(lambda p: np.asarray(sign * (p[axis] - mm), np.float32), low, high)


def tube(points: Sequence[Vector] | np.ndarray, radii: Vector | float) -> Shape:
    """A chain of tapering tubes."""
    chain = np.asarray(points, float)
    r = np.broadcast_to(np.asarray(radii, float), len(chain))
    parts = [segment((a, b, ra, rb)) for (a, ra), (b, rb) in pairwise(zip(chain, r, strict=True))]

    def distance(p: Axes) -> np.ndarray:
        best = parts[0].distance(p)
        for part in parts[1:]:
            best = np.minimum(best, part.distance(p))
        return best

    return Shape(distance, np.min([x.low for x in parts], 0), np.max([x.high for x in parts], 0))


def segment(ends: Segment) -> Shape:
    a, b, ra, rb = np.asarray(ends[0], float), np.asarray(ends[1], float), ends[2], ends[3]
    step = b - a
    square = max(float(step @ step), 1e-6)

    def distance(p: Axes) -> np.ndarray:
        q = [(x - s).astype(np.float32) for x, s in zip(p, a, strict=True)]
        t = np.clip(sum(x * (s / square) for x, s in zip(q, step, strict=True)), 0, 1)
        gap = np.sqrt(sum((x - t * s) ** 2 for x, s in zip(q, step, strict=True)))
        return np.asarray(gap - (ra + (rb - ra) * t), np.float32)

    top = max(ra, rb)
    return Shape(distance, np.minimum(a, b) - top, np.maximum(a, b) + top)


def centered(shape: tuple[int, ...], spacing: float | tuple[float, ...], middle: Vector | None = None) -> Grid:
    """An axis-aligned grid about ``middle`` (LPS mm; 0 if not given)."""
    grid = Grid.from_shape(shape, spacing)
    matrix = grid.matrix.copy()
    matrix[:-1, -1] = np.zeros(grid.ndim) if middle is None else np.asarray(middle)
    matrix[:-1, -1] -= grid.center
    return Grid(shape, matrix)


def axes_of(grid: Grid) -> list[np.ndarray]:
    """x, y(, z) of an axis-aligned grid, each varying along its own array axis only."""
    n = grid.ndim
    return [
        (grid.origin[d] + grid.spacing[n - 1 - d] * np.arange(grid.shape[n - 1 - d]))
        .astype(np.float32)
        .reshape([-1 if a == n - 1 - d else 1 for a in range(n)])
        for d in range(n)
    ]


class Canvas:
    """Channels (C, *shape) painted structure by structure with soft edges.

    Args:
        grid: axis-aligned.
        random: for its ``uneven``, (*shape), smooth noise of variance 1 that makes shapes irregular.
        background: the value of each channel where nothing is painted.
        wavelength: mm of that noise.
    """

    def __init__(
        self, grid: Grid, random: np.random.Generator, background: Sequence[float], wavelength: float = 30.0
    ) -> None:
        self.grid, self.axes = grid, axes_of(grid)
        self.values = np.stack([np.full(grid.shape, v, np.float32) for v in background])
        self.uneven = smooth_noise(grid.shape, random, grid.spacing, wavelength)
        self.edge = float(grid.spacing.mean())

    def block(self, shape: Shape, margin: float) -> tuple[slice, ...]:
        found = []
        for d in reversed(range(self.grid.ndim)):
            a = self.axes[d].ravel()
            low, high = np.searchsorted(a, [shape.low[d] - margin, shape.high[d] + margin])
            found.append(slice(int(low), int(high)))
        return tuple(found)

    def cover(self, shape: Shape, uneven: float = 0.0, soft: float = 0.0) -> tuple[tuple[slice, ...], np.ndarray]:
        """A block of the canvas, and in it how much of each voxel is inside, 0 to 1."""
        edge = max(self.edge, soft)
        where = self.block(shape, 2 * edge + 2.5 * uneven)
        n = self.grid.ndim
        part = [
            a[tuple(where[k] if k == n - 1 - d else slice(None) for k in range(n))] for d, a in enumerate(self.axes)
        ]
        if min(s.stop - s.start for s in where) <= 0:
            return where, np.zeros([max(0, s.stop - s.start) for s in where], np.float32)
        distance = shape.distance(part)
        if uneven:
            distance = distance + uneven * self.uneven[where]
        return where, np.clip(0.5 - distance / edge, 0, 1).astype(np.float32)

    def paint(self, shape: Shape, *values: float | np.ndarray | None, uneven: float = 0.0, soft: float = 0.0) -> None:
        """Cover the inside with one value a channel, or with an array's (*shape); None leaves a channel as it is."""
        where, cover = self.cover(shape, uneven, soft)
        for channel, value in zip(self.values, values, strict=True):
            if value is not None:
                part = channel[where]
                part += cover * ((value[where] if isinstance(value, np.ndarray) else value) - part)

    def sample(self, points: Tensor) -> np.ndarray:
        """(C, *S) at ``points`` (ndim, *S) LPS mm, linear; the border goes on outside."""
        values = torch.from_numpy(self.values)[None]
        return np.asarray(fields.sample(values, to_index(self.grid, points)[None])[0].numpy())


def to_index(grid: Grid, points: Tensor) -> Tensor:
    """(ndim, *S) LPS mm to (ndim, *S) index, array order, of an axis-aligned grid."""
    one = [1] * (points.ndim - 1)
    origin = torch.as_tensor(grid.origin, dtype=torch.float32).view(-1, *one)
    step = torch.as_tensor(grid.spacing[::-1].copy(), dtype=torch.float32).view(-1, *one)
    return ((points - origin) / step).flip(0)


def smooth_noise(shape: tuple[int, ...], random: np.random.Generator, spacing: Vector, wavelength: float) -> np.ndarray:
    """(*shape), mean 0, variance about 1, smooth over about ``wavelength`` mm."""
    few = [max(2, round(n * s / (0.5 * wavelength)) + 1) for n, s in zip(shape, spacing, strict=True)]
    few = [min(k, n) for k, n in zip(few, shape, strict=True)]
    fine = torch.from_numpy(enlarged(random.standard_normal(few), shape))
    return np.asarray((fine / max(float(fine.std()), 1e-6)).numpy())


def fractal(
    shape: tuple[int, ...],
    random: np.random.Generator,
    spacing: Vector,
    wavelength: float,
    octaves: int = 3,
) -> np.ndarray:
    """(*shape), variance about 1: noise of ``wavelength`` mm and of its halves, each 0.6 as strong as the last."""
    total = sum(0.6**k * smooth_noise(shape, random, spacing, wavelength / 2**k) for k in range(octaves))
    return np.asarray(total / np.std(total), np.float32)
