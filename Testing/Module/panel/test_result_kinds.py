"""Rigid, similarity, affine or deformable: chosen by a click and from the console, kept as the node that fits it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from Testing.host import interact

from ..cases import MODULE

assert MODULE.is_dir()
import slicer  # isort: skip
from DeepRegistrationSlicer.panel import parameters as parametersModule  # isort: skip
from DeepRegistrationSlicer.registration import report_words, results  # isort: skip
from DeepRegistrationLib.settings import RESULTS  # isort: skip


def said(panel, monkeypatch, start):
    """``start()``, to its end; the command line that the worker got."""
    import DeepRegistrationSlicer.registration.logic as logicModule

    heard = []

    def load(ask, folder, *rest):
        heard.extend(json.loads((folder / "arguments.json").read_text(encoding="utf-8")))
        return results.load(ask, folder, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(logicModule, "load", load)
        start()
        interact.wait_until(lambda: not panel.logic.registration.isRunning, 60)
    return heard


def test_the_choices_are_the_librarys():
    assert tuple(kind.value for kind in parametersModule.ResultKind) == RESULTS


@pytest.mark.parametrize("kind", ["RIGID", "SIMILARITY", "AFFINE"])
def test_a_linear_result_by_click_is_a_linear_transform_node(faked, ui, monkeypatch, kind):
    kind = parametersModule.ResultKind[kind]
    faked.panel.parameters.wantInverse = True
    interact.choose(ui.resultKindComboBox, kind.label())
    assert faked.panel.parameters.resultKind is kind
    assert not any(w.enabled for w in (ui.methodComboBox, ui.imageKindComboBox, ui.qualityComboBox))
    arguments = said(faked, monkeypatch, lambda: interact.click(ui.applyButton))
    assert arguments[arguments.index("--result") + 1] == kind.value
    assert not {"--method", "--refine", "--similarity", "--smoothness"} & set(arguments)
    assert "Done" in ui.statusLabel.text
    for node in (ui.outputTransformSelector.currentNode(), ui.outputInverseSelector.currentNode()):
        assert node.GetClassName() == "vtkMRMLLinearTransformNode"
    moved = ui.outputTransformSelector.currentNode().GetTransformFromParent().TransformPoint((1, 2, 3))
    assert np.allclose(moved, (-1, 2, 3))  # the worker's 2 mm along LPS x


def test_results_of_both_kinds_stay_beside_each_other(faked, ui):
    def apply(kind):
        interact.choose(ui.resultKindComboBox, kind.label())
        interact.click(ui.applyButton)
        interact.wait_until(lambda: ui.applyButton.text == "Apply", 60)
        return ui.outputTransformSelector.currentNode()

    kinds = parametersModule.ResultKind
    rigid, volume = apply(kinds.RIGID), ui.outputVolumeSelector.currentNode()
    assert rigid.GetNodeReference(results.VOLUME_ROLE) is volume
    bent = apply(kinds.DEFORMABLE)
    assert not bent.IsLinear()
    assert rigid.IsLinear()
    assert rigid is not bent
    assert ui.outputVolumeSelector.currentNode() is not volume  # that is still the rigid one's
    assert rigid.GetScene() is slicer.mrmlScene
    assert apply(kinds.DEFORMABLE) is bent  # of the same kind: the chosen node is written again


def test_every_look_works_on_a_linear_result(faked, ui):
    interact.choose(ui.resultKindComboBox, parametersModule.ResultKind.RIGID.label())
    interact.click(ui.applyButton)
    interact.wait_until(lambda: ui.applyButton.text == "Apply", 60)
    look, node = faked.panel.sections["look"], ui.outputTransformSelector.currentNode()
    for name in ("checkerboard", "difference", "grid", "arrows", "jacobian"):
        look.viewer.show(name, node)
        assert look.viewer.look.value == name


def test_the_console_asks_for_it_by_name(faked, monkeypatch):
    node = []
    logic = faked.logic.registration
    fixed, moving = (slicer.util.getNode(name) for name in ("T1", "T2"))
    arguments = said(faked, monkeypatch, lambda: node.append(logic.register(fixed, moving, result="similarity")))
    assert arguments[arguments.index("--result") + 1] == "similarity"
    assert node[0].GetClassName() == "vtkMRMLLinearTransformNode"
    # A node that can only be a matrix is not torn: the field gets one of its own.
    bent = logic.register(fixed, moving, outputTransform=node[0])
    assert bent is not node[0]
    assert not bent.IsLinear()
    assert node[0].IsLinear()


def test_the_numbers_of_a_linear_result_speak_of_no_field():
    report = {"result": "rigid", "verdict": "good", "folding_percent": 0.0, "method": "none", "refine": "none",
              "inverse_error_mm": 0.0, "max_inverse_error_mm": 0.0, "max_deformation_mm": 0.0, "log_jacobian_sd": 0.0,
              "shape": {"turn_degrees": 12.34, "scale_low": 1, "scale_high": 1, "bend_mm": 0.0, "bend_percent": 0.0},
              "landmark_pairs": 5, "landmark_fit_mm": 1.234, "landmark_after_mm": 1.5}  # fmt: skip
    rows = dict(report_words.rows(report))
    assert rows["Result"] == "rigid (a linear transform)"
    assert rows["Turned"] == "12.3 degrees"
    assert rows["Fiducial registration error"] == "1.23 mm over 5 pairs; 1.50 mm with the result"
    fields = {"Folded", "Beyond the affine part", "Anatomy bent", "Volume change", "Inverse error", "Model", "Method"}
    assert not fields & set(rows)
    assert rows.keys() < dict(report_words.rows(report | {"result": "deformable"})).keys() | {"Turned"}
    assert "Dice of the labels" not in rows
    guided = dict(report_words.rows(report | {"result": "deformable", "label_dice": 0.8563}))
    assert guided["Dice of the labels"] == "0.86 with the result"
    scored = {"result": "deformable", "label_dice": 0.8563, "dice_before": 0.2, "dice_after": 0.8563}
    assert "Dice of the labels" not in dict(report_words.rows(report | scored))  # Mean Dice says it
