"""What users do to a scene while the panel works with it: nothing of it is lost, and nobody sees a traceback.

The fixture ``host`` fails each of these tests if an exception escapes into a slot, a timer or an observer.
"""

from __future__ import annotations

import numpy as np
import pytest

from Testing.host import interact

from ..cases import OBLIQUE, PLAIN, addVolume, blobs

import slicer  # isort: skip
from DeepRegistrationSlicer.viewing.looks import Look  # isort: skip
from DeepRegistrationSlicer.worker.methods import MethodEntry  # isort: skip


def finish(ui):
    interact.wait_until(lambda: ui.applyButton.text == "Apply", 60)
    interact.process_events(50)


def run(ui):
    interact.click(ui.applyButton)
    finish(ui)


def startSlowly(faked):
    faked.panel.catalog.methods.append(MethodEntry("slow", "slow", ""))
    faked.panel.parameters.method = "slow"
    interact.click(faked.ui.applyButton)
    interact.wait_until(lambda: "step" in faked.ui.statusLabel.text)


def remove(node):
    slicer.mrmlScene.RemoveNode(node)
    interact.process_events(100)


def openLook(ui):
    ui.imagesButton.collapsed = ui.outputsButton.collapsed = True
    interact.process_events(50)


def test_an_input_that_is_removed_while_it_runs_is_one_sentence(faked, ui):
    startSlowly(faked)
    slicer.mrmlScene.RemoveNode(slicer.util.getNode("T2"))
    finish(ui)
    assert ui.statusLabel.text == "T2 was removed from the scene while it was being registered; nothing was changed."
    assert not [n for n in slicer.util.getNodesByClass("vtkMRMLTransformNode") if "T1" in n.GetName()]


def test_outputs_that_are_removed_while_it_runs_are_made_anew(faked, ui):
    run(ui)
    startSlowly(faked)
    for node in (faked.panel.parameters.outputTransform, faked.panel.parameters.outputVolume):
        slicer.mrmlScene.RemoveNode(node)
    finish(ui)
    assert "Done" in ui.statusLabel.text
    assert faked.panel.parameters.outputTransform.GetTransformFromParent() is not None
    assert faked.panel.parameters.outputVolume.GetImageData() is not None


def test_settings_that_change_while_it_runs_do_not_change_the_run(faked, ui):
    startSlowly(faked)
    faked.panel.parameters.movingVolume = None
    assert ui.applyButton.text == "Cancel"
    finish(ui)
    assert "Done" in ui.statusLabel.text
    assert slicer.util.getNode("T2 to T1")
    assert not ui.applyButton.enabled


def test_a_look_ends_when_its_transform_or_its_volumes_go(faked, ui):
    run(ui)
    openLook(ui)
    interact.click(ui.checkerboardButton)
    assert [n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if n.GetHideFromEditors()]
    remove(slicer.util.getNode("T1"))
    assert not ui.checkerboardButton.enabled
    assert not ui.checkerboardButton.checked
    assert not [n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if n.GetHideFromEditors()]
    remove(faked.panel.parameters.outputTransform)
    assert ui.verdictLabel.text == "No registration yet."
    assert not ui.exportButton.enabled


def test_the_moved_volume_may_be_removed_while_it_blinks(faked, ui):
    run(ui)
    openLook(ui)
    interact.click(ui.blinkButton)
    remove(faked.panel.parameters.outputVolume)
    interact.process_events(700)
    interact.click(ui.beforeButton)
    interact.click(ui.beforeButton)
    interact.process_events(700)
    assert ui.blinkButton.checked


def test_a_move_is_undone_also_when_the_transform_is_gone(faked, ui):
    run(ui)
    openLook(ui)
    ui.judgmentButton.collapsed = ui.lookButton.collapsed = True
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points")
    points.AddControlPoint([1, 2, 3])
    interact.click(ui.applyToButton)
    interact.check(ui.applyToSelector, "points")
    interact.click(ui.applyToNodesButton)
    remove(faked.panel.parameters.outputTransform)
    interact.click(ui.undoButton)
    assert points.GetTransformNodeID() is None
    assert list(points.GetNthControlPointPosition(0)) == [1, 2, 3]


def test_a_volume_under_its_own_result_is_registered_again_but_not_one_that_is_bent(faked, ui):
    run(ui)
    result = faked.panel.parameters.outputTransform
    slicer.util.getNode("T2").SetAndObserveTransformNodeID(result.GetID())
    run(ui)
    assert "Done" in ui.statusLabel.text
    slicer.util.getNode("T2").SetAndObserveTransformNodeID(None)
    slicer.util.getNode("T1").SetAndObserveTransformNodeID(result.GetID())
    run(ui)
    assert "which bends it" in ui.statusLabel.text
    slicer.util.getNode("T1").SetAndObserveTransformNodeID(None)
    faked.panel.parameters.initialTransform = result
    run(ui)
    assert "would be overwritten" in ui.statusLabel.text


def test_colors_can_be_looked_at_in_every_way(faked, ui):
    color = np.repeat((blobs((8, 16, 16))[..., None] / 3).astype(np.uint8), 3, -1)
    addVolume(color, PLAIN, "photo", "vtkMRMLVectorVolumeNode")
    faked.panel.parameters.movingVolume = slicer.util.getNode("photo")
    run(ui)
    openLook(ui)
    for look, button in faked.panel.sections["look"].buttons.items():
        if not button.checked:
            interact.click(button)
        faked.panel.sections["look"].viewer.wait()  # doubt is measured by the worker
        assert button.checked, look
        assert ("The map of doubt is shown." if look is Look.DOUBT else "Done") in ui.statusLabel.text, look


@pytest.mark.parametrize(("scale", "skew"), [(1e-6, False), (1.0, True)])
def test_a_geometry_that_cannot_be_is_one_sentence(faked, ui, scale, skew):
    matrix = PLAIN.copy()
    matrix[:3, :3] *= scale
    if skew:
        matrix[:3, 1] = matrix[:3, 0]
    addVolume(blobs((8, 8, 8)), matrix, "odd")
    interact.choose(ui.movingSelector, "odd")
    run(ui)
    assert ui.statusLabel.text.startswith("The spacing or the axes of odd are not valid")


def test_an_empty_segmentation_is_no_mask(faked, ui):
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "empty")
    faked.panel.parameters.fixedMask = segmentation
    run(ui)
    assert ui.statusLabel.text == "The mask empty is empty on T1; draw it there, or choose no mask."
    faked.panel.parameters.fixedMask, faked.panel.parameters.fixedLabels = None, segmentation
    run(ui)
    assert "Labels come in pairs" in ui.statusLabel.text


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_along_any_axis_is_2d(faked, ui, axis):
    from DeepRegistrationSlicer.scene import nodes

    array = np.take(blobs((16, 16, 16)), [8], axis)
    for name in ("slice 1", "slice 2"):
        assert nodes.isSlice(addVolume(np.ascontiguousarray(array), OBLIQUE, name))
    interact.choose(ui.fixedSelector, "slice 1")
    interact.choose(ui.movingSelector, "slice 2")
    run(ui)
    assert "Done" in ui.statusLabel.text
