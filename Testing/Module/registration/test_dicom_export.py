"""A transform leaves Slicer as a DICOM registration of the series that its volumes were loaded from."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.Lib.dicom.test_registration import PATIENT, UID, folder_of

from ..cases import addVolume

import slicer  # isort: skip
from DeepRegistrationLib.geometry.transform import read_transform  # isort: skip
from DeepRegistrationSlicer.scene import nodes  # isort: skip
from DeepRegistrationSlicer.registration.dicom_export import exportDicom  # isort: skip
from DeepRegistrationSlicer.errors import SceneInputError  # isort: skip

pydicom = pytest.importorskip("pydicom")
pytestmark = pytest.mark.usefixtures("host")


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """Two volumes with their instances' UIDs, a field between them, and a database that knows the files."""
    folders = folder_of(tmp_path / "fixed"), folder_of(tmp_path / "moving", "2", "6")
    files = {f"{UID}{s}.{k + 1}": str(folders[s - 1] / f"{s}_{5 - k}.dcm") for s in (1, 2) for k in range(6)}
    monkeypatch.setattr(
        slicer, "dicomDatabase", SimpleNamespace(fileForInstance=lambda uid: files.get(uid, "")), raising=False
    )
    volumes = []
    for number, name in ((1, "CT"), (2, "CT later")):
        volume = addVolume(np.zeros((6, 20, 24), np.int16), name=name)
        volume.SetAttribute("DICOM.instanceUIDs", " ".join(f"{UID}{number}.{k + 1}" for k in range(6)))
        volumes.append(volume)
    field = sitk.GetImageFromArray(np.tile(np.float32([3, -2, 1]), (6, 20, 24, 1)), isVector=True)
    field.CopyInformation(nodes.imageOf(volumes[0]))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "result")
    nodes.setField(node, field)
    kinds = slicer.vtkMRMLTransformNode
    node.SetNodeReferenceID(kinds.GetFixedNodeReferenceRole(), volumes[0].GetID())
    node.SetNodeReferenceID(kinds.GetMovingNodeReferenceRole(), volumes[1].GetID())
    return SimpleNamespace(node=node, volumes=volumes, field=field, files=files, path=tmp_path / "r.dcm")


def test_it_leads_from_the_fixed_to_the_moving_frame(scene):
    exportDicom(scene.node, scene.path)
    data = pydicom.dcmread(scene.path)
    assert data.FrameOfReferenceUID == f"{UID}5"
    assert data.DeformableRegistrationSequence[0].SourceFrameOfReferenceUID == f"{UID}6"
    assert str(data.PatientName) == "Doe^Jane"
    point = scene.field.TransformIndexToPhysicalPoint((3, 4, 2))
    moved = read_transform(scene.path).TransformPoint(point)
    np.testing.assert_allclose(np.subtract(moved, point), [3, -2, 1], atol=1e-4)


def test_what_is_not_from_the_database_or_was_moved_is_one_sentence(scene):
    turn = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "turn")
    scene.volumes[0].SetAndObserveTransformNodeID(turn.GetID())
    with pytest.raises(SceneInputError, match="CT was moved by another transform"):
        exportDicom(scene.node, scene.path)
    scene.volumes[0].SetAndObserveTransformNodeID(None)
    scene.volumes[1].SetAndObserveTransformNodeID(scene.node.GetID())
    exportDicom(scene.node, scene.path)
    scene.volumes[1].RemoveAttribute("DICOM.instanceUIDs")
    with pytest.raises(SceneInputError, match="CT later was not loaded from Slicer's DICOM database"):
        exportDicom(scene.node, scene.path)
    slicer.mrmlScene.RemoveNode(scene.volumes[1])
    with pytest.raises(SceneInputError, match="no longer in the scene"):
        exportDicom(scene.node, scene.path)


def test_two_patients_are_refused_unless_asked(scene, tmp_path):
    other = folder_of(tmp_path / "other", "3", "6", PATIENT | {"t0010_0020": "18"})
    scene.files.update({f"{UID}2.{k + 1}": str(other / f"3_{5 - k}.dcm") for k in range(6)})
    with pytest.raises(SceneInputError, match=r"different patients.*differentPatients=True"):
        exportDicom(scene.node, scene.path)
    assert not scene.path.exists()
    exportDicom(scene.node, scene.path, differentPatients=True)
    assert scene.path.exists()
