"""Images made for looking at a result: before and after on one grid, a checkerboard, differences, maps."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
import slicer
from vtk.util.numpy_support import vtk_to_numpy

from . import display, nodes
from .errors import InputError
from .nodes import Node
from .texts import tr as _

SQUARES = 8
"""Squares of the checkerboard along the longest axis."""
DOUBT_MM, WINDOW_MM, EDGE_MM = 2.0, 12.0, 1.0
CHANCE_EDGES, ENOUGH_EDGES = 0.35, 0.65
"""Edges of unrelated images agree by a third; those of aligned ones by more than two thirds."""


def fieldOf(transformNode: Node) -> sitk.Image:
    """The displacement field (LPS mm) of a transform that this module made, as an image.

    Raises:
        InputError: if the node holds another kind of transform.
    """
    transform = transformNode.GetTransformFromParent()
    grid = transform.GetDisplacementGrid() if transform.IsA("vtkOrientedGridTransform") else None
    if grid is None:
        raise InputError(
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
    return nodes.toFile((ras * np.array([-1, -1, 1])).astype(np.float32), toWorld)


def moved(movingNode: Node, fixedNode: Node, transformNode: Node | None, ignore: Node | None = None) -> sitk.Image:
    """The moving volume on the fixed grid, through the transform or (None) as it lies.

    If it is under ``transformNode`` or ``ignore``, that does not count as where it lies.
    """
    transform = sitk.Transform()
    if transformNode is not None:
        transform = sitk.DisplacementFieldTransform(sitk.Cast(fieldOf(transformNode), sitk.sitkVectorFloat64))
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


def volumeChange(field: sitk.Image) -> np.ndarray:
    """(k, j, i) Jacobian determinant of point -> point + field: 2 is twice the volume, below 0 is folded.

    Nothing can be measured across a single slice; there nothing changes.
    """
    vectors = sitk.GetArrayViewFromImage(field)
    steps = np.asarray(field.GetDirection()).reshape(3, 3) * np.asarray(field.GetSpacing())
    # Where the voxel's three edges go: a change of volume is the ratio of the boxes they span.
    edges = []
    for axis in range(3):
        change = np.gradient(vectors, axis=2 - axis) if vectors.shape[2 - axis] > 1 else np.zeros_like(vectors)
        edges.append(change + steps[:, axis].astype(np.float32))
    box = np.einsum("...c,...c->...", edges[0], np.cross(edges[1], edges[2]))
    return (box / np.linalg.det(steps)).astype(np.float32)


def doubt(fixed: sitk.Image, after: sitk.Image, field: sitk.Image | None, inverse: sitk.Image | None) -> np.ndarray:
    """(k, j, i) from 0 (nothing speaks against it) to 1 (do not trust it here), on the fixed grid.

    The larger of two: how far there and back misses (``DOUBT_MM`` is 1), and how little of the fixed image's edges the
    moved image explains around the point. Edges can be compared across modalities, gray values cannot.
    """
    explained, structure = _explainedEdges(fixed, after)
    worry = np.clip((ENOUGH_EDGES - explained) / (ENOUGH_EDGES - CHANCE_EDGES), 0, 1) * structure
    if field is not None and inverse is not None:
        transform = sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
        back = sitk.Resample(inverse, fixed, transform, sitk.sitkLinear, 0.0, sitk.sitkVectorFloat32)
        there = sitk.Resample(field, fixed, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkVectorFloat32)
        error = np.linalg.norm(sitk.GetArrayViewFromImage(there) + sitk.GetArrayViewFromImage(back), axis=-1)
        worry = np.maximum(worry, np.clip(error / DOUBT_MM, 0, 1))
    return worry.astype(np.float32)


def _explainedEdges(fixed: sitk.Image, after: sitk.Image) -> tuple[np.ndarray, np.ndarray]:
    """Share (0 to 1) of the fixed image's local gradient energy along the gradient of the other, and how much is there.

    After the normalized gradient fields of Haber and Modersitzki (2006).
    """
    gradients = [_gradient(image) for image in (fixed, after)]
    energies = [np.einsum("...c,...c->...", g, g) for g in gradients]
    noise = [float(np.median(e[e > 0])) if (e > 0).any() else 1.0 for e in energies]
    along = np.einsum("...c,...c->...", *gradients) ** 2 / (energies[1] + noise[1])
    total, shared = _localMean(energies[0], fixed), _localMean(along, fixed)
    return shared / (total + 1e-12), total / (total + 30 * noise[0])


def _gradient(image: sitk.Image) -> np.ndarray:
    """(k, j, i, axis) change of the smoothed gray value per mm along each axis."""
    smooth = sitk.SmoothingRecursiveGaussian(sitk.Cast(image, sitk.sitkFloat32), EDGE_MM) if _isThick(image) else image
    array = sitk.GetArrayFromImage(smooth).astype(np.float32)
    steps = list(reversed(image.GetSpacing()))
    parts = [
        np.gradient(array, steps[axis], axis=axis) if array.shape[axis] > 1 else np.zeros_like(array)
        for axis in range(3)
    ]
    return np.stack(parts, -1)


def _isThick(image: sitk.Image) -> bool:
    return min(image.GetSize()) >= 4  # what the recursive filter needs


def _localMean(array: np.ndarray, image: sitk.Image) -> np.ndarray:
    axes = zip(image.GetSpacing(), image.GetSize(), strict=True)
    radius = [max(1, round(WINDOW_MM / 2 / spacing)) if size > 1 else 0 for spacing, size in axes]
    return sitk.GetArrayFromImage(sitk.BoxMean(sitk.GetImageFromArray(array.astype(np.float32)), radius))


def gray(image: sitk.Image) -> sitk.Image:
    """The mean of a color image's first three values."""
    array = sitk.GetArrayViewFromImage(image)[..., :3].astype(np.float32).mean(-1)
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(image)
    return result
