"""Fields in voxels to transforms in LPS millimeters, and back: the one place where that happens.

A ``Transform`` is a SimpleITK transform that maps a fixed point to a moving point (LPS mm), ITK's resampling direction
and Slicer's TransformFromParent. It can be given to every SimpleITK function.
"""

from __future__ import annotations

import gzip
import struct
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from .. import fields
from ..errors import InputError
from .image import Grid, Image, PathLike, write_sitk

TRANSFORM_FILES = (".h5", ".hdf5", ".tfm", ".txt", ".mat")
FIELD_FILES = (".nrrd", ".nii.gz", ".nii", ".mha", ".mhd")
_SAME = 1e-9
_NIFTI_INTENT = slice(68, 70)


class Transform(sitk.Transform):
    """A SimpleITK transform, fixed to moving in LPS mm, that knows the grid its field was made on.

    Attributes:
        domain: the grid on which ``displacement()`` samples the map unless told otherwise.
    """

    def __init__(self, transform: sitk.Transform, domain: Grid) -> None:
        super().__init__(transform)
        self.domain = domain

    @classmethod
    def from_field(cls, u: Tensor, grid: Grid, affine: np.ndarray | None = None) -> Transform:
        """The map p -> affine(p + u(p)).

        Args:
            u: (1, ndim, *grid.shape) displacement in voxels of ``grid``; it fades to zero outside.
            grid: where ``u`` lies.
            affine: (ndim + 1, ndim + 1) LPS mm, applied after ``u``; none is the identity.
        """
        field, domain = _field_transform(u, grid)
        if affine is None or np.allclose(affine, np.eye(grid.ndim + 1), atol=_SAME):
            return cls(field, domain)
        return cls(sitk.CompositeTransform([affine_to_sitk(affine), field]), domain)

    @classmethod
    def inverse_of(cls, w: Tensor, grid: Grid, affine: np.ndarray | None, domain: Grid) -> Transform:
        """The map q -> r + w(r) with r = affine^-1(q): the inverse of ``from_field`` where (id + u) o (id + w) = id.

        Args:
            w: (1, ndim, *grid.shape) in voxels of the fixed side's ``grid``.
            grid: where ``w`` lies.
            affine: the same matrix that ``from_field`` was given.
            domain: the moving image's grid.
        """
        field, padded = _field_transform(w, grid)
        if affine is None or np.allclose(affine, np.eye(grid.ndim + 1), atol=_SAME):
            return cls(field, padded)
        return cls(sitk.CompositeTransform([field, affine_to_sitk(np.linalg.inv(affine))]), domain)

    def map_points(self, points: np.ndarray) -> np.ndarray:
        """(n, ndim) LPS mm on the fixed side to (n, ndim) LPS mm on the moving side."""
        return map_points(self, points)

    def displacement(self, grid: Grid | None = None) -> np.ndarray:
        """(*grid.shape, ndim) float32 LPS mm: where each voxel's center goes, less where it is."""
        return displacement_on(self, grid or self.domain)

    def save(self, path: PathLike, compress: bool = True) -> None:
        """Write for ITK, ANTs and Slicer: ``.h5`` or ``.tfm`` as it is, ``.nrrd``/``.nii.gz``/``.mha`` as one field.

        Raises:
            InputError: if the extension is unknown or the file cannot be written.
        """
        save_transform(self, path, self.domain, compress)


def _field_transform(u: Tensor, grid: Grid) -> tuple[sitk.Transform, Grid]:
    if tuple(u.shape) != (1, grid.ndim, *grid.shape):
        raise InputError(f"The field {tuple(u.shape)} does not fit a grid of {grid.shape}.")
    u = u.detach().to("cpu", torch.float32)
    margins = taper_margins(u, grid)
    thin = [margin if size == 1 else 0 for margin, size in zip(margins, grid.shape, strict=True)]
    wide = [0 if size == 1 else margin for margin, size in zip(margins, grid.shape, strict=True)]
    if any(thin):  # one slice: the same on both sides, so that a point a hair off the plane still moves with it
        u = torch.nn.functional.pad(u, [m for t in reversed(thin) for m in (t, t)], mode="replicate")
    u = fields.pad_tapered(u, wide)
    domain = grid.padded(np.asarray(margins))
    field = domain.to_sitk(voxels_to_lps(u, domain), vector=True)
    del u
    return sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64)), domain


def taper_margins(u: Tensor, grid: Grid) -> list[int]:
    """Voxels to add along each axis so that the field fades to zero without folding: twice the border's motion."""
    border = 0.0
    step = torch.as_tensor(grid.spacing, dtype=u.dtype).view(1, -1, *[1] * grid.ndim)
    for axis, size in enumerate(grid.shape):
        for index in (0, size - 1):
            if size > 1:
                border = max(border, float((u.narrow(axis + 2, index, 1) * step).square().sum(1).max()) ** 0.5)
    return [
        1 if size == 1 else int(np.clip(np.ceil(2 * border / spacing) + 2, 2, 48))
        for size, spacing in zip(grid.shape, grid.spacing, strict=True)
    ]


def voxels_to_lps(u: Tensor, grid: Grid) -> np.ndarray:
    """(1, ndim, *shape) in voxels to (*shape, ndim) float32 in LPS mm (x, y, z)."""
    out = torch.empty((*u.shape[2:], grid.ndim))
    for x, row in enumerate(grid.matrix[:-1, :-1].tolist()):
        shares = [(part, share) for part, share in zip(u[0].float(), row, strict=True) if share]
        total = shares[0][0] * shares[0][1]
        for part, share in shares[1:]:
            total.add_(part, alpha=share)
        out[..., x] = total
    return out.numpy()


def lps_to_voxels(displacement: np.ndarray, grid: Grid) -> Tensor:
    """(*shape, ndim) in LPS mm to (1, ndim, *shape) float32 in voxels of ``grid``."""
    matrix = torch.as_tensor(grid.inverse_matrix[:-1, :-1], dtype=torch.float32)
    return torch.einsum("cx,...x->c...", matrix, torch.as_tensor(displacement, dtype=torch.float32))[None].contiguous()


def affine_to_sitk(matrix: np.ndarray) -> sitk.AffineTransform:
    """A homogeneous matrix in LPS mm as SimpleITK's affine transform."""
    n = len(matrix) - 1
    transform = sitk.AffineTransform(n)
    transform.SetMatrix(matrix[:n, :n].ravel().tolist())
    transform.SetTranslation(matrix[:n, n].tolist())
    return transform


def linear_part(transform: sitk.Transform) -> np.ndarray | None:
    """The (ndim + 1, ndim + 1) LPS matrix of a linear transform, None if it is not linear."""
    if not transform.IsLinear():
        return None
    n = transform.GetDimension()
    origin = np.asarray(transform.TransformPoint([0.0] * n))
    matrix = np.eye(n + 1)
    for axis in range(n):
        unit = [0.0] * n
        unit[axis] = 1.0
        matrix[:n, axis] = np.asarray(transform.TransformPoint(unit)) - origin
    matrix[:n, n] = origin
    return matrix


def map_points(transform: sitk.Transform, points: np.ndarray) -> np.ndarray:
    """(n, ndim) LPS mm through any SimpleITK transform."""
    points = np.asarray(points, dtype=np.float64)
    if not len(points):
        return points.reshape(0, transform.GetDimension())
    return np.array([transform.TransformPoint(p.tolist()) for p in points])


def map_points_inverse(transform: sitk.Transform, points: np.ndarray, tolerance: float = 1e-4) -> np.ndarray:
    """(n, ndim) LPS mm back through any SimpleITK transform: the x with transform(x) = point, by Newton's method.

    Raises:
        InputError: if a point has no inverse (the transform folds there).
    """
    points = np.asarray(points, dtype=np.float64)
    try:
        return map_points(transform.GetInverse(), points)
    except RuntimeError:
        pass  # a displacement field has no inverse of its own
    n, step, found = points.shape[-1], 0.05, []
    for point in points:
        x = point.copy()
        best, best_error = x, np.inf
        damping = 1.0
        for _ in range(100):
            error = np.asarray(transform.TransformPoint(x.tolist())) - point
            size = float(np.linalg.norm(error))
            if size < best_error:
                best, best_error, damping = x, size, min(1.0, damping * 2)
            else:
                x, damping = best, damping / 2
                error = np.asarray(transform.TransformPoint(x.tolist())) - point
            if best_error < tolerance or damping < 1e-3:
                break
            jacobian = np.stack(
                [
                    np.subtract(
                        transform.TransformPoint((x + step * axis).tolist()),
                        transform.TransformPoint((x - step * axis).tolist()),
                    )
                    / (2 * step)
                    for axis in np.eye(n)
                ],
                axis=1,
            )
            if abs(np.linalg.det(jacobian)) < 1e-3:
                jacobian = np.eye(n)
            x = x - damping * np.linalg.solve(jacobian, error)
        if best_error > 0.1:
            place = ", ".join(f"{c:.1f}" for c in point)
            raise InputError(f"The transform cannot be inverted at ({place}) mm; it folds there, so check its quality.")
        found.append(best)
    return np.array(found).reshape(points.shape)


def displacement_on(transform: sitk.Transform, grid: Grid) -> np.ndarray:
    """(*grid.shape, ndim) float32 LPS mm of any SimpleITK transform on ``grid``."""
    image = sitk.TransformToDisplacementField(
        transform,
        sitk.sitkVectorFloat32,
        [int(s) for s in reversed(grid.shape)],
        grid.origin.tolist(),
        grid.spacing[::-1].tolist(),
        grid.directions[:, ::-1].ravel().tolist(),
    )
    return sitk.GetArrayFromImage(image)


def save_transform(transform: sitk.Transform, path: PathLike, domain: Grid, compress: bool = True) -> None:
    """Write any SimpleITK transform; as one displacement field on ``domain`` where the extension is an image's.

    Raises:
        InputError: if the extension is unknown or the file cannot be written.
    """
    target = Path(path)
    name = target.name.lower()
    if name.endswith(FIELD_FILES):
        if ".nii" in name:
            _write_nifti_field(displacement_on(transform, domain), domain, target)
        else:
            write_sitk(domain.to_sitk(displacement_on(transform, domain), vector=True), target, compress)
        return
    if not name.endswith(TRANSFORM_FILES):
        known = " ".join((*TRANSFORM_FILES[:3], *FIELD_FILES))
        raise InputError(f"A transform cannot be written as {target.name}; use a name ending in one of {known}.")
    if not target.parent.is_dir():
        raise InputError(f"Cannot write {target.name}: the folder {target.parent} does not exist; create it first.")
    try:
        sitk.WriteTransform(sitk.Transform(transform), str(target))
    except RuntimeError as error:
        raise InputError(f"Cannot write {target}; is the disk full or the folder read-only?") from error


def _write_nifti_field(displacement: np.ndarray, domain: Grid, target: Path) -> None:
    """NIfTI's displacement vectors (intent 1006) are RAS in the file; SimpleITK writes plain vectors (1007) only."""
    displacement = displacement.copy()
    displacement[..., :2] *= -1
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "field.nii"
        write_sitk(domain.to_sitk(displacement, vector=True), plain)
        data = bytearray(plain.read_bytes())
    data[_NIFTI_INTENT] = struct.pack("<h", 1006)
    packed = gzip.compress(bytes(data), compresslevel=1) if target.name.lower().endswith(".gz") else bytes(data)
    try:
        target.write_bytes(packed)
    except OSError as error:
        raise InputError(f"Cannot write {target}: {error.strerror}.") from error


def read_transform(source: PathLike | sitk.Transform, name: str = "transform") -> sitk.Transform:
    """A SimpleITK transform from a transform file or a displacement field image (LPS mm).

    Raises:
        InputError: if the file is missing or holds no transform.
    """
    if isinstance(source, sitk.Transform):
        return source
    path = Path(source)
    if not path.exists():
        raise InputError(f"The {name} {path} does not exist; check the path.")
    previous = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        if path.name.lower().endswith(FIELD_FILES):
            image = sitk.ReadImage(str(path), sitk.sitkVectorFloat64)
            if image.GetNumberOfComponentsPerPixel() != image.GetDimension():
                raise InputError(f"The {name} {path} is an image, not a displacement field; give a transform file.")
            return sitk.DisplacementFieldTransform(image)
        return sitk.ReadTransform(str(path))
    except RuntimeError as error:
        raise InputError(f"The {name} {path} could not be read; use a file that ITK, ANTs or Slicer wrote.") from error
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(previous)


def resample(
    image: Image,
    grid: Grid,
    transform: sitk.Transform | None = None,
    mode: str = "linear",
    fill: float | None = None,
    dtype: type | None = None,
) -> Image:
    """``image`` seen through ``transform`` (fixed to moving) on ``grid``, by SimpleITK.

    Args:
        image: the moving image.
        grid: the fixed grid.
        transform: fixed to moving in LPS mm; none is the identity.
        mode: "linear" or "nearest" (label maps).
        fill: value outside the moving image; default 0, or the image's minimum if that is negative (CT: air).
        dtype: of the result; default that of ``image``.
    """
    source = image.to_sitk() if dtype is None else image.grid.to_sitk(image.array.astype(dtype))
    if fill is None:
        fill = min(0.0, float(image.array.min()))
    interpolator = {"linear": sitk.sitkLinear, "nearest": sitk.sitkNearestNeighbor}[mode]
    result = sitk.Resample(
        source,
        [int(s) for s in reversed(grid.shape)],
        sitk.Transform(grid.ndim, sitk.sitkIdentity) if transform is None else transform,
        interpolator,
        grid.origin.tolist(),
        grid.spacing[::-1].tolist(),
        grid.directions[:, ::-1].ravel().tolist(),
        fill,
        source.GetPixelID(),
    )
    return Image(sitk.GetArrayFromImage(result), grid, image.name)
