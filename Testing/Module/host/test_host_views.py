"""The host's slice views and layout, and the conventions of grid transforms on the real MRML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.host import Host, boot

boot()

import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

SHAPE = (24, 30, 36)


def ball(center: tuple[float, float, float], radius: float = 8.0) -> np.ndarray:
    """A bright ball on black, float32 (k, j, i)."""
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"), -1)
    return (100.0 / (1.0 + np.exp(np.linalg.norm(grid - center, axis=-1) - radius))).astype(np.float32)


def add_volume(array: np.ndarray, name: str, ijk_to_ras: np.ndarray | None = None) -> Any:
    node = slicer.util.addVolumeFromArray(
        array, ijkToRAS=ijk_to_ras, name=name, nodeClassName="vtkMRMLScalarVolumeNode"
    )
    node.CreateDefaultDisplayNodes()
    return node


def add_grid_transform(displacement: np.ndarray, ijk_to_ras: np.ndarray) -> Any:
    """A transform node whose from-parent grid holds ``displacement`` (k, j, i, 3), RAS mm."""
    spacing = np.linalg.norm(ijk_to_ras[:3, :3], axis=0)
    directions = np.eye(4)
    directions[:3, :3] = ijk_to_ras[:3, :3] / spacing
    image = vtk.vtkImageData()
    image.SetDimensions(*displacement.shape[2::-1])
    image.SetSpacing(*spacing)
    image.SetOrigin(*ijk_to_ras[:3, 3])
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(displacement.reshape(-1, 3)), deep=True))
    transform = slicer.vtkOrientedGridTransform()
    transform.SetGridDirectionMatrix(slicer.util.vtkMatrixFromArray(directions))
    transform.SetDisplacementGridData(image)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode")
    node.SetAndObserveTransformFromParent(transform)
    return node


def oblique_geometry() -> np.ndarray:
    """IJK to RAS: rotated about two axes, three spacings."""
    a, b = 0.3, -0.2
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ tilt @ np.diag([1.5, 2.0, 2.5])
    matrix[:3, 3] = (-20, 10, 5)
    return matrix


class TestSliceView:
    def test_an_empty_view_is_black(self, host: Host) -> None:
        assert host.slice_view("Red").render().max() == 0

    def test_a_png_shows_the_volume(self, host: Host, tmp_path: Path) -> None:
        view = host.slice_view("Red")
        view.show(add_volume(ball((12, 15, 18)), "a"))
        picture = view.save(tmp_path / "red.png")
        assert picture.shape == (400, 400, 3)
        assert picture[200, 200].min() > 200
        assert picture[5, 5].max() < 20
        reader = vtk.vtkPNGReader()
        reader.SetFileName(str(tmp_path / "red.png"))
        reader.Update()
        assert reader.GetOutput().GetDimensions()[:2] == (400, 400)

    def test_the_view_is_oriented_as_in_slicer(self, host: Host) -> None:
        array = np.zeros(SHAPE, np.float32)
        array[:, :15, :18] = 100  # low i and j: to the right (R) and posterior (bottom) with LPS axes
        view = host.slice_view("Red")
        view.show(add_volume(array, "a", np.diag([-1.0, -1.0, 1.0, 1.0])))
        picture = view.render().mean(-1)
        rows, columns = np.nonzero(picture > 128)
        assert columns.mean() < 200  # the patient's right is on the left of the view
        assert rows.mean() < 200  # anterior is on top

    def test_opacity_blends_the_foreground(self, host: Host) -> None:
        view = host.slice_view("Red")
        volumes = add_volume(ball((12, 15, 12)), "a"), add_volume(ball((12, 15, 24)), "b")
        view.show(*volumes, opacity=0.0)
        first = view.render().astype(float)
        view.show(*volumes, opacity=1.0)
        second = view.render().astype(float)
        view.show(*volumes, opacity=0.5)
        both = view.render().astype(float)
        assert np.abs(first - second).max() > 150
        assert np.abs(both - (first + second) / 2).max() < 4
        assert np.abs(view.blend().astype(float) - both).max() < 4

    def test_set_slice_viewer_layers_reaches_every_view(self, host: Host) -> None:
        volume = add_volume(ball((12, 15, 18)), "a")
        slicer.util.setSliceViewerLayers(background=volume, fit=True)
        for name in slicer.app.layoutManager().sliceViewNames():
            assert host.slice_view(name).render()[200, 200].min() > 200

    def test_planes_are_those_of_slicer(self, host: Host) -> None:
        manager = slicer.app.layoutManager()
        planes = {n: manager.sliceWidget(n).mrmlSliceNode().GetOrientation() for n in manager.sliceViewNames()}
        assert planes == {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}

    @pytest.mark.parametrize("mode", ["GRID", "GLYPH"])
    def test_a_transform_is_drawn(self, host: Host, mode: str) -> None:
        volume = add_volume(np.zeros(SHAPE, np.float32), "a")
        displacement = np.zeros((*SHAPE, 3))
        displacement[..., 0] = 0.06 * ball((12, 15, 18))
        transform = add_grid_transform(displacement, np.eye(4))
        view = host.slice_view("Red")
        view.show(volume)
        assert view.render().max() == 0
        transform.CreateDefaultDisplayNodes()
        display = transform.GetDisplayNode()
        display.SetVisualizationMode(getattr(display, f"VIS_MODE_{mode}"))
        display.SetGridSpacingMm(4)
        display.SetGlyphSpacingMm(4)
        display.SetVisibility(True)
        display.SetVisibility2D(True)
        picture = view.render().astype(int)
        colored = np.ptp(picture, axis=-1) > 60  # Slicer colors by displacement
        assert 200 < colored.sum() < 80_000
        display.SetVisibility(False)
        assert view.render().max() == 0

    def test_markups_are_drawn_where_they_are(self, host: Host) -> None:
        view = host.slice_view("Red")
        view.show(add_volume(np.zeros(SHAPE, np.float32), "a"))
        points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
        points.CreateDefaultDisplayNodes()
        points.GetDisplayNode().SetPointLabelsVisibility(False)
        points.AddControlPoint(18, 15, view.node.GetSliceOffset())
        rows, columns = np.nonzero(view.render().max(-1) > 100)
        assert len(rows) > 20
        assert abs(rows.mean() - 200) < 10
        assert abs(columns.mean() - 200) < 10

    def test_a_view_can_be_resized(self, host: Host) -> None:
        view = host.slice_view("Red")
        view.resize((300, 200))
        try:
            assert view.render().shape == (200, 300, 3)
        finally:
            view.resize((400, 400))


class TestLayout:
    def test_layouts_are_set_and_recorded(self, host: Host) -> None:
        manager = slicer.app.layoutManager()
        heard: list[int] = []
        manager.connect("layoutChanged(int)", heard.append)
        wanted = slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView
        manager.setLayout(wanted)
        assert manager.layout == wanted
        assert host.layouts == heard == [wanted]
        assert slicer.app.layoutManager().layoutLogic().GetLayoutNode().GetViewArrangement() == wanted

    def test_a_custom_layout_brings_its_own_views(self, host: Host) -> None:
        manager = slicer.app.layoutManager()
        description = (
            '<layout type="horizontal"><item><view class="vtkMRMLSliceNode" singletontag="Before">'
            '<property name="orientation" action="default">Coronal</property></view></item></layout>'
        )
        manager.layoutLogic().GetLayoutNode().AddLayoutDescription(981, description)
        manager.setLayout(981)
        assert "Before" in manager.sliceViewNames()
        view = host.slice_view("Before")
        view.show(add_volume(ball((12, 15, 18)), "a"))
        assert view.render()[200, 200].min() > 200

    def test_views_fit_their_contents(self, host: Host) -> None:
        volume = add_volume(ball((12, 15, 18)), "a", np.diag([3.0, 3.0, 3.0, 1.0]))
        slicer.util.setSliceViewerLayers(background=volume)
        slicer.util.resetSliceViews()
        field = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode().GetFieldOfView()
        assert 80 < max(field[:2]) < 200


class TestTransformConvention:
    """Facts that the module stands on: a field of fixed -> moving vectors is a FROM-parent grid, in RAS."""

    @pytest.fixture
    def case(self, host: Host) -> tuple[Any, sitk.DisplacementFieldTransform, np.ndarray]:
        """(node, the same transform in ITK, IJK to RAS) of a smooth field on an oblique lattice."""
        geometry = oblique_geometry()
        displacement = np.zeros((*SHAPE, 3))
        displacement[..., 0] = 0.05 * ball((12, 15, 18), 9)
        displacement[..., 1] = -0.03 * ball((12, 15, 18), 9)
        displacement[..., 2] = 0.04 * ball((12, 15, 18), 9)
        node = add_grid_transform(displacement, geometry)
        field = sitk.GetImageFromArray(displacement * (-1, -1, 1), isVector=True)
        lps = np.diag([-1.0, -1.0, 1.0]) @ geometry[:3, :3]
        spacing = np.linalg.norm(lps, axis=0)
        field.SetSpacing(spacing)
        field.SetOrigin(geometry[:3, 3] * (-1, -1, 1))
        field.SetDirection((lps / spacing).ravel())
        return node, sitk.DisplacementFieldTransform(field), geometry

    def test_points_go_where_itk_sends_them(self, case: Any) -> None:
        node, transform, geometry = case
        for ijk in ((10.3, 12.7, 8.1), (18, 15, 12), (25.5, 20.25, 15)):
            ras = (geometry @ (*ijk, 1))[:3]
            expected = np.array(transform.TransformPoint(ras * (-1, -1, 1))) * (-1, -1, 1)
            assert node.GetTransformFromParent().TransformPoint(*ras) == pytest.approx(tuple(expected), abs=1e-4)

    def test_a_moving_point_under_the_node_comes_to_the_fixed_point(self, case: Any) -> None:
        node, transform, geometry = case
        fixed = (geometry @ (17, 15, 12, 1))[:3]
        moving = np.array(transform.TransformPoint(fixed * (-1, -1, 1))) * (-1, -1, 1)
        points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
        points.AddControlPoint(*moving)
        points.SetAndObserveTransformNodeID(node.GetID())
        assert slicer.util.arrayFromMarkupsControlPoints(points, world=True)[0] == pytest.approx(fixed, abs=0.02)

    def test_files_keep_the_transform(self, case: Any, tmp_path: Path) -> None:
        node, transform, geometry = case
        fixed = (geometry @ (17, 15, 12, 1))[:3] * (-1, -1, 1)
        expected = transform.TransformPoint(fixed)
        assert slicer.util.saveNode(node, str(tmp_path / "t.h5"))
        assert sitk.ReadTransform(str(tmp_path / "t.h5")).TransformPoint(fixed) == pytest.approx(expected, abs=1e-4)
        loaded = slicer.util.loadTransform(str(tmp_path / "t.h5"))
        point = loaded.GetTransformFromParent().TransformPoint(*(fixed * (-1, -1, 1)))
        assert np.array(point) * (-1, -1, 1) == pytest.approx(np.array(expected), abs=0.02)  # cubic after reading
