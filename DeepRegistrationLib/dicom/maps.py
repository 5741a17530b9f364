"""A transform in the terms of DICOM's registration objects: a matrix, or vectors on a right-handed grid. LPS mm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

_LEVEL = 1e-6
"""Below this a matrix counts as orthogonal, or as of length 1."""


@dataclass(frozen=True, eq=False)
class GridMap:
    """p -> p + vector(p), linear between the points of the grid.

    Attributes:
        origin: (3,) of the first point.
        axes: (3, 3) unit columns, right-handed, along x (fastest), y and z of the grid.
        spacing: (3,) mm.
        vectors: (z, y, x, 3) float32 mm.
    """

    origin: np.ndarray
    axes: np.ndarray
    spacing: np.ndarray
    vectors: np.ndarray

    def to_sitk(self) -> sitk.DisplacementFieldTransform:
        """As a transform, which leaves points outside of the grid where they are."""
        image = sitk.GetImageFromArray(self.vectors.astype(np.float64), isVector=True)
        image.SetOrigin(self.origin.tolist())
        image.SetSpacing(self.spacing.tolist())
        image.SetDirection(self.axes.ravel().tolist())
        return sitk.DisplacementFieldTransform(image)


def matrix_of(transform: sitk.Transform) -> np.ndarray:
    """(4, 4) of a linear transform."""
    matrix = np.eye(4)
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    for axis in range(3):
        matrix[:3, axis] = np.asarray(transform.TransformPoint(np.eye(3)[axis].tolist())) - matrix[:3, 3]
    return matrix


def affine(matrix: np.ndarray) -> sitk.AffineTransform:
    """A (4, 4) matrix as SimpleITK's transform."""
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(matrix[:3, 3].tolist())
    return transform


def sampled(transform: sitk.Transform, onto: sitk.Image) -> GridMap:
    """``transform`` at the voxels of ``onto``; a left-handed grid is counted from its other end along z."""
    field = sitk.TransformToDisplacementField(
        transform, sitk.sitkVectorFloat32, onto.GetSize(), onto.GetOrigin(), onto.GetSpacing(), onto.GetDirection()
    )
    axes, spacing = np.reshape(onto.GetDirection(), (3, 3)).copy(), np.asarray(onto.GetSpacing())
    origin, vectors = np.asarray(onto.GetOrigin()), sitk.GetArrayFromImage(field)
    if np.linalg.det(axes) < 0:
        origin = origin + axes[:, 2] * spacing[2] * (onto.GetSize()[2] - 1)
        axes[:, 2] = -axes[:, 2]
        vectors = vectors[::-1]
    return GridMap(origin, axes, spacing, np.ascontiguousarray(vectors))


def kind_of(matrix: np.ndarray) -> str:
    """RIGID, RIGID_SCALE or AFFINE, as PS3.3 C.20.2.1.2 defines them."""
    linear = matrix[:3, :3]
    square = linear.T @ linear
    if np.linalg.det(linear) <= 0 or np.abs(square - np.diag(np.diag(square))).max() > _LEVEL:
        return "AFFINE"
    return "RIGID" if np.abs(np.diag(square) - 1).max() <= _LEVEL else "RIGID_SCALE"
