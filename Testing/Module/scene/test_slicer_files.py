"""Files that Slicer writes are read by the library as Slicer reads them, and the other way round."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.host import Host, boot

boot()

import slicer
import vtk

from DeepRegistrationLib.geometry.image import Grid
from DeepRegistrationLib.geometry.points import read_points, write_points
from DeepRegistrationLib.geometry.transform import Transform, map_points, map_points_inverse, read_transform
from Testing.Lib.fields.test_fields import smooth_field
from Testing.Lib.geometry.geometries import GRIDS

GRID = GRIDS["oblique anisotropic flipped"]
FLIP = np.array([-1.0, -1.0, 1.0])


@functools.cache
def transform_on(grid: Grid) -> Transform:
    return Transform.from_field(smooth_field(grid.shape), grid)


def points_in(grid: Grid, n: int = 40) -> np.ndarray:
    return grid.to_world(np.random.default_rng(5).uniform(0.2, 0.8, (n, grid.ndim)) * (np.asarray(grid.shape) - 1))


def load(path: Path) -> Any:
    """The transform in a file, evaluated linearly: a grid that comes from a file is cubic otherwise."""
    node = slicer.util.loadTransform(str(path))
    grid = node.GetTransformFromParentAs("vtkOrientedGridTransform", False)
    if grid is not None:
        grid.SetInterpolationModeToLinear()
    return node


def through(node: Any, points: np.ndarray) -> np.ndarray:
    """(n, 3) LPS mm from the fixed to the moving side, by Slicer."""
    transform = node.GetTransformFromParent()
    return np.array([transform.TransformPoint(p) for p in points * FLIP]) * FLIP


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha", ".h5", ".tfm"])
def test_slicer_reads_our_files_as_the_same_map(host: Host, tmp_path: Path, ending: str) -> None:
    transform, points = transform_on(GRID), points_in(GRID)
    transform.save(tmp_path / f"t{ending}")
    np.testing.assert_allclose(through(load(tmp_path / f"t{ending}"), points), transform.map_points(points), atol=1e-3)


@pytest.mark.parametrize(
    ("ending", "several"), [(".nrrd", False), (".h5", False), (".tfm", False), (".h5", True), (".tfm", True)]
)
def test_a_grid_that_slicer_inverted_goes_slicers_way(host: Host, tmp_path: Path, ending: str, several: bool) -> None:
    points = points_in(GRID)
    transform_on(GRID).save(tmp_path / "forward.nrrd")
    node = load(tmp_path / "forward.nrrd")
    node.Inverse()
    if several:
        both = vtk.vtkGeneralTransform()
        both.Translate(7, 0, 0)
        both.Concatenate(node.GetTransformFromParent())
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
        node.SetAndObserveTransformFromParent(both)
    path = tmp_path / f"inverse{ending}"
    assert slicer.util.saveNode(node, str(path))
    expected = through(node, points)
    assert np.abs(expected - points).max() > 0.5
    np.testing.assert_allclose(map_points(read_transform(path), points), expected, atol=0.03)


def markups(kind: str = "Fiducial") -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass(f"vtkMRMLMarkups{kind}Node")
    for k, point in enumerate(points_in(GRID, 5) * FLIP):
        node.AddControlPoint(point, f"point {k}")
    return node


@pytest.mark.parametrize("ending", [".mrk.json", ".fcsv", ".csv"])
@pytest.mark.parametrize("lps", [True, False], ids=["lps", "ras"])
def test_points_that_slicer_wrote(host: Host, tmp_path: Path, ending: str, lps: bool) -> None:
    node, path = markups(), tmp_path / f"p{ending}"
    node.UnsetNthControlPointPosition(1)
    if ending == ".csv":
        slicer.vtkSlicerMarkupsLogic.ExportControlPointsToCSV(node, str(path), lps)
    else:
        kind = "Json" if ending == ".mrk.json" else "Fiducial"
        storage = slicer.mrmlScene.AddNewNodeByClass(f"vtkMRMLMarkups{kind}StorageNode")
        storage.SetFileName(str(path))
        storage.SetCoordinateSystem(slicer.vtkMRMLStorageNode.CoordinateSystemLPS if lps else 0)
        assert storage.WriteData(node)
    points = read_points(path)
    np.testing.assert_allclose(points.positions, points_in(GRID, 5)[[0, 2, 3, 4]], atol=1e-3)
    assert points.placed == (True, False, True, True, True)


@pytest.mark.parametrize("kind", ["Curve", "ClosedCurve", "Line", "Fiducial"])
def test_curves_are_moved_as_slicer_moves_them(host: Host, tmp_path: Path, kind: str) -> None:
    node = markups(kind)
    while kind == "Line" and node.GetNumberOfControlPoints() > 2:
        node.RemoveNthControlPoint(2)
    assert slicer.util.saveNode(node, str(tmp_path / "before.mrk.json"))
    transform = transform_on(GRID)
    points = read_points(tmp_path / "before.mrk.json")
    write_points(points.moved(map_points_inverse(transform, points.positions)), tmp_path / "after.mrk.json")
    transform.save(tmp_path / "t.nrrd")
    node.SetAndObserveTransformNodeID(load(tmp_path / "t.nrrd").GetID())
    node.HardenTransform()
    ours = slicer.util.loadMarkups(str(tmp_path / "after.mrk.json"))
    assert ours.GetClassName() == node.GetClassName()
    np.testing.assert_allclose(
        slicer.util.arrayFromMarkupsControlPoints(ours), slicer.util.arrayFromMarkupsControlPoints(node), atol=0.02
    )
    if kind != "Fiducial":
        lengths = [n.GetMeasurement("length").GetValue() for n in (ours, node)]
        assert lengths[0] == pytest.approx(lengths[1], rel=2e-3)
