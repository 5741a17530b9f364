"""Parts that must not bend and landmarks that start it, chosen by clicks and from the console."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.host import interact

from ..cases import OBLIQUE, addVolume
from ..viewing.test_resampled import structures
from .test_result_kinds import said

import slicer  # isort: skip
from DeepRegistrationSlicer.errors import SceneInputError  # isort: skip
from DeepRegistrationSlicer.panel import parameters as parametersModule  # isort: skip
from DeepRegistrationSlicer.registration import report_words, results  # isort: skip


def written(faked, monkeypatch, start):
    """The command line, and the map of rigid parts that the worker got."""
    import DeepRegistrationSlicer.registration.logic as logicModule

    heard = []

    def load(ask, folder, *rest):
        heard.append(json.loads((folder / "arguments.json").read_text(encoding="utf-8")))
        name = heard[0][heard[0].index("--rigid-labels") + 1]
        heard.append(sitk.GetArrayFromImage(sitk.ReadImage(str(folder / name))))
        return results.load(ask, folder, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(logicModule, "load", load)
        start()
        interact.wait_until(lambda: not faked.logic.registration.isRunning, 60)
    return heard


def test_visible_segments_are_parts_by_click(faked, ui, monkeypatch):
    bones = structures(OBLIQUE)
    interact.click(ui.advancedButton)
    interact.choose(ui.rigidLabelsSelector, "RTSTRUCT")
    _arguments, parts = written(faked, monkeypatch, lambda: interact.click(ui.applyButton))
    assert set(np.unique(parts)) == {0, 1, 2}
    assert (parts == 1).sum() == 6**3
    bones.GetDisplayNode().SetSegmentVisibility(bones.GetSegmentation().GetNthSegmentID(0), False)
    _arguments, parts = written(faked, monkeypatch, lambda: interact.click(ui.applyButton))
    assert set(np.unique(parts)) == {0, 1}
    faked.panel.parameters.resultKind = parametersModule.ResultKind.RIGID  # a matrix bends nothing
    assert parametersModule.requestFrom(faked.panel.parameters, faked.panel.catalog)[0].rigidLabels is None


def test_a_label_map_from_the_console_with_any_numbers(faked, monkeypatch):
    array = np.zeros((32, 32, 32), np.int32)
    array[5:9, 5:9, 5:9], array[15:19, 5:9, 5:9] = 70_000, 3
    node = addVolume(array, OBLIQUE, "implants", "vtkMRMLLabelMapVolumeNode")
    fixed, moving = (slicer.util.getNode(name) for name in ("T1", "T2"))
    logic = faked.logic
    _arguments, parts = written(faked, monkeypatch, lambda: logic.register(fixed, moving, rigidLabels=node))
    assert [int((parts == label).sum()) for label in (1, 2)] == [64, 64]
    empty = addVolume(np.zeros((4, 4, 4), np.uint8), OBLIQUE, "nothing", "vtkMRMLLabelMapVolumeNode")
    with pytest.raises(SceneInputError, match="The rigid parts nothing are empty on T1"):
        logic.register(fixed, moving, rigidLabels=empty)


def test_what_was_kept_rigid_is_in_the_numbers():
    report = {"rigid_parts": [1, 2], "rigid_left_mm": 0.00001, "rigid_moved_mm": 2.34, "verdict": "good"}
    assert (
        dict(report_words.rows(report))["Kept rigid"]
        == "2 parts, each to 0.0010 mm or less; 2.3 mm of bending taken out"
    )
    one = dict(report_words.rows(report | {"rigid_parts": [1]}))
    assert one["Kept rigid"] == "1 part, to 0.0010 mm or less; 2.3 mm of bending taken out"


def test_landmarks_go_with_a_rigid_result_by_click(faked, ui, monkeypatch):
    for side in ("fixed", "moving"):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", f"{side} points")
        for point in ((0, 0, 0), (10, 0, 0), (0, 10, 0), (0, 0, 10)):
            node.AddControlPoint(list(point))
        setattr(faked.panel.parameters, f"{side}Landmarks", node)
    interact.choose(ui.resultKindComboBox, parametersModule.ResultKind.RIGID.label())
    arguments = said(faked, monkeypatch, lambda: interact.click(ui.applyButton))
    assert {"--fixed-points", "--moving-points"} <= set(arguments)
    assert arguments[arguments.index("--result") + 1] == "rigid"
    assert "start the alignment" in ui.movingLandmarksSelector.toolTip
