"""A small picture of a result, made without matplotlib, for the pages that show hundreds of them."""

from __future__ import annotations

import numpy as np

from ..geometry.image import Image
from ..geometry.transform import resample
from .slices import content_center, gray_range, png, slice_of, to_unit, upright, views

TILE = 96
"""Pixels of a side."""
SQUARES = 6
"""Of the checkerboard, along a side."""


def thumbnail_png(fixed: Image, moving: Image, warped: Image) -> bytes:
    """PNG: a column for each plane; rows: before, after (fixed magenta, moving green), and both as a checkerboard."""
    before = resample(moving, fixed.grid)
    middle = content_center(fixed.array)
    shown = [(image.array, *gray_range(image.array)) for image in (fixed, before, warped)]
    columns = []
    for _, axis in views(fixed.grid):
        f, b, a = (to_unit(slice_of(array, axis, middle), *grays) for array, *grays in shown)
        tiles = []
        for moved in (b, a):
            tiles.append(_tile(*upright(np.stack([f, moved, f], -1), fixed.grid, axis)))
        gray = [_tile(*upright(np.stack([x] * 3, -1), fixed.grid, axis)) for x in (f, a)]
        odd = (np.indices((TILE, TILE)) // (TILE // SQUARES)).sum(0) % 2 == 1
        tiles.append(np.where(odd[..., None], gray[0], gray[1]))
        columns.append(np.concatenate(tiles))
    return png(np.concatenate(columns, axis=1))


def _tile(picture: np.ndarray, aspect: float) -> np.ndarray:
    """(TILE, TILE, 3) bytes: the picture as large as it fits, in the middle; ``aspect``: a row's height in columns."""
    height, width = picture.shape[0] * aspect, float(picture.shape[1])
    scale = TILE / max(height, width)
    rows, columns = (max(1, round(length * scale)) for length in (height, width))
    r = np.minimum((np.arange(rows) + 0.5) * picture.shape[0] / rows, picture.shape[0] - 1).astype(int)
    c = np.minimum((np.arange(columns) + 0.5) * picture.shape[1] / columns, picture.shape[1] - 1).astype(int)
    tile = np.zeros((TILE, TILE, 3), np.uint8)
    top, left = (TILE - rows) // 2, (TILE - columns) // 2
    tile[top : top + rows, left : left + columns] = np.clip(np.nan_to_num(picture[r][:, c]) * 255, 0, 255)
    return tile
