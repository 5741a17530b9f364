"""What is found so far is seen in the slice views; stopped and kept by one click; gone without a trace."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.host import interact

from .. import cases
from ..cases import FAKE, OBLIQUE, addVolume, blobs, sceneContent

import slicer  # isort: skip
from DeepRegistrationSlicer.registration import preview, results  # isort: skip
from DeepRegistrationSlicer.scene import nodes, views  # isort: skip
from DeepRegistrationSlicer.worker import process, staying  # isort: skip
from DeepRegistrationSlicer.worker.methods import MethodEntry  # isort: skip


@pytest.fixture
def served(faked, monkeypatch):
    """The panel with a worker that stays, and shows a field that moves by 2 mm, then waits to be stopped."""
    monkeypatch.setattr(preview, "SECONDS", 0.0)
    worker = staying.StayingWorker(FAKE)
    faked.logic.registration.makeProcess = lambda: staying.StayingProcess(worker)
    faked.panel.catalog.methods.append(MethodEntry("previews", "previews", ""))
    faked.panel.parameters.method = "previews"
    yield faked
    worker.end()


def onItsWay():
    return next(iter(slicer.util.getNodes("Registration on its way").values()), None)


def shown(view="Red"):
    composite = slicer.mrmlScene.GetNodeByID(f"vtkMRMLSliceCompositeNode{view}")
    nodesOf = [slicer.mrmlScene.GetNodeByID(i or "") for i in (composite.GetBackgroundVolumeID(),)]
    return [*nodesOf, slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID() or "")]


def state():
    """All that a view shows and where, and how the volumes are shown."""
    found = [shown(view) for view in ("Red", "Yellow", "Green")]
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        found.append([node.GetFieldOfView(), node.GetXYZOrigin(), nodes.arrayOf(node.GetSliceToRAS()).tolist()])
    return found


def begin(faked):
    interact.click(faked.ui.applyButton)
    interact.wait_until(onItsWay, 30)


def test_the_moving_volume_is_seen_under_what_is_found_so_far(served):
    moving = slicer.util.getNode("T2")
    begin(served)
    fixedShown, movingShown = shown()
    assert fixedShown is slicer.util.getNode("T1")
    assert movingShown.GetName() == "T2 on its way"
    assert movingShown.GetImageData() is moving.GetImageData()  # no copy of the voxels
    assert moving.GetParentTransformNode() is None
    moved = onItsWay().GetTransformFromParent().TransformPoint(*OBLIQUE[:3, 3])
    assert moved == pytest.approx(OBLIQUE[:3, 3] + [-2, 0, 0])
    for node in (onItsWay(), movingShown):
        assert node.GetHideFromEditors()
        assert not node.GetSaveWithScene()
    assert served.ui.movingSelector.currentNode() is moving


def test_of_two_at_once_the_later_waits_unless_it_is_the_last(served, monkeypatch):
    begin(served)
    view = served.logic.registration._preview
    monkeypatch.setattr(preview, "SECONDS", 600.0)
    paths = sorted(served.logic.registration._folder.glob("preview-*.nrrd"))

    def sees(level):
        view.offer(paths[0], level)
        view.update()
        return view._waiting is None

    assert not sees("level 3 of 3")
    assert sees(preview.REFINED)
    assert not sees("level 1 of 3")


def places():
    """Where every view looks: field of view (width, height), origin and plane."""
    found = slicer.util.getNodesByClass("vtkMRMLSliceNode")
    return [[*n.GetFieldOfView()[:2], *n.GetXYZOrigin(), *nodes.arrayOf(n.GetSliceToRAS()).ravel()] for n in found]


def test_what_is_on_its_way_does_not_zoom_out(served):
    """A fit to all that is shown would take in the box of the moving volume under its transform."""
    views.overlay(slicer.util.getNode("T1"), None)
    before = places()
    begin(served)
    assert places() == pytest.approx(np.array(before), abs=1e-6)


def test_cancel_leaves_the_scene_and_the_views_as_they_were(served):
    for name in ("T1", "T2"):
        views.overlay(slicer.util.getNode(name), None)  # what is shown once has a display node from then on
    before, content = state(), sceneContent()
    begin(served)
    assert state() != before
    interact.click(served.ui.applyButton)
    assert state() == before
    assert sceneContent() == content
    assert not served.ui.stopHereButton.enabled


def test_what_the_user_shows_meanwhile_stays_after_cancel(served):
    begin(served)
    views.overlay(slicer.util.getNode("T2"), slicer.util.getNode("T1"))
    interact.click(served.ui.applyButton)
    assert shown() == [slicer.util.getNode("T2"), slicer.util.getNode("T1")]


def test_a_removed_preview_harms_nothing(served):
    begin(served)
    slicer.mrmlScene.RemoveNode(onItsWay())
    interact.click(served.ui.stopHereButton)
    interact.wait_until(lambda: served.ui.applyButton.text == "Apply", 30)
    assert served.ui.outputTransformSelector.currentNode() is not None


def test_stop_here_and_keep_by_one_click(served):
    ui = served.ui
    assert not ui.stopHereButton.enabled
    begin(served)
    content = set(sceneContent())
    registration = served.logic.registration
    registration._ticker.stop()  # on a busy computer the worker is done before the click has been gone through
    interact.click(ui.stopHereButton)
    assert "Stopping here" in ui.statusLabel.text
    registration._ticker.start(registration.poll)
    interact.wait_until(lambda: ui.applyButton.text == "Apply", 30)
    assert onItsWay() is None
    assert shown()[1] is slicer.util.getNode("T2 registered")
    assert not ui.stopHereButton.enabled
    assert not any("preview" in name for name in set(sceneContent()) - content)


def test_views_that_the_user_turned_to_stay_there_at_the_end(served):
    begin(served)
    view = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceNodeRed")
    view.SetFieldOfView(31, 31, 1)
    interact.click(served.ui.stopHereButton)
    interact.wait_until(lambda: served.ui.applyButton.text == "Apply", 30)
    assert view.GetFieldOfView()[0] == pytest.approx(31)


def test_a_process_of_its_own_cannot_be_stopped_and_says_so(served):
    served.logic.registration.makeProcess = lambda: process.LibraryProcess([*FAKE])
    served.panel.catalog.methods.append(MethodEntry("slow", "slow", ""))
    served.panel.parameters.method = "slow"
    interact.click(served.ui.applyButton)
    interact.wait_until(lambda: served.ui.stopHereButton.enabled, 30)
    interact.click(served.ui.stopHereButton)
    assert "cannot be stopped and kept" in served.ui.statusLabel.text


def test_a_series_and_a_script_that_shows_nothing_have_no_preview(served):
    logic = served.logic.registration
    silent = {"method": "previews", "showResult": False, "waitForCompletion": False}
    logic.register(slicer.util.getNode("T1"), slicer.util.getNode("T2"), **silent)
    interact.wait_until(lambda: served.ui.progressBar.value >= 20, 30)
    assert onItsWay() is None
    assert logic.finishEarly()
    logic.wait()


def test_the_real_worker_is_stopped_by_a_click_and_gives_a_proper_result(panel, monkeypatch):
    """From the affine alignment on the pair is seen; stopped there, the result has its inverse and its verdict."""
    monkeypatch.setattr(preview, "SECONDS", 0.0)
    fixed = addVolume(blobs((24, 32, 30)), OBLIQUE, "T1")
    moving = addVolume(blobs((24, 32, 30), (2, 1, 0)), OBLIQUE, "T2")
    panel.panel.chooseVolumes()
    panel.panel.parameters.wantInverse = True
    interact.click(panel.ui.applyButton)
    interact.wait_until(lambda: panel.ui.stopHereButton.enabled, 60)
    assert onItsWay() is not None
    point = cases.randomPoints(OBLIQUE, (24, 32, 30), 1)[0]
    seen = np.array(onItsWay().GetTransformFromParent().TransformPoint(point.tolist()))
    interact.click(panel.ui.stopHereButton)
    interact.wait_until(lambda: panel.ui.applyButton.text == "Apply", 60)
    node = panel.ui.outputTransformSelector.currentNode()
    report = results.reportOf(node)
    assert "level" in report["stopped_at"]
    assert any("stopped by hand at" in warning for warning in report["warnings"])
    assert report["verdict"] in ("good", "check", "bad")
    assert panel.ui.outputInverseSelector.currentNode() is not None
    assert np.linalg.norm(np.array(node.GetTransformFromParent().TransformPoint(point.tolist())) - seen) < 3
    assert nodes.fixedOf(node) is fixed
    assert nodes.movingOf(node) is moving
