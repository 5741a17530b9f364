"""Every control of the panel does what it says when it is clicked; every parameter and result survives the scene."""

from __future__ import annotations

import enum
import json
import re
import sys
import types
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import psutil
import pytest

from Testing.host import interact

from .. import cases
from ..cases import FAKE, MODULE, OBLIQUE, addVolume, blobs, haveEnded, sceneContent

import slicer  # isort: skip
from DeepRegistrationSlicer.registration import report_words, results  # isort: skip
from DeepRegistrationSlicer.scene import nodes  # isort: skip
from DeepRegistrationSlicer.worker import process  # isort: skip
from DeepRegistrationSlicer.worker.methods import MethodEntry  # isort: skip

PASSIVE = {"QLabel", "qMRMLWidget", "QWidget", "QProgressBar"}
STAGES = ("read", "affine", "prepare", "network", "refine", "output")
NODES = {
    "fixedMask": "vtkMRMLSegmentationNode",
    "movingMask": "vtkMRMLLabelMapVolumeNode",
    "initialTransform": "vtkMRMLLinearTransformNode",
    "fixedLandmarks": "vtkMRMLMarkupsFiducialNode",
    "movingLandmarks": "vtkMRMLMarkupsFiducialNode",
    "fixedLabels": "vtkMRMLSegmentationNode",
    "movingLabels": "vtkMRMLLabelMapVolumeNode",
    "rigidLabels": "vtkMRMLSegmentationNode",
}
OUTPUTS = {
    "Transform": "vtkMRMLTransformNode",
    "Volume": "vtkMRMLScalarVolumeNode",
    "Inverse": "vtkMRMLTransformNode",
    "Jacobian": "vtkMRMLScalarVolumeNode",
    "Magnitude": "vtkMRMLScalarVolumeNode",
    "Doubt": "vtkMRMLScalarVolumeNode",
}


def pretend(panel, method):
    panel.panel.catalog.methods.append(MethodEntry(method, method, ""))
    panel.panel.parameters.method = method


def finish(ui):
    interact.wait_until(lambda: ui.applyButton.text == "Apply", 60)


def add(className, name):
    return slicer.mrmlScene.AddNewNodeByClass(className, name)


def test_no_control_is_without_a_test():
    """A control whose name no test of this folder mentions was never clicked."""
    root = ET.parse(MODULE / "Resources" / "UI" / "DeepRegistration.ui").getroot()
    names = {w.get("name") for w in root.iter("widget") if w.get("class") not in PASSIVE}
    tests = "\n".join(p.read_text(encoding="utf-8") for p in Path(__file__).parents[1].rglob("test_*.py"))
    looks = {f"{look}Button" for look in ("overlay", "blink", "checkerboard", "sideBySide", "difference", "grid")}
    looks |= {f"{look}Button" for look in ("arrows", "jacobian", "doubt")}  # test_every_look_is_one_click
    chosen = {f"{name}Selector" for name in NODES} | {f"output{kind}Selector" for kind in OUTPUTS}  # below
    assert {n for n in names - looks - chosen if not re.search(rf"\b{n}\b", tests)} == set()


@pytest.mark.parametrize("name", NODES)
def test_a_selector_sets_its_parameter_and_lets_go_of_it(faked, ui, name):
    node, selector = add(NODES[name], "mine"), getattr(ui, f"{name}Selector")
    ui.advancedButton.collapsed = False
    interact.choose(selector, "mine")
    assert getattr(faked.panel.parameters, name) is node
    interact.choose(selector, "None")
    assert getattr(faked.panel.parameters, name) is None


def arguments(ui, monkeypatch):
    """Apply by click; the command line that the worker got."""
    import DeepRegistrationSlicer.registration.logic as logicModule

    said = []
    load = results.load
    with monkeypatch.context() as patch:
        patch.setattr(
            logicModule,
            "load",
            lambda ask, folder, *rest: (
                said.extend(json.loads((folder / "arguments.json").read_text(encoding="utf-8")))
                or load(ask, folder, *rest)
            ),
        )
        interact.click(ui.applyButton)
        finish(ui)
    return said


def test_a_network_is_fine_tuned_by_click_and_only_a_network(faked, ui, monkeypatch):
    interact.click(ui.advancedButton)
    pretend(faked, "vm2")
    assert not ui.fineTuneCheckBox.checked
    assert "--fine-tune" not in arguments(ui, monkeypatch)
    interact.click(ui.fineTuneCheckBox)
    assert faked.panel.parameters.fineTuneNetwork
    assert "--fine-tune" in arguments(ui, monkeypatch)
    pretend(faked, "none")
    assert not ui.fineTuneCheckBox.enabled
    assert "network" in ui.fineTuneCheckBox.toolTip
    assert "--fine-tune" not in arguments(ui, monkeypatch)


def test_refinement_can_be_switched_off_where_there_is_a_network(faked, ui, monkeypatch):
    interact.click(ui.advancedButton)
    pretend(faked, "vm2")
    interact.click(ui.refineCheckBox)
    assert not faked.panel.parameters.useRefinement
    said = arguments(ui, monkeypatch)
    assert said[said.index("--refine") + 1] == "none"
    pretend(faked, "none")
    assert not ui.refineCheckBox.enabled
    said = arguments(ui, monkeypatch)
    assert "--refine" not in said  # the library's own: without a network there would be nothing else


def test_results_go_into_the_nodes_that_are_chosen(faked, ui):
    interact.click(ui.wantDoubtCheckBox)
    for box in (ui.wantInverseCheckBox, ui.wantJacobianCheckBox, ui.wantMagnitudeCheckBox):
        interact.click(box)
    chosen = {kind: add(className, f"my {kind}") for kind, className in OUTPUTS.items()}
    for kind in OUTPUTS:
        interact.choose(getattr(ui, f"output{kind}Selector"), f"my {kind}")
    inputs = {name: slicer.util.arrayFromVolume(slicer.util.getNode(name)).copy() for name in ("T1", "T2")}
    before = set(sceneContent())
    interact.click(ui.applyButton)
    finish(ui)
    assert "Done" in ui.statusLabel.text
    for kind, node in chosen.items():
        assert getattr(ui, f"output{kind}Selector").currentNode() is node
        if OUTPUTS[kind] == "vtkMRMLScalarVolumeNode":
            assert slicer.util.arrayFromVolume(node).shape == inputs["T1"].shape
        else:
            assert node.GetTransformFromParent().IsA("vtkOrientedGridTransform")
    new = [slicer.mrmlScene.GetNodeByID(i) for i in set(sceneContent()) - before]
    assert [n.GetName() for n in new if n.IsA("vtkMRMLVolumeNode") or n.IsA("vtkMRMLTransformNode")] == []
    for name, array in inputs.items():
        assert np.array_equal(slicer.util.arrayFromVolume(slicer.util.getNode(name)), array)


def test_an_input_is_never_overwritten(faked, ui):
    faked.panel.parameters.outputVolume = slicer.util.getNode("T2")
    interact.click(ui.applyButton)
    assert "T2 would be overwritten" in ui.statusLabel.text
    assert ui.applyButton.text == "Apply"


def test_export_writes_where_the_user_says(faked, ui, tmp_path, monkeypatch):
    import qt

    interact.click(ui.applyButton)
    finish(ui)
    ui.imagesButton.collapsed = ui.outputsButton.collapsed = True
    interact.process_events()
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *_: str(tmp_path / "mine.html"))
    interact.click(ui.exportButton)
    assert "Good. Fine." in (tmp_path / "mine.html").read_text(encoding="utf-8")
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *_: "")  # the user thought better of it
    interact.click(ui.exportButton)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.html"]


def test_import_says_what_is_wrong_with_a_file(faked, ui, tmp_path, monkeypatch):
    import qt

    (tmp_path / "x.safetensors").write_bytes(b"nonsense")
    ui.imagesButton.collapsed = ui.outputsButton.collapsed = True
    interact.click(ui.modelsButton)
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: str(tmp_path / "x.safetensors"))
    interact.click(ui.importModelButton)
    assert "cannot be used: it has no readable header" in ui.modelLabel.text


def test_hardening_by_click_and_undo(faked, ui):
    interact.click(ui.applyButton)
    finish(ui)
    points = add("vtkMRMLMarkupsFiducialNode", "points")
    points.AddControlPoint([10, 20, 30])
    ui.imagesButton.collapsed = ui.outputsButton.collapsed = True
    ui.judgmentButton.collapsed = ui.lookButton.collapsed = True
    interact.click(ui.applyToButton)
    interact.check(ui.applyToSelector, "points")
    interact.click(ui.hardenCheckBox)
    interact.click(ui.applyToNodesButton)
    assert points.GetParentTransformNode() is None
    assert abs(points.GetNthControlPointPosition(0)[0] - 10) > 0.5
    interact.click(ui.undoButton)
    assert list(points.GetNthControlPointPosition(0)) == pytest.approx([10, 20, 30])


def test_a_sequence_is_registered_by_click(faked, ui):
    section = faked.panel.sections["several"]
    section.series.logic.makeProcess = lambda: process.LibraryProcess(FAKE)
    section.series.logic.installer = types.SimpleNamespace(ensure=lambda: None)
    sequence = add("vtkMRMLSequenceNode", "breathing")
    for index in range(2):
        volume = addVolume(blobs((8, 8, 8)), OBLIQUE, f"phase {index}")
        sequence.SetDataNodeAtValue(volume, str(index))
        slicer.mrmlScene.RemoveNode(volume)
    ui.imagesButton.collapsed = ui.outputsButton.collapsed = True
    interact.click(ui.severalButton)
    interact.choose(ui.severalSequenceSelector, "breathing")
    interact.click(ui.registerAllButton)
    interact.wait_until(lambda: not section.series.isRunning, 60)
    assert slicer.util.getNode("breathing transforms").GetNumberOfDataNodes() == 2
    assert slicer.util.getNode("breathing registered").GetNumberOfDataNodes() == 2
    assert slicer.util.getNode("Registrations to T1").GetNumberOfRows() == 2


@pytest.mark.parametrize("stage", STAGES)
def test_cancel_in_each_stage_ends_everything(faked, ui, stage):
    pretend(faked, f"hang-in-{stage}")
    before = sceneContent()
    interact.click(ui.applyButton)
    interact.wait_until(lambda: ui.statusLabel.text == f"{report_words.stageTitle(stage)}: now")
    family = psutil.Process().children(recursive=True)
    interact.click(ui.applyButton)
    assert ui.statusLabel.text == "Cancelled; nothing was changed."
    assert sceneContent() == before
    assert haveEnded(family, seconds=0)


def test_the_stages_are_those_of_the_library():
    text = (MODULE.parent / "DeepRegistrationLib" / "pipeline.py").read_text(encoding="utf-8")
    assert tuple(re.findall(r'reporter\.stage\("(\w+)"', text)) == STAGES
    assert all(report_words.stageTitle(stage) != stage for stage in STAGES)


def test_a_worker_that_floods_the_panel_with_garbage_can_be_stopped(faked, ui):
    pretend(faked, "garbage-and-hang")
    interact.click(ui.applyButton)
    interact.wait_until(lambda: "still here" in ui.statusLabel.text)
    interact.click(ui.applyButton)
    assert ui.statusLabel.text == "Cancelled; nothing was changed."


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory can be limited so only on Linux")
def test_a_library_that_runs_out_of_memory_is_one_sentence(faked, ui):
    """The real library, given hardly more memory than it has when it starts."""
    code = (
        "import resource, sys, torch, psutil; from DeepRegistrationLib.__main__ import main; "
        "import DeepRegistrationLib.pipeline; torch.set_num_threads(1); "
        "used = psutil.Process().memory_info().vms; resource.setrlimit(resource.RLIMIT_AS, (used + (30 << 20),) * 2); "
        "sys.exit(main())"
    )
    faked.logic.registration.makeProcess = lambda: process.LibraryProcess([sys.executable, "-c", code])
    addVolume(blobs((160, 160, 160)), cases.PLAIN, "large")
    interact.choose(ui.fixedSelector, "large")
    before = sceneContent()
    interact.click(ui.applyButton)
    interact.wait_until(lambda: ui.applyButton.text == "Apply", 120)
    assert "memory" in ui.statusLabel.text
    assert ui.statusLabel.text.endswith(".")
    assert sceneContent() == before


def changed(parameters):
    """Give every parameter another value than its default; returns what they are then (nodes by their names)."""
    for name, value in snapshot(parameters).items():
        now = getattr(parameters, name)
        if isinstance(now, bool):
            setattr(parameters, name, not now)
        elif isinstance(now, enum.Enum):
            setattr(parameters, name, list(type(now))[-1])
        elif isinstance(now, int):
            setattr(parameters, name, 17)
        elif isinstance(now, float):
            setattr(parameters, name, 0.75)
        elif isinstance(now, str):
            setattr(parameters, name, "none")
        elif value is None:
            kind = NODES.get(name) or OUTPUTS.get(name.removeprefix("output"))
            setattr(parameters, name, add(kind, f"the {name}"))
    return snapshot(parameters)


def snapshot(parameters):
    values = {name: getattr(parameters, name) for name in parameters.allParameters}
    return {name: v.GetName() if hasattr(v, "GetName") else v for name, v in values.items()}


def test_the_scene_keeps_every_single_parameter(faked, ui, tmp_path):
    defaults = snapshot(faked.panel.parameters)
    values = changed(faked.panel.parameters)
    assert [n for n in values if values[n] == defaults[n] and n not in ("fixedVolume", "movingVolume")] == []
    path = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(path))
    slicer.mrmlScene.Clear(0)
    interact.process_events()
    slicer.util.loadScene(str(path))
    interact.process_events()
    assert snapshot(faked.panel.parameters) == values
    assert ui.outputDoubtSelector.currentNode().GetName() == "the outputDoubt"
    assert ui.seedSpinBox.value == 17


def nearest(volumeNode, points):
    """Values at RAS points; Slicer may turn an axis round when it reads a file, so voxels cannot be compared."""
    array = slicer.util.arrayFromVolume(volumeNode)
    toIndex = np.linalg.inv(nodes.ijkToWorld(volumeNode))
    i, j, k = np.round(points @ toIndex[:3, :3].T + toIndex[:3, 3]).astype(int).T
    return array[k, j, i]


def test_the_scene_keeps_every_result(faked, ui, tmp_path):
    for kind in ("Inverse", "Jacobian", "Magnitude", "Doubt"):
        setattr(faked.panel.parameters, f"want{kind}", True)
    interact.click(ui.applyButton)
    finish(ui)
    node = ui.outputTransformSelector.currentNode()
    report, point = results.reportOf(node), OBLIQUE[:3, 3] + 8
    there = node.GetTransformFromParent().TransformPoint(point.tolist())
    places = cases.randomPoints(OBLIQUE, (32, 32, 32), 200)
    kinds = ("Volume", "Jacobian", "Magnitude", "Doubt")
    values = {kind: nearest(getattr(ui, f"output{kind}Selector").currentNode(), places) for kind in kinds}
    path = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(path))
    slicer.mrmlScene.Clear(0)
    interact.process_events()
    slicer.util.loadScene(str(path))
    interact.process_events()
    again = ui.outputTransformSelector.currentNode()
    assert again is not node
    assert results.reportOf(again) == report
    assert again.GetTransformFromParent().TransformPoint(point.tolist()) == pytest.approx(there, abs=1e-3)
    for role in (results.INVERSE_ROLE, results.VOLUME_ROLE, results.TABLE_ROLE, results.DOUBT_ROLE):
        assert again.GetNodeReference(role) is not None, role
    for kind in kinds:
        assert np.allclose(nearest(getattr(ui, f"output{kind}Selector").currentNode(), places), values[kind]), kind
    assert "Good. Fine." in ui.verdictLabel.text
    ui.imagesButton.collapsed = ui.outputsButton.collapsed = True
    ui.lookButton.collapsed = False
    interact.process_events()
    interact.click(ui.checkerboardButton)  # the loaded result can be looked at
    assert ui.checkerboardButton.checked
