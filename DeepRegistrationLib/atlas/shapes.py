"""The mean shape of what many transforms make of one image: positions are averaged after each was turned back rigidly.

Where a subject lies in its scanner is no part of its shape. So each map of the template onto a subject is followed by
the rigid motion that brings the subject closest to the template (generalized Procrustes analysis, Gower 1975), and the
positions are averaged then. A template moved by the inverse of that mean displacement has no shape of any subject's.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from torch import Tensor

from .. import fields
from ..errors import InputError
from ..geometry.image import Grid
from ..geometry.transform import displacement_on, lps_to_voxels


def rigid_fit(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The rigid motion (ndim + 1, ndim + 1) that brings ``points`` (n, ndim) closest to ``targets`` (n, ndim), in mm.

    Least squares by the singular value decomposition (Kabsch 1976; Umeyama 1991 on reflections).

    Raises:
        InputError: if there are fewer points than dimensions.
    """
    ndim = points.shape[1]
    if len(points) < ndim:
        raise InputError(f"A rigid motion in {ndim}-D needs {ndim} points or more, not {len(points)}.")
    a, b = points.mean(0), targets.mean(0)
    u, _, v = np.linalg.svd((points - a).T @ (targets - b))
    flip = np.ones(ndim)
    flip[-1] = np.sign(np.linalg.det(v.T @ u.T))
    matrix = np.eye(ndim + 1)
    matrix[:ndim, :ndim] = v.T @ np.diag(flip) @ u.T
    matrix[:ndim, ndim] = b - matrix[:ndim, :ndim] @ a
    return matrix


class MeanShape:
    """The mean of shapes, one transform at a time.

    Args:
        grid: of the template.
        content: (*grid.shape) bool: what of it shows something; poses are fitted there.
    """

    def __init__(self, grid: Grid, content: np.ndarray) -> None:
        self._grid, self._content = grid, content
        index = np.indices(grid.shape).reshape(grid.ndim, -1).T
        self._places = grid.to_world(index).reshape(*grid.shape, grid.ndim)
        self._total = np.zeros((*grid.shape, grid.ndim))
        self._count = 0

    def add(self, transform: sitk.Transform) -> None:
        """Another shape: ``transform`` maps the template onto a subject, LPS mm."""
        landed = self._places + displacement_on(transform, self._grid)
        ndim = self._grid.ndim
        pose = rigid_fit(landed[self._content], self._places[self._content])
        self._total += landed @ pose[:ndim, :ndim].T + pose[:ndim, ndim]
        self._count += 1

    def displacement(self) -> np.ndarray:
        """(*grid.shape, ndim) LPS mm from the template's shape to the mean one.

        Raises:
            InputError: if there is no shape yet.
        """
        if not self._count:
            raise InputError("A mean shape needs one transform or more.")
        return np.asarray(self._total / self._count - self._places)

    def drift_mm(self) -> float:
        """Mean length of the displacement, where the template shows something."""
        return float(np.linalg.norm(self.displacement(), axis=-1)[self._content].mean())

    def inverse(self) -> Tensor:
        """(1, ndim, *grid.shape) voxels: from the mean shape to the template's."""
        return fields.invert(lps_to_voxels(self.displacement(), self._grid))
