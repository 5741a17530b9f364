"""Images of one slice in space: registered as 2-D, the result lifted back to 3-D."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..errors import InputError
from .image import Grid, Image


@dataclass(frozen=True)
class Plane:
    """The plane of a one-slice fixed image, and what it takes to come back from it.

    Attributes:
        grid: the fixed image's 3-D grid, one voxel thick along ``axis``.
        axis: the array axis of one voxel.
        frame: (4, 4) plane coordinates (x, y in mm, normal) to LPS mm.
        offset: mm from the fixed slice to the moving slice along the normal.
    """

    grid: Grid
    axis: int
    frame: np.ndarray
    offset: float

    def lift_field(self, u: Tensor) -> Tensor:
        """(1, 2, *plane) in voxels to (1, 3, *grid.shape); nothing moves along the normal."""
        lifted = u.new_zeros(1, 3, *u.shape[2:])
        lifted[:, [a for a in range(3) if a != self.axis]] = u
        return lifted.unsqueeze(self.axis + 2)

    def to_plane(self, points: np.ndarray) -> np.ndarray:
        """(n, 3) LPS mm to (n, 2) plane coordinates; the distance from the plane is dropped."""
        back = np.linalg.inv(self.frame)
        return (np.asarray(points) @ back[:3, :3].T + back[:3, 3])[:, :2]

    def flatten(self, image: Image) -> Image:
        """A one-slice 3-D image, of any extent, as a 2-D image in this plane; how far it lies from it is dropped.

        Raises:
            InputError: if the image is no single slice or lies at an angle to the plane.
        """
        thin = [axis for axis, size in enumerate(image.grid.shape) if size == 1]
        if image.ndim != 3 or not thin:
            raise InputError(f"The {image.name} must be a single slice, as the images are.")
        if abs(image.grid.directions[:, thin[0]] @ self.frame[:3, 2]) < 0.999:
            raise InputError(
                f"The slice of the {image.name} lies at an angle to that of the image; give a parallel one."
            )
        return _in_plane(image, thin[0], np.linalg.inv(self.frame))

    def lift_affine(self, affine: np.ndarray) -> np.ndarray:
        """(3, 3) in plane coordinates to (4, 4) in LPS mm, onto the moving slice."""
        lifted = np.eye(4)
        lifted[:2, :2], lifted[:2, 3], lifted[2, 3] = affine[:2, :2], affine[:2, 2], self.offset
        return self.frame @ lifted @ np.linalg.inv(self.frame)


def flatten(fixed: Image, moving: Image) -> tuple[Image, Image, Plane] | None:
    """Two one-slice 3-D images as 2-D images in the fixed slice's plane, None if they are not that.

    Raises:
        InputError: if only one of the two is a single slice, or the slices lie at an angle to each other.
    """
    if fixed.ndim != 3:
        return None
    thin = [[a for a, s in enumerate(image.grid.shape) if s == 1] for image in (fixed, moving)]
    if not thin[0] and not thin[1]:
        return None
    if not thin[0] or not thin[1]:
        one, other = (fixed, moving) if thin[0] else (moving, fixed)
        raise InputError(f"The {one.name} is a single slice and the {other.name} a volume; choose two of one kind.")
    axis = thin[0][0]
    columns = np.delete(fixed.grid.directions, axis, axis=1)[:, ::-1]
    normal = np.cross(columns[:, 0], columns[:, 1])
    frame = np.eye(4)
    frame[:3, :3], frame[:3, 3] = np.column_stack([columns, normal]), fixed.grid.origin
    if abs(moving.grid.directions[:, thin[1][0]] @ normal) < 0.999:
        raise InputError("The two slices lie at an angle to each other; choose two parallel slices.")
    to_plane = np.linalg.inv(frame)
    flat = [_in_plane(image, axes[0], to_plane) for image, axes in zip((fixed, moving), thin, strict=True)]
    offset = float((to_plane @ moving.grid.matrix)[2, 3])
    return flat[0], flat[1], Plane(fixed.grid, axis, frame, offset)


def _in_plane(image: Image, axis: int, to_plane: np.ndarray) -> Image:
    matrix = to_plane @ image.grid.matrix
    keep = [a for a in range(3) if a != axis]
    plane = np.eye(3)
    plane[:2, :2], plane[:2, 2] = matrix[:2, keep], matrix[:2, 3]
    array = image.array.squeeze(axis)
    return Image(array, Grid(array.shape, plane), image.name, image.warnings)
