"""Fields in voxels to transforms in LPS millimeters, and back.

What leaves the library as a transform is made here; ``volume_change.py``, which Slicer imports without PyTorch, and
``refinement/rigid_parts.py`` go to mm and back for themselves.

A ``Transform`` is a SimpleITK transform that maps a fixed point to a moving point (LPS mm), ITK's resampling direction
and Slicer's TransformFromParent. It can be given to every SimpleITK function.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from .. import fields
from ..errors import InputError
from ..files.endings import FIELD_FILES, check_ending, transform_endings
from ..files.image_files import existing_file
from ..files.itk_files import write_transform_file
from ..files.linear_mark import mark
from .antialias import averaged_for
from .image import Grid, Image, PathLike, write_sitk
from .padding import background_of
from .transform_files import check_transform, parts_of, read_parts

_SAME = 1e-9


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
    def linear(cls, matrix: np.ndarray, domain: Grid) -> Transform:
        """The map of a matrix (ndim + 1, ndim + 1), LPS mm."""
        return cls(affine_to_sitk(matrix), domain)

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
            InputError: if the extension is unknown, or the folder does not exist or is protected.
            NotWritten: if the disk is full.
        """
        save_transform(self, path, self.domain, compress)


def _field_transform(u: Tensor, grid: Grid) -> tuple[sitk.Transform, Grid]:
    if tuple(u.shape) != (1, grid.ndim, *grid.shape):
        raise InputError(f"The field {tuple(u.shape)} does not fit a grid of {grid.shape}.")
    u, domain = _faded(u, grid)
    return _as_sitk(u, domain), domain


def _faded(u: Tensor, grid: Grid) -> tuple[Tensor, Grid]:
    """The field on a larger grid, at whose border it is zero."""
    u = u.detach().to("cpu", torch.float32)
    margins = taper_margins(u, grid)
    thin = [margin if size == 1 else 0 for margin, size in zip(margins, grid.shape, strict=True)]
    wide = [0 if size == 1 else margin for margin, size in zip(margins, grid.shape, strict=True)]
    if any(thin):  # one slice: the same on both sides, so that a point a hair off the plane still moves with it
        u = torch.nn.functional.pad(u, [m for t in reversed(thin) for m in (t, t)], mode="replicate")
    return fields.pad_tapered(u, wide), grid.padded(np.asarray(margins))


def _as_sitk(u: Tensor, grid: Grid) -> sitk.DisplacementFieldTransform:
    field = grid.to_sitk(voxels_to_lps(u, grid), vector=True)
    return sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))


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


def matrix_displacement(matrix: np.ndarray, grid: Grid) -> np.ndarray:
    """(*grid.shape, ndim) float64 LPS mm: where each voxel's center goes by a homogeneous matrix, less where it is."""
    out = np.empty((*grid.shape, grid.ndim))
    change = (matrix - np.eye(grid.ndim + 1)) @ grid.matrix  # linear in the voxel's index
    for row, part in zip(change, np.moveaxis(out, -1, 0), strict=False):
        moved = row[-1]
        for share, size in zip(row[:-2], grid.shape, strict=False):
            moved = np.add.outer(moved, share * np.arange(size))
        np.add.outer(moved, row[-2] * np.arange(grid.shape[-1]), out=part)
    return out


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

    Args:
        tolerance: in the spacing of the transform's finest field.

    Raises:
        InputError: if a point has no inverse (the transform folds there).
    """
    points = np.asarray(points, dtype=np.float64)
    try:
        return map_points(transform.GetInverse(), points)
    except RuntimeError:
        pass  # a displacement field has no inverse of its own
    scale = _finest_spacing(transform)
    return np.array([_point_back(transform, p, scale, tolerance) for p in points]).reshape(points.shape)


def _finest_spacing(transform: sitk.Transform) -> float:
    fields = [p.GetDisplacementField() for p in parts_of(transform) if isinstance(p, sitk.DisplacementFieldTransform)]
    return min((step for field in fields for step in field.GetSpacing()), default=1.0)


def _point_back(transform: sitk.Transform, point: np.ndarray, scale: float, tolerance: float) -> np.ndarray:
    step, n = 0.05 * scale, len(point)
    x = best = point.copy()
    best_error, damping = np.inf, 1.0
    for _ in range(100):
        error = np.asarray(transform.TransformPoint(x.tolist())) - point
        size = float(np.linalg.norm(error))
        if size < best_error:
            best, best_error, damping = x, size, min(1.0, damping * 2)
        else:
            x, damping = best, damping / 2
            error = np.asarray(transform.TransformPoint(x.tolist())) - point
        if best_error < tolerance * scale or damping < 1e-3:
            break
        ends = [[transform.TransformPoint((x + sign * step * axis).tolist()) for sign in (1, -1)] for axis in np.eye(n)]
        jacobian = np.stack([np.subtract(*pair) / (2 * step) for pair in ends], axis=1)
        if abs(np.linalg.det(jacobian)) < 1e-3 * np.prod(np.linalg.norm(jacobian, axis=0)):
            jacobian = np.eye(n)
        x = x - damping * np.linalg.solve(jacobian, error)
    if not best_error <= 0.1 * scale:
        place = ", ".join(f"{c:.1f}" for c in point)
        raise InputError(f"The transform cannot be inverted at ({place}) mm; it folds there, so check its quality.")
    return best


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
        InputError: if the extension is unknown, or the folder does not exist or is protected.
        NotWritten: if the disk is full.
    """
    target = Path(path)
    check_ending(path, transform_endings(transform.IsLinear()), "A transform")
    if target.name.lower().endswith(FIELD_FILES):
        # In NIfTI these are plain vectors (intent 1007) in LPS: ITK scrambles 2-D displacement vectors (1006).
        field = displacement_on(transform, domain)
        mark(field)
        write_sitk(domain.to_sitk(field, vector=True), target, compress)
        return
    write_transform_file(_marked(transform), target)


def _marked(transform: sitk.Transform) -> sitk.Transform:
    """The same with the mark of ``linear_mark.py`` in its fields, for Slicer; what is read of it stays linear."""
    parts = parts_of(transform)
    for index, part in enumerate(parts):
        if isinstance(part, sitk.DisplacementFieldTransform):
            field = part.GetDisplacementField()
            vectors = sitk.GetArrayFromImage(field)
            mark(vectors)
            marked = sitk.GetImageFromArray(vectors, isVector=True)
            marked.CopyInformation(field)
            parts[index] = sitk.DisplacementFieldTransform(marked)
    return parts[0] if len(parts) == 1 else sitk.CompositeTransform(parts)


def read_transform(source: PathLike | sitk.Transform, name: str = "transform") -> sitk.Transform:
    """A SimpleITK transform from a transform file or a displacement field image (LPS mm).

    A grid that Slicer keeps as the inverse of what the file holds is inverted.

    Raises:
        InputError: if the file is missing, holds no transform or several without an order, or one that cannot be used
            (NaN, a matrix without an inverse).
    """
    if isinstance(source, sitk.Transform):
        check_transform(source, name)
        return source
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(f"The {name} must be a path or a SimpleITK transform, not {type(source).__name__}.")
    path = existing_file(source, name)
    parts = read_parts(path, name)
    for part, _ in parts:
        check_transform(part, f"{name} {path}")
    used = [_inverted(part, f"{name} {path}") if inverse else part for part, inverse in parts]
    return used[0] if len(used) == 1 else sitk.CompositeTransform(used)


def _inverted(transform: sitk.Transform, name: str) -> sitk.Transform:
    """The inverse of a displacement field, fading outside of it, as a displacement field."""
    field = sitk.DisplacementFieldTransform(transform).GetDisplacementField()
    grid = Grid.from_sitk(field)
    u, domain = _faded(lps_to_voxels(sitk.GetArrayFromImage(field), grid), grid)
    w = fields.invert(u, tolerance=1e-3)
    if float(fields.inverse_error(u, w).max()) > 0.1:
        raise InputError(f"The {name} is kept as the inverse of a grid that folds, so there is none; make it again.")
    return _as_sitk(w, domain)


def resample(
    image: Image,
    grid: Grid,
    transform: sitk.Transform | None = None,
    mode: str = "linear",
    fill: float | None = None,
    dtype: type | None = None,
) -> Image:
    """``image`` seen through ``transform`` (fixed to moving) on ``grid``, by SimpleITK.

    With "linear" blocks of voxels are averaged first where the grid steps over them (``antialias.py``).

    Args:
        image: the moving image.
        grid: the fixed grid.
        transform: fixed to moving in LPS mm; none is the identity.
        mode: "linear" or "nearest" (label maps).
        fill: value outside the moving image; default 0 for "nearest", else the image's own background.
        dtype: of the result; default that of ``image``.
    """
    source = image.to_sitk() if dtype is None else image.grid.to_sitk(image.array.astype(dtype))
    if fill is None:
        fill = 0.0 if mode == "nearest" else background_of(image.array)
    if mode == "linear":
        source = averaged_for(source, grid, transform)
    interpolator = {"linear": sitk.sitkLinear, "nearest": sitk.sitkNearestNeighbor}[mode]
    return Image(_resampled(source, grid, transform, interpolator, fill), grid, image.name)


def resample_seen(image: Image, grid: Grid, transform: sitk.Transform | None = None) -> tuple[Image, np.ndarray]:
    """``resample`` as float32, and (*grid.shape) bool: where ``image`` is. One way through the transform tells both.

    Where blocks are averaged, the image reaches to the end of its last block.
    """
    source = averaged_for(image.grid.to_sitk(image.array.astype(np.float32)), grid, transform)
    array = _resampled(source, grid, transform, sitk.sitkLinear, float("nan"))
    there = ~np.isnan(array)
    array[~there] = background_of(image.array)
    return Image(array, grid, image.name), there


def _resampled(
    source: sitk.Image, grid: Grid, transform: sitk.Transform | None, interpolator: int, fill: float
) -> np.ndarray:
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
    return sitk.GetArrayFromImage(result)
