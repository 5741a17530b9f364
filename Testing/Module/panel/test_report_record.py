"""The report of the panel: what a signature under it stands for."""

from __future__ import annotations

import datetime
import hashlib
import json

import numpy as np
from PySide6.QtTest import QTest

from Testing.host import interact

from ..cases import OBLIQUE, addVolume

import slicer  # isort: skip
from DeepRegistrationSlicer.registration import report_words, results  # isort: skip


def finish(ui):
    interact.wait_until(lambda: ui.applyButton.text == "Apply", 60)


def test_the_report_says_what_a_signature_stands_for(faked, ui, tmp_path, monkeypatch):
    """The user's words, the time and the volumes as they were registered, on the page, in the numbers and the table."""
    import qt

    voxels = {name: slicer.util.arrayFromVolume(slicer.util.getNode(name)).copy() for name in ("T1", "T2")}
    assert not ui.noteEdit.enabled
    interact.click(ui.applyButton)
    finish(ui)
    slicer.util.arrayFromVolume(slicer.util.getNode("T2"))[:] = 0  # what is done to it later is another volume
    ui.imagesButton.collapsed = ui.outputsButton.collapsed = True
    interact.process_events()
    QTest.keyClicks(ui.noteEdit, "for plan B")
    for name in ("mine.html", "mine.json"):
        monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *_, name=name: str(tmp_path / name))
        interact.click(ui.exportButton)
    page = (tmp_path / "mine.html").read_text(encoding="utf-8")
    numbers = json.loads((tmp_path / "mine.json").read_text(encoding="utf-8"))
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode")
    report_words.fillTable(table, numbers)
    cells = [table.GetCellText(row, 1) for row in range(table.GetNumberOfRows())]
    assert numbers["note"] == "for plan B"
    assert datetime.datetime.fromisoformat(numbers["made"]).tzinfo is not None
    for side, name in (("fixed image", "T1"), ("moving image", "T2")):
        sha256 = hashlib.sha256(voxels[name].tobytes()).hexdigest()
        assert numbers["inputs"][side] == {"name": name, "sha256": sha256}
        assert sha256 in page
        assert any(sha256 in cell for cell in cells)
    for words in ("for plan B", numbers["made"], "Signature"):
        assert words in page
    assert "for plan B" not in ui.reportLabel.text  # the panel is narrow, and shows it below
    node = faked.panel.parameters.outputTransform
    for chosen, text in ((None, ""), (node, "for plan B")):
        faked.panel.parameters.outputTransform = chosen
        assert ui.noteEdit.text == text
    results.setReport(node, {**results.reportOf(node), "note": "", "made": "later"})  # as registered anew
    faked.panel.update()
    assert ui.noteEdit.text == ""


def test_a_target_within_its_margin_is_scored_as_the_margin_is(faked, ui):
    """By the real library; the pretended worker registers."""
    ui.movingSelector.currentNode().SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(OBLIQUE))
    interact.click(ui.applyButton)
    finish(ui)
    for side in ("fixed", "moving"):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{side} structures")
        for name, margin in (("GTV", 0), ("PTV", 3)):
            drawn = np.zeros((32, 32, 32), np.uint8)
            drawn[12 - margin : 18 + margin, 12 - margin : 18 + margin, 12 - margin : 18 + margin] = 1
            source = addVolume(drawn, OBLIQUE, name, "vtkMRMLLabelMapVolumeNode")
            slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(source, node)
        setattr(faked.panel.parameters, f"{side}Labels", node)
    ui.imagesButton.collapsed = ui.outputsButton.collapsed = True
    interact.process_events()
    interact.click(ui.scoreButton)
    interact.wait_until(lambda: "Mean Dice" in ui.reportLabel.text, 60)
    said = dict(report_words.rows(results.reportOf(faked.panel.parameters.outputTransform)))
    for name, side in (("GTV", 6), ("PTV", 12)):
        volume = side**3 * 1.1 * 1.7 * 2.6 / 1000
        assert said[f"Volume of {name}"].startswith(f"{volume:.4g} ml → ")
        assert said[f"Dice of {name}"].startswith("1.000 → ")


def test_landmarks_of_one_side_alone_are_no_reproach_after_apply(faked, ui):
    """They are chosen for curves of motion, too; who asks for scores is told what is missing."""
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "targets")
    points.AddControlPoint(0.0, 0.0, 0.0)
    faked.panel.parameters.useGuidance = False
    faked.panel.parameters.fixedLandmarks = points
    interact.click(ui.applyButton)
    finish(ui)
    assert "pairs" not in ui.verdictLabel.text
    ui.imagesButton.collapsed = ui.outputsButton.collapsed = True
    interact.process_events()
    interact.click(ui.scoreButton)
    assert "Landmarks come in pairs" in ui.verdictLabel.text


def test_a_volume_that_holds_a_later_result_is_shown_of_no_earlier_one(faked, ui):
    """The same output volume with a new transform: what it held of the first result is gone."""
    interact.click(ui.applyButton)
    finish(ui)
    first, volume = faked.panel.parameters.outputTransform, faked.panel.parameters.outputVolume
    second = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "second")
    faked.panel.parameters.outputTransform = second
    faked.panel.parameters.smoothness = 2.0
    interact.click(ui.applyButton)
    finish(ui)
    assert faked.panel.parameters.outputVolume is volume
    assert second.GetNodeReference(results.VOLUME_ROLE) is volume
    assert first.GetNodeReference(results.VOLUME_ROLE) is None
    assert results.reportOf(first)["made"]
