"""The space halfway between two images, in which neither is favored by being the one that is not resampled.

H with H o H = T, of a transform T from fixed to moving: the affine part by a matrix square root (Denman and Beavers
1976), the field by a fixed-point iteration. Swapping the images gives H^-1, hence the same space (Reuter 2012).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from .. import fields
from ..errors import InputError
from .image import Grid, Image
from .transform import Transform, displacement_on, linear_part, lps_to_voxels, resample
from .transform_files import parts_of

ROUNDS = 60
CLOSE = 0.01
"""Voxels that twice the half may miss the whole by, on average."""
MISSED = 0.1
"""The same, from which on there is no half."""
MOST_TURNED = 160.0
"""Degrees: nearer to half a turn it is chance to which side the half lies."""


@dataclass(frozen=True)
class Halfway:
    """Both images halfway, on the fixed image's grid, which is carried half of the turn and shift, too.

    Attributes:
        to_fixed, to_moving: from a point halfway to one of the fixed and of the moving image, LPS mm.
        fixed, moving: the images as seen there.
    """

    to_fixed: Transform
    to_moving: Transform
    fixed: Image
    moving: Image

    @classmethod
    def of(cls, transform: Transform, fixed: Image, moving: Image) -> Halfway:
        """Between two images, of the ``transform`` from fixed to moving.

        Raises:
            InputError: if the transform has no half: it mirrors, turns by half a turn, or folds.
        """
        u, affine = half_of(transform)
        grid = _carried(fixed.grid, affine)
        to_moving = Transform.from_field(u, transform.domain, affine)
        to_fixed = Transform.inverse_of(fields.invert(u, tolerance=CLOSE), transform.domain, affine, fixed.grid)
        seen = (resample(image, grid, onto) for image, onto in ((fixed, to_fixed), (moving, to_moving)))
        return cls(to_fixed, to_moving, *seen)


def half_of(transform: Transform) -> tuple[Tensor, np.ndarray]:
    """The field (1, ndim, *domain) in voxels of the transform's domain and the matrix (LPS mm) of ``Halfway.of``.

    Half the way is p -> matrix(p + u(p)).

    Raises:
        InputError: as of ``Halfway.of``.
    """
    grid = transform.domain
    whole = _affine_of(transform)
    half = square_root(whole)
    there, back = (_in_voxels(matrix, grid) for matrix in (half, np.linalg.inv(whole)))
    places = fields.identity(grid.shape)
    goal = places + lps_to_voxels(displacement_on(transform, grid), grid)
    u = torch.zeros_like(places)
    with torch.no_grad():
        for _ in range(ROUNDS):
            midway = _moved(there, places + u)
            end = _moved(there, midway + fields.sample(u, midway, padding="zeros"))
            missed = torch.einsum("ij,nj...->ni...", back[:, :-1], goal - end)
            apart = float(missed.square().sum(1).sqrt().mean())
            if apart < CLOSE:
                break
            u = u + missed / 2
    if not apart < MISSED:
        raise InputError("The transform has no half: applying one twice misses it; check whether it folds.")
    return u, half


def square_root(matrix: np.ndarray) -> np.ndarray:
    """Of a homogeneous matrix: the one that applied twice gives it.

    Raises:
        InputError: if there is none without a mirror or half a turn.
    """
    y, z = matrix.astype(float), np.eye(len(matrix))
    for _ in range(50):
        try:
            y, z = (y + np.linalg.inv(z)) / 2, (z + np.linalg.inv(y)) / 2
        except np.linalg.LinAlgError:
            break
    found = np.allclose(y @ y, matrix, atol=1e-6 * max(1.0, float(np.abs(matrix).max())))
    if not found or _turn(y[:-1, :-1]) > MOST_TURNED / 2:
        raise InputError(
            f"The transform has no half, as it mirrors or turns by more than {MOST_TURNED:.0f} degrees; leave it out."
        )
    return y


def _turn(linear: np.ndarray) -> float:
    """Degrees by which a matrix (ndim, ndim) turns; 180 for a mirror."""
    u, _, v = np.linalg.svd(linear)
    turn = u @ v
    if np.linalg.det(turn) < 0:
        return 180.0
    cosine = (np.trace(turn) - 1) / 2 if len(turn) == 3 else np.trace(turn) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _affine_of(transform: sitk.Transform) -> np.ndarray:
    """What it does far away: the product of its linear parts, LPS mm."""
    known = (linear_part(part) for part in parts_of(transform))
    found = [matrix for matrix in known if matrix is not None]
    return functools.reduce(np.matmul, found, np.eye(transform.GetDimension() + 1))


def _carried(grid: Grid, matrix: np.ndarray) -> Grid:
    """The grid after the turn and the shift of its center that a matrix (LPS mm) gives it."""
    n = grid.ndim
    u, _, v = np.linalg.svd(matrix[:n, :n])
    moved = np.eye(n + 1)
    moved[:n, :n] = u @ v
    moved[:n, n] = (matrix @ [*grid.center, 1])[:n] - moved[:n, :n] @ grid.center
    return Grid(grid.shape, moved @ grid.matrix)


def _in_voxels(matrix: np.ndarray, grid: Grid) -> Tensor:
    """(ndim, ndim + 1) of a matrix in LPS mm, between voxels of ``grid``."""
    return torch.from_numpy((grid.inverse_matrix @ matrix @ grid.matrix)[:-1]).float()


def _moved(matrix: Tensor, points: Tensor) -> Tensor:
    """(1, ndim, *S) after a matrix (ndim, ndim + 1)."""
    shift = matrix[:, -1].view(1, -1, *[1] * (points.ndim - 2))
    return torch.einsum("ij,nj...->ni...", matrix[:, :-1], points) + shift
