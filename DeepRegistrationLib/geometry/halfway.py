"""The space halfway between two images, in which neither is favored by being the one that is not resampled.

Of a transform T from fixed to moving with the affine part A, and S = sqrt(A) (Denman and Beavers 1976): once each image
is brought half of the way, psi = S^-1 o T o S^-1 is left. A point p and psi(p) meet in their middle, m, from where the
moving image is seen by S(m + u(m)) and the fixed one by S^-1(m - u(m)); u(m) is half of psi(p) - p. Swapping the images
gives T^-1 and -u, hence the same space (after Reuter 2012), however far apart they lie. The root of psi would do, too,
but no iteration finds it where psi bends much.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from torch import Tensor

from .. import fields
from ..errors import InputError
from .image import Grid, Image
from .transform import Transform, affine_to_sitk, displacement_on, linear_part, lps_to_voxels, resample
from .transform_files import parts_of

CLOSE = 0.01
"""Voxels that the middle of a point and its counterpart may be missed by, on average."""
MISSED, FEW = 0.5, 0.005
"""Voxels from which on it is lost, and the share of the grid that may be: folds of a border."""
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
        u, domain, half = half_of(transform)
        to_moving = Transform.from_field(u, domain, half)
        to_fixed = Transform.from_field(-u, domain, np.linalg.inv(half))
        grid = _carried(fixed.grid, half)
        seen = (resample(image, grid, onto) for image, onto in ((fixed, to_fixed), (moving, to_moving)))
        return cls(to_fixed, to_moving, *seen)


def half_of(transform: Transform) -> tuple[Tensor, Grid, np.ndarray]:
    """u of the module's first lines as (1, ndim, *grid.shape) in voxels, its grid, which lies halfway, and S (LPS mm).

    Raises:
        InputError: as of ``Halfway.of``.
    """
    half = square_root(_affine_of(transform))
    grid = _around(transform.domain, half)
    back = affine_to_sitk(np.linalg.inv(half))
    left = sitk.CompositeTransform([back, transform, back])
    middle = lps_to_voxels(displacement_on(left, grid), grid) / 2
    w = fields.invert(middle, tolerance=CLOSE)
    ways = (middle, w), (w, middle)  # where points meet others halfway, one of the two is no way back
    if any(float((fields.inverse_error(*way) > MISSED).float().mean()) > FEW for way in ways):
        raise InputError("The transform has no half, as points meet others halfway; check whether it folds.")
    return -w, grid, half


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


def _around(grid: Grid, matrix: np.ndarray) -> Grid:
    """A grid around all that the matrix (LPS mm) makes of ``grid``, with voxels as large as it makes them."""
    n, middle = grid.ndim, (np.asarray(grid.shape) - 1) / 2
    scales = np.linalg.norm(matrix[:n, :n] @ grid.directions, axis=0)
    scaled = np.eye(n + 1)
    scaled[:n, :n] = np.diag(scales)
    scaled[:n, n] = middle - scales * middle
    carried = Grid(grid.shape, _carried(grid, matrix).matrix @ scaled)
    ends = np.stack(np.meshgrid(*[[0, s - 1] for s in grid.shape], indexing="ij"), -1).reshape(-1, n)
    reached = carried.to_index(grid.to_world(ends) @ matrix[:n, :n].T + matrix[:n, n]).round(3)
    low, high = np.floor(reached.min(0)).astype(int), np.ceil(reached.max(0)).astype(int) + 1
    return carried.cropped(np.minimum(low, 0), np.maximum(high, grid.shape))
