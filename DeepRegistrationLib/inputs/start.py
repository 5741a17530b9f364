"""A given transform as the start of a registration: its best affine part, and what is left as a field.

Taken as one field, a shift of a decimeter would lead everything out of the grid: there is no gray value to compare
there and no way back. What is left once the affine part has been taken off is small.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from ..errors import InputError
from ..geometry.image import Grid, PathLike
from ..geometry.transform import displacement_on, linear_part, lps_to_voxels, matrix_displacement, read_transform
from .checks import check_overlap
from .content_mask import coarse_content
from .pair import Pair

POINTS = 36
"""Along an axis, of the grid on which the affine part is fitted."""
FLAT = 1e-4
"""The smallest of the affine part's scalings relative to the largest: below it the image would be squeezed flat."""
NOTHING = 1e-3
"""Voxels: a rest that is nowhere larger is none."""
NO_NUMBER = "The initial transform is no number (NaN or infinite) in places; repair it or leave it out."


def read_start(
    source: PathLike | sitk.Transform | None, pair: Pair, aligned: bool, must: bool = False
) -> sitk.Transform | None:
    """The initial transform of a pair; None if there is none.

    Args:
        aligned: whether something else brings the images together; if nothing does they must lie together.
        must: whether there has to be one.

    Raises:
        InputError: if it does not fit the pair, or the images are far apart.
    """
    if source is None:
        if must:
            raise InputError("from_here goes on from an accepted result; give that one as the initial transform.")
        if not aligned:
            check_overlap(pair.fixed.grid, pair.moving.grid)
        return None
    start = read_transform(source, "initial transform")
    if start.GetDimension() != (3 if pair.plane else pair.fixed.ndim):
        raise InputError(
            f"The initial transform is {start.GetDimension()}-D and the images {pair.fixed.ndim}-D; "
            "give one of the images' dimension."
        )
    if pair.plane:
        raise InputError("An initial transform cannot be used with single slices; align them without it.")
    return start


def split_start(
    transform: sitk.Transform, grid: Grid, content: Tensor, said: list[str] | None = None
) -> tuple[np.ndarray, Tensor | None]:
    """``transform`` as p -> matrix(p + u(p)).

    Args:
        transform: fixed to moving, LPS mm.
        grid: the working grid.
        content: (1, 1, *grid.shape) bool: where the affine part should fit.
        said: gets a sentence if it mirrors.

    Returns:
        (ndim + 1, ndim + 1) LPS mm, and u as (1, ndim, *grid.shape) in voxels; None if the transform is linear.

    Raises:
        InputError: if the transform has no inverse, or is no number somewhere.
    """
    matrix = linear_part(transform)
    if matrix is not None:
        return _regular(matrix, said), None
    coarse = grid.resized(tuple(min(s, POINTS) for s in grid.shape))
    inside = coarse_content(content, coarse.shape).cpu().numpy()
    here = coarse.to_world(np.argwhere(inside))
    matrix = _regular(_best_affine(here, here + displacement_on(transform, coarse)[inside]), said)
    u = _rest(transform, grid, matrix)
    if not bool(torch.isfinite(u).all()):
        raise InputError(NO_NUMBER)
    return matrix, u if float(u.abs().max()) > NOTHING else None


def _best_affine(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Least squares, homogeneous; of few points in a line or plane the smallest change that explains them."""
    n, middle = here.shape[1], here.mean(0)
    if not np.isfinite(there).all():
        raise InputError(NO_NUMBER)
    moved = there - here
    slope = np.linalg.lstsq(here - middle, moved - moved.mean(0), rcond=1e-6)[0].T
    matrix = np.eye(n + 1)
    matrix[:n, :n] += slope
    matrix[:n, n] = moved.mean(0) - slope @ middle
    return matrix


def _regular(matrix: np.ndarray, said: list[str] | None) -> np.ndarray:
    scales = np.linalg.svd(matrix[:-1, :-1], compute_uv=False) if np.isfinite(matrix).all() else np.zeros(1)
    if scales.min() <= FLAT * scales.max():
        raise InputError("The initial transform squeezes the image flat, so it has no inverse; use another one.")
    if said is not None and np.linalg.det(matrix[:-1, :-1]) < 0:
        said.append(
            "The initial transform mirrors the image (its determinant is negative), which no anatomy does: check the "
            "orientation of both images, or give another one."
        )
    return matrix


def _rest(transform: sitk.Transform, grid: Grid, matrix: np.ndarray) -> Tensor:
    """u with ``transform`` = matrix o (id + u), in voxels of ``grid``."""
    back = np.linalg.inv(matrix)
    moved = displacement_on(transform, grid).reshape(-1, grid.ndim) @ back[:-1, :-1].T
    rest = moved.reshape(*grid.shape, grid.ndim) + matrix_displacement(back, grid)
    return lps_to_voxels(rest, grid)
