"""The test host itself: .ui files, the application, files, processes, and the life of a scripted module."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.host import Host, boot, interact

boot()

import ctk
import qt
import slicer

VOLUME = "vtkMRMLScalarVolumeNode"


def add_volume(name: str, class_name: str = VOLUME) -> Any:
    return slicer.util.addVolumeFromArray(np.zeros((3, 4, 5), np.int16), name=name, nodeClassName=class_name)


UI = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0"><class>Small</class>
 <widget class="qMRMLWidget" name="Small"><layout class="QVBoxLayout">
  <item><widget class="ctkCollapsibleButton" name="inputs"><property name="text"><string>Inputs</string></property>
   <layout class="QFormLayout">
    <item row="0" column="1"><widget class="qMRMLNodeComboBox" name="fixedSelector">
     <property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
     <property name="noneEnabled"><bool>true</bool></property>
     <property name="SlicerParameterName" stdset="0"><string>fixed</string></property></widget></item>
    <item row="1" column="1"><widget class="ctkPathLineEdit" name="path">
     <property name="filters"><set>ctkPathLineEdit::Files|ctkPathLineEdit::Readable</set></property></widget></item>
   </layout></widget></item>
  <item><widget class="QPushButton" name="applyButton"><property name="text"><string>Apply</string></property></widget>
  </item></layout></widget>
 <customwidgets>
  <customwidget><class>ctkCollapsibleButton</class><extends>QWidget</extends><container>1</container></customwidget>
  <customwidget><class>ctkPathLineEdit</class><extends>QWidget</extends></customwidget>
  <customwidget><class>qMRMLNodeComboBox</class><extends>QWidget</extends></customwidget>
  <customwidget><class>qMRMLWidget</class><extends>QWidget</extends><container>1</container></customwidget>
 </customwidgets>
 <connections><connection><sender>Small</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
  <receiver>fixedSelector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections></ui>"""


class TestUiFiles:
    def load(self, folder: Path, text: str = UI) -> Any:
        file = folder / "Small.ui"
        file.write_text(text, encoding="utf-8")
        return slicer.util.loadUI(str(file))

    def test_a_ui_file_loads_with_its_widgets_and_connections(self, host: Host, tmp_path: Path) -> None:
        widget = self.load(tmp_path)
        ui = slicer.util.childWidgetVariables(widget)
        assert ui.fixedSelector.className() == "qMRMLNodeComboBox"
        assert ui.fixedSelector.property("SlicerParameterName") == "fixed"
        assert ui.path.filters == ctk.ctkPathLineEdit.Files | ctk.ctkPathLineEdit.Readable
        assert not ui.fixedSelector.enabled  # no scene yet
        widget.setMRMLScene(slicer.mrmlScene)
        assert ui.fixedSelector.mrmlScene() is slicer.mrmlScene
        assert ui.fixedSelector.enabled

    def test_a_selector_without_connection_gets_no_scene(self, host: Host, tmp_path: Path) -> None:
        widget = self.load(tmp_path, UI[: UI.index(" <connections>")] + "</ui>")
        widget.setMRMLScene(slicer.mrmlScene)
        assert slicer.util.childWidgetVariables(widget).fixedSelector.mrmlScene() is None

    def test_a_class_that_slicer_lacks_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError, match="qMRMLNodeCombo'"):
            self.load(tmp_path, UI.replace('"qMRMLNodeComboBox"', '"qMRMLNodeCombo"'))

    def test_a_custom_widget_must_be_declared(self, tmp_path: Path) -> None:
        declaration = "<customwidget><class>ctkPathLineEdit</class><extends>QWidget</extends></customwidget>"
        with pytest.raises(RuntimeError, match="ctkPathLineEdit"):
            self.load(tmp_path, UI.replace(declaration, ""))


class TestApplication:
    def test_settings_are_kept_apart_from_the_users(self, host: Host) -> None:
        qt.QSettings().setValue("Key/Number", 3)
        assert slicer.util.settingsValue("Key/Number", 0, converter=int) == 3
        assert str(Path.home() / ".config") not in qt.QSettings().fileName()
        host.reset()
        assert slicer.util.settingsValue("Key/Number", 0, converter=int) == 0

    def test_a_temporary_folder_is_made(self, host: Host) -> None:
        assert Path(slicer.util.tempDirectory()).is_dir()

    def test_nodes_go_to_files_and_back(self, host: Host, tmp_path: Path) -> None:
        volume = add_volume("a")
        volume.SetSpacing(1, 2, 3)
        assert slicer.util.saveNode(volume, str(tmp_path / "a.nrrd"))
        loaded = slicer.util.loadVolume(str(tmp_path / "a.nrrd"), {"name": "loaded"})
        assert loaded.GetName() == "loaded"
        assert loaded.GetSpacing() == (1, 2, 3)
        assert slicer.util.loadLabelVolume(str(tmp_path / "a.nrrd"), {}).IsA("vtkMRMLLabelMapVolumeNode")
        points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
        points.AddControlPoint(1, 2, 3)
        assert slicer.util.saveNode(points, str(tmp_path / "p.mrk.json"))
        assert slicer.util.loadMarkups(str(tmp_path / "p.mrk.json")).GetNthControlPointPosition(0) == (1, 2, 3)
        assert slicer.util.exportNode(volume, str(tmp_path / "b.nii.gz"), {}, world=True)
        assert (tmp_path / "b.nii.gz").exists()
        assert volume.GetStorageNode().GetFileName() == str(tmp_path / "a.nrrd")
        with pytest.raises(RuntimeError, match="Failed to load"):
            slicer.util.loadVolume(str(tmp_path / "none.nrrd"))

    def test_a_segmentation_goes_to_a_file_and_back(self, host: Host, tmp_path: Path) -> None:
        reference = add_volume("reference")
        segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        segmentation.SetReferenceImageGeometryParameterFromVolumeNode(reference)
        segment = segmentation.GetSegmentation().AddEmptySegment("liver")
        mask = np.zeros((3, 4, 5), np.uint8)
        mask[1, 1:3, 1:4] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segment, reference)
        assert slicer.util.saveNode(segmentation, str(tmp_path / "s.seg.nrrd"))
        loaded = slicer.util.loadSegmentation(str(tmp_path / "s.seg.nrrd"))
        again = slicer.util.arrayFromSegmentBinaryLabelmap(
            loaded, loaded.GetSegmentation().GetNthSegmentID(0), reference
        )
        assert np.array_equal(again, mask)

    @pytest.mark.parametrize("name", ["scene.mrb", "scene.mrml"])
    def test_a_scene_goes_to_a_file_and_back(self, host: Host, tmp_path: Path, name: str) -> None:
        volume = add_volume("a")
        slicer.util.arrayFromVolume(volume)[1, 2, 3] = 7
        if name.endswith("mrml"):
            slicer.util.saveNode(volume, str(tmp_path / "a.nrrd"))
        assert slicer.util.saveScene(str(tmp_path / name))
        slicer.mrmlScene.Clear(False)
        slicer.util.loadScene(str(tmp_path / name))
        assert slicer.util.arrayFromVolume(slicer.util.getNode("a"))[1, 2, 3] == 7

    def test_a_console_process_runs_beside_the_event_loop(self, host: Host) -> None:
        lines: list[str] = []
        codes: list[int] = []
        slicer.util.launchConsoleProcess(
            ["PythonSlicer", "-c", "print('one'); print('two')"],
            blocking=False,
            logCallback=lines.append,
            completedCallback=codes.append,
        )
        interact.wait_until(lambda: codes)
        assert (lines, codes) == (["one", "two"], [0])

    def test_python_slicer_is_a_launcher_as_in_slicer(self, host: Host) -> None:
        process = slicer.util.launchConsoleProcess(["PythonSlicer", "-c", "import os; print(os.getpid())"])
        assert int(process.stdout.read()) != process.pid
        process.wait()

    def test_module_logics_are_found(self, host: Host) -> None:
        assert slicer.modules.transforms.logic().IsA("vtkSlicerTransformLogic")
        assert slicer.util.getModuleLogic("Volumes").IsA("vtkSlicerVolumesLogic")

    def test_slicer_cannot_be_given_attributes(self, host: Host) -> None:
        with pytest.raises(AttributeError):
            slicer.app.note = 1


MODULE = """
import qt
import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin

calls = []

class Tiny(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Tiny module")
        parent.categories = ["Registration"]
        slicer.app.connect("startupCompleted()", lambda: calls.append("started"))

class TinyWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath("UI/Tiny.ui"))
        self.layout.addWidget(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.ui = slicer.util.childWidgetVariables(widget)
        self.ui.applyButton.connect("clicked(bool)", self.onApply)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onClosed)

    def onApply(self):
        calls.append(self.ui.fixedSelector.currentNode().GetName())

    def onClosed(self, caller, event):
        calls.append("scene closed")

    def enter(self):
        calls.append("enter")

    def exit(self):
        calls.append("exit")

    def cleanup(self):
        self.removeObservers()
        calls.append("cleanup")

class TinyLogic(ScriptedLoadableModuleLogic):
    pass

class TinyTest(ScriptedLoadableModuleTest):
    def test_something(self):
        calls.append("tested")
"""


class TestScriptedModule:
    @pytest.fixture
    def tiny(self, load_module: Callable[..., Any], tmp_path: Path) -> Any:
        (tmp_path / "Resources" / "UI").mkdir(parents=True)
        (tmp_path / "Resources" / "UI" / "Tiny.ui").write_text(UI, encoding="utf-8")
        (tmp_path / "Tiny.py").write_text(textwrap.dedent(MODULE), encoding="utf-8")
        return load_module(tmp_path / "Tiny.py")

    def test_a_module_lives_as_in_slicer(self, host: Host, tiny: Any) -> None:
        assert slicer.modules.tiny.title == "Tiny module"
        assert slicer.util.modulePath("Tiny").endswith("Tiny.py")
        slicer.util.selectModule("Tiny")
        panel = slicer.modules.TinyWidget
        assert panel.parent.isEntered
        assert slicer.util.selectedModule() == "Tiny"
        assert slicer.util.getModuleWidget("Tiny") is panel
        add_volume("a")
        picture = host.show(panel)
        assert picture.width() == 480
        interact.choose(panel.ui.fixedSelector, "a")
        interact.click(panel.ui.applyButton)
        slicer.mrmlScene.Clear(False)
        slicer.util.selectModule("Volumes")
        host.unload_module("Tiny")
        assert tiny.calls == ["enter", "a", "scene closed", "exit", "cleanup"]
        assert not hasattr(slicer.modules, "tiny")

    def test_a_button_that_a_user_cannot_click_is_an_error(self, host: Host, tiny: Any) -> None:
        slicer.util.selectModule("Tiny")
        panel = slicer.modules.TinyWidget
        with pytest.raises(AssertionError, match="hidden"):
            interact.click(panel.ui.applyButton)
        host.show(panel)
        panel.ui.applyButton.enabled = False
        with pytest.raises(AssertionError, match="disabled"):
            interact.click(panel.ui.applyButton)

    def test_a_collapsed_section_hides_its_widgets(self, host: Host, tiny: Any) -> None:
        slicer.util.selectModule("Tiny")
        panel = slicer.modules.TinyWidget
        host.show(panel)
        interact.click(panel.ui.inputs)
        assert panel.ui.inputs.collapsed
        assert not panel.ui.fixedSelector.visible
        interact.click(panel.ui.inputs)
        assert panel.ui.fixedSelector.visible

    def test_widgets_shown_in_a_collapsed_section_wait_until_it_opens(self, host: Host) -> None:
        section = ctk.ctkCollapsibleButton("x")
        section.collapsed = True
        layout = qt.QVBoxLayout(section)
        late, hidden, shown = qt.QLabel("late"), qt.QLabel("hidden"), qt.QLabel("shown")
        hidden.setVisible(False)
        for label in (late, hidden, shown):
            layout.addWidget(label)
        host.show(section)
        shown.setVisible(True)
        interact.process_events()
        assert [w.visible for w in (late, hidden, shown)] == [False] * 3
        section.collapsed = False
        assert [w.visible for w in (late, hidden, shown)] == [True, False, True]

    def test_a_module_reloads(self, host: Host, tiny: Any) -> None:
        slicer.util.selectModule("Tiny")
        before = slicer.modules.TinyWidget
        before.onReload()
        assert slicer.modules.TinyWidget is not before
        assert tiny.calls[-1] == "cleanup"
        assert sys.modules["Tiny"].calls == ["enter"]

    def test_the_logic_keeps_one_parameter_node(self, host: Host, tiny: Any) -> None:
        node = tiny.TinyLogic().getParameterNode()
        assert node.GetAttribute("ModuleName") == "Tiny"
        assert tiny.TinyLogic().getParameterNode() is node

    def test_the_self_test_runs(self, host: Host, tiny: Any) -> None:
        slicer.selfTests["Tiny"]()
        assert tiny.calls == ["tested"]
