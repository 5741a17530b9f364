"""Known maps from fixed to moving and back: poses, smooth flows, and what is made of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from DeepRegistrationLib import fields
from DeepRegistrationLib.geometry.image import Grid, Image

from .shapes import Axes, to_index


class Made(NamedTuple):
    """A generated pair; ``truth``: (*fixed shape, ndim) LPS mm from fixed to moving, known where ``body`` is."""

    fixed: Image
    moving: Image
    truth: np.ndarray
    body: np.ndarray


class Motion(Protocol):
    """``forward`` maps points (ndim, *S) LPS mm of the fixed image to the moving one, ``backward`` those back."""

    def forward(self, points: Tensor) -> Tensor: ...

    def backward(self, points: Tensor) -> Tensor: ...


class Matrix:
    """An affine map, (ndim + 1, ndim + 1) LPS mm."""

    def __init__(self, matrix: np.ndarray) -> None:
        self._both = [torch.from_numpy(m.astype(np.float32)) for m in (matrix, np.linalg.inv(matrix))]

    def forward(self, points: Tensor) -> Tensor:
        return _linear(self._both[0], points)

    def backward(self, points: Tensor) -> Tensor:
        return _linear(self._both[1], points)


def _linear(m: Tensor, points: Tensor) -> Tensor:
    return torch.tensordot(m[:-1, :-1], points, 1) + m[:-1, -1].view(-1, *[1] * (points.ndim - 1))


class Flow:
    """The exponential of a velocity on an axis-aligned grid, one-to-one however far it moves.

    Args:
        grid: coarser than the images.
        velocity: (ndim, *grid.shape) LPS mm, along x, y(, z); it should fade at the border.
    """

    def __init__(self, grid: Grid, velocity: np.ndarray) -> None:
        self.grid = grid
        self._step = torch.as_tensor(grid.spacing, dtype=torch.float32).view(-1, *[1] * grid.ndim)
        v = (torch.from_numpy(np.ascontiguousarray(velocity[::-1], np.float32)) / self._step)[None]
        self._u, self._w = fields.exponentiate(v), fields.exponentiate(-v)

    def forward(self, points: Tensor) -> Tensor:
        return points + self._at(self._u, points)

    def backward(self, points: Tensor) -> Tensor:
        """The inverse of ``forward``, corrected until it fits within a hundredth of a voxel or so."""
        x = points + self._at(self._w, points)
        for _ in range(2):
            x = x - 0.9 * (self.forward(x) - points)
        return x

    def _at(self, u: Tensor, points: Tensor) -> Tensor:
        found = fields.sample(u, to_index(self.grid, points)[None])[0]
        return (found * self._step).flip(0)


class Chain:
    """One motion after another."""

    def __init__(self, *parts: Motion) -> None:
        self._parts = parts

    def forward(self, points: Tensor) -> Tensor:
        for part in self._parts:
            points = part.forward(points)
        return points

    def backward(self, points: Tensor) -> Tensor:
        for part in reversed(self._parts):
            points = part.backward(points)
        return points


def pose(random: np.random.Generator, ndim: int, degrees: float, mm: float, scale: float = 0.0) -> Matrix:
    """A turn by up to ``degrees`` and half as much at least about a random axis, a shift, and a scale near 1."""
    angle = np.radians(degrees) * random.uniform(0.5, 1) * random.choice([-1, 1])
    c, s = np.cos(angle), np.sin(angle)
    matrix = np.eye(ndim + 1)
    if ndim == 2:
        matrix[:2, :2] = [[c, -s], [s, c]]
    else:
        x, y, z = random.standard_normal(3)
        norm = float(np.sqrt(x * x + y * y + z * z))
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) / norm
        matrix[:3, :3] += s * cross + (1 - c) * cross @ cross
    matrix[:ndim, :ndim] *= 1 + scale * random.uniform(-1, 1)
    shift = random.standard_normal(ndim)
    matrix[:ndim, -1] = mm * random.uniform(0.5, 1) * shift / np.linalg.norm(shift)
    return Matrix(matrix)


def lattice(grid: Grid) -> Tensor:
    """(ndim, *shape) LPS mm of each voxel's center."""
    index = torch.meshgrid(*[torch.arange(n, dtype=torch.float32) for n in grid.shape], indexing="ij")
    m = grid.matrix.astype(np.float32).tolist()
    n = grid.ndim
    return torch.stack([sum((m[d][a] * index[a] for a in range(n)), index[0] * 0 + m[d][n]) for d in range(n)])


def truth_of(motion: Motion, fixed: Grid) -> np.ndarray:
    """(*fixed shape, ndim) LPS mm."""
    points = lattice(fixed)
    return np.ascontiguousarray(np.moveaxis((motion.forward(points) - points).numpy(), 0, -1), np.float32)


def seen(truth: np.ndarray, fixed: Grid, moving: Grid) -> np.ndarray:
    """(*fixed shape) bool: what lies in the moving image as well."""
    points = np.moveaxis(lattice(fixed).numpy(), 0, -1) + truth
    index = moving.to_index(points)
    return np.asarray(((index >= 0) & (index <= np.asarray(moving.shape) - 1)).all(-1))


def elastic(grid: Grid, random: np.random.Generator, largest: float, sigma: float) -> np.ndarray:
    """(ndim, *shape) mm: a smooth random velocity over ``sigma`` mm, at most ``largest``; it fades at the border."""
    drawn = torch.from_numpy(random.standard_normal((1, grid.ndim, *grid.shape)).astype(np.float32))
    v = fields.smooth(drawn, [sigma / s for s in grid.spacing])[0].numpy() * fade(grid)
    return np.asarray(v * (largest / np.sqrt((v**2).sum(0)).max()))


def fade(grid: Grid, share: float = 0.15) -> np.ndarray:
    """(*shape): 1 inside, falling to 0 over ``share`` of each axis towards the border."""
    total: np.ndarray = np.ones(grid.shape, np.float32)
    for axis, n in enumerate(grid.shape):
        index = np.arange(n, dtype=np.float32)
        ramp = smooth_step(np.minimum(index, n - 1 - index) / max(1.0, share * n))
        total = total * ramp.reshape([-1 if a == axis else 1 for a in range(grid.ndim)])
    return total


def smooth_step(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1."""
    t = np.clip(x, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def pushed(
    axes: Axes, center: Sequence[float | np.ndarray] | np.ndarray, gain: Sequence[float], gap: np.ndarray, reach: float
) -> np.ndarray:
    """(ndim, *shape) mm: growth of what lies about ``center`` by ``gain`` an axis, dying out over ``reach`` mm.

    ``gap``: (*shape) mm, the signed distance from what grows.
    """
    shape = gap.shape
    size = np.sqrt(sum((np.broadcast_to(a, shape) - c) ** 2 for a, c in zip(axes, center, strict=True)))
    hold = np.exp(-np.maximum(gap, 0) / reach) * size / np.maximum(size + np.maximum(gap, 0), 1e-3)
    return np.stack([g * (np.broadcast_to(a, shape) - c) * hold for a, c, g in zip(axes, center, gain, strict=True)])
