"""What the panel met on Slicer's genuine Python files and widgets, and must not meet again."""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import sys
import types

import numpy as np
import pytest
import slicer

from DeepRegistrationLib.models import header
from Testing.host import interact

from .. import cases
from ..cases import OBLIQUE, addVolume, blobs

from DeepRegistrationSlicer.worker import install, models, process  # isort: skip
from DeepRegistrationSlicer.viewing import looks  # isort: skip
from DeepRegistrationSlicer.panel import parameters  # isort: skip
from DeepRegistrationSlicer.registration import request  # isort: skip
from DeepRegistrationSlicer.errors import RegistrationError  # isort: skip

pytestmark = pytest.mark.usefixtures("host")


def test_shortcuts_outlive_a_change_of_the_text(faked, ui):
    interact.click(ui.applyButton)
    assert ui.applyButton.text == "Cancel"
    interact.wait_until(lambda: not faked.panel.logic.isRunning)
    assert ui.applyButton.text == "Apply"
    assert ui.applyButton.shortcut.toString() == "Ctrl+Return"
    interact.click(ui.beforeButton)
    assert ui.beforeButton.text == "Show after"
    assert ui.beforeButton.shortcut.toString() == "Ctrl+Shift+B"


@pytest.mark.parametrize("look", [look for look in looks.Look if look is not looks.Look.SIDE_BY_SIDE])
def test_a_step_of_the_opacity_computes_nothing(faked, ui, look, monkeypatch):
    interact.click(ui.applyButton)
    interact.wait_until(lambda: not faked.panel.logic.isRunning)
    section = faked.panel.sections["look"]
    section.choose(look)
    section.viewer._ticker.stop()
    monkeypatch.setattr(section.viewer, "show", lambda *_: pytest.fail("shown again"))
    before = cases.sceneContent()
    faked.panel.parameters.opacity = 0.25
    assert cases.sceneContent() == before
    composite = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    if look in looks.FADING:
        assert composite.GetForegroundOpacity() == 0.25


def test_volumes_that_came_later_are_chosen_when_the_module_is_entered_again(panel):
    assert panel.panel.parameters.fixedVolume is None
    first, second = (addVolume(blobs((8, 8, 8)), name=name) for name in ("one", "two"))
    slicer.modules.deepregistration.widgetRepresentation().exit()
    slicer.modules.deepregistration.widgetRepresentation().enter()
    assert (panel.ui.fixedSelector.currentNode(), panel.ui.movingSelector.currentNode()) == (first, second)
    panel.panel.parameters.movingVolume = None
    panel.enter()
    assert panel.panel.parameters.movingVolume is None


def test_a_removed_node_leaves_none_behind_in_every_selector(faked, ui):
    kinds = {
        "initialTransform": "vtkMRMLTransformNode",
        "fixedMask": "vtkMRMLSegmentationNode",
        "movingMask": "vtkMRMLSegmentationNode",
        "fixedLandmarks": "vtkMRMLMarkupsFiducialNode",
        "fixedLabels": "vtkMRMLSegmentationNode",
        "outputTransform": "vtkMRMLTransformNode",
        "movingVolume": "vtkMRMLScalarVolumeNode",
    }
    for name, kind in kinds.items():
        made = [slicer.mrmlScene.AddNewNodeByClass(kind, f"{name} {index}") for index in range(3)]
        setattr(faked.panel.parameters, name, made[1])
        assert getattr(ui, f"{name.removesuffix('Volume')}Selector").currentNode() is made[1]
        slicer.mrmlScene.RemoveNode(made[1])
        assert getattr(faked.panel.parameters, name) is None, name
        assert getattr(ui, f"{name.removesuffix('Volume')}Selector").currentNode() is None
    sequences = [slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", f"s{index}") for index in range(2)]
    ui.severalSequenceSelector.setCurrentNode(sequences[0])
    slicer.mrmlScene.RemoveNode(sequences[0])
    assert ui.severalSequenceSelector.currentNode() is None


class TestVectors:
    def test_a_color_image_is_registered_with_a_word(self, faked, ui):
        color = addVolume(np.zeros((8, 8, 8, 3), np.uint8), OBLIQUE, "photo", "vtkMRMLVectorVolumeNode")
        faked.panel.parameters.movingVolume = color
        assert "photo is a color image: the mean of red, green and blue is registered." in ui.statusLabel.text
        assert ui.applyButton.enabled
        interact.click(ui.applyButton)
        interact.wait_until(lambda: not faked.panel.logic.isRunning)
        assert "photo is a color image" in ui.reportLabel.text

    @pytest.mark.parametrize(
        ("dtype", "components", "kind"),
        [
            (np.float32, 3, "vtkMRMLVectorVolumeNode"),
            (np.int16, 6, "vtkMRMLVectorVolumeNode"),
            (np.uint8, 2, "vtkMRMLVectorVolumeNode"),
            (np.uint8, 3, "vtkMRMLDiffusionWeightedVolumeNode"),
        ],
    )
    def test_other_vectors_are_refused(self, faked, ui, dtype, components, kind):
        array = np.zeros((8, 8, 8, components), dtype)
        node = addVolume(array, OBLIQUE, "field", kind)
        faked.panel.parameters.movingVolume = node
        assert "field holds several values a voxel and is no color image" in ui.statusLabel.text
        assert not ui.applyButton.enabled


class TestPyTorch:
    def test_a_folder_that_was_left_over_is_not_pytorch(self, tmp_path, monkeypatch):
        (tmp_path / "torch" / "lib").mkdir(parents=True)
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        monkeypatch.setattr(install, "_torchVersion", lambda: None)
        importlib.invalidate_caches()
        assert importlib.util.find_spec("torch") is not None
        assert not install.isTorchInstalled()

    def test_it_is_not_imported_into_slicer_by_its_installation(self, monkeypatch):
        monkeypatch.setattr(install, "isTorchInstalled", lambda: bool(state))
        state, seen = [], []

        class PyTorchUtilsLogic:
            def installTorch(self, *_arguments):
                state.append(1)
                import torch  # as the genuine one does at its end

                seen.append(torch)

        monkeypatch.setitem(sys.modules, "PyTorchUtils", types.SimpleNamespace(PyTorchUtilsLogic=PyTorchUtilsLogic))
        monkeypatch.delitem(sys.modules, "torch", raising=False)
        install.TorchInstaller().ensure()
        assert seen == []
        assert "torch" not in sys.modules

    def test_an_import_that_fails_is_not_told_as_a_missing_network(self, monkeypatch):
        monkeypatch.setattr(install, "isTorchInstalled", lambda: False)

        class PyTorchUtilsLogic:
            def installTorch(self, *_arguments):
                raise ImportError("DLL load failed")

        monkeypatch.setitem(sys.modules, "PyTorchUtils", types.SimpleNamespace(PyTorchUtilsLogic=PyTorchUtilsLogic))
        with pytest.raises(RegistrationError, match="not installed as it should be"):
            install.TorchInstaller().ensure()

    @pytest.mark.parametrize(
        ("numpy", "torch", "system", "machine", "sentence"),
        [
            ("2.4.6", None, "Darwin", "x86_64", "Macs with Intel"),
            ("2.0.2", (2, 2), "Darwin", "x86_64", "Macs with Intel"),
            ("2.4.6", (2, 2), "Linux", "x86_64", "too old for the numpy 2.4.6"),
            ("2.4.6", (2, 10), "Darwin", "x86_64", ""),
            ("2.4.6", None, "Darwin", "arm64", ""),
            ("2.4.6", None, "Windows", "AMD64", ""),
            ("1.26.4", (2, 2), "Darwin", "x86_64", ""),
        ],
    )
    def test_a_computer_without_a_fitting_pytorch_is_told_before_apply(
        self, faked, ui, monkeypatch, numpy, torch, system, machine, sentence
    ):
        monkeypatch.setattr(install.np, "__version__", numpy)
        monkeypatch.setattr(install, "_torchVersion", lambda: torch)
        monkeypatch.setattr(install.platform, "system", lambda: system)
        monkeypatch.setattr(install.platform, "machine", lambda: machine)
        faked.panel.update()
        assert ui.applyButton.enabled == (not sentence)
        assert sentence in ui.statusLabel.text
        if sentence:
            with pytest.raises(RegistrationError, match=sentence):
                install.TorchInstaller().ensure()

    def test_its_version_is_read_without_importing_it(self):
        major, minor = importlib.metadata.version("torch").split(".")[:2]
        assert install._torchVersion() == (int(major), int(minor))


class TestPython:
    @pytest.fixture
    def slicerItself(self, tmp_path, monkeypatch):
        """A Slicer that was started without its launcher: no PythonSlicer on the path."""
        monkeypatch.setenv("PATH", "/nowhere")
        monkeypatch.setattr(process.sys, "executable", str(tmp_path / "bin" / "SlicerApp-real"))
        monkeypatch.setitem(slicer.app.__dict__, "slicerHome", str(tmp_path))
        return tmp_path

    def test_the_application_is_never_taken_for_python(self, slicerItself):
        with pytest.raises(FileNotFoundError, match="PythonSlicer"):
            process.pythonExecutable()

    def test_it_is_found_in_slicers_own_folder(self, slicerItself):
        (slicerItself / "bin").mkdir()
        launcher = slicerItself / "bin" / "PythonSlicer"
        launcher.write_text("#!/bin/sh\n", encoding="utf-8")
        launcher.chmod(0o755)
        assert process.pythonExecutable() == str(launcher)

    def test_without_one_the_panel_says_so(self, faked, ui, slicerItself):
        faked.panel.logic.makeProcess = process.LibraryProcess
        interact.click(ui.applyButton)
        assert "PythonSlicer was not found" in ui.statusLabel.text
        assert not faked.panel.logic.isRunning
        faked.panel.sections["device"].finder.find()  # these ask the worker too
        faked.panel.catalog.refresh()


def test_headers_are_read_once_as_long_as_a_file_stays_the_same(monkeypatch):
    header._read_header.cache_clear()
    read = []
    genuine = header.read_weights_header
    monkeypatch.setattr(header, "read_weights_header", lambda path: read.append(path.name) or genuine(path))
    first = models.listModels()
    assert len(read) == len(first) > 0
    assert models.listModels() == first
    assert len(read) == len(first)


def test_the_self_test_does_not_ask_what_the_scene_says(load_module, monkeypatch):
    load_module()
    module = sys.modules["DeepRegistration"]
    module.DeepRegistrationLogic().getParameterNode().method = "vm2"
    addVolume(blobs((8, 8, 8)), name="moving registered")
    monkeypatch.setattr("DeepRegistrationSlicer.selftest.isTorchInstalled", lambda: False)
    slicer.modules.DeepRegistrationInstance.runTest()


def test_opening_the_panel_warns_of_nothing(caplog):
    with caplog.at_level(logging.WARNING):
        importlib.reload(parameters)
    assert caplog.records == []


def test_the_panel_fits_into_slicers_own_width(panel):
    addVolume(blobs((8, 8, 8)), name="A volume with quite a long name, as they come out of DICOM files in hospitals")
    for widget in vars(panel.ui).values():
        if widget.className() == "ctkCollapsibleButton":
            widget.collapsed = False
    interact.process_events(50)
    assert panel.parent.minimumSizeHint.width() <= 450


def test_remarks_need_two_volumes_only():
    assert request.remarks([addVolume(blobs((8, 8, 8)))] * 2) == []
