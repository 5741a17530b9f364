"""DICOM registrations by click: out of Slicer and into it again, of one patient unless asked."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.host import interact
from Testing.Lib.dicom.test_registration import PATIENT, UID, folder_of

from .test_dicom_export import scene  # noqa: F401 - a fixture

import slicer  # isort: skip
from DeepRegistrationSlicer.errors import SceneInputError  # isort: skip
from DeepRegistrationSlicer.registration.dicom_export import exportDicom  # isort: skip
from DeepRegistrationSlicer.registration.dicom_import import importDicom  # isort: skip
from DeepRegistrationSlicer.scene import nodes  # isort: skip

pydicom = pytest.importorskip("pydicom")
pytestmark = pytest.mark.usefixtures("host")
PLACES = [[3.0, 4.0, 2.0], [0.5, 9.0, 4.0], [-8.0, -6.0, 3.0]]


def moved(node):
    return np.array([node.GetTransformFromParent().TransformPoint(p) for p in PLACES])


@pytest.fixture
def clicked(scene, panel, tmp_path, monkeypatch):  # noqa: F811
    """The panel with the result, its DICOM section open; the file dialogs answer ``tmp_path / out``."""
    import qt

    ui, parameters = panel.ui, panel.panel.parameters
    interact.choose(ui.fixedSelector, "CT")
    interact.choose(ui.movingSelector, "CT later")
    parameters.outputTransform = scene.node
    ui.imagesButton.collapsed = ui.outputsButton.collapsed = True
    ui.judgmentButton.collapsed = ui.lookButton.collapsed = True
    interact.click(ui.dicomButton)
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "out"))
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: str(tmp_path / "out" / "result.dcm"))
    return ui, parameters, scene, tmp_path / "out"


def test_there_and_back_by_click(clicked):
    ui, parameters, found, folder = clicked
    for _ in range(2):
        interact.click(ui.exportDicomButton)
    assert sorted(p.name for p in folder.iterdir()) == ["result 2.dcm", "result.dcm"]
    assert ui.dicomLabel.text == f"Written to {folder / 'result 2.dcm'}."
    interact.click(ui.importDicomButton)
    node = parameters.outputTransform
    assert node.GetName() == "CT later to CT (DICOM)"
    assert ui.outputTransformSelector.currentNode() is node
    assert moved(node) == pytest.approx(moved(found.node), abs=1e-4)
    assert nodes.fixedOf(node) is found.volumes[0]
    assert nodes.movingOf(node) is found.volumes[1]


def test_a_matrix_goes_there_and_back_too(clicked):
    ui, parameters, found, _ = clicked
    linear = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "result")
    matrix = slicer.util.vtkMatrixFromArray(
        np.array([[0.8, -0.6, 0, 5], [0.6, 0.8, 0, -3], [0, 0, 1, 2], [0, 0, 0, 1.0]])
    )
    linear.SetMatrixTransformToParent(matrix)
    nodes.setRoles(linear, *found.volumes)
    slicer.mrmlScene.RemoveNode(found.node)
    parameters.outputTransform = linear
    interact.click(ui.exportDicomButton)
    interact.click(ui.importDicomButton)
    node = parameters.outputTransform
    assert node is not linear
    assert node.IsLinear()
    assert moved(node) == pytest.approx(moved(linear), abs=1e-4)


def test_two_patients_by_click_only_with_the_box(clicked, tmp_path):
    ui, parameters, found, folder = clicked
    other = folder_of(tmp_path / "other", "3", "6", PATIENT | {"t0010_0020": "18"})
    found.files.update({f"{UID}2.{k + 1}": str(other / f"3_{5 - k}.dcm") for k in range(6)})
    interact.click(ui.exportDicomButton)
    assert "different patients" in ui.dicomLabel.text
    assert "check Allow two different patients if that is meant" in ui.dicomLabel.text
    assert not list(folder.iterdir())
    interact.click(ui.differentPatientsCheckBox)
    interact.click(ui.exportDicomButton)
    assert "Written to" in ui.dicomLabel.text
    interact.click(ui.differentPatientsCheckBox)
    interact.click(ui.importDicomButton)
    assert "check Allow two different patients if that is meant" in ui.dicomLabel.text
    assert parameters.outputTransform is found.node
    interact.click(ui.differentPatientsCheckBox)
    interact.click(ui.importDicomButton)
    assert parameters.outputTransform is not found.node


def test_what_does_not_fit_is_one_sentence_and_leaves_the_scene(scene, tmp_path):  # noqa: F811
    exportDicom(scene.node, scene.path)
    before = slicer.mrmlScene.GetNumberOfNodes()
    fixed, moving = scene.volumes
    with pytest.raises(SceneInputError, match=r"leads from another frame|does not lead to|brings CT later onto CT"):
        importDicom(scene.path, moving, fixed)
    (tmp_path / "text.dcm").write_text("nonsense", encoding="utf-8")
    with pytest.raises(SceneInputError, match="no whole DICOM registration"):
        importDicom(tmp_path / "text.dcm", fixed, moving)
    with pytest.raises(SceneInputError, match="another kind"):
        importDicom(next((tmp_path / "fixed").iterdir()), fixed, moving)
    with pytest.raises(SceneInputError, match="are the same"):
        importDicom(scene.path, fixed, fixed)
    moving.RemoveAttribute("DICOM.instanceUIDs")
    with pytest.raises(SceneInputError, match="CT later was not loaded from"):
        importDicom(scene.path, fixed, moving)
    assert slicer.mrmlScene.GetNumberOfNodes() == before


def test_the_buttons_say_what_they_need(panel):
    ui = panel.ui
    assert not ui.exportDicomButton.enabled
    assert not ui.importDicomButton.enabled
    assert ui.exportDicomButton.toolTip == "Choose a transform under Results first."
