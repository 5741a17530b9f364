"""A DICOM registration of any maker as a transform node, for volumes that were loaded from Slicer's DICOM database."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from DeepRegistrationLib.dicom import image_series, registration_reading
from DeepRegistrationLib.errors import DeepRegistrationError as LibraryError

from ..errors import SceneInputError
from ..scene import derived, nodes
from ..scene.nodes import Node
from ..texts import tr as _
from ..texts import volumesAlike
from .dicom_export import seriesOf


def importDicom(path: str | Path, fixedNode: Node, movingNode: Node, differentPatients: bool = False) -> Node:
    """Read a (Deformable) Spatial Registration object that was made for these two volumes.

    Args:
        path: the object's file.
        fixedNode, movingNode: loaded from Slicer's DICOM database: their frames of reference and patient are compared.
        differentPatients: take it although it is of another patient than one of the volumes.

    Returns:
        A transform node that brings the moving volume onto the fixed one; what is not linear is a field on the fixed
        volume's grid.

    Raises:
        SceneInputError: if it is no registration, leads between other frames of reference or is of another patient,
            or a volume was not loaded from DICOM.
    """
    if fixedNode is movingNode:
        raise SceneInputError(volumesAlike())
    pair = [seriesOf(node, what) for node, what in ((fixedNode, "fixed"), (movingNode, "moving"))]
    try:
        registration = registration_reading.read_registration(path, "registration")
        if not differentPatients:
            for one, name in zip(pair, ("fixed volume", "moving volume"), strict=True):
                image_series.check_same_patient(registration.head, one.head, ("registration", name))
        moved = [any(instance in registration.moved for _class, instance in one.instances) for one in pair]
        if moved == [True, False]:  # in one frame of reference this alone tells
            raise SceneInputError(
                _("This registration brings {fixed} onto {moving}; exchange the volumes.").format(
                    fixed=fixedNode.GetName(), moving=movingNode.GetName()
                )
            )
        found = registration.between(pair[0].frame, pair[1].frame)
    except LibraryError as error:
        raise SceneInputError(
            str(error).replace("add --different-patients", "allow it (differentPatients=True)")
        ) from error
    name = _("{moving} to {fixed} (DICOM)").format(moving=movingNode.GetName(), fixed=fixedNode.GetName())
    isLinear = found.IsLinear()
    className = "vtkMRMLLinearTransformNode" if isLinear else "vtkMRMLTransformNode"
    image = _single(found) if isLinear else derived.asField(found, nodes.imageOf(fixedNode))
    node = nodes.newNode(className, name)
    nodes.setMap(node, image)
    nodes.setRoles(node, fixedNode, movingNode)
    return node


def _single(transform: sitk.Transform) -> sitk.AffineTransform:
    """A linear transform as one matrix."""
    origin = transform.TransformPoint((0.0, 0.0, 0.0))
    ends = [transform.TransformPoint(axis) for axis in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))]
    matrix = [ends[column][row] - origin[row] for row in range(3) for column in range(3)]
    return sitk.AffineTransform(matrix, origin)
