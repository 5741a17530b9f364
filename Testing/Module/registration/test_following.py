"""A result that is kept up to date: watched volumes and sequences, and landmarks that are dragged."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from Testing.host import interact

from ..cases import FAKE, OTHER, addVolume, blobs, sceneContent

import slicer  # isort: skip
from DeepRegistrationSlicer.registration import request, results  # isort: skip
from DeepRegistrationSlicer.registration.following import Following  # isort: skip
from DeepRegistrationSlicer.registration.logic import RegistrationLogic  # isort: skip
from DeepRegistrationSlicer.worker import process  # isort: skip

pytestmark = pytest.mark.usefixtures("host")


@pytest.fixture
def section(faked, ui):
    """The section of a panel with a result; its worker pretends."""
    found = faked.panel.sections["procedure"]
    found.following.logic.makeProcess = lambda: process.LibraryProcess(FAKE)
    found.following.logic.installer = faked.logic.registration.installer
    interact.click(ui.applyButton)
    interact.wait_until(lambda: ui.applyButton.text == "Apply", 60)
    ui.imagesButton.collapsed = ui.outputsButton.collapsed = True
    ui.judgmentButton.collapsed = ui.lookButton.collapsed = True
    interact.click(ui.procedureButton)
    return found


@pytest.fixture
def lines(monkeypatch):
    """The command line of each run."""
    noted, write = [], request.Request.write

    def writing(self, folder):
        noted.append(write(self, folder))
        return noted[-1]

    monkeypatch.setattr(request.Request, "write", writing)
    return noted


def frame(node, shift):
    """New voxels, as OpenIGTLink puts them into the node it has already."""
    slicer.util.updateVolumeFromArray(node, blobs(shift=(shift, 0, 0)))


def test_each_new_image_of_a_volume_is_registered_from_the_last_result(ui, section, lines):
    before, result = set(sceneContent()), ui.outputTransformSelector.currentNode()
    moved = slicer.util.getNode("T2 registered")
    shown = moved.GetImageData().GetMTime()
    assert not ui.watchButton.enabled
    interact.choose(ui.watchSelector, "T2")
    interact.click(ui.watchButton)
    assert ui.watchButton.text == "Stop watching"
    assert not ui.followButton.enabled
    for number in (1, 2):
        frame(slicer.util.getNode("T2"), number)
        interact.wait_until(lambda number=number: section.following.done == number, 60)
    assert all("--from-here" in line and "--initial-transform" in line for line in lines)
    assert ui.procedureLabel.text == "Up to date: 2 registered, 0 dropped. Good. Fine."
    assert ui.outputTransformSelector.currentNode() is result
    assert result.GetNodeReference(results.VOLUME_ROLE) is moved  # what the views show goes with it
    assert moved.GetImageData().GetMTime() > shown
    interact.click(ui.watchButton)
    assert ui.procedureLabel.text == "Stopped; the result stays as it is."
    assert set(sceneContent()) == before
    frame(slicer.util.getNode("T2"), 3)
    interact.process_events(200)
    assert len(lines) == 2


def test_what_comes_too_fast_is_dropped_but_not_the_newest(faked, ui, section, lines):
    faked.panel.parameters.method = "none"
    interact.choose(ui.watchSelector, "T2")
    interact.click(ui.watchButton)
    for number in range(5):  # none of them waits for the one before
        frame(slicer.util.getNode("T2"), number)
    interact.wait_until(lambda: section.following.done == 2, 60)
    interact.process_events(300)
    assert len(lines) == 2
    assert section.following.dropped == 3
    assert "2 registered, 3 dropped" in ui.procedureLabel.text


def test_a_sequence_that_grows_is_watched(ui, section, lines):
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "stream")
    interact.choose(ui.watchSelector, "stream")
    interact.click(ui.watchButton)
    for number in range(2):
        volume = addVolume(blobs(shift=(number, 0, 0)), OTHER, f"frame {number}")
        sequence.SetDataNodeAtValue(volume, str(number))
        slicer.mrmlScene.RemoveNode(volume)
        interact.wait_until(lambda number=number: section.following.done == number + 1, 60)
    assert len(lines) == 2
    assert not [n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if n.GetName() == "stream"]


def test_a_frame_that_fails_is_said_and_the_next_is_awaited(ui, section):
    interact.choose(ui.watchSelector, "T2")
    interact.click(ui.watchButton)
    volume = slicer.util.getNode("T2")
    image = volume.GetImageData()
    volume.SetAndObserveImageData(None)
    interact.process_events(100)
    assert "T2 has no voxels" in ui.procedureLabel.text
    volume.SetAndObserveImageData(image)
    interact.wait_until(lambda: section.following.done >= 1, 60)
    assert "Up to date" in ui.procedureLabel.text


def test_closing_the_scene_ends_it(ui, section):
    interact.choose(ui.watchSelector, "T2")
    interact.click(ui.watchButton)
    frame(slicer.util.getNode("T2"), 1)
    slicer.mrmlScene.Clear(0)
    interact.process_events(100)
    assert not section.following.isFollowing
    assert not section.following.logic.isRunning


def test_the_fixed_volume_cannot_be_watched(ui, section):
    interact.choose(ui.watchSelector, "T1")
    interact.click(ui.watchButton)
    assert ui.procedureLabel.text == "The fixed volume stays as it is; choose what changes."
    assert not section.following.isFollowing


@pytest.fixture
def console(faked):
    """A result and what follows it, by calls alone; the worker pretends."""
    pair = [slicer.util.getNode(name) for name in ("T1", "T2")]
    logic = RegistrationLogic()
    logic.makeProcess, logic.installer = faked.logic.registration.makeProcess, faked.logic.registration.installer
    made = SimpleNamespace(following=Following(logic), ask=lambda: request.Request(*pair), said=[])
    made.node, made.moving = faked.logic.register(*pair), pair[1]
    made.following.updated.connect(made.said.append)
    yield made
    made.following.stop()


def test_a_volume_is_watched_from_the_console(console, lines):
    console.following.watch(console.ask, console.node, console.moving)
    for number in (1, 2):
        frame(console.moving, number)
        interact.wait_until(lambda number=number: len(console.said) == number, 60)
    assert console.following.done == 2
    assert all("--from-here" in line and "--initial-transform" in line for line in lines)
    assert results.reportOf(console.node)["verdict"] == "good"
    console.following.stop()
    frame(console.moving, 3)
    interact.process_events(200)
    assert len(lines) == 2


def test_landmarks_are_followed_from_the_console(console, lines):
    lists = [points(name, [2.0, 3.0, 4.0]) for name in ("here", "there")]
    console.following.follow(console.ask, console.node, lists)
    drag(lists[1], 0, (0, 2, 0))
    interact.wait_until(lambda: console.said, 60)
    assert {"--fixed-points", "--moving-points", "--from-here"} <= set(lines[0])


def points(name, *places):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    for index, place in enumerate(places):
        node.AddControlPoint(np.asarray(place, float), f"P{index}")
    return node


def drag(node, index, offset):
    """As the mouse does: the point moves, then the interaction ends."""
    node.SetNthControlPointPosition(index, *np.add(node.GetNthControlPointPosition(index), offset))
    node.InvokeEvent(slicer.vtkMRMLMarkupsNode.PointEndInteractionEvent)


def test_landmarks_that_only_judge_draw_the_result_when_they_are_followed(faked, ui, section, lines):
    parameters = faked.panel.parameters
    parameters.useGuidance = False
    parameters.fixedLandmarks, parameters.movingLandmarks = (points(n, [2.0, 3.0, 4.0]) for n in ("here", "there"))
    interact.click(ui.followButton)
    drag(parameters.movingLandmarks, 0, (0, 2, 0))
    interact.wait_until(lambda: section.following.done == 1, 60)
    assert "--moving-points" in lines[0]
    assert "--fixed-points" in lines[0]


def test_the_field_follows_a_landmark_that_is_dragged(panel, host):
    """With the real library: the result leads to where the target was dragged."""
    ui, parameters = panel.ui, panel.panel.parameters
    shape, matrix = (20, 20, 20), np.diag([3.2, 3.2, 3.2, 1.0])
    fixed, moving = addVolume(blobs(shape), matrix, "F"), addVolume(blobs(shape), matrix, "M")
    place = [32.0, 34.0, 30.0]
    first, second = points("fixed points", place), points("moving points", place)
    result = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "accepted")
    node = panel.logic.register(fixed, moving, outputTransform=result, outputVolume=False, affine="none", device="cpu")
    parameters.fixedVolume, parameters.movingVolume, parameters.outputTransform = fixed, moving, node
    parameters.fixedLandmarks, parameters.movingLandmarks = first, second
    section = panel.panel.sections["procedure"]
    ui.imagesButton.collapsed = ui.outputsButton.collapsed = True
    ui.judgmentButton.collapsed = ui.lookButton.collapsed = True
    interact.click(ui.procedureButton)
    interact.click(ui.followButton)
    assert ui.followButton.text == "Stop following"
    assert ui.procedureLabel.text == "Drag a landmark."
    before = np.array(node.GetTransformFromParent().TransformPoint(place))
    drag(second, 0, (0, 6, 0))
    interact.wait_until(lambda: section.following.done == 1, 120)
    after = np.array(node.GetTransformFromParent().TransformPoint(place))
    assert np.linalg.norm(before - place) < 1
    assert after[1] - place[1] > 3  # drawn on, though the images say otherwise
    assert parameters.outputTransform is node
    assert results.reportOf(node)["seconds"]
    interact.click(ui.followButton)
    assert ui.followButton.text == "Follow landmarks"


def test_what_changes_meanwhile_is_told_unless_it_is_registered_next_anyway(console):
    """A stream always changes while its last image is registered; a place that nobody registers again is told."""
    console.following.watch(console.ask, console.node, console.moving)
    acts = [
        lambda: (console.moving.SetOrigin(9, 9, 9), frame(console.moving, 2)),
        lambda: console.moving.SetOrigin(8, 8, 8),
        lambda: None,
    ]
    console.following.logic.started.connect(lambda: acts.pop(0)())
    frame(console.moving, 1)
    interact.wait_until(lambda: len(console.said) == 2, 60)
    frame(console.moving, 3)
    interact.wait_until(lambda: len(console.said) == 3, 60)
    assert [report["verdict"] for report in console.said] == ["good", "check", "good"]
    assert console.said[1]["changed"][0].startswith("Moved while this was computed: T2")


def test_landmarks_that_are_dragged_on_are_registered_next(console):
    first, second = points("here", [2.0, 3.0, 4.0]), points("there", [2.0, 3.0, 4.0])
    console.following.follow(console.ask, console.node, [first, second])
    acts = [lambda: drag(second, 0, (0, 1, 0)), lambda: None]
    console.following.logic.started.connect(lambda: acts.pop(0)())
    drag(second, 0, (0, 2, 0))
    interact.wait_until(lambda: len(console.said) == 2, 60)
    assert [report["verdict"] for report in console.said] == ["good", "good"]
