"""Doses, structure sets and other companions on the voxels of the fixed volume, by a click and from the console."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.host import interact

from .. import cases
from ..cases import OTHER, PLAIN, addVolume, blobs, sceneContent

import slicer  # isort: skip
from DeepRegistrationSlicer.errors import SceneInputError  # isort: skip
from DeepRegistrationSlicer.scene import masks, nodes  # isort: skip
from DeepRegistrationSlicer.viewing.mover import Mover  # isort: skip

pytestmark = pytest.mark.usefixtures("host")
SHIFT = np.array([4.0, -6.0, 2.0])  # RAS mm, fixed to moving: whole voxels of 2 mm


@pytest.fixture
def transformNode():
    fixed, moving = addVolume(blobs(), PLAIN, "fixed"), addVolume(blobs(), PLAIN, "moving")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moving to fixed")
    matrix = np.eye(4)
    matrix[:3, 3] = SHIFT
    node.SetMatrixTransformFromParent(slicer.util.vtkMatrixFromArray(matrix))
    nodes.setRoles(node, fixed, moving)
    return node


def dose(matrix=PLAIN):
    array = np.full((32, 32, 32), 1.5, np.float32)  # cropped: there is dose up to the border
    array[12:20, 12:20, 12:20] = 61.25
    node = addVolume(array, matrix, "RTDOSE")
    node.SetAttribute("DicomRtImport.DoseVolume", "1")
    node.SetAttribute("DicomRtImport.DoseUnitName", "GY")
    node.SetAttribute("DICOM.instanceUIDs", "1.2.3")
    node.SetVoxelValueUnits(entry("Gy"))
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetAutoWindowLevel(False)
    node.GetDisplayNode().SetWindowLevelMinMax(0, 70)
    return node


def entry(unit):
    code = slicer.vtkCodedEntry()
    code.SetValueSchemeMeaning(unit, "UCUM", "Gray")
    return code


def test_a_dose_stays_a_dose_and_is_zero_where_there_was_none(transformNode):
    given = dose()
    before = slicer.util.arrayFromVolume(given).copy()
    (made,) = Mover().resample(transformNode, [given])
    array = slicer.util.arrayFromVolume(made)
    index = np.linalg.inv(PLAIN[:3, :3]) @ SHIFT
    i, j, k = np.rint(index).astype(int)
    wanted = np.zeros_like(before)
    for place in np.ndindex(before.shape):
        source = place[0] + k, place[1] + j, place[2] + i
        if all(0 <= s < 32 for s in source):
            wanted[place] = before[source]
    assert np.allclose(array, wanted, atol=1e-4)
    assert array.min() == 0
    assert array.max() <= 61.25  # linear never overshoots
    assert made.GetAttribute("DicomRtImport.DoseVolume") == "1"
    assert made.GetAttribute("DicomRtImport.DoseUnitName") == "GY"
    assert made.GetAttribute("DICOM.instanceUIDs") is None
    assert made.GetVoxelValueUnits().GetCodeValue() == "Gy"
    assert made.GetDisplayNode().GetWindowLevelMax() == 70
    assert made.GetDisplayNode() is not given.GetDisplayNode()
    assert np.array_equal(slicer.util.arrayFromVolume(given), before)
    assert "RTDOSE on fixed" in made.GetName()


def test_a_dose_of_another_grid_lies_on_the_fixed_voxels(transformNode):
    given = dose(cases.centered(OTHER, (32, 32, 32), PLAIN, (32, 32, 32)))
    (made,) = Mover().resample(transformNode, [given])
    fixed = nodes.fixedOf(transformNode)
    assert np.allclose(nodes.ijkToWorld(made), nodes.ijkToWorld(fixed))
    assert made.GetImageData().GetDimensions() == fixed.GetImageData().GetDimensions()
    assert slicer.util.arrayFromVolume(made).min() >= 0
    assert slicer.util.arrayFromVolume(made).max() <= 61.25


def test_an_image_has_its_own_background_and_a_label_map_its_numbers(transformNode):
    ct = addVolume(np.full((32, 32, 32), -1000, np.int16), PLAIN, "CT")
    slicer.util.arrayFromVolume(ct)[10:20, 10:20, 10:20] = 40
    labels = addVolume(np.zeros((32, 32, 32), np.uint8), PLAIN, "labels", "vtkMRMLLabelMapVolumeNode")
    slicer.util.arrayFromVolume(labels)[10:20, 10:20, 10:20] = 7
    made = Mover().resample(transformNode, [ct, labels])
    assert slicer.util.arrayFromVolume(made[0]).min() == -1000
    assert made[1].GetClassName() == "vtkMRMLLabelMapVolumeNode"
    assert set(np.unique(slicer.util.arrayFromVolume(made[1]))) == {0, 7}


def structures(matrix=PLAIN):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "RTSTRUCT")
    node.CreateDefaultDisplayNodes()
    volume = addVolume(np.zeros((32, 32, 32), np.uint8), matrix, "drawn", "vtkMRMLLabelMapVolumeNode")
    array = slicer.util.arrayFromVolume(volume)
    array[8:14, 8:14, 8:14], array[18:24, 18:24, 18:24] = 1, 2
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(volume, node)
    segmentation = node.GetSegmentation()
    for index, name in enumerate(("GTV", "Cord")):
        segmentation.GetNthSegment(index).SetName(name)
        segmentation.GetNthSegment(index).SetColor(0.2 * index, 0.5, 0.1)
    slicer.mrmlScene.RemoveNode(volume)
    return node


def test_a_structure_set_keeps_its_names_and_colors_segment_by_segment(transformNode):
    given = structures()
    (made,) = Mover().resample(transformNode, [given])
    found = {name: (array, matrix) for _id, name, array, matrix in masks.segmentsOf(made)}
    assert list(found) == ["GTV", "Cord"]
    for name, array, matrix in ((n, a, m) for _i, n, a, m in masks.segmentsOf(given)):
        places = [m[:3, :3] @ (np.argwhere(a).mean(0)[::-1]) + m[:3, 3] for a, m in ((array, matrix), found[name])]
        assert np.allclose(places[1], places[0] - SHIFT, atol=1e-3)
        assert found[name][0].sum() == array.sum()
    assert made.GetSegmentation().GetNthSegment(1).GetColor() == pytest.approx((0.2, 0.5, 0.1))


def test_what_has_no_voxels_is_told_where_to_go_and_nothing_is_left_behind(transformNode):
    points, ct = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points"), dose()
    before, mover = sceneContent(), Mover()
    with pytest.raises(SceneInputError, match="use Move them for models and points"):
        mover.resample(transformNode, [ct, points])
    assert [n for n in sceneContent() if n not in before and "Display" not in n and "Hierarchy" not in n] == []
    assert not mover.canUndo


def test_a_dose_by_one_click_and_back(faked, ui):
    interact.click(ui.applyButton)
    interact.wait_until(lambda: ui.applyButton.text == "Apply", 60)
    given = dose()
    ui.imagesButton.collapsed = ui.outputsButton.collapsed = True
    ui.judgmentButton.collapsed = ui.lookButton.collapsed = True
    interact.click(ui.applyToButton)
    assert not ui.resampleButton.enabled
    interact.check(ui.applyToSelector, "RTDOSE")
    interact.click(ui.resampleButton)
    assert ui.applyToLabel.text == "Made: RTDOSE on T1."
    made = slicer.util.getNode("RTDOSE on T1")
    assert made.GetAttribute("DicomRtImport.DoseVolume") == "1"
    assert made.GetImageData().GetDimensions() == slicer.util.getNode("T1").GetImageData().GetDimensions()
    interact.click(ui.undoButton)
    assert slicer.mrmlScene.GetFirstNodeByName("RTDOSE on T1") is None
    assert given.GetParentTransformNode() is None


def test_a_structure_set_by_one_click_and_back(faked, ui):
    interact.click(ui.applyButton)
    interact.wait_until(lambda: ui.applyButton.text == "Apply", 60)
    structures(cases.OBLIQUE)
    ui.imagesButton.collapsed = ui.outputsButton.collapsed = True
    ui.judgmentButton.collapsed = ui.lookButton.collapsed = True
    interact.click(ui.applyToButton)
    interact.check(ui.applyToSelector, "RTSTRUCT")
    interact.click(ui.resampleButton)
    assert ui.applyToLabel.text == "Made: RTSTRUCT on T1."
    made = slicer.util.getNode("RTSTRUCT on T1")
    assert [name for _id, name, _array, _matrix in masks.segmentsOf(made)] == ["GTV", "Cord"]
    assert made.GetSegmentation().GetNthSegment(1).GetColor() == pytest.approx((0.2, 0.5, 0.1))
    interact.click(ui.undoButton)
    assert slicer.mrmlScene.GetFirstNodeByName("RTSTRUCT on T1") is None


def test_the_other_way_lies_on_the_moving_voxels(transformNode):
    given = dose()
    (made,) = Mover().resample(transformNode, [given], inverse=True)
    there = slicer.util.arrayFromVolume(made)
    assert "on moving" in made.GetName()
    assert there.max() == pytest.approx(61.25, abs=1e-3)
    assert isinstance(nodes.imageOf(made), sitk.Image)
