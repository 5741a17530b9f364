"""Other nodes move with a registration, and back."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.host import interact

from .. import cases
from ..cases import PLAIN, addVolume, blobs, sceneContent

import slicer  # isort: skip
import vtk  # isort: skip
from DeepRegistrationSlicer.scene import nodes  # isort: skip
from DeepRegistrationSlicer.viewing.mover import Mover  # isort: skip
from DeepRegistrationSlicer.errors import SceneInputError  # isort: skip

pytestmark = pytest.mark.usefixtures("host")


@pytest.fixture
def transformNode():
    """From fixed to moving everything shifts by (4, -3, 3) RAS mm: what is put under it shifts by the opposite."""
    fixed, moving = addVolume(blobs(), PLAIN, "fixed"), addVolume(blobs(), PLAIN, "moving")
    image = nodes.imageOf(fixed)
    field = sitk.GetImageFromArray(np.tile(np.float32([-4, 3, 3]), (32, 32, 32, 1)), isVector=True)
    field.CopyInformation(image)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "moving to fixed")
    nodes.setField(node, field)
    nodes.setRoles(node, fixed, moving)
    return node


def markups(position=(10, 8, 20)):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points")
    node.AddControlPoint(list(position))
    return node


def world(node):
    position = [0.0] * 3
    node.GetNthControlPointPositionWorld(0, position)
    return position


def test_points_go_where_the_image_goes_and_come_back(transformNode):
    points, mover = markups(), Mover()
    mover.move(transformNode, [points])
    assert world(points) == pytest.approx([6, 11, 17], abs=0.02)
    mover.undo()
    assert world(points) == [10, 8, 20]
    assert points.GetTransformNodeID() is None
    assert not mover.canUndo


def test_the_other_way_is_the_inverse(transformNode):
    points, mover = markups(), Mover()
    before = sceneContent()
    mover.move(transformNode, [points], inverse=True)
    assert world(points) == pytest.approx([14, 5, 23], abs=0.02)
    mover.undo()
    assert sceneContent() == before


def test_hardening_changes_the_data_and_undo_gives_it_back(transformNode):
    points, mover = markups(), Mover()
    volume = addVolume(blobs(), PLAIN, "CT")
    labels = addVolume((blobs() > 100).astype(np.uint8), PLAIN, "labels", "vtkMRMLLabelMapVolumeNode")
    model = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", "model")
    ball = vtk.vtkSphereSource()
    ball.SetCenter(8, 8, 20)
    ball.Update()
    model.SetAndObservePolyData(ball.GetOutput())
    everything = [points, volume, labels, model]
    arrays = [slicer.util.arrayFromVolume(n).copy() for n in (volume, labels)]
    center = model.GetPolyData().GetCenter()
    mover.move(transformNode, everything, harden=True)
    assert all(n.GetTransformNodeID() is None for n in everything)
    assert world(points) == pytest.approx([6, 11, 17], abs=0.02)
    assert np.allclose(np.array(model.GetPolyData().GetCenter()) - center, [-4, 3, -3], atol=0.05)
    assert set(np.unique(slicer.util.arrayFromVolume(labels))) == {0, 1}
    mover.undo()
    assert world(points) == [10, 8, 20]
    assert all(np.array_equal(slicer.util.arrayFromVolume(n), a) for n, a in zip((volume, labels), arrays, strict=True))
    assert np.allclose(nodes.ijkToWorld(volume), PLAIN)
    assert model.GetPolyData().GetCenter() == pytest.approx(center)


def test_what_is_under_a_transform_is_moved_from_where_it_is_seen(transformNode):
    shift = np.eye(4)
    shift[:3, 3] = [1, 1, 1]
    parent = cases.linearTransform(shift, "bed")
    points, other, mover = markups(), markups(), Mover()
    for node in (points, other):
        node.SetAndObserveTransformNodeID(parent.GetID())
    before = sceneContent()
    mover.move(transformNode, [points])
    assert world(points) == pytest.approx([7, 12, 18], abs=0.02)
    assert world(other) == [11, 9, 21]
    mover.undo()
    assert world(points) == [11, 9, 21]
    assert points.GetParentTransformNode() is parent
    assert sceneContent() == before


def test_steps_are_undone_one_by_one(transformNode):
    first, second, mover = markups(), markups(), Mover()
    mover.move(transformNode, [first])
    mover.move(transformNode, [second])
    mover.undo()
    assert first.GetTransformNodeID()
    assert not second.GetTransformNodeID()
    slicer.mrmlScene.RemoveNode(first)
    mover.undo()  # what is gone cannot be put back, and does not hurt


def test_the_fixed_volume_is_not_moved_onto_itself(transformNode):
    with pytest.raises(SceneInputError, match="fixed is where it belongs already"):
        Mover().move(transformNode, [slicer.util.getNode("fixed")])
    with pytest.raises(SceneInputError, match="Check what should be moved"):
        Mover().move(transformNode, [])


def test_it_is_clicked_together(panel, transformNode):
    ui, points = panel.ui, markups()
    ui.imagesButton.collapsed = ui.outputsButton.collapsed = True
    interact.click(ui.applyToButton)
    assert not ui.applyToNodesButton.enabled
    assert "Choose a transform" in ui.applyToNodesButton.toolTip
    panel.panel.parameters.outputTransform = transformNode
    assert "Check what should be moved" in ui.applyToNodesButton.toolTip
    interact.check(ui.applyToSelector, "points")
    interact.click(ui.applyToNodesButton)
    assert world(points) == pytest.approx([6, 11, 17], abs=0.02)
    assert "Moved: points." in ui.applyToLabel.text
    interact.click(ui.undoButton)
    assert world(points) == [10, 8, 20]
    interact.click(ui.applyInverseCheckBox)
    interact.click(ui.applyToNodesButton)
    assert world(points) == pytest.approx([14, 5, 23], abs=0.02)
    interact.click(ui.undoButton)
    interact.check(ui.applyToSelector, "fixed")
    interact.click(ui.applyInverseCheckBox)
    interact.click(ui.applyToNodesButton)
    assert "fixed is where it belongs" in ui.applyToLabel.text
    assert world(points) == [10, 8, 20]
