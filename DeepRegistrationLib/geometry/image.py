"""Images and where they lie in the patient: reading, writing and geometry.

Arrays are in the order of SimpleITK's and Slicer's numpy arrays: (k, j, i) in 3-D, (j, i) in 2-D. A ``Grid`` maps such
an index to LPS millimeters, so that no other module needs to know about axis order, direction cosines or units.
"""

from __future__ import annotations

import gzip
import os
import struct
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class Grid:
    """A regular lattice of voxels in LPS space.

    Attributes:
        shape: voxels along each array axis, (k, j, i) or (j, i).
        matrix: (ndim + 1, ndim + 1) homogeneous matrix, array index (array order) to LPS mm (x, y, z).
    """

    shape: tuple[int, ...]
    matrix: np.ndarray

    def __post_init__(self) -> None:
        matrix = np.asarray(self.matrix, dtype=np.float64)
        n = len(self.shape)
        if matrix.shape != (n + 1, n + 1):
            raise InputError(f"A grid of {n} dimensions needs a {n + 1}x{n + 1} matrix, not {matrix.shape}.")
        object.__setattr__(self, "shape", tuple(int(s) for s in self.shape))
        object.__setattr__(self, "matrix", matrix)

    @classmethod
    def from_shape(cls, shape: tuple[int, ...], spacing: float | tuple[float, ...] = 1.0) -> Grid:
        """An axis-aligned grid at the origin; ``spacing`` in mm along each array axis."""
        n = len(shape)
        steps = np.broadcast_to(np.asarray(spacing, dtype=np.float64), (n,))
        matrix = np.eye(n + 1)
        matrix[:n, :n] = np.diag(steps)[::-1]
        return cls(shape, matrix)

    @classmethod
    def from_sitk(cls, image: sitk.Image) -> Grid:
        """The grid of a SimpleITK image (2-D or 3-D)."""
        n = image.GetDimension()
        directions = np.asarray(image.GetDirection()).reshape(n, n) * np.asarray(image.GetSpacing())
        matrix = np.eye(n + 1)
        matrix[:n, :n] = directions[:, ::-1]
        matrix[:n, n] = image.GetOrigin()
        return cls(tuple(reversed(image.GetSize())), matrix)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @cached_property
    def spacing(self) -> np.ndarray:
        """(ndim,) mm along each array axis."""
        return np.linalg.norm(self.matrix[:-1, :-1], axis=0)

    @property
    def directions(self) -> np.ndarray:
        """(ndim, ndim) unit columns: the LPS direction of each array axis."""
        return self.matrix[:-1, :-1] / self.spacing

    @property
    def origin(self) -> np.ndarray:
        """(ndim,) LPS mm of voxel 0."""
        return self.matrix[:-1, -1]

    @property
    def center(self) -> np.ndarray:
        """(ndim,) LPS mm of the middle of the grid."""
        return self.to_world((np.asarray(self.shape) - 1) / 2)

    @property
    def extent(self) -> np.ndarray:
        """(ndim,) size in mm along each array axis."""
        return self.spacing * self.shape

    @cached_property
    def inverse_matrix(self) -> np.ndarray:
        return np.linalg.inv(self.matrix)

    def to_world(self, index: np.ndarray) -> np.ndarray:
        """(..., ndim) array index to (..., ndim) LPS mm."""
        return np.asarray(index) @ self.matrix[:-1, :-1].T + self.matrix[:-1, -1]

    def to_index(self, points: np.ndarray) -> np.ndarray:
        """(..., ndim) LPS mm to (..., ndim) array index."""
        return np.asarray(points) @ self.inverse_matrix[:-1, :-1].T + self.inverse_matrix[:-1, -1]

    def resized(self, shape: tuple[int, ...]) -> Grid:
        """The same field of view with another number of voxels (voxel edges stay, centers move)."""
        ratio = np.asarray(self.shape, dtype=np.float64) / np.asarray(shape)
        step = np.eye(self.ndim + 1)
        step[:-1, :-1] = np.diag(ratio)
        step[:-1, -1] = (ratio - 1) / 2
        return Grid(shape, self.matrix @ step)

    def with_spacing(self, spacing: float | np.ndarray) -> Grid:
        """The same field of view at about ``spacing`` mm (the number of voxels is rounded)."""
        target = np.broadcast_to(np.asarray(spacing, dtype=np.float64), (self.ndim,))
        shape = np.maximum(1, np.round(self.extent / target)).astype(int)
        return self.resized(tuple(int(s) for s in shape))

    def cropped(self, low: np.ndarray, high: np.ndarray) -> Grid:
        """Voxels ``low`` to ``high`` (exclusive) along each array axis; negative or larger values pad."""
        low, high = np.asarray(low), np.asarray(high)
        shift = np.eye(self.ndim + 1)
        shift[:-1, -1] = low
        return Grid(tuple(int(s) for s in high - low), self.matrix @ shift)

    def padded(self, margin: int | np.ndarray) -> Grid:
        """``margin`` voxels more on every side (per array axis if an array)."""
        edge = np.broadcast_to(np.asarray(margin, dtype=int), (self.ndim,))
        return self.cropped(-edge, np.asarray(self.shape) + edge)

    def same_as(self, other: Grid, tolerance: float = 1e-4) -> bool:
        """Same shape, and every corner within ``tolerance`` voxels."""
        if self.shape != other.shape:
            return False
        corners = np.stack(np.meshgrid(*[[0, s - 1] for s in self.shape], indexing="ij"), -1).reshape(-1, self.ndim)
        return bool(np.abs(self.to_index(other.to_world(corners)) - corners).max() <= tolerance)

    def to_sitk(self, array: np.ndarray, *, vector: bool = False) -> sitk.Image:
        """A SimpleITK image with ``array`` on this grid: (*shape), or (*shape, components) if ``vector``."""
        image = sitk.GetImageFromArray(np.ascontiguousarray(array), isVector=vector)
        image.SetSpacing(self.spacing[::-1].tolist())
        image.SetOrigin(self.origin.tolist())
        image.SetDirection(self.directions[:, ::-1].ravel().tolist())
        return image


@dataclass(frozen=True, eq=False)
class Image:
    """A scalar image: ``array`` (*grid.shape) and the ``grid`` it lies on; ``name`` is used in messages."""

    array: np.ndarray
    grid: Grid
    name: str = field(default="image")

    def __post_init__(self) -> None:
        if tuple(self.array.shape) != self.grid.shape:
            raise InputError(f"The {self.name} has {self.array.shape} voxels on a grid of {self.grid.shape}.")

    @property
    def ndim(self) -> int:
        return self.grid.ndim

    def to_sitk(self) -> sitk.Image:
        return self.grid.to_sitk(self.array)

    def save(self, path: PathLike, compress: bool = True) -> None:
        """Write in the format of the path's extension; ``compress`` where that leaves a choice.

        Raises:
            InputError: if the folder does not exist or the format is unknown.
        """
        write_sitk(self.to_sitk(), path, compress)


def write_sitk(image: sitk.Image, path: PathLike, compress: bool = True) -> None:
    """Write ``image``, with one sentence instead of ITK's trace if that fails."""
    target = Path(path)
    if not target.parent.is_dir():
        raise InputError(f"Cannot write {target.name}: the folder {target.parent} does not exist; create it first.")
    if target.suffix.lower() in {".png", ".jpg", ".jpeg"} and image.GetPixelID() != sitk.sitkUInt8:
        image = sitk.Cast(sitk.RescaleIntensity(image), sitk.sitkUInt8)
    try:
        sitk.WriteImage(image, str(target), useCompression=compress)
    except RuntimeError as error:
        raise InputError(
            f"Cannot write {target}: the format is unknown or the disk is full; try a name ending in .nii.gz or .nrrd."
        ) from error


ImageSource = PathLike | sitk.Image | Image


def read_image(source: ImageSource, name: str = "image") -> Image:
    """A scalar image from a path, a SimpleITK image or an ``Image``; color is turned into gray.

    Reads what ITK reads (NIfTI, NRRD, MetaImage, PNG, JPEG, DICOM file, ...) and FreeSurfer's ``.mgz``/``.mgh``.

    Raises:
        InputError: if there is no such file, the format is unknown, or the image is not a 2-D or 3-D picture.
    """
    if isinstance(source, Image):
        return source
    if isinstance(source, sitk.Image):
        return _from_sitk(source, name)
    path = Path(source)
    if not path.exists():
        raise InputError(f"The {name} {path} does not exist; check the path.")
    if path.name.lower().endswith((".mgz", ".mgh")):
        return _read_mgh(path, name)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    previous = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise InputError(
            f"The {name} {path} could not be read as an image; it may be damaged or of a format ITK does not know."
        ) from error
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(previous)
    return _from_sitk(image, name)


def _from_sitk(image: sitk.Image, name: str) -> Image:
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        image = image[..., 0]
    if image.GetDimension() not in (2, 3):
        raise InputError(
            f"The {name} has {image.GetDimension()} dimensions; choose one time point, so that it is 2-D or 3-D."
        )
    grid, array = Grid.from_sitk(image), sitk.GetArrayFromImage(image)
    if array.ndim == grid.ndim + 1:
        array = _to_gray(array, name)
    if np.iscomplexobj(array):
        raise InputError(f"The {name} holds complex numbers; use its magnitude.")
    return Image(array, grid, name)


def _to_gray(array: np.ndarray, name: str) -> np.ndarray:
    components = array.shape[-1]
    if components == 1:
        return array[..., 0]
    if components in (2, 4):  # the last one is opacity
        array = array[..., : components - 1]
    if array.shape[-1] == 1:
        return array[..., 0]
    if components > 4 or not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"The {name} has {components} values in each voxel; choose an image with one value each.")
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601 luma
    return (array.astype(np.float32) @ weights).round().astype(array.dtype)


_MGH_TYPES = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2"}


def _read_mgh(path: Path, name: str) -> Image:
    """FreeSurfer's format: 284 bytes of big-endian header, then voxels with the first index fastest."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".mgz" else path.read_bytes()
        version, *size, frames, kind, _, good = struct.unpack(">7ih", data[:30])
        if version != 1 or frames != 1 or kind not in _MGH_TYPES:
            raise ValueError(f"version {version}, {frames} frames, type {kind}")
        if good:
            numbers = np.frombuffer(data, ">f4", 15, 30).astype(np.float64)
        else:
            numbers = np.array([1, 1, 1, -1, 0, 0, 0, 0, -1, 0, 1, 0, 0, 0, 0], dtype=np.float64)
        dtype = np.dtype(_MGH_TYPES[kind])
        voxels = np.frombuffer(data, dtype, int(np.prod(size)), 284).reshape(size[::-1])
    except (OSError, EOFError, ValueError, struct.error) as error:
        raise InputError(f"The {name} {path} could not be read as a FreeSurfer volume ({error}).") from error
    # Columns of x, y, z (RAS) times spacing; the header's last three numbers are the center's RAS position.
    ijk_to_ras = np.eye(4)
    ijk_to_ras[:3, :3] = numbers[3:12].reshape(3, 3).T * numbers[:3]
    ijk_to_ras[:3, 3] = numbers[12:] - ijk_to_ras[:3, :3] @ (np.asarray(size) / 2)
    matrix = np.diag([-1.0, -1.0, 1.0, 1.0]) @ ijk_to_ras
    matrix[:, :3] = matrix[:, 2::-1]
    return Image(voxels.astype(dtype.newbyteorder("=")), Grid(voxels.shape, matrix), name)
