"""An input that is edited, emptied or moved while it is registered: the result is for it as it was, and says so."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest

from Testing.host import interact

from .. import cases
from ..cases import OBLIQUE, OTHER, addVolume, blobs

import slicer  # isort: skip
from DeepRegistrationSlicer.errors import RegistrationError  # isort: skip
from DeepRegistrationSlicer.registration import preview, results  # isort: skip
from DeepRegistrationSlicer.registration.logic import RegistrationLogic  # isort: skip
from DeepRegistrationSlicer.registration.meanwhile import CHANGED  # isort: skip
from DeepRegistrationSlicer.registration.request import Request  # isort: skip
from DeepRegistrationSlicer.registration.series import Series  # isort: skip
from DeepRegistrationSlicer.scene import nodes  # isort: skip
from DeepRegistrationSlicer.worker import process  # isort: skip

pytestmark = pytest.mark.usefixtures("host")
FAKE = [sys.executable, str(Path(__file__).parents[1] / "fake_worker.py")]
EDITED = "Changed while this was computed: {}; the result is for what was there before, so register again."
MOVED = "Moved while this was computed: {}; the result is for the former place, so put it back there or register again."


class NoInstaller:
    def ensure(self):
        """PyTorch is there."""


@pytest.fixture
def logic():
    made = RegistrationLogic(lambda: process.LibraryProcess(FAKE), installer=NoInstaller())
    yield made
    made.cancel()


@pytest.fixture
def pair():
    return addVolume(blobs(), OBLIQUE, "fixed"), addVolume(blobs(shift=(2, 0, 0)), OTHER, "moving")


@pytest.fixture
def quiet(caplog):
    """Nothing that failed was only written into the log."""
    yield
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR] == []


def shift(*mm):
    matrix = np.eye(4)
    matrix[:3, 3] = mm
    return matrix


def once(signal, act):
    """``act()`` when the signal comes for the first time."""
    done = []
    signal.connect(lambda *_: done or (done.append(1), act()))


def under(node, matrix=None):
    node.SetAndObserveTransformNodeID(cases.linearTransform(shift(50, 0, 0) if matrix is None else matrix).GetID())


def edit(node):
    slicer.util.arrayFromVolume(node)[4:8] = 0
    slicer.util.arrayFromVolumeModified(node)


def crop(node):
    slicer.util.updateVolumeFromArray(node, slicer.util.arrayFromVolume(node)[:20].copy())


CHANGES = {
    "moved": (under, MOVED),
    "bent": (lambda node: node.SetAndObserveTransformNodeID(cases.bendingTransform().GetID()), MOVED),
    "new origin": (lambda node: node.SetOrigin(1, 2, 3), MOVED),
    "new spacing": (lambda node: node.SetSpacing(3, 3, 3), MOVED),
    "turned axes": (lambda node: node.SetIToRASDirection(0, 1, 0), MOVED),
    "edited": (edit, EDITED),
    "cropped": (crop, EDITED),
    "emptied": (lambda node: node.SetAndObserveImageData(None), EDITED),
}


@pytest.mark.parametrize("side", ["T1", "T2"])
@pytest.mark.parametrize("what", CHANGES)
def test_the_panel_keeps_the_result_and_says_what_changed(faked, ui, quiet, what, side):
    act, form = CHANGES[what]
    faked.panel.parameters.wantJacobian = True
    once(faked.logic.registration.progressed, lambda: act(slicer.util.getNode(side)))
    interact.click(ui.applyButton)
    interact.wait_until(lambda: ui.applyButton.text == "Apply", 60)
    sentence = form.format(side)
    assert f"Check it. {sentence} Fine." in ui.verdictLabel.text
    assert "Good" not in ui.verdictLabel.text
    assert ui.statusLabel.text.startswith("Done")
    assert ui.statusLabel.text.endswith(sentence)
    node = ui.outputTransformSelector.currentNode()
    report = results.reportOf(node)
    assert (report["verdict"], report[CHANGED]) == ("check", [sentence])
    # All that came out lies where the fixed volume was, and is shown.
    for kind in ("Volume", "Jacobian"):
        assert np.allclose(nodes.ijkToWorld(getattr(ui, f"output{kind}Selector").currentNode()), OBLIQUE)
    composite = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    assert composite.GetForegroundVolumeID() == ui.outputVolumeSelector.currentNodeID
    table = node.GetNodeReference(results.TABLE_ROLE)
    assert sentence in table.GetCellText(0, 1)


def test_what_is_registered_again_is_good_again(faked, ui):
    once(faked.logic.registration.progressed, lambda: under(slicer.util.getNode("T2")))
    for verdict in ("Check it.", "Good. Fine."):
        interact.click(ui.applyButton)
        interact.wait_until(lambda: ui.applyButton.text == "Apply", 60)
        assert verdict in ui.verdictLabel.text


def points(name):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    node.AddControlPoint([1, 2, 3])
    return node


def label(name, matrix):
    return addVolume((blobs() > 100).astype(np.uint8), matrix, name, "vtkMRMLLabelMapVolumeNode")


def segmentation(name, matrix):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    logic.ImportLabelmapToSegmentationNode(label("drawn", matrix), node)
    return node


def erase(node):
    segment = node.GetSegmentation().GetNthSegment(0)
    data = segment.GetRepresentation(node.GetSegmentation().GetSourceRepresentationName())
    data.GetPointData().GetScalars().Fill(0)
    data.Modified()


GUIDES = {
    "label map as mask": (lambda: {"fixedMask": label("mask", OBLIQUE)}, edit, EDITED),
    "segmentation as mask": (lambda: {"movingMask": segmentation("mask", OTHER)}, erase, EDITED),
    "moved mask": (lambda: {"movingMask": segmentation("mask", OTHER)}, under, MOVED),
    "parts": (lambda: {"rigidLabels": label("mask", OBLIQUE)}, edit, EDITED),
    "labels": (lambda: {"fixedLabels": label("mask", OBLIQUE), "movingLabels": label("other", OTHER)}, edit, EDITED),
    "landmark": (
        lambda: {"fixedLandmarks": points("mask"), "movingLandmarks": points("other")},
        lambda node: node.SetNthControlPointPosition(0, 5, 5, 5),
        EDITED,
    ),
    "moved landmarks": (
        lambda: {"fixedLandmarks": points("other"), "movingLandmarks": points("mask")},
        under,
        MOVED,
    ),
    "matrix to begin with": (
        lambda: {"initialTransform": cases.linearTransform(shift(1, 0, 0), "mask")},
        lambda node: node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(shift(2, 0, 0))),
        EDITED,
    ),
    "field to begin with": (
        lambda: {"initialTransform": cases.bendingTransform("mask")},
        lambda node: node.SetAndObserveTransformToParent(cases.bendingTransform().GetTransformToParent()),
        EDITED,
    ),
    "moved start": (lambda: {"initialTransform": cases.linearTransform(shift(1, 0, 0), "mask")}, under, MOVED),
}


@pytest.mark.parametrize("what", GUIDES)
def test_all_that_guided_it_counts(logic, pair, what):
    make, act, form = GUIDES[what]
    once(logic.progressed, lambda: act(slicer.util.getNode("mask")))
    assert results.reportOf(logic.register(*pair, **make()))[CHANGED] == [form.format("mask")]


def show(node):
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetVisibility(True)


def put_back(node):
    image, array = node.GetImageData(), slicer.util.arrayFromVolume(node).copy()
    under(node)
    node.SetAndObserveTransformNodeID(None)
    node.SetAndObserveImageData(None)
    node.SetAndObserveImageData(image)
    edit(node)
    slicer.util.updateVolumeFromArray(node, array)


def hidden_surface(node):
    node.CreateClosedSurfaceRepresentation()
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetSegmentVisibility(node.GetSegmentation().GetNthSegmentID(0), False)


@pytest.mark.parametrize(
    ("name", "act"),
    [
        ("moving", show),
        ("moving", put_back),
        ("moving", lambda node: node.SetName("else")),
        ("mask", hidden_surface),
        ("mask", lambda node: slicer.mrmlScene.RemoveNode(node)),
        ("points", lambda node: node.SetLocked(True)),
    ],
)
def test_what_leaves_it_as_it_is_is_not_told(logic, pair, name, act):
    given = {"fixedMask": segmentation("mask", OBLIQUE), "fixedLandmarks": points("points")}
    once(logic.progressed, lambda: act(slicer.util.getNode(name)))
    report = results.reportOf(logic.register(*pair, **given, movingLandmarks=points("other")))
    assert CHANGED not in report
    assert report["verdict"] == "good"


def test_a_hardened_transform_moves_nothing(logic, pair):
    under(pair[1], shift(1, 2, 3))
    once(logic.progressed, pair[1].HardenTransform)
    assert CHANGED not in results.reportOf(logic.register(*pair))
    assert pair[1].GetParentTransformNode() is None


def test_the_result_before_does_not_count_as_its_place(logic, pair):
    node = logic.register(*pair)
    once(logic.progressed, lambda: pair[1].SetAndObserveTransformNodeID(node.GetID()))
    assert CHANGED not in results.reportOf(logic.register(*pair, outputTransform=node))


def test_several_are_one_sentence_and_bad_stays_bad(logic, pair):
    def act():
        for node in pair:
            under(node)
        edit(pair[1])

    once(logic.progressed, act)
    report = results.reportOf(logic.register(*pair, method="folds"))
    assert report["verdict"] == "check"
    assert report["reasons"][:2] == report[CHANGED] == [EDITED.format("moving"), MOVED.format("fixed")]
    assert "folds" in report["reasons"][2]


@pytest.mark.parametrize("what", CHANGES)
def test_what_is_seen_on_the_way_lies_where_it_began(pair, quiet, what, tmp_path):
    before, shape = nodes.ijkToWorld(pair[1]), blobs().shape
    nodes.write(cases.smoothField(nodes.imageOf(pair[0])), tmp_path / "field.nrrd")
    view = preview.PreviewView(*pair)
    CHANGES[what][0](pair[1])
    view.offer(tmp_path / "field.nrrd")
    view.update()
    assert view.isShown
    assert np.allclose(nodes.ijkToWorld(view.volume, view.transform), before)
    assert nodes.voxels(view.volume).shape == shape or what == "cropped"  # in place, and the voxels are shared
    composite = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    assert composite.GetForegroundVolumeID() == view.volume.GetID()
    CHANGES[what][0](pair[0])  # what lies below it, too
    view.offer(tmp_path / "field.nrrd", preview.REFINED)
    view.update()
    interact.process_events(50)
    view.close()
    assert view.volume is None


def test_again_tells_of_its_fixed_volume(logic, pair):
    logic.register(*pair)
    once(logic.progressed, lambda: under(pair[0]))
    node = logic.again(addVolume(blobs(), OTHER, "next"))
    assert results.reportOf(node)[CHANGED] == [MOVED.format("fixed")]


class TestSeries:
    def run(self, logic, *arguments):
        series, tables = Series(logic), []
        series.finished.connect(tables.append)
        series.start(*arguments)
        interact.wait_until(lambda: not series.isRunning, 60)
        return series, [tables[-1].GetCellText(row, 1) for row in range(tables[-1].GetNumberOfRows())]

    def test_all_that_was_made_for_the_former_fixed_volume_says_so_and_is_done_again(self, logic, pair):
        others = [addVolume(blobs((8, 8, 8)), OBLIQUE, f"CT{k}") for k in range(3)]
        done = []
        logic.finished.connect(lambda result: done.append(1) or (len(done) == 2 and under(pair[0])))
        _series, rows = self.run(logic, Request(pair[0], None), others)
        said = f"Check it. {MOVED.format('fixed')} Fine."
        assert rows == [said, said, "Good. Fine."]
        assert CHANGED in results.reportOf(slicer.util.getNode("CT0 to fixed"))
        _series, rows = self.run(logic, Request(pair[0], None), others)
        assert rows == ["Good. Fine."] * 3
        assert len(done) == 5

    def test_a_cancelled_one_says_so_too(self, logic, pair):
        others = [addVolume(blobs((8, 8, 8)), OBLIQUE, f"CT{k}") for k in range(2)]
        series = Series(logic)
        once(logic.finished, lambda: under(pair[0]))
        once(logic.finished, lambda: logic.progressed.connect(lambda *_: series.cancel()))
        series.start(Request(pair[0], None), others)
        interact.wait_until(lambda: not series.isRunning, 60)
        assert results.reportOf(slicer.util.getNode("CT0 to fixed"))["verdict"] == "check"

    @pytest.mark.parametrize("isReplaced", [True, False])
    def test_a_frame_that_becomes_another(self, logic, pair, isReplaced):
        source = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "breathing")
        volume = addVolume(blobs((8, 8, 8)), OBLIQUE, "frame")
        for index in range(2):
            source.SetDataNodeAtValue(volume, str(index))

        def act():
            frame = source.GetNthDataNode(0)
            if not isReplaced:
                edit(frame)
                return
            edit(volume)
            source.SetDataNodeAtValue(volume, "0")

        once(logic.progressed, act)
        series, rows = self.run(logic, Request(pair[0], None), [], source)
        assert rows == [f"Check it. {EDITED.format('breathing 0')} Fine.", "Good. Fine."]
        assert results.reportOf(series.transforms.GetNthDataNode(0))["verdict"] == "check"
        assert self.run(logic, Request(pair[0], None), [], source)[1] == ["Good. Fine."] * 2


def test_a_refusal_still_is_one(logic, pair):
    once(logic.progressed, lambda: slicer.mrmlScene.RemoveNode(pair[0]))
    with pytest.raises(RegistrationError, match="fixed was removed from the scene"):
        logic.register(*pair)
