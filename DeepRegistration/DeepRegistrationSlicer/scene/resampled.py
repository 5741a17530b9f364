"""A companion of the moving volume, such as a dose or a structure set, on the voxels of the fixed one: a new node.

Images and doses are taken linearly, which never overshoots; label maps and segments by the nearest voxel. Outside of a
dose there is none: 0. What makes a volume a dose for SlicerRT (attributes, units, its study) goes with it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ..errors import SceneInputError
from ..texts import tr as _
from . import masks, nodes
from .nodes import Node

DOSE_ATTRIBUTE = "DicomRtImport.DoseVolume"
"""By which SlicerRT knows a volume as a dose."""


def isDose(node: Node) -> bool:
    """Whether a volume is a dose."""
    return (node.GetAttribute(DOSE_ATTRIBUTE) or "0").strip().lower() not in ("", "0", "false", "no")


def resampled(node: Node, reference: sitk.Image, toMoving: sitk.Transform, name: str, ignore: Node | None) -> Node:
    """``node`` on the grid of ``reference`` as a new node of its class; ``node`` itself is not changed.

    Args:
        node: a volume, label map or segmentation.
        reference: the fixed image.
        toMoving: fixed to moving, LPS mm.
        name: of the new node.
        ignore: a transform that does not count as where ``node`` lies.

    Raises:
        SceneInputError: if the node is of another kind, or cannot be used.
    """
    if masks.isSegmentation(node):
        return _segmentation(node, reference, toMoving, name, ignore)
    if not node.IsA("vtkMRMLScalarVolumeNode"):
        raise SceneInputError(
            _("{name} has no voxels to be resampled; use Move them for models and points.").format(name=node.GetName())
        )
    image = nodes.imageOf(node, ignore)
    if image.GetNumberOfComponentsPerPixel() > 1:
        raise SceneInputError(
            _("{name} holds several values a voxel; use Move them for it.").format(name=node.GetName())
        )
    isLabels = node.IsA("vtkMRMLLabelMapVolumeNode")
    outside = 0.0 if isLabels or isDose(node) else float(sitk.GetArrayViewFromImage(image).min())
    interpolator = sitk.sitkNearestNeighbor if isLabels else sitk.sitkLinear
    result = sitk.Resample(image, reference, toMoving, interpolator, outside, image.GetPixelID())
    made = nodes.newNode(node.GetClassName(), name)
    nodes.setVolume(made, result)
    _describe(node, made)
    return made


def _describe(node: Node, made: Node) -> None:
    """What the values mean, how they are shown and to whose study they belong."""
    for key in node.GetAttributeNames():
        if not key.startswith("DICOM."):  # it is no longer the image of that series
            made.SetAttribute(key, node.GetAttribute(key))
    for what in ("VoxelValueQuantity", "VoxelValueUnits"):
        entry = getattr(node, f"Get{what}")()
        if entry is not None:
            getattr(made, f"Set{what}")(entry)
    if node.GetDisplayNode() is not None:
        made.CreateDefaultDisplayNodes()
        made.GetDisplayNode().CopyContent(node.GetDisplayNode())
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    if hierarchy is not None and hierarchy.GetItemByDataNode(node):
        parent = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node))
        item = hierarchy.GetItemByDataNode(made) or hierarchy.CreateItem(parent, made)
        hierarchy.SetItemParent(item, parent)


def _segmentation(node: Node, reference: sitk.Image, toMoving: sitk.Transform, name: str, ignore: Node | None) -> Node:
    parent = node.GetParentTransformNode()
    if parent is not None and parent is ignore:
        raise SceneInputError(
            _("{name} is under the transform already; take it out of it first (Undo).").format(name=node.GetName())
        )
    made = nodes.newNode(node.GetClassName(), name)
    made.CreateDefaultDisplayNodes()
    for segmentId, segmentName, array, toWorld in masks.segmentsOf(node):
        part = nodes.toFile(array.astype(np.uint8), toWorld)
        placed = sitk.Resample(part, reference, toMoving, sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
        segment = node.GetSegmentation().GetSegment(segmentId)
        made.AddSegmentFromBinaryLabelmapRepresentation(_oriented(placed), segmentName, segment.GetColor(), segmentId)
    for key in node.GetAttributeNames():
        if not key.startswith("DICOM."):
            made.SetAttribute(key, node.GetAttribute(key))
    return made


def _oriented(image: sitk.Image) -> Any:
    """A label map for a segment."""
    array, toWorld = nodes.fromFile(image)
    result = slicer.vtkOrientedImageData()
    result.SetDimensions(*reversed(array.shape))
    result.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    vtk_to_numpy(result.GetPointData().GetScalars()).reshape(array.shape)[...] = array
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(toWorld.ravel().tolist())
    result.SetGeometryFromImageToWorldMatrix(matrix)
    return result
