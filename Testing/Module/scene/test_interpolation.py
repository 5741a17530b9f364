"""What was measured of a field holds for the node, also after it was saved and loaded in any way."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from ..cases import OBLIQUE, addVolume, blobs, randomPoints

from DeepRegistrationLib.files.linear_mark import is_marked  # isort: skip
from DeepRegistrationSlicer.scene import interpolation, nodes  # isort: skip

pytestmark = pytest.mark.usefixtures("host")
SHAPE = (12, 16, 14)
LPS = np.array([-1, -1, 1])


@pytest.fixture
def keeper(host):
    made = interpolation.Keeper(slicer.mrmlScene)
    yield made
    made.close()


@pytest.fixture
def fields():
    """A field with a steep step that is one-to-one between its samples if they are joined by lines, and its inverse.

    Only the first axis moves, and only along itself: the inverse can be told exactly, line by line.
    """
    image = nodes.imageOf(addVolume(blobs(SHAPE), OBLIQUE, "fixed"))
    count, spacing = image.GetSize()[0], image.GetSpacing()[0]
    # Places of the samples after the map, in voxels: strictly ascending, with a jump after a plateau.
    step = np.ones(count)
    step[6], step[7], step[8] = 0.02, 3.9, 0.02
    place = np.concatenate([[0.0], np.cumsum(step)[:-1]])
    place *= (count - 1) / place[-1]
    axis = np.asarray(image.GetDirection()).reshape(3, 3)[:, 0] * spacing
    fine = np.linspace(0, count - 1, 16 * (count - 1) + 1)
    made = []
    for samples, values in (
        (np.arange(count), place - np.arange(count)),
        (fine, np.interp(fine, place, np.arange(count)) - fine),
    ):
        array = np.zeros((*SHAPE[:2], len(samples), 3), np.float32)
        array[...] = values[:, None] * axis
        field = sitk.GetImageFromArray(array, isVector=True)
        field.CopyInformation(image) if len(samples) == count else _finer(field, image)
        made.append(field)
    return made


def _finer(field, image):
    field.SetOrigin(image.GetOrigin())
    field.SetDirection(image.GetDirection())
    field.SetSpacing((image.GetSpacing()[0] / 16, *image.GetSpacing()[1:]))


def add(field, name="result"):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", name)
    nodes.setField(node, field)
    return node


def reloaded(node, way, folder):
    """The node after it went through a file and an empty scene."""
    name = node.GetName()
    path = folder / f"{name}.{way}"
    if way == "mrb":
        assert slicer.util.saveScene(str(path))
        slicer.mrmlScene.Clear(0)
        slicer.util.loadScene(str(path))
        return slicer.util.getNode(name)
    assert slicer.util.saveNode(node, str(path))
    slicer.mrmlScene.Clear(0)
    return slicer.util.loadTransform(str(path))


def mapped(node, points):
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for item in (source, target):
        item.SetDataTypeToDouble()
    source.SetData(numpy_to_vtk(np.ascontiguousarray(points), deep=True))
    node.GetTransformFromParent().TransformPoints(source, target)
    return vtk_to_numpy(target.GetData()).copy()


WAYS = ("h5", "tfm", "nrrd", "nii.gz", "mrb")


@pytest.mark.parametrize("way", WAYS)
def test_a_loaded_node_maps_as_simpleitk_does_and_does_not_fold(fields, keeper, tmp_path, way):
    points = randomPoints(OBLIQUE, SHAPE, 4000)
    transform = sitk.DisplacementFieldTransform(sitk.Cast(fields[0], sitk.sitkVectorFloat64))
    expected = np.array([transform.TransformPoint(p) for p in (points * LPS).tolist()]) * LPS
    node = reloaded(add(fields[0]), way, tmp_path)
    assert np.abs(mapped(node, points) - expected).max() < 1e-4
    line = OBLIQUE[:3, 3] + np.linspace(0, SHAPE[2] - 1, 2000)[:, None] * OBLIQUE[:3, 0] + OBLIQUE[:3, :3] @ [0, 5, 5]
    along = mapped(node, line) @ OBLIQUE[:3, 0]
    assert np.diff(along).min() > 0
    # The same file as Slicer takes it by itself: this is what the mark is for.
    node.GetTransformFromParent().SetInterpolationModeToCubic()
    assert np.diff(mapped(node, line) @ OBLIQUE[:3, 0]).min() < 0
    assert np.abs(mapped(node, points) - expected).max() > 0.1


@pytest.mark.parametrize("way", ["h5", "nrrd", "mrb"])
def test_a_loaded_inverse_undoes_the_transform_as_well_as_before(fields, keeper, tmp_path, way):
    points = randomPoints(OBLIQUE, SHAPE, 2000)

    def missed(inverse, forward):
        return np.linalg.norm(mapped(inverse, forward) - points, axis=1)

    before = missed(add(fields[1], "back"), mapped(add(fields[0], "there"), points))
    slicer.mrmlScene.Clear(0)
    there = mapped(reloaded(add(fields[0], "there"), way, tmp_path), points)
    inverse = reloaded(add(fields[1], "back"), way, tmp_path)
    assert np.abs(missed(inverse, there) - before).max() < 1e-4
    inverse.GetTransformFromParent().SetInterpolationModeToCubic()
    assert missed(inverse, there).max() > before.max()


@pytest.mark.parametrize("way", ["h5", "tfm", "nrrd", "nii.gz"])
@pytest.mark.parametrize("isAffine", [False, True])
def test_what_the_librarys_command_line_writes_is_linear_too(keeper, fields, tmp_path, way, isAffine):
    """As written without Slicer: the field alone, or behind an affine part, a chain in ``.h5`` and ``.tfm``."""
    from DeepRegistrationLib.geometry.image import Grid
    from DeepRegistrationLib.geometry.transform import Transform, lps_to_voxels

    grid = Grid.from_sitk(fields[0])
    matrix = np.eye(4)
    matrix[0, 0], matrix[:3, 3] = 1.05, (3, -2, 1)
    u = lps_to_voxels(sitk.GetArrayFromImage(fields[0]), grid)
    written = Transform.from_field(u, grid, matrix if isAffine else None)
    path = tmp_path / f"result.{way}"
    written.save(path)
    points = randomPoints(OBLIQUE, SHAPE, 2000)
    # As a field on a grid, the chain is another (linear) map between the samples.
    again = (
        sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64)) if "n" in way else written
    )
    expected = np.array([again.TransformPoint(p) for p in (points * LPS).tolist()]) * LPS
    node = slicer.util.loadTransform(str(path))
    assert np.abs(mapped(node, points) - expected).max() < 1e-4
    for part in interpolation._gridsOf(node.GetTransformFromParent()):
        part.SetInterpolationModeToCubic()  # as Slicer takes it by itself
    assert np.abs(mapped(node, points) - expected).max() > 0.1


def test_transforms_in_a_sequence_stay_linear(fields, keeper, tmp_path):
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "transforms")
    sequence.SetDataNodeAtValue(add(fields[0]), "0")
    linear = vtk.VTK_LINEAR_INTERPOLATION
    assert sequence.GetNthDataNode(0).GetTransformFromParent().GetInterpolationMode() == linear
    path = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(path))
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(path))
    again = slicer.util.getNode("transforms").GetNthDataNode(0).GetTransformFromParent()
    assert again.GetInterpolationMode() == linear


@pytest.mark.parametrize("change", [lambda a: a * 0, lambda a: a + 1, lambda a: a * np.pi, lambda a: a[1:]])
def test_other_fields_are_left_as_they_are(fields, keeper, tmp_path, change):
    array = change(sitk.GetArrayFromImage(fields[0]))
    assert not is_marked(array)
    node = add(fields[0])
    grid = node.GetTransformFromParent().GetDisplacementGrid()
    vtk_to_numpy(grid.GetPointData().GetScalars())[:] = 0.5
    loaded = reloaded(node, "h5", tmp_path)
    assert loaded.GetTransformFromParent().GetInterpolationMode() == vtk.VTK_CUBIC_INTERPOLATION


def test_the_module_watches_from_the_start(fields, load_module, tmp_path):
    load_module()
    slicer.modules.DeepRegistrationInstance.onStarted()
    node = reloaded(add(fields[0]), "h5", tmp_path)
    assert node.GetTransformFromParent().GetInterpolationMode() == vtk.VTK_LINEAR_INTERPOLATION
    slicer.modules.DeepRegistrationInstance.keeper.close()
