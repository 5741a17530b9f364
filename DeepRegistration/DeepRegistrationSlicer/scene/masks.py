"""Masks and labels out of the scene, on the grid of the volume they belong to."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.inputs.label_maps import as_labels

from ..errors import SceneInputError
from ..texts import tr as _
from .nodes import Node, arrayOf, ijkToWorld, toFile, voxels


def maskOf(maskNode: Node, reference: sitk.Image, name: str) -> sitk.Image:
    """A label map (all that is not 0) or a segmentation (its visible segments) on the grid of ``reference``.

    Raises:
        SceneInputError: if nothing of it lies in ``reference``, the volume called ``name``.
    """
    if isSegmentation(maskNode):
        parts = [(array, matrix, 1) for _, array, matrix in _segments(maskNode, onlyVisible=True)]
    else:
        parts = [(voxels(maskNode) != 0, ijkToWorld(maskNode), 1)]
    empty = _("The mask {mask} is empty on {name}; draw it there, or choose no mask.").format(
        mask=maskNode.GetName(), name=name
    )
    return _paintedSomewhere(parts, reference, empty)


def commonLabels(firstNode: Node, secondNode: Node) -> dict[str, int]:
    """What two segmentations (segments of the same name) or label maps (the same values) share: name to number.

    Raises:
        SceneInputError: if they share nothing, or are of different kinds.
    """
    names = [_labelNames(node) for node in (firstNode, secondNode)]
    if isSegmentation(firstNode) != isSegmentation(secondNode):
        raise SceneInputError(_("Choose two segmentations or two label maps, not one of each."))
    shared = [name for name in names[0] if name in names[1]]
    if not shared:
        raise SceneInputError(
            _("{first} and {second} have no {what} in common; give the same structures the same {what}.").format(
                first=firstNode.GetName(),
                second=secondNode.GetName(),
                what=_("segment names") if isSegmentation(firstNode) else _("label values"),
            )
        )
    return {name: index + 1 for index, name in enumerate(shared)}


def labelsOf(labelNode: Node, reference: sitk.Image, name: str, numbers: dict[str, int]) -> sitk.Image:
    """A segmentation or label map as numbers on the grid of ``reference``; ``numbers`` as from ``commonLabels``.

    Raises:
        SceneInputError: if nothing of it lies in ``reference``, the volume called ``name``.
    """
    if isSegmentation(labelNode):
        found = _segments(labelNode, onlyVisible=False)
        parts = [(array, matrix, numbers[segment]) for segment, array, matrix in found if segment in numbers]
    else:
        array = _wholeNumbers(labelNode)
        table = np.zeros(int(array.max()) + 1, np.int16)
        for label, number in numbers.items():
            table[int(label)] = number
        parts = [(table[array], ijkToWorld(labelNode), 1)]
    empty = _("The labels {labels} are empty on {name}; choose those drawn on this volume.").format(
        labels=labelNode.GetName(), name=name
    )
    return _paintedSomewhere(parts, reference, empty)


def layersOf(
    labelNodes: tuple[Node, Node],
    references: tuple[sitk.Image, sitk.Image],
    names: tuple[str, str],
    numbers: dict[str, int],
) -> list[tuple[sitk.Image, sitk.Image]]:
    """As ``labelsOf``, of two nodes: as many pairs of images as segments that overlap (a target in its margin) need.

    Raises:
        SceneInputError: if nothing of one lies in its reference.
    """
    firsts = [labelsOf(*one, numbers) for one in zip(labelNodes, references, names, strict=True)]
    if not isSegmentation(labelNodes[0]):
        return [(firsts[0], firsts[1])]
    segments = [list(_segments(node, onlyVisible=False)) for node in labelNodes]
    layers: list[list[np.ndarray]] = []
    for segment, number in numbers.items():
        placed = []
        for found, reference in zip(segments, references, strict=True):
            parts = [(array, matrix, number) for name, array, matrix in found if name == segment]
            placed.append(sitk.GetArrayFromImage(_painted(parts, reference)))
        free = (la for la in layers if not any((a[b != 0] != 0).any() for a, b in zip(la, placed, strict=True)))
        layer = next(free, None)
        if layer is None:
            layers.append(placed)
            continue
        for total, part in zip(layer, placed, strict=True):
            np.maximum(total, part, out=total)
    return [(_like(layer[0], references[0]), _like(layer[1], references[1])) for layer in layers]


def partsOf(partsNode: Node, reference: sitk.Image, name: str) -> sitk.Image:
    """A label map, or the visible segments of a segmentation as the numbers 1, 2, ..., on the grid of ``reference``.

    Raises:
        SceneInputError: if nothing of it lies in ``reference``, the volume called ``name``.
    """
    if isSegmentation(partsNode):
        found = _segments(partsNode, onlyVisible=True)
        parts = [(array, matrix, index + 1) for index, (_name, array, matrix) in enumerate(found)]
    else:
        array = _wholeNumbers(partsNode)
        labels, numbers = np.unique(array, return_inverse=True)
        numbers = numbers.reshape(array.shape) + (0 if labels[0] == 0 else 1)
        parts = [(numbers, ijkToWorld(partsNode), 1)]
    empty = _("The rigid parts {parts} are empty on {name}; draw them there, or choose none.").format(
        parts=partsNode.GetName(), name=name
    )
    return _paintedSomewhere(parts, reference, empty)


def segmentsOf(segmentationNode: Node) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """ID, name, voxels and (4, 4) voxel to world RAS of each segment."""
    segmentation = segmentationNode.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(i) for i in range(segmentation.GetNumberOfSegments())]
    names = {segmentation.GetSegment(i).GetName(): i for i in reversed(ids)}
    for name, array, toWorld in _segments(segmentationNode, onlyVisible=False):
        yield names[name], name, array, toWorld


def holds(labels: sitk.Image, number: int) -> bool:
    """Whether a label map as from ``labelsOf`` has a voxel of ``number``."""
    return bool((sitk.GetArrayViewFromImage(labels) == number).any())


def isSegmentation(node: Node) -> bool:
    return bool(node.IsA("vtkMRMLSegmentationNode"))


def _paintedSomewhere(parts: list[tuple[np.ndarray, np.ndarray, int]], reference: sitk.Image, empty: str) -> sitk.Image:
    """As ``_painted``; where nothing is on ``reference`` an ``SceneInputError`` with the sentence ``empty``."""
    total = _painted(parts, reference)
    if not sitk.GetArrayViewFromImage(total).any():
        raise SceneInputError(empty)
    return total


def _painted(parts: list[tuple[np.ndarray, np.ndarray, int]], reference: sitk.Image) -> sitk.Image:
    """Arrays at their places, each times its number, on the grid of ``reference``; later ones cover earlier ones."""
    total = np.zeros(tuple(reversed(reference.GetSize())), np.int16)
    for array, matrix, number in parts:
        part = toFile(array.astype(np.int16), matrix)
        placed = sitk.Resample(part, reference, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkInt16)
        np.maximum(total, sitk.GetArrayViewFromImage(placed) * number, out=total)
    return _like(total, reference)


def _like(array: np.ndarray, reference: sitk.Image) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(reference)
    return image


def _labelNames(labelNode: Node) -> list[str]:
    if isSegmentation(labelNode):
        segmentation = labelNode.GetSegmentation()
        return [segmentation.GetNthSegment(i).GetName() for i in range(segmentation.GetNumberOfSegments())]
    return [str(value) for value in np.unique(_wholeNumbers(labelNode)) if value > 0]


def _wholeNumbers(labelNode: Node) -> np.ndarray:
    """The voxels of a label map, (k, j, i); what is negative or NaN is background.

    Raises:
        SceneInputError: if there are fractions, or values too large or too many to be labels.
    """
    array = np.fmax(voxels(labelNode), 0)
    try:
        return as_labels(Image(array, Grid.from_shape(array.shape), f"label map {labelNode.GetName()}")).array
    except InputError as error:
        raise SceneInputError(str(error)) from error


def _segments(segmentationNode: Node, onlyVisible: bool) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, voxels and (4, 4) voxel to world RAS of each segment."""
    displayNode = segmentationNode.GetDisplayNode()
    segmentation = segmentationNode.GetSegmentation()
    isShared = segmentation.ContainsRepresentation(
        slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    )
    for index in range(segmentation.GetNumberOfSegments()):
        segmentId, segment = segmentation.GetNthSegmentID(index), segmentation.GetNthSegment(index)
        if onlyVisible and displayNode is not None and not displayNode.GetSegmentVisibility(segmentId):
            continue
        labels = slicer.vtkOrientedImageData()
        found = slicer.vtkSlicerSegmentationsModuleLogic.GetSegmentBinaryLabelmapRepresentation(
            segmentationNode, segmentId, labels, True
        )
        if not found or not labels.GetNumberOfPoints():
            continue
        matrix = vtk.vtkMatrix4x4()
        labels.GetImageToWorldMatrix(matrix)
        toWorld = arrayOf(matrix)
        extent = labels.GetExtent()
        toWorld[:3, 3] = (toWorld @ [extent[0], extent[2], extent[4], 1])[:3]
        array = vtk_to_numpy(labels.GetPointData().GetScalars()).reshape(tuple(reversed(labels.GetDimensions())))
        # Segments that do not overlap share one label map.
        yield segment.GetName(), array == segment.GetLabelValue() if isShared else array != 0, toWorld
