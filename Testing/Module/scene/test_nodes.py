"""Nodes and SimpleITK say the same about where things are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from .. import cases
from ..cases import OBLIQUE, OTHER, PLAIN, addVolume, blobs, randomPoints, smoothField

from DeepRegistrationSlicer.scene import masks, nodes  # isort: skip
from DeepRegistrationSlicer.errors import SceneInputError, RegistrationError  # isort: skip

pytestmark = pytest.mark.usefixtures("host")

LPS = np.array([-1, -1, 1])
SHAPE = (14, 22, 18)


@pytest.fixture
def placed():
    """A field on an oblique, anisotropic, flipped grid, and the transform node made of it."""
    fixed = addVolume(blobs(SHAPE), OBLIQUE, "fixed")
    field = smoothField(nodes.imageOf(fixed))
    transformNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "result")
    nodes.setField(transformNode, field)
    return fixed, field, transformNode


def mapBySimpleITK(field: sitk.Image, ras: np.ndarray) -> np.ndarray:
    transform = sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
    return np.array([transform.TransformPoint(p) for p in (ras * LPS).tolist()]) * LPS


def mapByNode(transformNode, ras: np.ndarray) -> np.ndarray:
    transform = transformNode.GetTransformFromParent()
    return np.array([transform.TransformPoint(p) for p in ras.tolist()])


@pytest.mark.parametrize("matrix", [PLAIN, OBLIQUE, OTHER], ids=["plain", "oblique", "flipped"])
def test_a_thousand_points_go_where_simpleitk_sends_them(matrix):
    fixed = addVolume(blobs(SHAPE), matrix, "fixed")
    field = smoothField(nodes.imageOf(fixed))
    transformNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
    nodes.setField(transformNode, field)
    points = randomPoints(matrix, SHAPE, 1000)
    expected = mapBySimpleITK(field, points)
    assert np.abs(expected - points).max() > 2
    assert np.abs(mapByNode(transformNode, points) - expected).max() < 1e-4


def test_the_image_for_the_worker_lies_where_the_volume_lies(placed):
    fixed, _, _ = placed
    image = nodes.imageOf(fixed)
    for ijk in ((0, 0, 0), (17, 0, 3), (5, 21, 13)):
        ras = (OBLIQUE @ [*ijk, 1])[:3]
        assert image.TransformIndexToPhysicalPoint(ijk) == pytest.approx((ras * LPS).tolist())
        assert image[ijk] == slicer.util.arrayFromVolume(fixed)[ijk[::-1]]


def test_a_volume_comes_back_with_its_voxels_and_its_place(placed):
    fixed, _, _ = placed
    other = addVolume(np.zeros((2, 2, 2)), PLAIN, "other")
    nodes.setVolume(other, nodes.imageOf(fixed))
    assert np.allclose(slicer.util.arrayFromVTKMatrix(_matrix(other)), OBLIQUE)
    assert np.array_equal(slicer.util.arrayFromVolume(other), slicer.util.arrayFromVolume(fixed))
    assert other.GetImageData().GetSpacing() == (1, 1, 1)


@pytest.mark.parametrize("dtype", [np.int64, np.bool_, np.uint8, np.float64, np.int16])
def test_any_type_of_voxel_is_taken(dtype):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    nodes.setVoxels(node, array, PLAIN)
    assert np.array_equal(slicer.util.arrayFromVolume(node), array)


def test_linear_parents_count_as_part_of_the_place():
    volume = addVolume(blobs(SHAPE), OBLIQUE)
    outer = cases.linearTransform(OTHER, "outer")
    inner = cases.linearTransform(np.diag([1, 1, 1, 1]) + np.array([[0, 0, 0, 7]] + [[0] * 4] * 3), "inner")
    inner.SetAndObserveTransformNodeID(outer.GetID())
    volume.SetAndObserveTransformNodeID(inner.GetID())
    expected = OTHER @ slicer.util.arrayFromTransformMatrix(inner) @ OBLIQUE
    assert np.allclose(nodes.ijkToWorld(volume), expected)
    assert np.allclose(nodes.ijkToWorld(volume, ignore=inner), OBLIQUE)


def test_a_bending_parent_is_refused_with_a_sentence():
    volume = addVolume(blobs(SHAPE), name="CT")
    volume.SetAndObserveTransformNodeID(cases.bendingTransform("warp").GetID())
    with pytest.raises(SceneInputError, match="CT is under the transform warp, which bends it; harden"):
        nodes.imageOf(volume)


def test_a_sheared_grid_is_refused_as_fixed_but_not_as_moving():
    volume = addVolume(blobs(SHAPE), name="CT")
    shear = np.eye(4)
    shear[0, 1] = 0.3
    volume.SetAndObserveTransformNodeID(cases.linearTransform(shear).GetID())
    with pytest.raises(SceneInputError, match="shears its axes"):
        nodes.fixedImageOf(volume)
    corner = nodes.imageOf(volume).TransformIndexToPhysicalPoint((3, 4, 5))
    assert corner == pytest.approx(((shear @ PLAIN @ [3, 4, 5, 1])[:3] * LPS).tolist())


def test_an_empty_volume_is_refused_with_a_sentence():
    with pytest.raises(SceneInputError, match="has no voxels"):
        nodes.imageOf(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing"))


def test_points_models_and_volumes_under_the_node_agree(placed):
    """A bright voxel, a markup and a model point at one place of the moving image end up at one place."""
    fixed, field, transformNode = placed
    target = randomPoints(OBLIQUE, SHAPE, 1, seed=5)[0]
    source = mapByNode(transformNode, target[None])[0]  # from fixed to moving
    markups = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    markups.AddControlPoint(source.tolist())
    markups.SetAndObserveTransformNodeID(transformNode.GetID())
    world = [0.0] * 3
    markups.GetNthControlPointPositionWorld(0, world)
    assert np.abs(np.array(world) - target).max() < 0.02

    matrix = OTHER.copy()
    voxel = np.array([9, 10, 6])
    matrix[:3, 3] = source - matrix[:3, :3] @ voxel  # this voxel lies exactly at the source
    array = np.zeros((16, 20, 18), np.float32)
    array[tuple(slice(v - 1, v + 2) for v in voxel[::-1])] = 50
    array[tuple(voxel[::-1])] = 100
    moving = addVolume(array, matrix, "moving")
    asTransform = sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
    resampled = sitk.Resample(nodes.imageOf(moving), nodes.imageOf(fixed), asTransform)
    moving.SetAndObserveTransformNodeID(transformNode.GetID())
    bySlicer = slicer.vtkSlicerVolumesLogic.ResampleVolumeToReferenceVolume(moving, fixed)
    assert np.abs(slicer.util.arrayFromVolume(bySlicer) - sitk.GetArrayFromImage(resampled)).max() < 0.01
    assert slicer.util.arrayFromVolume(bySlicer).max() > 20


def test_a_segmentation_under_the_node_moves_as_the_points_do(placed):
    _, _, transformNode = placed
    center = randomPoints(OBLIQUE, SHAPE, 1, seed=5)[0]
    source = mapByNode(transformNode, center[None])[0]
    ball = vtk.vtkSphereSource()
    ball.SetCenter(source.tolist())
    ball.SetRadius(3)
    ball.Update()
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.AddSegmentFromClosedSurfaceRepresentation(ball.GetOutput(), "ball", [1, 0, 0])
    segmentation.SetAndObserveTransformNodeID(transformNode.GetID())
    segmentation.HardenTransform()
    surface = vtk.vtkPolyData()
    segmentation.GetClosedSurfaceRepresentation(segmentation.GetSegmentation().GetNthSegmentID(0), surface)
    found = vtk_to_numpy(surface.GetPoints().GetData()).mean(0)
    assert np.abs(found - center).max() < 0.3
    assert np.abs(source - center).max() > 1


@pytest.mark.parametrize("ending", [".h5", ".nrrd", ".nii.gz", ".tfm"])
def test_files_give_simpleitk_and_slicer_the_same_map(placed, tmp_path, ending):
    _, field, transformNode = placed
    points = randomPoints(OBLIQUE, SHAPE, 200)
    path = tmp_path / f"result{ending}"
    assert slicer.util.saveNode(transformNode, str(path))
    if ending in (".h5", ".tfm"):
        read = sitk.ReadTransform(str(path))
    else:
        read = sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))
    found = np.array([read.TransformPoint(p) for p in (points * LPS).tolist()]) * LPS
    assert np.abs(found - mapBySimpleITK(field, points)).max() < 1e-4
    again = slicer.util.loadTransform(str(path))
    assert again.GetTransformFromParent().GetDisplacementGrid() is not None
    # Slicer reads grids as cubic splines: the same at the grid's points.
    corners = (np.array([[3, 4, 5], [10, 11, 6]]) @ OBLIQUE[:3, :3].T) + OBLIQUE[:3, 3]
    assert np.abs(mapByNode(again, corners) - mapBySimpleITK(field, corners)).max() < 1e-3


def test_the_scene_keeps_the_transform_and_what_it_was_made_for(placed, tmp_path):
    fixed, _, transformNode = placed
    moving = addVolume(blobs(SHAPE), OTHER, "moving")
    nodes.setRoles(transformNode, fixed, moving)
    points = randomPoints(OBLIQUE, SHAPE, 50)
    before = mapByNode(transformNode, points)
    path = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(path))
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(path))
    again = slicer.util.getNode("result")
    assert np.abs(mapByNode(again, points) - before).max() < 0.15  # linear becomes cubic
    assert nodes.fixedOf(again).GetName() == "fixed"
    assert nodes.movingOf(again).GetName() == "moving"


def test_a_single_slice_stays_a_single_slice():
    fixed = addVolume(blobs((1, 20, 24)), OBLIQUE, "x-ray")
    field = smoothField(nodes.imageOf(fixed))
    values = sitk.GetArrayFromImage(field)
    values[...] = [1.0, 2.0, 0.5]
    constant = sitk.GetImageFromArray(values, isVector=True)
    constant.CopyInformation(field)
    transformNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
    nodes.setField(transformNode, constant)
    point, shift = (OBLIQUE @ [10, 9, 0, 1])[:3], np.array([-1, -2, 0.5])
    assert mapByNode(transformNode, point[None])[0] == pytest.approx(point + shift, abs=1e-5)
    back = transformNode.GetTransformToParent().TransformPoint((point + shift).tolist())
    assert back == pytest.approx(point, abs=0.02)


def test_color_goes_out_as_vectors():
    array = np.random.default_rng(0).integers(0, 255, (3, 4, 5, 3), dtype=np.uint8)
    node = addVolume(array, PLAIN, "photo", "vtkMRMLVectorVolumeNode")
    image = nodes.imageOf(node)
    assert image.GetNumberOfComponentsPerPixel() == 3
    assert image[4, 3, 2] == tuple(int(v) for v in array[2, 3, 4])


def test_nothing_that_is_no_number_gets_into_a_transform(placed):
    _, field, _ = placed
    values = sitk.GetArrayFromImage(field)
    values[3, 4, 5] = np.nan
    broken = sitk.GetImageFromArray(values, isVector=True)
    broken.CopyInformation(field)
    transformNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
    with pytest.raises(RegistrationError, match="not numbers"):
        nodes.setField(transformNode, broken)


# --- Masks and initial transforms ---


def test_a_label_map_becomes_a_mask_on_the_volumes_grid():
    volume = addVolume(blobs(SHAPE), OBLIQUE, "CT")
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:9, 5:12, 6:10] = 3
    mask = addVolume(labels, OBLIQUE, "mask", "vtkMRMLLabelMapVolumeNode")
    found = sitk.GetArrayFromImage(masks.maskOf(mask, nodes.imageOf(volume), "CT"))
    assert np.array_equal(found, labels != 0)


def test_only_visible_segments_count_and_their_transform_does_too():
    volume = addVolume(blobs(SHAPE), OBLIQUE, "CT")
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:9, 5:12, 6:10] = 1
    labels[10:12, 2:4, 2:4] = 2
    source = addVolume(labels, OBLIQUE, "labels", "vtkMRMLLabelMapVolumeNode")
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "seg")
    slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(source, segmentation)
    segmentation.CreateDefaultDisplayNodes()
    reference = nodes.imageOf(volume)
    assert np.array_equal(sitk.GetArrayFromImage(masks.maskOf(segmentation, reference, "CT")), labels != 0)
    second = segmentation.GetSegmentation().GetNthSegmentID(1)
    segmentation.GetDisplayNode().SetSegmentVisibility(second, False)
    assert np.array_equal(sitk.GetArrayFromImage(masks.maskOf(segmentation, reference, "CT")), labels == 1)
    oneVoxel = np.eye(4)
    oneVoxel[:3, 3] = OBLIQUE[:3, 0]
    segmentation.SetAndObserveTransformNodeID(cases.linearTransform(oneVoxel).GetID())
    moved = sitk.GetArrayFromImage(masks.maskOf(segmentation, reference, "CT"))
    assert np.array_equal(moved, np.roll(labels == 1, 1, axis=2))


def test_a_segment_known_only_as_a_surface_is_a_mask_too():
    volume = addVolume(blobs(SHAPE), PLAIN, "CT")
    ball = vtk.vtkSphereSource()
    ball.SetCenter((PLAIN @ [9, 11, 7, 1])[:3].tolist())
    ball.SetRadius(8)
    ball.Update()
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "seg")
    segmentation.AddSegmentFromClosedSurfaceRepresentation(ball.GetOutput(), "ball", [1, 0, 0])
    mask = sitk.GetArrayFromImage(masks.maskOf(segmentation, nodes.imageOf(volume), "CT"))
    assert mask[7, 11, 9]
    assert 150 < mask.sum() < 400  # 4/3 pi 4^3 = 268 voxels


def test_a_mask_beside_the_volume_is_refused_with_a_sentence():
    volume = addVolume(blobs(SHAPE), PLAIN, "CT")
    away = PLAIN.copy()
    away[:3, 3] += 500
    mask = addVolume(np.ones(SHAPE, np.uint8), away, "mask", "vtkMRMLLabelMapVolumeNode")
    with pytest.raises(SceneInputError, match="The mask mask is empty on CT"):
        masks.maskOf(mask, nodes.imageOf(volume), "CT")


def test_segments_of_the_same_name_get_the_same_number():
    volume = nodes.imageOf(addVolume(blobs(SHAPE), PLAIN, "CT"))
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:5, 3:6, 4:7] = 1
    labels[8:10, 8:12, 8:12] = 2
    both = []
    for names in (("liver", "kidney"), ("kidney", "spleen")):
        segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "seg")
        source = addVolume(labels, PLAIN, "labels", "vtkMRMLLabelMapVolumeNode")
        slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(source, segmentation)
        for index, name in enumerate(names):
            segmentation.GetSegmentation().GetNthSegment(index).SetName(name)
        both.append(segmentation)
    numbers = masks.commonLabels(*both)
    assert numbers == {"kidney": 1}
    first, second = [sitk.GetArrayFromImage(masks.labelsOf(s, volume, "CT", numbers)) for s in both]
    assert np.array_equal(first, labels == 2)
    assert np.array_equal(second, labels == 1)


def test_segments_that_overlap_are_measured_each_as_it_is():
    """A target lies within its margin: as one label map nothing would be left of it."""
    volume = nodes.imageOf(addVolume(blobs(SHAPE), PLAIN, "CT"))
    drawn = {name: np.zeros(SHAPE, np.uint8) for name in ("GTV", "PTV", "liver")}
    drawn["GTV"][4:7, 4:7, 4:7] = drawn["PTV"][3:8, 3:8, 3:8] = drawn["liver"][9:11, 3:9, 3:9] = 1
    both = [slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", side) for side in ("fixed", "moving")]
    for node, name in itertools.product(both, drawn):
        source = addVolume(drawn[name], PLAIN, name, "vtkMRMLLabelMapVolumeNode")
        slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(source, node)
    numbers = masks.commonLabels(*both)
    assert numbers == {"GTV": 1, "PTV": 2, "liver": 3}
    layers = masks.layersOf((both[0], both[1]), (volume, volume), ("CT", "CT"), numbers)
    assert len(layers) == 2
    for side in (0, 1):
        first, second = (sitk.GetArrayFromImage(layer[side]) for layer in layers)
        assert np.array_equal(first, drawn["GTV"] + 3 * drawn["liver"])
        assert np.array_equal(second, 2 * drawn["PTV"])


def test_label_maps_with_nothing_in_common_are_refused_with_a_sentence():
    first = addVolume(np.full(SHAPE, 3, np.uint8), PLAIN, "A", "vtkMRMLLabelMapVolumeNode")
    second = addVolume(np.full(SHAPE, 4, np.uint8), PLAIN, "B", "vtkMRMLLabelMapVolumeNode")
    with pytest.raises(SceneInputError, match="A and B have no label values in common"):
        masks.commonLabels(first, second)


@pytest.mark.parametrize(
    ("value", "sentence"), [(0.3, "holds 0.3, which is no label"), (1e12, "are no labels"), (np.inf, "are no labels")]
)
def test_a_label_map_of_fractions_or_beyond_measure_is_refused_with_a_sentence(value, sentence):
    """A fraction is no other label, nor the background; NaN and negative values are background."""
    volume = nodes.imageOf(addVolume(blobs(SHAPE), PLAIN, "CT"))
    labels = np.zeros(SHAPE, np.float32)
    labels[2:5, 3:6, 4:7] = 2
    labels[0], labels[1] = np.nan, -3
    node = addVolume(labels, PLAIN, "mine", "vtkMRMLLabelMapVolumeNode")
    assert masks.commonLabels(node, node) == {"2": 1}
    assert np.array_equal(sitk.GetArrayFromImage(masks.labelsOf(node, volume, "CT", {"2": 1})), labels == 2)
    assert np.array_equal(sitk.GetArrayFromImage(masks.partsOf(node, volume, "CT")), labels == 2)
    labels[9, 9, 9] = value
    slicer.util.updateVolumeFromArray(node, labels)
    for take in (
        lambda: masks.commonLabels(node, node),
        lambda: masks.labelsOf(node, volume, "CT", {"2": 1}),
        lambda: masks.partsOf(node, volume, "CT"),
    ):
        with pytest.raises(SceneInputError, match=f"label map mine {sentence}"):
            take()


def test_a_linear_initial_transform_is_written_from_fixed_to_moving(tmp_path):
    volume = addVolume(blobs(SHAPE), OBLIQUE)
    toParent = cases.geometry((10, 20, 30), (1, 1, 1), (1, 1, 1), (5, 6, 7))
    name = nodes.writeTransform(cases.linearTransform(toParent), nodes.imageOf(volume), tmp_path)
    read = sitk.ReadTransform(str(tmp_path / name))
    point = np.array([3.0, -4.0, 5.0])
    expected = (np.linalg.inv(toParent) @ [*point, 1])[:3]
    assert np.array(read.TransformPoint((point * LPS).tolist())) * LPS == pytest.approx(expected)


def test_any_other_initial_transform_is_sampled(placed, tmp_path):
    fixed, field, transformNode = placed
    name = nodes.writeTransform(transformNode, nodes.imageOf(fixed), tmp_path)
    read = sitk.DisplacementFieldTransform(sitk.ReadImage(str(tmp_path / name), sitk.sitkVectorFloat64))
    points = randomPoints(OBLIQUE, SHAPE, 50)
    found = np.array([read.TransformPoint(p) for p in (points * LPS).tolist()]) * LPS
    assert np.abs(found - mapBySimpleITK(field, points)).max() < 1e-3


def _matrix(volumeNode):
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return matrix
