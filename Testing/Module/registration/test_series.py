"""Many volumes against one: one after the other, none stops the rest, and it goes on where it stopped."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from Testing.host import interact

from ..cases import OBLIQUE, addVolume, blobs, sceneContent, unchangedScene

import slicer  # isort: skip
from DeepRegistrationLib.settings import Settings  # isort: skip
from DeepRegistrationSlicer.scene import nodes  # isort: skip
from DeepRegistrationSlicer.panel import parameters  # isort: skip
from DeepRegistrationSlicer.worker import process  # isort: skip
from DeepRegistrationSlicer.errors import SceneInputError, RegistrationError  # isort: skip
from DeepRegistrationSlicer.registration.logic import RegistrationLogic  # isort: skip
from DeepRegistrationSlicer.registration.request import Request  # isort: skip
from DeepRegistrationSlicer.registration.series import Series  # isort: skip

pytestmark = pytest.mark.usefixtures("host")
FAKE = [sys.executable, str(Path(__file__).parents[1] / "fake_worker.py")]


class NoInstaller:
    def ensure(self):
        """PyTorch is there."""


class Counted:
    """A logic with the fake worker that counts its runs."""

    def __init__(self):
        self.runs = 0
        self.logic = RegistrationLogic(self.make, installer=NoInstaller())

    def make(self):
        self.runs += 1
        return process.LibraryProcess(FAKE)


@pytest.fixture
def counted():
    made = Counted()
    yield made
    made.logic.cancel()


@pytest.fixture
def fixed():
    return addVolume(blobs((8, 8, 8)), OBLIQUE, "fixed")


def volumes(count=3):
    return [addVolume(blobs((8, 8, 8)), OBLIQUE, f"CT{index}") for index in range(count)]


def sequence(count=3):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "breathing")
    node.SetIndexName("time")
    node.SetIndexUnit("s")
    for index, volume in enumerate(volumes(count)):
        node.SetDataNodeAtValue(volume, str(index))
        slicer.mrmlScene.RemoveNode(volume)
    return node


def run(series, *arguments):
    said = []
    series.progressed.connect(lambda done, count, message: said.append((done, count, message)))
    series.start(*arguments)
    interact.wait_until(lambda: not series.isRunning)
    return said


def test_each_volume_gets_its_transform_and_the_table_says_how_it_went(counted, fixed):
    series, moving, tables = Series(counted.logic), volumes(), []
    series.finished.connect(tables.append)
    said = run(series, Request(fixed, None), [*moving, fixed])
    assert [m for _, _, m in said if ":" not in m] == ["CT0", "CT1", "CT2"]
    assert {count for _, count, _ in said} == {3}
    for node in moving:
        assert slicer.util.getNode(f"{node.GetName()} registered")
        assert nodes.movingOf(slicer.util.getNode(f"{node.GetName()} to fixed")) is node
    assert tables[0].GetNumberOfRows() == 3
    assert tables[0].GetCellText(1, 0) == "CT1"
    assert tables[0].GetCellText(1, 1) == "Good. Fine."


def test_what_is_done_is_not_done_again(counted, fixed):
    series, moving = Series(counted.logic), volumes()
    run(series, Request(fixed, None), moving[:2])
    assert counted.runs == 2
    run(series, Request(fixed, None), moving)
    assert counted.runs == 3


@pytest.mark.parametrize(
    "other", [{"refine": "accurate"}, {"smoothness": 2.0}, {"similarity": "mind"}, {"method": "vm2", "fine_tune": True}]
)
def test_with_other_settings_it_is_done_again(counted, fixed, other):
    series, moving = Series(counted.logic), volumes(1)
    method = {"method": "vm2"} if "method" in other else {}
    run(series, Request(fixed, None, Settings(**method)), moving)
    run(series, Request(fixed, None, Settings(**other)), moving)
    assert counted.runs == 2
    run(series, Request(fixed, None, Settings(**other)), moving)
    assert counted.runs == 2
    source = sequence(1)
    run(series, Request(fixed, None, Settings(**method)), [], source)
    run(series, Request(fixed, None, Settings(**other)), [], source)
    assert counted.runs == 4


def test_one_that_fails_does_not_stop_the_rest(counted, fixed):
    moving, tables = volumes(), []
    moving[1].SetAndObserveImageData(None)
    series = Series(counted.logic)
    series.finished.connect(tables.append)
    run(series, Request(fixed, None), moving)
    assert "CT1 has no voxels" in tables[0].GetCellText(1, 1)
    assert tables[0].GetCellText(2, 1) == "Good. Fine."


def test_a_sequence_gives_sequences(counted, fixed):
    source = sequence()
    before = set(sceneContent())
    series = Series(counted.logic)
    run(series, Request(fixed, None), [], source)
    new = [slicer.mrmlScene.GetNodeByID(i) for i in set(sceneContent()) - before]
    assert sorted(n.GetName() for n in new if not n.GetHideFromEditors()) == [
        "Registrations to fixed",
        "breathing registered",
        "breathing transforms",
    ]
    transforms = slicer.util.getNode("breathing transforms")
    assert transforms.GetNumberOfDataNodes() == 3
    assert transforms.GetIndexName() == "time"
    assert transforms.GetNthIndexValue(2) == "2"
    grid = transforms.GetNthDataNode(1).GetTransformFromParent()
    start = OBLIQUE[:3, 3]
    assert grid.TransformPoint(*start) == pytest.approx([start[0] - 2, start[1], start[2]])
    assert slicer.util.getNode("breathing registered").GetNthDataNode(0).GetImageData() is not None


def test_a_cancelled_sequence_goes_on_where_it_stopped(counted, fixed):
    source, series = sequence(), Series(counted.logic)
    template = Request(fixed, None, Settings("slow"))
    series.start(template, [], source)
    transforms = slicer.util.getNode("breathing transforms")
    interact.wait_until(lambda: transforms.GetNumberOfDataNodes() == 1)
    series.cancel()
    assert not series.isRunning
    assert transforms.GetNumberOfDataNodes() == 1
    assert not [n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if "breathing" in n.GetName()]
    runs = counted.runs
    run(series, template, [], source)
    assert counted.runs == runs + 2
    assert transforms.GetNumberOfDataNodes() == 3


def test_nothing_to_register_is_one_sentence(counted, fixed):
    with pytest.raises(SceneInputError, match="Check the moving volumes"):
        Series(counted.logic).start(Request(fixed, None), [])
    with pytest.raises(SceneInputError, match="Choose the fixed volume"):
        Series(counted.logic).start(Request(None, None), volumes())


class Refused:
    def ensure(self):
        raise RegistrationError("Without PyTorch nothing can be registered.")


def emptySequence():
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "empty")
    text = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode")
    node.SetDataNodeAtValue(text, "0")
    slicer.mrmlScene.RemoveNode(text)
    return node


@pytest.mark.parametrize("why", ["no volumes", "no PyTorch", "no voxels", "empty mask", "busy"])
def test_a_refused_series_leaves_nothing_behind(counted, fixed, why):
    source = emptySequence() if why == "no volumes" else sequence()
    request = Request(fixed, None)
    if why == "no PyTorch":
        counted.logic.installer = Refused()
    elif why == "no voxels":
        fixed.SetAndObserveImageData(None)
    elif why == "empty mask":
        request.fixedMask = addVolume(blobs((8, 8, 8)) * 0, OBLIQUE, "mask")
    elif why == "busy":
        counted.logic.start(Request(fixed, addVolume(blobs((8, 8, 8)), name="other"), Settings("hang")), {})
    series = Series(counted.logic)
    with unchangedScene(), pytest.raises(RegistrationError):
        series.start(request, [], source)
    assert not series.isRunning
    assert counted.runs == (why == "busy")


def test_a_logic_that_is_used_for_something_else_does_not_disturb_the_series(counted, fixed):
    series, moving = Series(counted.logic), volumes(1)
    run(series, Request(fixed, None), moving)
    said = []
    series.progressed.connect(lambda *what: said.append(what))
    counted.logic.register(fixed, addVolume(blobs((8, 8, 8)), OBLIQUE, "other"), method="none")
    assert said == []


def test_one_thing_runs_at_a_time(faked, ui):
    panel, section = faked.panel, faked.panel.sections["several"]
    section.series.logic.makeProcess, section.series.logic.installer = panel.logic.makeProcess, NoInstaller()
    ui.imagesButton.collapsed = ui.outputsButton.collapsed = True
    interact.click(ui.severalButton)
    interact.check(ui.severalSelector, "T2")
    panel.parameters.method = "hang"
    interact.click(ui.registerAllButton)
    assert section.series.isRunning
    assert not ui.applyButton.enabled
    assert "A series is running" in ui.applyButton.toolTip
    panel.onApply()
    assert not panel.logic.isRunning
    interact.click(ui.registerAllButton)
    panel.parameters.method = "none"
    assert ui.applyButton.enabled
    panel.logic.start(*parameters.requestFrom(panel.parameters, panel.catalog))
    assert not ui.registerAllButton.enabled
    section.onRegisterAll()
    assert not section.series.isRunning
    interact.wait_until(lambda: not panel.logic.isRunning)
    assert ui.registerAllButton.enabled


def test_it_is_clicked_together(panel, fixed):
    ui, section = panel.ui, panel.panel.sections["several"]
    section.series.logic.makeProcess, section.series.logic.installer = (
        lambda: process.LibraryProcess(FAKE),
        NoInstaller(),
    )
    volumes(2)
    ui.imagesButton.collapsed = ui.outputsButton.collapsed = True
    interact.click(ui.severalButton)
    assert not ui.registerAllButton.enabled
    panel.panel.parameters.fixedVolume = fixed
    interact.check(ui.severalSelector, "CT0")
    interact.check(ui.severalSelector, "CT1")
    interact.click(ui.registerAllButton)
    assert ui.registerAllButton.text == "Cancel"
    interact.wait_until(lambda: not section.series.isRunning)
    assert "All done; the table Registrations to fixed" in ui.severalLabel.text
    assert ui.registerAllButton.text == "Register all"
    panel.panel.parameters.method = "hang"
    interact.click(ui.registerAllButton)
    interact.process_events(300)
    interact.click(ui.registerAllButton)
    assert ui.severalLabel.text.startswith("Cancelled; what was finished is kept")
