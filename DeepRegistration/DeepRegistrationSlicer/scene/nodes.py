"""Volumes and transforms out of the scene, fields and volumes into it.

Everything leaves in world coordinates (linear parent transforms are applied to the geometry, never to the voxels) and
comes back in world coordinates. Slicer's world is RAS, that of the files is LPS: the library's ``files/axes.py`` leads
from one to the other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import get_vtk_array_type, numpy_to_vtk, vtk_to_numpy

from DeepRegistrationLib.files import linear_mark
from DeepRegistrationLib.files.axes import RAS_TO_LPS_MATRIX, RAS_TO_LPS_SIGNS

from ..errors import RegistrationError, SceneInputError
from ..texts import imagesNotWritten, noVoxels
from ..texts import tr as _

Node = Any
"""A node of the MRML scene; the classes have no Python type."""

MOST_SAMPLES = 96


# --- Out of the scene -------------------------------------------------------------------------------------------------


def ijkToWorld(volumeNode: Node, ignore: Node | None = None) -> np.ndarray:
    """(4, 4) voxel (i, j, k) to world RAS, parent transforms included; the parent ``ignore`` is left out.

    Raises:
        SceneInputError: if a parent transform bends the volume.
    """
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    parent = volumeNode.GetParentTransformNode()
    if parent is not None and parent is not ignore:
        if not parent.IsTransformToWorldLinear():
            raise SceneInputError(
                _(
                    "{name} is under the transform {transform}, which bends it; harden that transform or take the "
                    "volume out of it, then try again."
                ).format(name=volumeNode.GetName(), transform=parent.GetName())
            )
        toWorld = vtk.vtkMatrix4x4()
        parent.GetMatrixTransformToWorld(toWorld)
        vtk.vtkMatrix4x4.Multiply4x4(toWorld, matrix, matrix)
    return arrayOf(matrix)


def voxels(volumeNode: Node) -> np.ndarray:
    """View (k, j, i) or (k, j, i, components) of the voxels.

    Raises:
        SceneInputError: if there are none.
    """
    if isEmpty(volumeNode):
        raise SceneInputError(noVoxels(volumeNode.GetName()))
    imageData = volumeNode.GetImageData()
    scalars = imageData.GetPointData().GetScalars()
    shape = tuple(reversed(imageData.GetDimensions()))
    if scalars.GetNumberOfComponents() > 1:
        shape = (*shape, scalars.GetNumberOfComponents())
    return vtk_to_numpy(scalars).reshape(shape)


def isEmpty(volumeNode: Node) -> bool:
    """Whether there are no voxels."""
    imageData = volumeNode.GetImageData()
    return imageData is None or imageData.GetPointData().GetScalars() is None or not imageData.GetNumberOfPoints()


def isSlice(volumeNode: Node) -> bool:
    """Whether this is a 2-D image; Slicer keeps it as a volume of one slice."""
    imageData = volumeNode.GetImageData()
    return imageData is not None and 1 in imageData.GetDimensions()


def toFile(array: np.ndarray, matrix: np.ndarray) -> sitk.Image:
    """``array`` (k, j, i) or (k, j, i, components) with ``matrix`` (4, 4) voxel to world RAS, as the worker's image."""
    lps = RAS_TO_LPS_MATRIX @ matrix
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = sitk.GetImageFromArray(array, isVector=array.ndim == 4)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


def fromFile(image: sitk.Image) -> tuple[np.ndarray, np.ndarray]:
    """View (k, j, i) or (k, j, i, components) of a worker's image, and its (4, 4) voxel to world RAS."""
    lps = np.eye(4)
    lps[:3, :3] = np.asarray(image.GetDirection()).reshape(3, 3) * np.asarray(image.GetSpacing())
    lps[:3, 3] = image.GetOrigin()
    return sitk.GetArrayViewFromImage(image), RAS_TO_LPS_MATRIX @ lps


def imageOf(volumeNode: Node, ignore: Node | None = None) -> sitk.Image:
    """The volume as it lies in the world; slices are 3-D images of one slice.

    Raises:
        SceneInputError: if it has no voxels, is bent by its parent transform, or has no valid geometry.
    """
    array, matrix = voxels(volumeNode), ijkToWorld(volumeNode, ignore)
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-12:
        raise SceneInputError(
            _("The spacing or the axes of {name} are not valid; check them in the Volumes module.").format(
                name=volumeNode.GetName()
            )
        )
    return toFile(array, matrix)


def fixedImageOf(volumeNode: Node) -> sitk.Image:
    """As ``imageOf``, for the volume on whose grid the result will lie.

    Raises:
        SceneInputError: also if its transform shears the grid, which no volume of the result could have.
    """
    image = imageOf(volumeNode)
    direction = np.asarray(image.GetDirection()).reshape(3, 3)
    if np.abs(direction.T @ direction - np.eye(3)).max() > 1e-3:
        raise SceneInputError(
            _("The transform of {name} shears its axes; harden it with a Resample module, then try again.").format(
                name=volumeNode.GetName()
            )
        )
    return image


def write(image: sitk.Image, path: Path) -> None:
    """Without compression.

    Raises:
        RegistrationError: if the disk does not take it.
    """
    try:
        sitk.WriteImage(image, str(path), False)
    except RuntimeError as error:
        raise RegistrationError(imagesNotWritten(path.parent)) from error


def writeTransform(transformNode: Node, fixedImage: sitk.Image, folder: Path) -> str:
    """The map of a transform node (fixed to moving, parents included) into ``folder``; the file's name.

    A linear one is written as it is, all others are sampled on the grid of ``fixedImage``.
    """
    if transformNode.IsTransformToWorldLinear():
        matrix = vtk.vtkMatrix4x4()
        transformNode.GetMatrixTransformFromWorld(matrix)
        lps = RAS_TO_LPS_MATRIX @ arrayOf(matrix) @ RAS_TO_LPS_MATRIX
        affine = sitk.AffineTransform(lps[:3, :3].ravel().tolist(), lps[:3, 3].tolist())
        sitk.WriteTransform(affine, str(folder / "initial.h5"))
        return "initial.h5"
    write(_sampled(transformNode, fixedImage), folder / "initial.nrrd")
    return "initial.nrrd"


def _sampled(transformNode: Node, fixedImage: sitk.Image) -> sitk.Image:
    """The displacement field of a transform node over ``fixedImage``, not finer than ``MOST_SAMPLES`` on an axis."""
    fromWorld = vtk.vtkGeneralTransform()
    transformNode.GetTransformFromWorld(fromWorld)
    size = np.asarray(fixedImage.GetSize())
    counts = np.minimum(size, MOST_SAMPLES)
    # The first and the last sample lie on the first and the last voxel.
    axes = [np.linspace(0, s - 1, c) for s, c in zip(size, counts, strict=True)]
    ijk = np.stack(np.meshgrid(*axes, indexing="ij"), -1).transpose(2, 1, 0, 3).reshape(-1, 3)
    direction = np.asarray(fixedImage.GetDirection()).reshape(3, 3)
    lps = ijk @ (direction * np.asarray(fixedImage.GetSpacing())).T + np.asarray(fixedImage.GetOrigin())
    points, moved = vtk.vtkPoints(), vtk.vtkPoints()
    for item in (points, moved):
        item.SetDataTypeToDouble()
    points.SetData(numpy_to_vtk(lps * RAS_TO_LPS_SIGNS, deep=True))
    fromWorld.TransformPoints(points, moved)
    vectors = vtk_to_numpy(moved.GetData()) * RAS_TO_LPS_SIGNS - lps
    field = sitk.GetImageFromArray(vectors.reshape(*reversed(counts), 3).astype(np.float32), isVector=True)
    field.SetOrigin(fixedImage.GetOrigin())
    field.SetDirection(fixedImage.GetDirection())
    steps = np.asarray(fixedImage.GetSpacing()) * np.maximum(size - 1, 1) / np.maximum(counts - 1, 1)
    field.SetSpacing(steps.tolist())
    return field


# --- Into the scene ---------------------------------------------------------------------------------------------------


def read(path: Path) -> sitk.Image:
    """A file of the worker.

    Raises:
        RegistrationError: if it is not there or damaged.
    """
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise _notRead(path) from error


def readAny(path: Path) -> sitk.Image | sitk.Transform:
    """An image file of the worker, or its file of a matrix (``.h5``).

    Raises:
        RegistrationError: if it is not there or damaged.
    """
    if path.suffix != ".h5":
        return read(path)
    try:
        return sitk.ReadTransform(str(path))
    except RuntimeError as error:
        raise _notRead(path) from error


def _notRead(path: Path) -> RegistrationError:
    return RegistrationError(
        _("The result {file} could not be read back; is the disk full? Nothing was changed.").format(file=path.name)
    )


def _checkNumbers(values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise RegistrationError(_("The result holds values that are not numbers; nothing was changed."))


def canHold(transformNode: Node, isLinear: bool) -> bool:
    """Whether a transform node is of a class that can be a matrix, or a field."""
    kinds = {
        "vtkMRMLLinearTransformNode": True,
        "vtkMRMLGridTransformNode": False,
        "vtkMRMLBSplineTransformNode": False,
    }
    return kinds.get(transformNode.GetClassName(), isLinear) is isLinear


def setMap(transformNode: Node, image: sitk.Image | sitk.Transform) -> None:
    """Make the node map, from parent, as a displacement field or a linear transform of SimpleITK does."""
    if isinstance(image, sitk.Image):
        setField(transformNode, image)
        return
    lps = np.eye(4)
    lps[:3, 3] = image.TransformPoint((0.0, 0.0, 0.0))
    for axis in range(3):
        lps[:3, axis] = np.asarray(image.TransformPoint(np.eye(3)[axis].tolist())) - lps[:3, 3]
    _checkNumbers(lps)
    transformNode.SetMatrixTransformFromParent(_vtkMatrix(RAS_TO_LPS_MATRIX @ lps @ RAS_TO_LPS_MATRIX))


def setField(transformNode: Node, field: sitk.Image) -> None:
    """Make the node map as SimpleITK does: ``field`` (vectors in mm) goes from a point of its grid to point + vector.

    The grid is set as the transform *from parent*, which is how Slicer calls the direction from fixed to moving. It is
    marked as linear between its samples, see ``interpolation.py``.
    """
    vectors, matrix = fromFile(field)
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    imageData = _imageData(vectors.shape[:3], 3, np.dtype(np.float32), "displacement")
    imageData.SetSpacing(*spacing.tolist())
    imageData.SetOrigin(*matrix[:3, 3].tolist())
    target = vtk_to_numpy(imageData.GetPointData().GetScalars()).reshape(*vectors.shape[:3], 3)
    np.multiply(vectors, RAS_TO_LPS_SIGNS.astype(np.float32), out=target)
    _checkNumbers(target)
    linear_mark.mark(target)
    direction = np.eye(4)
    direction[:3, :3] = matrix[:3, :3] / spacing
    transform = slicer.vtkOrientedGridTransform()
    transform.SetGridDirectionMatrix(_vtkMatrix(direction))
    transform.SetDisplacementGridData(imageData)
    transformNode.SetAndObserveTransformFromParent(transform)


def setVolume(volumeNode: Node, image: sitk.Image) -> None:
    """Voxels and geometry of ``image`` into the node, in world coordinates (a parent transform is taken off)."""
    array, matrix = fromFile(image)
    setVoxels(volumeNode, array, matrix)


def setVoxels(volumeNode: Node, array: np.ndarray, toWorld: np.ndarray) -> None:
    """``array`` (k, j, i) with ``toWorld`` (4, 4) voxel to world RAS into the node."""
    imageData = _imageData(array.shape[:3], 1, _storable(array.dtype), "voxels")
    vtk_to_numpy(imageData.GetPointData().GetScalars()).reshape(array.shape)[...] = array
    volumeNode.SetAndObserveTransformNodeID(None)
    volumeNode.SetIJKToRASMatrix(_vtkMatrix(toWorld))
    volumeNode.SetAndObserveImageData(imageData)


def newNode(className: str, name: str) -> Node:
    """A new node in the scene, with a number behind its name where there is one of that name."""
    return slicer.mrmlScene.AddNewNodeByClass(className, slicer.mrmlScene.GenerateUniqueName(name))


def setRoles(transformNode: Node, fixedNode: Node, movingNode: Node) -> None:
    """Which volumes this transform brings together, as Slicer records it."""
    for role, node in (
        (slicer.vtkMRMLTransformNode.GetFixedNodeReferenceRole(), fixedNode),
        (slicer.vtkMRMLTransformNode.GetMovingNodeReferenceRole(), movingNode),
    ):
        transformNode.SetNodeReferenceID(role, node.GetID())


def fixedOf(transformNode: Node) -> Node | None:
    """The fixed volume a transform was made for."""
    return transformNode.GetNodeReference(slicer.vtkMRMLTransformNode.GetFixedNodeReferenceRole())


def movingOf(transformNode: Node) -> Node | None:
    """The moving volume a transform was made for."""
    return transformNode.GetNodeReference(slicer.vtkMRMLTransformNode.GetMovingNodeReferenceRole())


def _imageData(shape: tuple[int, ...], components: int, dtype: np.dtype, name: str) -> vtk.vtkImageData:
    imageData = vtk.vtkImageData()
    imageData.SetDimensions(*reversed(shape))
    imageData.AllocateScalars(get_vtk_array_type(dtype), components)
    imageData.GetPointData().GetScalars().SetName(name)
    return imageData


def _storable(dtype: np.dtype) -> np.dtype:
    """The nearest type that Slicer can show and save."""
    if dtype == np.bool_:
        return np.dtype(np.uint8)
    if dtype in (np.int64, np.uint64):
        return np.dtype(np.int32)
    if dtype == np.float16:
        return np.dtype(np.float32)
    return np.dtype(dtype)


def arrayOf(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    """(4, 4) array of a matrix."""
    return np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])


def _vtkMatrix(matrix: np.ndarray) -> vtk.vtkMatrix4x4:
    result = vtk.vtkMatrix4x4()
    result.DeepCopy(matrix.ravel().tolist())
    return result
