"""What a linear part may do: turn, scale, shear."""

from __future__ import annotations

from typing import Literal

import numpy as np

Freedom = Literal["rigid", "similarity", "affine"]
FREEDOMS: tuple[Freedom, ...] = ("rigid", "similarity", "affine")


def nearest(matrix: np.ndarray, kind: Freedom) -> np.ndarray:
    """The matrix (ndim + 1, ndim + 1) with the nearest linear part of that kind; its shift stays."""
    if kind == "affine":
        return matrix
    u, scales, v = np.linalg.svd(matrix[:-1, :-1])
    signs = np.ones(len(scales))
    signs[-1] = np.sign(np.linalg.det(u @ v))
    result = matrix.copy()
    result[:-1, :-1] = (1.0 if kind == "rigid" else float((scales * signs).mean())) * (u * signs) @ v
    return result
