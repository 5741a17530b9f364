"""Images and where they lie in the patient: reading, writing and geometry.

Arrays are in the order of SimpleITK's and Slicer's numpy arrays: (k, j, i) in 3-D, (j, i) in 2-D. A ``Grid`` maps such
an index to LPS millimeters, so that no other module needs to know about axis order, direction cosines or units.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..files.endings import check_ending, image_endings
from ..files.image_files import PathLike, header_size, read_file
from ..files.itk_files import write_image_file
from ..files.pictures import PICTURES, as_picture
from ..files.writing import shown


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
        if min(self.shape, default=0) < 1:
            raise InputError(f"A grid of {' x '.join(map(str, self.shape))} voxels holds nothing.")
        if not np.isfinite(matrix).all() or abs(float(np.linalg.det(_columns(matrix)))) < 1e-12:
            raise InputError(
                "The geometry is no geometry (voxel sizes, axes or position are zero, infinite or no numbers); "
                "give the image a right one first."
            )
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


def _columns(matrix: np.ndarray) -> np.ndarray:
    """The axes' directions alone: whatever the voxels' size, 0 only where axes fall together or have no length."""
    axes = matrix[:-1, :-1]
    with np.errstate(all="ignore"):
        return np.asarray(np.nan_to_num(axes / np.linalg.norm(axes, axis=0)))


@dataclass(frozen=True, eq=False)
class Image:
    """A scalar image, in numbers that SimpleITK and torch hold (``float16`` and other byte orders are converted).

    Attributes:
        array: (*grid.shape).
        grid: where it lies.
        name: used in messages.
        warnings: sentences on how its geometry was read, for the user.

    Raises:
        InputError: if the array holds no numbers or is of another shape.
    """

    array: np.ndarray
    grid: Grid
    name: str = field(default="image")
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "array", _plain_numbers(self.array, self.name))
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
            NotWritten: if the disk is full.
        """
        write_sitk(self.to_sitk(), path, compress)


def _plain_numbers(array: np.ndarray, name: str) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind == "c":
        raise InputError(f"The {name} holds complex numbers; use its magnitude.")
    if array.dtype.kind not in "iuf":
        raise InputError(f"The {name} holds no numbers but {array.dtype}; give an array of numbers.")
    if array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8):
        return array.astype(np.float32 if array.dtype.itemsize == 2 else np.float64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def write_sitk(image: sitk.Image, path: PathLike, compress: bool = True) -> None:
    """Write ``image``, whole or not at all.

    Raises:
        InputError: if the folder does not exist or the format is unknown.
        NotWritten: if the disk is full.
    """
    target = Path(path)
    flat = image.GetDimension() == 2 or 1 in image.GetSize()
    check_ending(path, image_endings(flat), "An image" if flat else "A volume")
    if target.suffix.lower() in PICTURES:
        image = as_picture(image, target)
    write_image_file(image, target, compress)


ImageSource = PathLike | sitk.Image | Image


def read_image(source: ImageSource, name: str = "image") -> Image:
    """A scalar image from a path, a SimpleITK image or an ``Image``; color is turned into gray.

    Reads what ITK reads (NIfTI, NRRD, MetaImage, PNG, JPEG, DICOM file or folder, ...) and FreeSurfer's
    ``.mgz``/``.mgh``.

    Raises:
        InputError: if there is no such file, it is damaged or of no known format, or no 2-D or 3-D picture.
    """
    if isinstance(source, Image):
        return source
    image, warnings = read_components(source, name)
    if is_layered(image):
        raise InputError(
            f"The {name} is a segmentation whose segments overlap ({image.GetNumberOfComponentsPerPixel()} layers); "
            "export it as a label map first."
        )
    array = sitk.GetArrayFromImage(image)
    if array.ndim == image.GetDimension() + 1:
        array = _to_gray(array, name if isinstance(source, sitk.Image) else f"{name} {shown(source)}")
    return Image(array, _grid_of(image, name), name, tuple(warnings))


def dimensions_of(source: ImageSource, name: str = "image") -> int:
    """2 or 3, as of ``read_image``, and read only where the file's header does not tell.

    Raises:
        InputError: if there is no such file; as ``read_image`` where it is read.
    """
    if isinstance(source, (str, os.PathLike)):
        size = header_size(source, name)
        if len(size) in (2, 3):
            return len(size)
    return read_image(source, name).ndim


def read_components(source: PathLike | sitk.Image, name: str = "image") -> tuple[sitk.Image, list[str]]:
    """A 2-D or 3-D SimpleITK image with all components of its voxels (color, layers), and sentences on its geometry.

    Raises:
        InputError: as ``read_image``.
    """
    warnings: list[str] = []
    if isinstance(source, sitk.Image):
        image = source
    elif isinstance(source, (str, os.PathLike)):
        image, warnings = read_file(source, name)
    else:
        raise InputError(f"The {name} must be a path or an image, not {type(source).__name__}.")
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        image = image[..., 0]
    if image.GetDimension() not in (2, 3):
        raise InputError(
            f"The {name} has {image.GetDimension()} dimensions; save one time point as a file of its own, 2-D or 3-D."
        )
    if 0 in image.GetSize():
        raise InputError(f"The {name} has no voxels; choose an image that shows something.")
    slant = _slant(_grid_of(image, name))
    if slant > 0.1:
        warnings.append(
            f"The axes of the {name} are {slant:.1f} degrees off right angles, which most programs do not expect."
        )
    return image, warnings


def is_layered(image: sitk.Image) -> bool:
    """Whether the components of each voxel are layers of a segmentation (Slicer's ``.seg.nrrd``), not color."""
    return image.GetNumberOfComponentsPerPixel() > 1 and image.HasMetaDataKey("Segment0_ID")


def _grid_of(image: sitk.Image, name: str) -> Grid:
    try:
        return Grid.from_sitk(image)
    except InputError as error:
        raise InputError(f"The {name} cannot be used. {error}") from error


def _slant(grid: Grid) -> float:
    """Degrees by which the axes miss right angles."""
    cosines = np.abs(grid.directions.T @ grid.directions)
    return float(np.degrees(np.arcsin(min(1.0, (cosines - np.diag(np.diag(cosines))).max()))))


def _to_gray(array: np.ndarray, name: str) -> np.ndarray:
    components = array.shape[-1]
    if components == 1:
        return array[..., 0]
    if components > 4 or not np.issubdtype(array.dtype, np.integer):
        field = components == array.ndim - 1 and not np.issubdtype(array.dtype, np.integer)
        like = ", as a displacement field (a transform) has" if field else ""
        raise InputError(f"The {name} has {components} values in each voxel{like}; choose an image with one each.")
    if components in (2, 4):  # the last one is opacity
        array = array[..., : components - 1]
    if array.shape[-1] == 1:
        return array[..., 0]
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601 luma
    return (array.astype(np.float32) @ weights).round().astype(array.dtype)
