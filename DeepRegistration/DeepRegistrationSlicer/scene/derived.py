"""Images made for looking at a result: before and after on one grid, a checkerboard, differences, volume change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from DeepRegistrationLib.files.axes import RAS_TO_LPS_MATRIX, RAS_TO_LPS_SIGNS
from DeepRegistrationLib.geometry.image import Grid
from DeepRegistrationLib.geometry.volume_change import volume_change

from ..errors import RegistrationError, SceneInputError
from ..texts import imagesNotWritten
from ..texts import tr as _
from . import display, nodes
from .nodes import Node

SQUARES = 8
"""Squares of the checkerboard along the longest axis."""


def fieldOf(transformNode: Node, reference: sitk.Image | None = None) -> sitk.Image:
    """The displacement field (LPS mm) of a transform that this module made, as an image.

    Args:
        transformNode: the transform.
        reference: the grid on which a matrix, which has none of its own, becomes a field.

    Raises:
        SceneInputError: if the node holds another kind of transform.
    """
    if reference is not None and transformNode.IsLinear():
        return asField(mapOf(transformNode), reference)
    transform = transformNode.GetTransformFromParent()
    grid = transform.GetDisplacementGrid() if transform.IsA("vtkOrientedGridTransform") else None
    if grid is None:
        raise SceneInputError(
            _("{name} is not a displacement field; choose a transform that this module made.").format(
                name=transformNode.GetName()
            )
        )
    direction = np.eye(4)
    matrix = transform.GetGridDirectionMatrix()
    if matrix is not None:
        direction = slicer.util.arrayFromVTKMatrix(matrix)
    toWorld = np.eye(4)
    toWorld[:3, :3] = direction[:3, :3] * np.asarray(grid.GetSpacing())
    toWorld[:3, 3] = grid.GetOrigin()
    ras = vtk_to_numpy(grid.GetPointData().GetScalars())
    ras = ras.reshape(*reversed(grid.GetDimensions()), 3)
    return nodes.toFile(ras.astype(np.float32, copy=False) * RAS_TO_LPS_SIGNS.astype(np.float32), toWorld)


def mapOf(transformNode: Node) -> sitk.Transform:
    """The same as a transform of SimpleITK; a matrix stays one."""
    if transformNode.IsLinear():
        matrix = vtk.vtkMatrix4x4()
        transformNode.GetMatrixTransformFromParent(matrix)
        lps = RAS_TO_LPS_MATRIX @ nodes.arrayOf(matrix) @ RAS_TO_LPS_MATRIX
        return sitk.AffineTransform(lps[:3, :3].ravel().tolist(), lps[:3, 3].tolist())
    return sitk.DisplacementFieldTransform(sitk.Cast(fieldOf(transformNode), sitk.sitkVectorFloat64))


def writeMap(transformNode: Node, folder: Path, name: str) -> str:
    """A transform of this module into ``folder`` for the worker: the file's name, which ends as its kind asks.

    Raises:
        SceneInputError: if the node holds another kind of transform.
        RegistrationError: if the disk does not take it.
    """
    if not transformNode.IsLinear():
        nodes.write(fieldOf(transformNode), folder / f"{name}.nrrd")
        return f"{name}.nrrd"
    try:
        sitk.WriteTransform(mapOf(transformNode), str(folder / f"{name}.h5"))
    except RuntimeError as error:
        raise RegistrationError(imagesNotWritten(folder)) from error
    return f"{name}.h5"


def asField(transform: sitk.Image | sitk.Transform, reference: sitk.Image) -> sitk.Image:
    """A transform as a displacement field (LPS mm) on the grid of ``reference``; a field is one already."""
    if isinstance(transform, sitk.Image):
        return transform
    grid = reference.GetSize(), reference.GetOrigin(), reference.GetSpacing(), reference.GetDirection()
    return sitk.TransformToDisplacementField(transform, sitk.sitkVectorFloat32, *grid)


def moved(movingNode: Node, fixedNode: Node, transformNode: Node | None, ignore: Node | None = None) -> sitk.Image:
    """The moving volume on the fixed grid, through the transform or (None) as it lies.

    If it is under ``transformNode`` or ``ignore``, that does not count as where it lies.
    """
    transform = mapOf(transformNode) if transformNode is not None else sitk.Transform()
    moving = nodes.imageOf(movingNode, ignore or transformNode)
    if moving.GetNumberOfComponentsPerPixel() > 1:
        moving = gray(moving)
    lowest = float(sitk.GetArrayViewFromImage(moving).min())
    return sitk.Resample(moving, nodes.imageOf(fixedNode), transform, sitk.sitkLinear, lowest, sitk.sitkFloat32)


def unit(array: np.ndarray, volumeNode: Node) -> np.ndarray:
    """Gray values as the display of ``volumeNode`` shows them: 0 black, 1 white."""
    shown = display.makeReadable(volumeNode)
    if display.isGray(shown):
        low, high = shown.GetWindowLevelMin(), shown.GetWindowLevelMax()
    else:
        low, high = float(array.min()), float(array.max())
    return np.clip((array.astype(np.float32) - low) / max(high - low, 1e-9), 0, 1)


def checkerboard(fixed: np.ndarray, other: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Squares of one and the other in turn; both (k, j, i), in the same grays; ``spacing`` in mm along (k, j, i)."""
    side = (np.asarray(fixed.shape) * spacing).max() / SQUARES
    counts = [(np.arange(n) * s // side).astype(int) for n, s in zip(fixed.shape, spacing, strict=True)]
    odd = (counts[0][:, None, None] + counts[1][None, :, None] + counts[2][None, None, :]) % 2 == 1
    return np.where(odd, other, fixed)


def changeOn(field: sitk.Image, reference: sitk.Image) -> sitk.Image:
    """The library's map of volume change on the grid of ``reference``; beyond it a field only fades away."""
    return _onto(volume_change(sitk.GetArrayViewFromImage(field), Grid.from_sitk(field)), field, reference, 1.0)


def lengthOn(field: sitk.Image, reference: sitk.Image) -> sitk.Image:
    """The length of a displacement field's vectors, mm, on the grid of ``reference``."""
    vectors = sitk.GetArrayViewFromImage(field)
    return _onto(np.sqrt(np.einsum("...c,...c->...", vectors, vectors)), field, reference, 0.0)


def _onto(array: np.ndarray, image: sitk.Image, reference: sitk.Image, outside: float) -> sitk.Image:
    whole = sitk.GetImageFromArray(array)
    whole.CopyInformation(image)
    if Grid.from_sitk(image).same_as(Grid.from_sitk(reference)):
        return whole
    return sitk.Resample(whole, reference, sitk.Transform(), sitk.sitkLinear, outside)


def gray(image: sitk.Image) -> sitk.Image:
    """The mean of a color image's first three values."""
    array = sitk.GetArrayViewFromImage(image)[..., :3].astype(np.float32).mean(-1)
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(image)
    return result
