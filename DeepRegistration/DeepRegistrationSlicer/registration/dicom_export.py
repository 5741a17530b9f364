"""A transform of this module as a DICOM registration, for volumes that were loaded from Slicer's DICOM database."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk
import slicer

from DeepRegistrationLib.dicom import image_series, registration_writing
from DeepRegistrationLib.errors import DeepRegistrationError as LibraryError

from ..errors import RegistrationError, SceneInputError
from ..scene import derived, nodes
from ..scene.nodes import Node
from ..texts import tr as _
from ..texts import volumesGone


def exportDicom(transformNode: Node, path: str | Path, differentPatients: bool = False) -> None:
    """Write a (Deformable) Spatial Registration object with the volumes' patient, study and frames of reference.

    Args:
        transformNode: made by this module.
        differentPatients: write it for volumes of two patients, too.

    Raises:
        SceneInputError: if a volume is gone, was not loaded from DICOM or was moved since, or they are of two patients.
        RegistrationError: if the file cannot be written.
    """
    pair = []
    for node, what in ((nodes.fixedOf(transformNode), "fixed"), (nodes.movingOf(transformNode), "moving")):
        pair.append(seriesOf(node, what, transformNode))
    isLinear = transformNode.IsLinear()
    image = nodes.imageOf(nodes.fixedOf(transformNode)) if isLinear else derived.fieldOf(transformNode)
    onto = sitk.Image(image.GetSize(), sitk.sitkUInt8)
    onto.CopyInformation(image)
    try:
        if not differentPatients:
            image_series.check_same_patient(pair[0].head, pair[1].head, ("fixed volume", "moving volume"))
        registration_writing.write_registration(derived.mapOf(transformNode), path, onto, *pair)
    except LibraryError as error:
        kind = SceneInputError if isinstance(error, ValueError) else RegistrationError
        raise kind(str(error).replace("--different-patients", "differentPatients=True")) from error


def seriesOf(node: Node | None, what: str, transformNode: Node | None = None) -> image_series.DicomSeries:
    """What a registration must know of the DICOM series that a volume was loaded from; ``transformNode`` may move it.

    Raises:
        SceneInputError: if the volume is gone, was not loaded from DICOM or was moved by another transform.
    """
    if node is None:
        raise SceneInputError(volumesGone())
    uids = (node.GetAttribute("DICOM.instanceUIDs") or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    files = [database.fileForInstance(uid) for uid in uids] if database is not None else []
    if not files or not all(files):
        raise SceneInputError(
            _("{name} was not loaded from Slicer's DICOM database; import its series there first.").format(
                name=node.GetName()
            )
        )
    if node.GetParentTransformNode() not in (None, transformNode):
        raise SceneInputError(
            _("{name} was moved by another transform, so it no longer lies as its DICOM series does.").format(
                name=node.GetName()
            )
        )
    try:
        return image_series.series_of(files, f"{what} volume", node.GetName())
    except LibraryError as error:
        raise SceneInputError(str(error)) from error
