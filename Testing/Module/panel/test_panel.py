"""The panel, clicked as a user clicks it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from Testing.host import interact

from .. import cases
from ..cases import OBLIQUE, OTHER, addVolume, blobs, haveEnded, sceneContent

import slicer  # isort: skip
from DeepRegistrationSlicer.worker import process  # isort: skip
from DeepRegistrationSlicer.errors import RegistrationError  # isort: skip

FAKE = [sys.executable, str(Path(__file__).parents[1] / "fake_worker.py")]


class NoInstaller:
    def ensure(self):
        """PyTorch is there."""


@pytest.fixture
def faked(panel):
    """The open panel, with a worker that only pretends."""
    registration = panel.logic.registration
    registration.makeProcess, registration.installer = lambda: process.LibraryProcess(FAKE), NoInstaller()
    return panel


@pytest.fixture
def ui(faked):
    return faked.ui


@pytest.fixture
def pair(ui):
    nodes = addVolume(blobs(), OBLIQUE, "T1"), addVolume(blobs(shift=(2, 0, 0)), OTHER, "T2")
    interact.choose(ui.fixedSelector, "T1")
    interact.choose(ui.movingSelector, "T2")
    return nodes


def pretend(panel, method):
    """Let the worker do what ``method`` of the fake says, whatever the panel offers."""
    from DeepRegistrationSlicer.worker.methods import MethodEntry

    panel.panel.catalog.methods.append(MethodEntry(method, method, ""))
    panel.panel.parameters.method = method


def test_an_empty_scene_says_what_to_do(ui):
    assert not ui.applyButton.enabled
    assert ui.statusLabel.text.startswith("Choose the fixed volume")
    assert ui.applyButton.toolTip == ui.statusLabel.text


def test_one_volume_is_not_enough_and_the_same_twice_neither(ui):
    addVolume(blobs(), OBLIQUE, "T1")
    interact.choose(ui.fixedSelector, "T1")
    assert ui.statusLabel.text.startswith("Choose the moving volume")
    interact.choose(ui.movingSelector, "T1")
    assert "are the same" in ui.statusLabel.text
    assert not ui.applyButton.enabled


def test_from_empty_scene_to_finished_overlay(faked, ui, pair):
    assert ui.applyButton.enabled
    assert ui.applyButton.text == "Apply"
    interact.click(ui.applyButton)
    assert ui.applyButton.text == "Cancel"
    interact.wait_until(lambda: ui.applyButton.text == "Apply")
    assert ui.progressBar.value == 100
    assert "Done" in ui.statusLabel.text
    assert ui.outputTransformSelector.currentNode().GetName() == "T2 to T1"
    assert ui.outputVolumeSelector.currentNode().GetName() == "T2 registered"
    composite = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    assert composite.GetBackgroundVolumeID() == pair[0].GetID()
    assert composite.GetForegroundVolumeID() == ui.outputVolumeSelector.currentNodeID


def test_progress_and_stage_are_shown_while_slicer_stays_usable(faked, ui, pair):
    pretend(faked, "slow")
    interact.click(ui.applyButton)
    interact.wait_until(lambda: 20 <= ui.progressBar.value < 60)
    assert ui.statusLabel.text.startswith("Refining: step")
    ui.smoothnessSlider.value = 2.0
    assert faked.panel.parameters.smoothness == 2.0
    assert ui.applyButton.text == "Cancel"
    interact.wait_until(lambda: ui.applyButton.text == "Apply")
    assert "Done" in ui.statusLabel.text


def test_cancel_in_the_middle_leaves_nothing_behind(faked, ui, pair):
    pretend(faked, "hang")
    before = sceneContent()
    interact.click(ui.applyButton)
    interact.wait_until(lambda: "child" in ui.statusLabel.text)
    family = psutil.Process().children(recursive=True)
    assert len(family) >= 2
    interact.click(ui.applyButton)
    assert ui.applyButton.text == "Apply"
    assert ui.statusLabel.text == "Cancelled; nothing was changed."
    assert ui.progressBar.value == 0
    assert sceneContent() == before
    assert haveEnded(family, seconds=0)
    assert list(Path(slicer.app.temporaryPath).glob("DeepRegistration-*")) == []


def test_a_worker_killed_from_outside_leaves_a_usable_panel(faked, ui, pair):
    pretend(faked, "hang")
    interact.click(ui.applyButton)
    interact.wait_until(lambda: "child" in ui.statusLabel.text)
    killed = psutil.Process(faked.logic.registration._run._process.processId)
    family = killed.children()
    killed.kill()
    interact.wait_until(lambda: ui.applyButton.text == "Apply")
    gone, alive = psutil.wait_procs(family, 2)
    assert gone
    assert not alive
    assert "ended from outside" in ui.statusLabel.text
    pretend(faked, "none")
    interact.click(ui.applyButton)
    interact.wait_until(lambda: ui.applyButton.text == "Apply")
    assert "Done" in ui.statusLabel.text


@pytest.mark.parametrize("method", ["bad-input", "garbage", "memory", "broken-files", "no-torch"])
def test_every_failure_is_a_sentence_and_the_panel_recovers(faked, ui, pair, method):
    before = sceneContent()
    pretend(faked, method)
    interact.click(ui.applyButton)
    interact.wait_until(lambda: ui.applyButton.text == "Apply")
    assert ui.statusLabel.text.endswith(".")
    assert "Traceback" not in ui.statusLabel.text
    assert ui.applyButton.enabled
    assert sceneContent() == before


def test_a_sentence_stays_until_something_changes(faked, ui, pair):
    pretend(faked, "bad-input")
    interact.click(ui.applyButton)
    interact.wait_until(lambda: ui.applyButton.text == "Apply")
    assert "without a number" in ui.statusLabel.text
    interact.choose(ui.qualityComboBox, "Accurate")
    assert ui.statusLabel.text == "Ready."


def test_a_refused_installation_is_said_in_the_panel(faked, ui, pair):
    class Refused:
        def ensure(self):
            raise RegistrationError("Without PyTorch nothing can be registered.")

    faked.logic.registration.installer = Refused()
    interact.click(ui.applyButton)
    assert ui.statusLabel.text == "Without PyTorch nothing can be registered."
    assert ui.applyButton.text == "Apply"


def test_a_bent_volume_is_said_in_the_panel(faked, ui, pair):
    pair[1].SetAndObserveTransformNodeID(cases.bendingTransform("warp").GetID())
    interact.click(ui.applyButton)
    assert "T2 is under the transform warp, which bends it" in ui.statusLabel.text


def test_every_control_sets_its_parameter(faked, ui, pair):
    parameters = faked.panel.parameters
    interact.choose(ui.imageKindComboBox, "CT and MR")
    interact.choose(ui.qualityComboBox, "Accurate")
    interact.choose(ui.deviceComboBox, "Processor (CPU)")
    assert parameters.imageKind.similarity == "mind"
    assert parameters.quality.value == "accurate"
    assert parameters.device.value == "cpu"
    interact.click(ui.advancedButton)
    for name, widget in (
        ("wantInverse", ui.wantInverseCheckBox),
        ("wantJacobian", ui.wantJacobianCheckBox),
        ("wantMagnitude", ui.wantMagnitudeCheckBox),
        ("wantVolume", ui.wantVolumeCheckBox),
        ("useAffine", ui.affineCheckBox),
        ("useGuidance", ui.guideCheckBox),
    ):
        before = getattr(parameters, name)
        interact.click(widget)
        assert getattr(parameters, name) is not before, name
    assert ui.outputInverseSelector.enabled
    assert not ui.outputVolumeSelector.enabled
    ui.seedSpinBox.value = 12
    assert parameters.seed == 12
    nodes = {
        "fixedMask": addVolume(np.ones((3, 3, 3), np.uint8), OBLIQUE, "mask", "vtkMRMLLabelMapVolumeNode"),
        "movingMask": slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "segmentation"),
        "initialTransform": cases.linearTransform(np.eye(4), "start"),
        "fixedLandmarks": slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "F"),
    }
    for name, node in nodes.items():
        interact.choose(getattr(ui, f"{name}Selector"), node.GetName())
        assert getattr(parameters, name) is node


def test_the_request_is_what_the_panel_shows(faked, ui, pair):
    from DeepRegistrationSlicer.panel.parameters import requestFrom

    parameters = faked.panel.parameters
    mask = addVolume(np.ones((3, 3, 3), np.uint8), OBLIQUE, "mask", "vtkMRMLLabelMapVolumeNode")
    parameters.fixedMask = mask
    parameters.useRefinement = False
    parameters.fineTuneNetwork = True
    catalog = faked.panel.catalog
    request, into = requestFrom(parameters, catalog)
    assert request.settings.refine == "fast"  # without a network there would be nothing else
    assert not request.settings.fine_tune
    assert request.fixedMask is mask
    assert request.outputs == ("volume", "report")
    assert set(into) == {"transform", "volume"}
    parameters.method = "vm2"
    assert requestFrom(parameters, catalog)[0].settings.refine == "none"
    assert requestFrom(parameters, catalog)[0].settings.fine_tune


def test_the_scene_keeps_every_parameter(faked, ui, pair, tmp_path):
    parameters = faked.panel.parameters
    values = {"smoothness": 2.5, "seed": 42, "wantInverse": True, "useAffine": False, "opacity": 0.25}
    for name, value in values.items():
        setattr(parameters, name, value)
    interact.choose(ui.imageKindComboBox, "X-ray or other 2-D images")
    interact.choose(ui.qualityComboBox, "Accurate")
    interact.click(ui.applyButton)
    interact.wait_until(lambda: ui.applyButton.text == "Apply")
    path = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(path))
    slicer.mrmlScene.Clear(0)
    interact.process_events()
    assert faked.panel.parameters.seed == 0
    assert ui.fixedSelector.currentNode() is None
    slicer.util.loadScene(str(path))
    interact.process_events()
    again = faked.panel.parameters
    assert {name: getattr(again, name) for name in values} == values
    assert again.imageKind.value == "xray"
    assert again.quality.value == "accurate"
    assert ui.fixedSelector.currentNode().GetName() == "T1"
    assert ui.movingSelector.currentNode().GetName() == "T2"
    assert ui.outputTransformSelector.currentNode().GetName() == "T2 to T1"
    assert ui.seedSpinBox.value == 42
    assert not ui.affineCheckBox.checked
    assert ui.applyButton.enabled


def test_closing_the_scene_while_it_runs_stops_the_work(faked, ui, pair):
    pretend(faked, "hang")
    interact.click(ui.applyButton)
    interact.wait_until(lambda: "child" in ui.statusLabel.text)
    slicer.mrmlScene.Clear(0)
    interact.process_events()
    assert ui.applyButton.text == "Apply"
    assert not faked.logic.registration.isRunning


def test_a_method_that_is_not_here_cannot_be_applied(faked, ui, pair):
    faked.panel.parameters.method = "trained-elsewhere"
    assert ui.methodComboBox.currentText == "trained-elsewhere (not here)"
    assert not ui.applyButton.enabled
    assert "no weights for the method trained-elsewhere" in ui.statusLabel.text
    interact.choose(ui.methodComboBox, "Refinement alone")
    assert faked.panel.parameters.method == "none"
    assert ui.applyButton.enabled


def test_two_loaded_volumes_are_chosen_when_the_module_opens(load_module):
    volumes = [addVolume(blobs(), OBLIQUE, name) for name in ("first", "second")]
    load_module()
    slicer.util.selectModule("DeepRegistration")
    ui = slicer.modules.DeepRegistrationWidget.ui
    assert [ui.fixedSelector.currentNode(), ui.movingSelector.currentNode()] == volumes


def test_opening_the_module_changes_nothing_else(load_module):
    before = set(sceneContent())
    load_module()
    slicer.util.selectModule("DeepRegistration")
    new = {slicer.mrmlScene.GetNodeByID(i).GetName() for i in set(sceneContent()) - before}
    assert new <= {"DeepRegistration"}  # its parameters; closing a scene keeps them


def test_the_module_loads_where_pytorch_is_absent_and_never_imports_it(tmp_path):
    """A fresh Slicer: torch cannot be imported; the panel opens and says what to do."""
    import subprocess

    code = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
sys.meta_path.insert(0, Block())
sys.path.insert(0, {str(cases.MODULE.parent)!r})
from Testing import host
host.boot()
import slicer, numpy as np
host.load_module({str(cases.MODULE / "DeepRegistration.py")!r})
slicer.util.selectModule("DeepRegistration")
ui = slicer.modules.DeepRegistrationWidget.ui
for name in "ab":
    slicer.util.addVolumeFromArray(np.zeros((8, 8, 8)), name=name, nodeClassName="vtkMRMLScalarVolumeNode")
slicer.modules.DeepRegistrationWidget.panel.chooseVolumes()
ui.applyButton.click()
print("SAYS", ui.statusLabel.text)
assert "torch" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=120, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "SAYS PyTorch is needed: install the extension named PyTorch" in done.stdout
