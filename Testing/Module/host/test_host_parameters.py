"""The host's parameterNodeWrapper: types, validation, scene files, and the binding to widgets both ways."""

from __future__ import annotations

import enum
import pathlib
from pathlib import Path
from typing import Annotated, Any, Optional, Union

import numpy as np
import pytest

from Testing.host import Host, boot, interact

boot()

import ctk
import qt
import slicer
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode, vtkMRMLTransformNode
from slicer.parameterNodeWrapper import (
    Choice,
    Decimals,
    Default,
    Maximum,
    Minimum,
    NotNone,
    WithinRange,
    findChildWidgetForParameter,
    isParameterNodeWrapper,
    parameterNodeWrapper,
)
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic


class Quality(enum.Enum):
    FAST = 1
    ACCURATE = 2

    def label(self) -> str:
        return self.name.title()


@parameterNodeWrapper
class Parameters:
    fixed: vtkMRMLScalarVolumeNode
    mask: Union[vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode, None]  # noqa: UP007 - Slicer wants Union
    initial: Optional[vtkMRMLTransformNode]  # noqa: UP045
    moving: list[vtkMRMLScalarVolumeNode]
    quality: Quality = Quality.ACCURATE
    smoothness: Annotated[float, WithinRange(0.0, 10.0), Decimals(1)] = 3.0
    method: Annotated[str, Choice(["none", "universal"])] = "universal"
    affine: bool = True
    seed: Annotated[int, Minimum(0), Maximum(99), Default(7)]
    note: str
    weights: pathlib.Path
    spacing: list[float]


class ProbeLogic(ScriptedLoadableModuleLogic):
    def parameters(self) -> Any:
        return Parameters(self.getParameterNode())


def add_volume(name: str) -> Any:
    return slicer.util.addVolumeFromArray(
        np.zeros((3, 4, 5), np.int16), name=name, nodeClassName="vtkMRMLScalarVolumeNode"
    )


@pytest.fixture
def parameters(host: Host) -> Any:
    return ProbeLogic().parameters()


class TestValues:
    def test_defaults_are_those_of_the_class_or_of_the_type(self, parameters: Any) -> None:
        assert parameters.fixed is parameters.initial is parameters.mask is None
        assert parameters.moving == []
        assert parameters.quality is Quality.ACCURATE
        assert (parameters.smoothness, parameters.method, parameters.affine) == (3.0, "universal", True)
        assert (parameters.seed, parameters.note, parameters.weights) == (7, "", Path())

    def test_refused_values_raise_and_change_nothing(self, parameters: Any) -> None:
        for name, value in {
            "smoothness": 10.5,
            "seed": -1,
            "method": "other",
            "quality": "FAST",
            "affine": 1,
            "fixed": parameters.parameterNode,
            "mask": parameters.parameterNode,
            "note": None,
            "spacing": [1.0, "two"],
        }.items():
            before = parameters.getValue(name)
            with pytest.raises((TypeError, ValueError)):
                setattr(parameters, name, value)
            assert parameters.getValue(name) == before, name

    def test_values_lie_in_the_node_as_slicer_writes_them(self, parameters: Any) -> None:
        node = parameters.parameterNode
        volume = add_volume("a")
        parameters.fixed = volume
        parameters.moving = [volume]
        parameters.initial = None
        assert node.GetParameter("quality") == "ACCURATE"
        assert node.GetParameter("affine") == "True"
        assert node.GetParameter("smoothness") == "3.0"
        assert node.GetNodeReference("fixed") is volume
        assert node.GetParameter("moving_len") == "1"
        assert node.GetNodeReference("moving_0") is volume
        assert node.GetParameter("initial_1") == "True"

    def test_a_list_writes_through_and_is_no_list(self, parameters: Any) -> None:
        first, second = add_volume("a"), add_volume("b")
        parameters.moving = [first]
        parameters.moving.append(second)
        assert list(Parameters(parameters.parameterNode).moving) == [first, second]
        parameters.moving = []
        assert parameters.parameterNode.GetNodeReference("moving_1") is None
        with pytest.raises(NotImplementedError):
            _ = parameters.moving + [first]  # noqa: RUF005 - the addition is the point

    def test_a_union_holds_either_node(self, parameters: Any) -> None:
        segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        for value in (add_volume("a"), segmentation, None):
            parameters.mask = value
            assert parameters.mask is value

    def test_unknown_names_and_reserved_names_are_refused(self, parameters: Any) -> None:
        with pytest.raises(ValueError, match="Cannot find"):
            parameters.setValue("smothness", 1.0)
        with pytest.raises(ValueError, match="reserved"):

            @parameterNodeWrapper
            class Clash:
                default: int

    def test_types_that_slicer_cannot_store_are_refused(self, host: Host) -> None:
        with pytest.raises(TypeError, match="Optional"):

            @parameterNodeWrapper
            class Modern:
                node: vtkMRMLTransformNode | None

    def test_the_wrapper_is_known_by_its_class(self, parameters: Any) -> None:
        assert isParameterNodeWrapper(parameters)
        assert Parameters.dataType("affine") is bool
        assert parameters.default("seed").value == 7

    def test_not_none_is_asked(self, host: Host) -> None:
        @parameterNodeWrapper
        class Strict:
            fixed: Annotated[vtkMRMLScalarVolumeNode, NotNone()]

        with pytest.raises(ValueError, match="None"):
            Strict(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))


class TestScene:
    def test_all_values_survive_a_scene_file(self, parameters: Any, tmp_path: Path) -> None:
        volumes = [add_volume("a"), add_volume("b")]
        parameters.fixed, parameters.moving = volumes[0], volumes
        parameters.mask, parameters.quality = volumes[1], Quality.FAST
        parameters.smoothness, parameters.method, parameters.affine = 7.5, "none", False
        parameters.seed, parameters.note, parameters.weights = 9, 'a, b; c="d"', Path("/models/x")
        parameters.spacing = [1.5, 2.0]
        assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
        slicer.mrmlScene.Clear(False)
        assert parameters.smoothness == 3.0  # the closed scene took the values with it
        assert parameters.fixed is None
        slicer.util.loadScene(str(tmp_path / "scene.mrb"))
        again = ProbeLogic().parameters()
        assert again.fixed.GetName() == "a"
        assert [node.GetName() for node in again.moving] == ["a", "b"]
        assert again.mask.GetName() == "b"
        assert (again.quality, again.smoothness, again.method, again.affine) == (Quality.FAST, 7.5, "none", False)
        assert (again.seed, again.note, again.weights) == (9, 'a, b; c="d"', Path("/models/x"))
        assert again.spacing == [1.5, 2.0]

    def test_a_renamed_enumeration_member_breaks_the_old_scene(self, host: Host) -> None:
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
        node.SetParameter("quality", "QUICK")
        with pytest.raises(ValueError, match="QUICK"):
            Parameters(node)


class Form:
    """One widget for each kind of parameter, bound by the dynamic property."""

    def __init__(self) -> None:
        self.widget = qt.QWidget()
        layout = qt.QFormLayout(self.widget)
        self.fixed, self.mask = slicer.qMRMLNodeComboBox(), slicer.qMRMLNodeComboBox()
        self.quality, self.method = qt.QComboBox(), qt.QComboBox()
        self.smoothness, self.seed = ctk.ctkSliderWidget(), qt.QSpinBox()
        self.affine, self.note, self.weights = qt.QCheckBox(), qt.QLineEdit(), ctk.ctkPathLineEdit()
        for name, widget in vars(self).items():
            if name != "widget":
                widget.objectName = name
                widget.setProperty("SlicerParameterName", name)
                layout.addRow(name, widget)
        for selector in (self.fixed, self.mask):
            selector.noneEnabled = True
            selector.setMRMLScene(slicer.mrmlScene)


class TestGui:
    @pytest.fixture
    def form(self, parameters: Any) -> Form:
        form = Form()
        parameters.connectGui(slicer.util.childWidgetVariables(form.widget))
        return form

    def test_widgets_show_the_parameters(self, parameters: Any, form: Form) -> None:
        volume = add_volume("a")
        parameters.fixed = volume
        parameters.quality = Quality.FAST
        parameters.smoothness = 4.5
        parameters.affine = False
        parameters.note = "text"
        parameters.weights = Path("/x")
        assert form.fixed.currentNode() is volume
        assert form.quality.currentText == "Fast"
        assert interact.entries(form.method) == ["none", "universal"]
        assert form.method.currentText == "universal"
        assert (form.smoothness.value, form.smoothness.maximum, form.smoothness.decimals) == (4.5, 10.0, 1)
        assert (form.seed.value, form.seed.maximum) == (7, 99)
        assert (form.affine.checked, form.note.text, form.weights.currentPath) == (False, "text", "/x")

    def test_parameters_follow_the_user(self, parameters: Any, form: Form) -> None:
        volume = add_volume("a")
        form.widget.show()
        interact.choose(form.fixed, "a")
        interact.choose(form.mask, "a")
        interact.choose(form.quality, "Fast")
        interact.choose(form.method, "none")
        interact.click(form.affine)
        interact.type_text(form.note, "typed")
        form.smoothness.value = 1.5
        form.seed.value = 11
        assert parameters.fixed is parameters.mask is volume
        assert (parameters.quality, parameters.method, parameters.affine) == (Quality.FAST, "none", False)
        assert (parameters.note, parameters.smoothness, parameters.seed) == ("typed", 1.5, 11)
        interact.choose(form.fixed, "None")
        assert parameters.fixed is None

    def test_a_selector_offers_the_types_of_its_parameter(self, form: Form) -> None:
        assert form.fixed.nodeTypes == ("vtkMRMLScalarVolumeNode",)
        assert form.mask.nodeTypes == ("vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode")

    def test_observers_hear_of_every_change(self, parameters: Any, form: Form) -> None:
        heard: list[float] = []
        parameters.AddObserver("ModifiedEvent", lambda *_: heard.append(parameters.smoothness))
        form.smoothness.value = 2.0
        parameters.smoothness = 8.0
        assert heard == [2.0, 8.0]

    def test_closing_the_scene_resets_the_widgets(self, parameters: Any, form: Form) -> None:
        parameters.fixed = add_volume("a")
        parameters.smoothness = 9.0
        slicer.mrmlScene.Clear(False)
        assert form.fixed.currentNode() is None
        assert form.smoothness.value == 3.0

    def test_a_new_wrapper_after_loading_shows_the_scene(self, parameters: Any, form: Form, tmp_path: Path) -> None:
        parameters.fixed = add_volume("a")
        parameters.quality = Quality.FAST
        slicer.util.saveScene(str(tmp_path / "scene.mrb"))
        slicer.mrmlScene.Clear(False)
        slicer.util.loadScene(str(tmp_path / "scene.mrb"))
        again = ProbeLogic().parameters()
        again.connectGui(form.widget)
        assert form.fixed.currentNode().GetName() == "a"
        assert form.quality.currentText == "Fast"

    def test_a_disconnected_gui_is_left_alone(self, parameters: Any, host: Host) -> None:
        slider = ctk.ctkSliderWidget()
        tag = parameters.connectParametersToGui({"smoothness": slider})
        parameters.disconnectGui(tag)
        parameters.smoothness = 9.0
        assert slider.value == 3.0
        slider.value = 5.0
        assert parameters.smoothness == 9.0

    def test_pairs_that_slicer_cannot_bind_are_refused(self, parameters: Any) -> None:
        class MySlider(ctk.ctkSliderWidget):
            pass

        for name, widget in {"smoothness": MySlider(), "spacing": qt.QLineEdit(), "note": qt.QComboBox()}.items():
            with pytest.raises(RuntimeError):
                parameters.connectParametersToGui({name: widget})

        @parameterNodeWrapper
        class Unbounded:
            factor: float

        unbounded = Unbounded(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
        with pytest.raises(RuntimeError, match="slider"):
            unbounded.connectParametersToGui({"factor": ctk.ctkSliderWidget()})

    def test_a_widget_is_found_by_its_parameter(self, form: Form) -> None:
        assert findChildWidgetForParameter(form.widget, "seed") is form.seed
