"""The report of the panel: what a signature under it stands for."""

from __future__ import annotations

import datetime
import hashlib
import json

from PySide6.QtTest import QTest

from Testing.host import interact

from .. import cases  # noqa: F401  # it starts the host

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
