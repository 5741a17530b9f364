"""The real worker on small generated pairs: through the logic and through the panel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
import pytest
import SimpleITK as sitk

import DeepRegistrationLib
from Testing.host import interact

from .. import cases
from ..cases import OBLIQUE, OTHER, PLAIN, addVolume, blobs, haveEnded, sceneContent, unchangedScene

import slicer  # isort: skip
import DeepRegistration  # isort: skip
from DeepRegistrationSlicer.scene import derived, nodes  # isort: skip
from DeepRegistrationSlicer.registration import report_words, results  # isort: skip
from DeepRegistrationSlicer.worker import process  # isort: skip
from DeepRegistrationSlicer.errors import RegistrationError  # isort: skip

pytestmark = pytest.mark.usefixtures("host")


def correlation(a, b):
    return np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]


def movedBySlicer(movingNode, fixedNode, transformNode):
    """The moving volume under the transform, resampled by Slicer itself."""
    movingNode.SetAndObserveTransformNodeID(transformNode.GetID())
    return slicer.util.arrayFromVolume(
        slicer.vtkSlicerVolumesLogic.ResampleVolumeToReferenceVolume(movingNode, fixedNode)
    )


def distorted(fixedNode, size=5.0):
    """A volume that a known smooth field brings onto ``fixedNode`` (about)."""
    image = nodes.imageOf(fixedNode)
    field = cases.smoothField(image, size, seed=3)
    transform = sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "moving")
    nodes.setVolume(node, sitk.Resample(image, image, transform, sitk.sitkLinear))
    return node


@pytest.fixture
def logic():
    made = DeepRegistration.DeepRegistrationLogic()
    yield made
    made.registration.cancel()


def test_the_console_call_aligns_oblique_anisotropic_volumes(logic):
    fixed = addVolume(blobs((18, 28, 30)), OBLIQUE, "fixed")
    moving = distorted(fixed)
    before = correlation(slicer.util.arrayFromVolume(fixed), slicer.util.arrayFromVolume(moving))
    transformNode = logic.register(
        fixed, moving, affine="none", outputInverse=True, outputJacobian=True, outputDoubt=True, outputReport=True
    )
    result = logic.registration.lastResult
    after = correlation(slicer.util.arrayFromVolume(fixed), slicer.util.arrayFromVolume(result.volume))
    assert before < 0.97
    assert after > 0.99
    # The volume that the worker moved is what Slicer makes of the transform.
    bySlicer = movedBySlicer(moving, fixed, transformNode)
    byWorker = slicer.util.arrayFromVolume(result.volume)
    inner = (slice(4, -4),) * 3
    assert np.abs(bySlicer - byWorker)[inner].max() < 0.02 * byWorker.max()
    # There and back.
    points = cases.randomPoints(OBLIQUE, (18, 28, 30), 100)
    there = [transformNode.GetTransformFromParent().TransformPoint(p) for p in points.tolist()]
    back = np.array([result.inverse.GetTransformFromParent().TransformPoint(p) for p in there])
    assert np.median(np.linalg.norm(back - points, axis=1)) < 0.3
    assert 0 < slicer.util.arrayFromVolume(result.jacobian).min() < 1
    assert slicer.util.arrayFromVolume(result.doubt).mean() < 0.2
    assert result.report["folding_percent"] < 0.1
    assert result.table.GetNumberOfRows() > 5


def test_the_node_maps_as_the_workers_file_says(logic, tmp_path, monkeypatch):
    import DeepRegistrationSlicer.registration.logic as logicModule

    kept = {}
    load = logicModule.load
    monkeypatch.setattr(
        logicModule,
        "load",
        lambda ask, folder, *r: kept.update(f=sitk.ReadImage(str(folder / "transform.nrrd"))) or load(ask, folder, *r),
    )
    fixed = addVolume(blobs((15, 20, 18)), OBLIQUE, "fixed")
    where = cases.centered(OTHER, (20, 18, 22), OBLIQUE, (15, 20, 18))
    moving = addVolume(blobs((20, 18, 22), shift=(1, 1, -1)), where, "moving")
    node = logic.register(fixed, moving)
    points = cases.randomPoints(OBLIQUE, (15, 20, 18), 1000)
    lps = points * [-1, -1, 1]
    transform = sitk.DisplacementFieldTransform(sitk.Cast(kept["f"], sitk.sitkVectorFloat64))
    expected = np.array([transform.TransformPoint(p) for p in lps.tolist()]) * [-1, -1, 1]
    found = np.array([node.GetTransformFromParent().TransformPoint(p) for p in points.tolist()])
    assert np.abs(found - expected).max() < 1e-4


def test_a_linear_transform_above_a_volume_counts(logic):
    fixed = addVolume(blobs(), PLAIN, "fixed")
    moving = addVolume(blobs(), PLAIN, "moving")
    shift = np.eye(4)
    shift[:3, 3] = [9, -6, 4]
    moving.SetAndObserveTransformNodeID(cases.linearTransform(shift).GetID())
    node = logic.register(fixed, moving, refine="none")
    center = np.array(node.GetTransformFromParent().TransformPoint(8, 8, 22))
    assert np.abs(center - [17, 2, 26]).max() < 1.5


def test_the_map_of_volume_change_counts_the_affine_part_too(logic):
    """As its tool tip and its look say: 8 times where the moving image is twice as large."""
    fixed = addVolume(blobs(), PLAIN, "fixed")
    twice = PLAIN.copy()
    twice[:3, :3] *= 2
    moving = addVolume(blobs(), cases.centered(twice, (32, 32, 32), PLAIN, (32, 32, 32)), "moving")
    logic.register(fixed, moving, initialTransform=_scaling(fixed), refine="none", outputJacobian=True)
    change = logic.registration.lastResult.jacobian
    assert np.allclose(nodes.ijkToWorld(change), PLAIN)
    inner = slicer.util.arrayFromVolume(change)[8:-8, 8:-8, 8:-8]
    assert np.median(inner) == pytest.approx(8, rel=0.05)


def test_the_map_of_volume_change_is_the_librarys(logic):
    fixed = addVolume(blobs((20, 20, 20)), OBLIQUE, "fixed")
    moving = distorted(fixed)
    logic.register(fixed, moving, affine="none", outputJacobian=True)
    found = slicer.util.arrayFromVolume(logic.registration.lastResult.jacobian)
    expected = DeepRegistrationLib.register(nodes.imageOf(fixed), nodes.imageOf(moving), affine="none").jacobian.array
    inner = (slice(2, -2),) * 3
    assert expected.std() > 0.05
    assert np.allclose(found[inner], expected[inner], atol=0.01)


def _scaling(volumeNode):
    """A transform node that makes a volume of twice the size fit ``volumeNode``, about its middle."""
    middle = (nodes.ijkToWorld(volumeNode) @ [15.5, 15.5, 15.5, 1])[:3]
    matrix = np.eye(4)
    matrix[:3, :3] *= 0.5
    matrix[:3, 3] = middle / 2
    return cases.linearTransform(matrix)


def test_single_slices_are_registered_in_their_plane(logic):
    fixed = addVolume(blobs((3, 64, 64))[1:2], OBLIQUE, "x-ray")
    moving = addVolume(blobs((3, 64, 64), shift=(0, 3, 2))[1:2], OBLIQUE, "x-ray 2")
    node = logic.register(fixed, moving, affine="none")
    moved = slicer.util.arrayFromVolume(slicer.util.getNode("x-ray 2 registered"))
    assert moved.shape == (1, 64, 64)
    assert correlation(moved, slicer.util.arrayFromVolume(fixed)) > 0.99
    point = (OBLIQUE @ [30, 30, 0, 1])[:3]
    shift = np.array(node.GetTransformFromParent().TransformPoint(point.tolist())) - point
    assert abs(shift @ np.cross(OBLIQUE[:3, 0], OBLIQUE[:3, 1])) < 1e-3  # nothing leaves the plane


def test_color_is_registered_by_its_brightness(logic):
    gray = blobs((8, 32, 32))
    color = np.repeat((gray / gray.max() * 255).astype(np.uint8)[..., None], 3, axis=-1)
    fixed = addVolume(gray, PLAIN, "fixed")
    moving = addVolume(color, PLAIN, "photo", "vtkMRMLVectorVolumeNode")
    assert logic.register(fixed, moving, refine="none", affine="none") is not None


def test_masks_landmarks_and_labels_are_taken(logic):
    fixed, moving = addVolume(blobs(), PLAIN, "fixed"), addVolume(blobs(shift=(1, 0, 0)), PLAIN, "moving")
    masks = [addVolume((blobs() > 20).astype(np.uint8), PLAIN, "m", "vtkMRMLLabelMapVolumeNode") for _ in range(2)]
    points = [slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode") for _ in range(2)]
    for node in points:
        node.AddControlPoint([8, 8, 20])
        node.AddControlPoint([10, 12, 24])
    options = {
        "fixedMask": masks[0],
        "movingMask": masks[1],
        "fixedLabels": masks[0],
        "movingLabels": masks[1],
        "fixedLandmarks": points[0],
        "movingLandmarks": points[1],
    }
    assert logic.register(fixed, moving, affine="none", **options) is not None


@pytest.mark.parametrize(
    ("arrange", "words"),
    [
        (lambda v: v.__setitem__(slice(None), np.nan), "no voxel with a number"),
        (lambda v: v.__setitem__(slice(None), 5.0), "same value everywhere"),
    ],
)
def test_the_librarys_own_refusals_reach_the_user(logic, arrange, words):
    array = blobs()
    arrange(array)
    fixed, moving = addVolume(array, PLAIN, "fixed"), addVolume(blobs(), PLAIN, "moving")
    with unchangedScene(), pytest.raises(RegistrationError, match=words):
        logic.register(fixed, moving)


def test_volumes_that_do_not_overlap_are_refused(logic):
    away = PLAIN.copy()
    away[:3, 3] += 1000
    fixed, moving = addVolume(blobs(), PLAIN, "fixed"), addVolume(blobs(), away, "moving")
    with unchangedScene(), pytest.raises(RegistrationError) as caught:
        logic.register(fixed, moving)
    assert str(caught.value).endswith(".")


class TestPanel:
    def test_from_empty_scene_to_finished_overlay(self, panel):
        ui = panel.ui
        fixed = addVolume(blobs(), OBLIQUE, "T1")
        distorted(fixed).SetName("T2")
        interact.choose(ui.fixedSelector, "T1")
        interact.choose(ui.movingSelector, "T2")
        panel.panel.parameters.useAffine = False
        interact.click(ui.applyButton)
        interact.wait_until(lambda: not panel.logic.registration.isRunning, 120)
        assert ui.statusLabel.text.startswith("Done in")
        assert ui.progressBar.value == 100
        node = ui.outputTransformSelector.currentNode()
        report = results.reportOf(node)
        assert report["similarity_after"] > report["similarity_before"]
        assert "Likeness" in ui.reportLabel.text
        assert "<b>" in ui.verdictLabel.text
        moved = ui.outputVolumeSelector.currentNode()
        assert correlation(slicer.util.arrayFromVolume(moved), slicer.util.arrayFromVolume(fixed)) > 0.98
        picture = cases.HOST.slice_view("Red").render()
        assert picture.max() > 100  # something is to be seen
        assert sitk.GetArrayViewFromImage(derived.changeOn(derived.fieldOf(node), nodes.imageOf(fixed))).min() > 0

    @pytest.mark.parametrize("fraction", [0, 20, *(pytest.param(n, marks=pytest.mark.slow) for n in (5, 40))])
    def test_cancel_at_any_stage_leaves_nothing(self, panel, fraction):
        ui = panel.ui
        addVolume(blobs((48, 48, 48)), OBLIQUE, "T1")
        where = cases.centered(OTHER, (48, 48, 48), OBLIQUE, (48, 48, 48))
        addVolume(blobs((48, 48, 48), shift=(3, 1, 0)), where, "T2")
        interact.choose(ui.fixedSelector, "T1")
        interact.choose(ui.movingSelector, "T2")
        interact.choose(ui.qualityComboBox, "Accurate")
        before = sceneContent()
        interact.click(ui.applyButton)
        interact.wait_until(lambda: ui.progressBar.value >= fraction, 120)
        family = psutil.Process().children(recursive=True)
        interact.click(ui.applyButton)
        assert ui.statusLabel.text == "Cancelled; nothing was changed."
        assert sceneContent() == before
        assert haveEnded(family)
        assert list(Path(slicer.app.temporaryPath).glob("DeepRegistration-*")) == []

    def test_the_methods_are_those_of_the_library(self, asking):
        interact.wait_until(lambda: not asking.panel.catalog.answer.isRunning, 60)
        names = [method.name for method in asking.panel.catalog.methods]
        assert names[:2] == ["auto", "none"]
        assert "voxelmorph-1" in names
        assert asking.ui.methodComboBox.count == len(names)
        assert asking.ui.methodLabel.text.endswith(".")

    def test_labels_and_landmarks_are_scored_after_the_run(self, panel):
        ui, parameters = panel.ui, panel.panel.parameters
        fixed = addVolume(blobs((20, 20, 20)), PLAIN, "T1")
        moving = distorted(fixed)
        parameters.fixedVolume, parameters.movingVolume = fixed, moving
        masks = [(slicer.util.arrayFromVolume(node) > 150).astype(np.uint8) for node in (fixed, moving)]
        labels = [addVolume(mask, PLAIN, "l", "vtkMRMLLabelMapVolumeNode") for mask in masks]
        parameters.fixedLabels, parameters.movingLabels = labels
        parameters.useGuidance, parameters.useAffine = False, False
        interact.click(ui.applyButton)
        interact.wait_until(lambda: not panel.logic.registration.isRunning, 120)
        scorer = panel.panel.sections["judgment"].scorer
        interact.wait_until(lambda: not scorer.answer.isRunning, 60)
        report = results.reportOf(parameters.outputTransform)
        assert report["dice_after"] > report["dice_before"]
        assert "Dice of label 1" in ui.reportLabel.text


@pytest.mark.skipif(
    not (process.libraryFolder() / "Resources" / "Models" / "universal-2d.safetensors").exists(), reason="no 2-D model"
)
def test_the_console_fine_tunes_a_network_of_the_box(logic):
    fixed = addVolume(blobs((3, 48, 48))[1:2], PLAIN, "x-ray")
    moving = addVolume(blobs((3, 48, 48), shift=(0, 2, 1))[1:2], PLAIN, "x-ray 2")
    said = []
    logic.registration.progressed.connect(lambda stage, fraction, message: said.append((stage, message)))
    node = logic.register(fixed, moving, method="universal", fineTune=True, refine="none", affine="none")
    assert any(stage == "network" and "fitting to this pair" in message for stage, message in said)
    report = results.reportOf(node)
    assert report["fine_tune"] is True
    assert report["model"] == "universal-2d"
    assert report_words.rows(report)
