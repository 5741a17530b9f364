"""Every way to look at a result, by console and by click; what is seen is what should be seen."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.host import interact

from .. import cases
from ..cases import PLAIN, addVolume, blobs, sceneContent

import slicer  # isort: skip
from DeepRegistrationSlicer.registration.showing import showResult  # isort: skip
from DeepRegistrationSlicer.scene import derived, display, nodes  # isort: skip
from DeepRegistrationSlicer.registration import results  # isort: skip
from DeepRegistrationSlicer.errors import SceneInputError  # isort: skip
from DeepRegistrationSlicer.viewing.looks import Look, Viewer  # isort: skip
from DeepRegistrationSlicer.worker import process  # isort: skip

pytestmark = pytest.mark.usefixtures("host")
SHIFT = 10.0


@pytest.fixture
def result():
    """A moving volume that lies 10 mm to the right of the fixed one, the transform that knows it, and the overlay."""
    fixed = addVolume(blobs((32, 40, 36)), PLAIN, "fixed")
    matrix = PLAIN.copy()
    matrix[0, 3] += SHIFT
    moving = addVolume(blobs((32, 40, 36)), matrix, "moving")
    image = nodes.imageOf(fixed)
    vectors = np.zeros((32, 40, 36, 3), np.float32)
    vectors[..., 0] = -SHIFT  # LPS
    field = sitk.GetImageFromArray(vectors, isVector=True)
    field.CopyInformation(image)
    transformNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "moving to fixed")
    nodes.setField(transformNode, field)
    nodes.setRoles(transformNode, fixed, moving)
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "moved")
    nodes.setVolume(volume, derived.moved(moving, fixed, transformNode))
    made = results.ResultNodes(transformNode, volume=volume, report={"verdict": "good", "reasons": ["Fine."]})
    transformNode.SetNodeReferenceID(results.VOLUME_ROLE, volume.GetID())
    results.setReport(transformNode, made.report)
    showResult(fixed, moving, made)
    return made


@pytest.fixture
def viewer():
    made = Viewer()
    yield made
    if made.look is not None:
        made.clear()


def picture(name="Red"):
    """What the view shows but for its legend of colors."""
    legends = [n for n in slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode") if n.GetVisibility()]
    for legend in legends:
        legend.SetVisibility(False)
    shown = cases.HOST.slice_view(name).render().astype(int)
    for legend in legends:
        legend.SetVisibility(True)
    return shown


def test_the_moved_volume_is_the_fixed_one(result):
    fixed = slicer.util.arrayFromVolume(slicer.util.getNode("fixed"))
    moved = slicer.util.arrayFromVolume(result.volume)
    assert np.abs(moved - fixed)[:, :, 6:-6].max() < 1e-3


def test_overlay_after_shows_one_image_and_before_two(result, viewer):
    viewer.show(Look.OVERLAY, result.transform, opacity=0.0)
    alone = picture()
    viewer.show(Look.OVERLAY, result.transform, opacity=0.5)
    assert np.abs(picture() - alone).mean() < 1
    viewer.show("overlay", result.transform, after=False)
    assert np.abs(picture() - alone).mean() > 5


def test_blink_shows_one_and_the_other(result, viewer):
    viewer.show("blink", result.transform, after=False)
    first = picture()
    viewer._blink()
    second = picture()
    viewer._blink()
    assert np.abs(first - second).mean() > 5
    assert np.abs(picture() - first).mean() == 0
    composite = slicer.util.getNode("vtkMRMLSliceCompositeNode*")
    interact.wait_until(lambda: composite.GetForegroundOpacity() == 0)  # by itself
    viewer.show("overlay", result.transform)
    interact.process_events(1500)
    assert composite.GetForegroundOpacity() == 0.5


def test_checkerboard_is_seamless_after_and_torn_before(result, viewer):
    viewer.show("overlay", result.transform, opacity=0.0)
    plain = picture()
    viewer.show("checkerboard", result.transform)
    after = np.abs(picture() - plain).mean()
    viewer.show("checkerboard", result.transform, after=False)
    assert after < 3
    assert np.abs(picture() - plain).mean() > 2 * after + 3


def test_side_by_side_shows_fixed_left_and_moved_right_in_one_plane(result, viewer):
    manager = slicer.app.layoutManager()
    before = manager.layout
    yellow = manager.sliceWidget("Yellow").mrmlSliceNode()
    orientation = slicer.util.arrayFromVTKMatrix(yellow.GetSliceToRAS()).copy()
    viewer.show("sideBySide", result.transform)
    assert manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutSideBySideView
    left, right = (manager.sliceWidget(name).mrmlSliceCompositeNode() for name in ("Red", "Yellow"))
    assert left.GetBackgroundVolumeID() == slicer.util.getNode("fixed").GetID()
    assert right.GetBackgroundVolumeID() == result.volume.GetID()
    assert left.GetLinkedControl()
    assert right.GetLinkedControl()
    assert np.abs(picture("Red") - picture("Yellow")).mean() < 2
    viewer.show("sideBySide", result.transform, after=False)
    assert np.abs(picture("Red") - picture("Yellow")).mean() > 5
    viewer.show("overlay", result.transform)
    assert manager.layout == before
    assert np.allclose(slicer.util.arrayFromVTKMatrix(yellow.GetSliceToRAS()), orientation)


def test_difference_is_dark_after_and_colored_before(result, viewer):
    viewer.show("difference", result.transform)
    after = picture().mean()
    viewer.show("difference", result.transform, after=False)
    assert picture().mean() > after + 5


@pytest.mark.parametrize("look", ["grid", "arrows"])
def test_the_transform_itself_is_drawn(result, viewer, look):
    viewer.show("overlay", result.transform)
    plain = picture()
    viewer.show(look, result.transform)
    colored = np.ptp(picture(), axis=-1)  # the images are gray, grid and arrows are not
    assert (colored > 60).sum() > 300
    viewer.show(look, result.transform, after=False)
    assert (np.ptp(picture(), axis=-1) > 60).sum() == 0
    viewer.show("overlay", result.transform)
    assert np.abs(picture() - plain).mean() == 0


def test_a_shift_changes_no_volume(result, viewer):
    viewer.show("jacobian", result.transform)
    assert np.ptp(picture(), axis=-1).max() < 20


def test_doubt_is_dark_after_and_bright_before(result, viewer):
    viewer.show("doubt", result.transform)
    viewer.wait()
    after = (np.ptp(picture(), axis=-1) > 60).mean()
    viewer.show("doubt", result.transform, after=False)
    viewer.wait()
    assert after < 0.05
    assert (np.ptp(picture(), axis=-1) > 60).mean() > after + 0.05


class TestNothingTakesLong:
    """What is slow is made by the worker, or once."""

    @pytest.fixture
    def runs(self, viewer):
        made, makeProcess = [], viewer.doubtMaker.answer.makeProcess
        viewer.doubtMaker.answer.makeProcess = lambda: made.append(1) or makeProcess()
        return made

    def test_doubt_is_made_in_a_process_of_its_own_and_once(self, result, viewer, runs):
        said = []
        viewer.said.connect(said.append)
        viewer.show("doubt", result.transform)
        assert viewer.doubtMaker.answer.isRunning
        assert not [n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if n.GetName() == "Doubt"]
        viewer.show("doubt", result.transform, opacity=0.3)  # as a slider does; not asked again
        interact.wait_until(lambda: not viewer.doubtMaker.answer.isRunning, 60)
        assert slicer.util.getNode("Doubt").GetImageData() is not None
        composite = slicer.util.getNode("vtkMRMLSliceCompositeNode*")
        assert composite.GetForegroundOpacity() == pytest.approx(0.3)
        assert said[-1] == "The map of doubt is shown."
        viewer.show("overlay", result.transform)
        viewer.show("doubt", result.transform)
        assert not viewer.doubtMaker.answer.isRunning
        assert runs == [1]

    @pytest.mark.parametrize("what", ["emptied", "moved", "window"])
    def test_what_changes_meanwhile_gets_no_map_of_before(self, result, viewer, runs, what):
        said, fixed = [], slicer.util.getNode("fixed")
        viewer.said.connect(said.append)
        viewer.show("doubt", result.transform)
        if what == "emptied":
            fixed.SetAndObserveImageData(None)
        elif what == "moved":
            slicer.util.getNode("moving").SetOrigin(0, 0, 0)
        else:
            fixed.GetDisplayNode().SetWindow(77)  # only how it looks
        viewer.wait()
        assert ("changed while doubt was measured" in said[-1]) is (what != "window")
        assert len([n for n in viewer._helpers() if n.GetName() == "Doubt"]) == (what == "window")

    def test_a_look_that_was_left_does_not_come_back(self, result, viewer, runs):
        viewer.show("doubt", result.transform)
        viewer.show("checkerboard", result.transform)
        viewer.wait()
        assert [n.GetName() for n in viewer._helpers()] == ["Checkerboard"]
        viewer.show("doubt", result.transform)
        assert not viewer.doubtMaker.answer.isRunning  # it is known meanwhile
        viewer.clear()
        viewer.show("doubt", result.transform)
        viewer.clear()
        assert not viewer.doubtMaker.answer.isRunning

    def test_a_worker_that_fails_is_one_sentence(self, result, viewer):
        viewer.doubtMaker.answer.makeProcess = lambda: process.LibraryProcess(code="raise SystemExit(1)")
        said = []
        viewer.said.connect(said.append)
        viewer.show("doubt", result.transform)
        viewer.wait()
        assert "stopped unexpectedly" in said[-1]

    def test_images_are_moved_and_compared_once(self, result, viewer, monkeypatch):
        calls = []
        for name in ("moved", "checkerboard", "changeOn"):
            was = getattr(derived, name)
            monkeypatch.setattr(derived, name, lambda *a, was=was, name=name: calls.append(name) or was(*a))
        for _again in range(3):
            for look in ("checkerboard", "difference", "jacobian"):
                viewer.show(look, result.transform)
        assert sorted(calls) == ["changeOn", "checkerboard"]  # the moved volume is there
        viewer.show("checkerboard", result.transform, after=False)
        assert sorted(calls) == ["changeOn", "checkerboard", "checkerboard", "moved"]
        nodes.setField(result.transform, derived.fieldOf(result.transform))  # another field
        viewer.show("difference", result.transform)
        assert calls.count("moved") == 2
        shown = slicer.util.getNode("moving").GetDisplayNode()
        shown.SetAutoWindowLevel(False)
        shown.SetWindow(shown.GetWindow() * 2)
        viewer.show("checkerboard", result.transform)
        assert calls.count("checkerboard") == 3
        plain = slicer.util.arrayFromVolume(result.volume)
        plain[:] = plain[:, :, ::-1].copy()
        result.volume.GetImageData().Modified()  # it shows what the overlay shows
        viewer.show("checkerboard", result.transform)
        assert calls.count("checkerboard") == 4


def test_clear_leaves_nothing_behind(result, viewer):
    before = sceneContent()
    for look in Look:
        viewer.show(look, result.transform)
        viewer.show(look, result.transform, after=False)
    viewer.clear()
    new = [slicer.mrmlScene.GetNodeByID(i) for i in set(sceneContent()) - set(before)]
    kinds = {node.GetClassName() for node in new}
    assert kinds <= {"vtkMRMLColorTableNode", "vtkMRMLTransformDisplayNode", "vtkMRMLProceduralColorNode"} | {
        node.GetClassName() for node in new if node.GetHideFromEditors() and not node.IsA("vtkMRMLVolumeNode")
    }
    assert not [n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if n.GetHideFromEditors()]


def test_helpers_are_not_saved(result, viewer, tmp_path):
    viewer.show("checkerboard", result.transform)
    path = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(path))
    viewer.clear()
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(path))
    names = {n.GetName() for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")}
    assert names == {"fixed", "moving", "moved"}


def test_without_the_moved_volume_it_is_made_for_the_look(result, viewer):
    results.remove(result.volume)
    for look in ("overlay", "sideBySide", "checkerboard"):
        viewer.show(look, result.transform)
    viewer.show("overlay", result.transform, opacity=0.0)
    alone = picture()
    viewer.show("overlay", result.transform, opacity=0.5)
    assert np.abs(picture() - alone).mean() < 2


def test_before_is_before_even_if_the_moving_volume_is_under_the_transform(result, viewer):
    moving = slicer.util.getNode("moving")
    moving.SetAndObserveTransformNodeID(result.transform.GetID())
    viewer.show("overlay", result.transform, opacity=0.0)
    alone = picture()
    viewer.show("overlay", result.transform, after=False)
    assert np.abs(picture() - alone).mean() > 5


def test_a_transform_without_its_volumes_is_one_sentence(result, viewer):
    slicer.mrmlScene.RemoveNode(slicer.util.getNode("moving"))
    with pytest.raises(SceneInputError, match="no longer in the scene"):
        viewer.show("overlay", result.transform)


def test_windows_ignore_the_background():
    low, high = display.contentRange(addVolume(np.pad(np.full((9, 9, 9), 100.0), 30), PLAIN))
    assert (low, high) == (100, pytest.approx(100))


class TestPanel:
    @pytest.fixture
    def ui(self, panel, result):
        panel.panel.parameters.outputTransform = result.transform
        panel.ui.imagesButton.collapsed = panel.ui.outputsButton.collapsed = True
        panel.ui.lookButton.collapsed = False
        interact.process_events()
        return panel.ui

    @pytest.mark.parametrize("look", list(Look))
    def test_every_look_is_one_click(self, panel, ui, look):
        section = panel.panel.sections["look"]
        button = section.buttons[look]
        interact.click(button)
        assert section.viewer.look is look
        assert [b for b in section.buttons.values() if b.checked] == [button]
        interact.click(button)
        assert section.viewer.look is Look.OVERLAY

    @pytest.mark.parametrize(
        ("look", "title"),
        [(Look.DOUBT, "Doubt"), (Look.JACOBIAN, "Volume change"), (Look.ARROWS, "Moved by (mm)")],
    )
    def test_colors_have_their_legend_by_click(self, panel, ui, look, title):
        section = panel.panel.sections["look"]
        interact.click(section.buttons[look])
        section.viewer.wait()  # doubt is made by the worker
        legends = slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode")
        assert [legend.GetTitleText() for legend in legends] == [title]
        interact.click(ui.overlayButton)
        assert slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode") == []

    def test_before_and_after_with_a_click_or_a_key(self, panel, ui):
        interact.click(ui.overlayButton)
        after = picture()
        interact.click(ui.beforeButton)
        assert ui.beforeButton.text == "Show after"
        assert np.abs(picture() - after).mean() > 5
        interact.click(ui.beforeButton)
        assert np.abs(picture() - after).mean() == 0

    def test_the_slider_sets_the_opacity(self, panel, ui):
        interact.click(ui.overlayButton)
        ui.opacitySlider.value = 0.2
        composite = slicer.util.getNode("vtkMRMLSliceCompositeNode*")
        assert composite.GetForegroundOpacity() == pytest.approx(0.2)

    def test_another_transform_ends_the_look(self, panel, ui):
        interact.click(ui.checkerboardButton)
        panel.panel.parameters.outputTransform = None
        interact.process_events()
        assert panel.panel.sections["look"].viewer.look is None
        assert not ui.checkerboardButton.enabled

    def test_closing_the_scene_in_a_look_is_fine(self, panel, ui):
        for button in ("blinkButton", "sideBySideButton", "gridButton"):
            interact.click(getattr(ui, button))
        slicer.mrmlScene.Clear(0)
        interact.process_events(100)
        assert panel.panel.sections["look"].viewer.look is None


@pytest.mark.parametrize(("look", "title"), [("jacobian", "Volume change"), ("arrows", "Moved by (mm)")])
def test_a_look_in_colors_has_a_legend_that_goes_with_it(host, look, title):
    fixed, moving = addVolume(blobs(), PLAIN, "fixed"), addVolume(blobs(), PLAIN, "moving")
    transformNode = cases.bendingTransform()
    field = sitk.GetImageFromArray(np.tile(np.float32([4, 3, 3]), (32, 32, 32, 1)), isVector=True)
    field.CopyInformation(nodes.imageOf(fixed))
    nodes.setField(transformNode, field)
    nodes.setRoles(transformNode, fixed, moving)
    results.setReport(transformNode, {"verdict": "good", "max_displacement_mm": 23.5})
    viewer, view = Viewer(), host.slice_view("Red")
    viewer.show("overlay", transformNode)
    view.render()

    def legends():
        return slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode")

    for _again in range(2):
        viewer.show(look, transformNode)
        assert [legend.GetTitleText() for legend in legends()] == [title]
        assert legends()[0].GetColorNode() is not None
        if look == "arrows":  # the red end is the farthest that anything moved
            assert transformNode.GetDisplayNode().GetColorMap().GetRange() == (0, 23.5)
        with_legend = view.render()
        legends()[0].SetVisibility(False)
        assert np.abs(with_legend.astype(int) - view.render()).max() > 100  # it was drawn
        viewer.show("checkerboard", transformNode)
        assert legends() == []
    viewer.show(look, transformNode, after=False)
    viewer.clear()
    assert legends() == []
