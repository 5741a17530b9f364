"""Slices of an image as gray values, hung as a radiologist hangs them, and as PNG; without torch and matplotlib."""

from __future__ import annotations

import struct
import zlib
from itertools import permutations

import numpy as np

from ..geometry.image import Grid

EDGES = {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}
"""The patient's sides at the left, right, top and bottom of a plane that ``upright`` hung."""


def world_axes(grid: Grid) -> list[int]:
    """Which of x, y, z each array axis is nearest to; each of them once, however oblique the grid."""
    size, axes = np.abs(grid.directions), range(grid.ndim)
    return list(max(permutations(axes), key=lambda order: float(size[list(order), list(axes)].sum())))


def views(grid: Grid) -> list[tuple[str, int | None]]:
    """(name, array axis) of the planes to look at; of a single slice its own, of a 2-D image axis None."""
    if grid.ndim == 2:
        return [("image", None)]
    names = ("sagittal", "coronal", "axial")
    views = [(names[world], a) for a, world in enumerate(world_axes(grid))]
    thin = [v for v in views if grid.shape[v[1]] == 1]
    return list(thin or views)


def content_center(array: np.ndarray) -> list[int]:
    """The voxel in the middle of what is bright."""
    low, high = np.percentile(array, (50, 99))
    inside = np.nonzero(array > (low + high) / 2)
    return [int(np.median(places)) if places.size else s // 2 for places, s in zip(inside, array.shape, strict=True)]


def slice_of(array: np.ndarray, axis: int | None, middle: list[int]) -> np.ndarray:
    """The slice across ``axis`` at ``middle``."""
    return array if axis is None else np.take(array, middle[axis], axis=axis)


def gray_range(whole: np.ndarray) -> tuple[float, float]:
    """What is shown as black and as white: the range of the whole image without its extremes."""
    low, high = np.percentile(whole[:: max(1, whole.shape[0] // 32)], (1, 99.5))
    return low, high


def to_unit(piece: np.ndarray, low: float, high: float) -> np.ndarray:
    """Gray values between 0 and 1, by ``gray_range``."""
    return np.clip((piece - low) / (high - low), 0, 1) if high > low else np.zeros(piece.shape)


def upright(picture: np.ndarray, grid: Grid, axis: int | None) -> tuple[np.ndarray, float]:
    """Turned as a radiologist hangs it: superior or anterior up, the patient's right on the left."""
    kept = [a for a in range(grid.ndim) if a != axis]
    spacing = grid.spacing[kept]
    if grid.ndim == 2:
        return picture, float(spacing[0] / spacing[1])
    directions = grid.directions[:, kept]
    world = [world_axes(grid)[a] for a in kept]
    if world[0] < world[1]:  # rows show the higher of x, y, z
        picture, spacing, world, directions = picture.swapaxes(0, 1), spacing[::-1], world[::-1], directions[:, ::-1]
    down = directions[world[0], 0] < 0 if world[0] == 2 else directions[world[0], 0] > 0
    if not down:
        picture = picture[::-1]
    if directions[world[1], 1] < 0:
        picture = picture[:, ::-1]
    return picture, float(spacing[0] / spacing[1])


def png(pixels: np.ndarray) -> bytes:
    """(rows, columns, 3) bytes, or (rows, columns) in gray, as a PNG."""
    height, width = pixels.shape[:2]
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines.tobytes(), 6)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts
