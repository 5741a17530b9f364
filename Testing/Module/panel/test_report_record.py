"""The report of the panel: what a signature under it stands for."""

from __future__ import annotations

import datetime
import hashlib
import json

import numpy as np
import pytest
from PySide6.QtTest import QTest

from Testing import browser
from Testing.host import interact

from ..cases import OBLIQUE, addVolume

import slicer  # isort: skip
from DeepRegistrationSlicer.registration import report_words, results  # isort: skip
from DeepRegistrationSlicer.scene import nodes  # isort: skip


def finish(ui):
    interact.wait_until(lambda: ui.applyButton.text == "Apply", 60)


def drawTarget(faked, side, matrix):
    """A target of 6 voxels a side within a margin of 3 voxels as the labels of ``side``."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{side} structures")
    for name, margin in (("GTV", 0), ("PTV", 3)):
        drawn = np.zeros((32, 32, 32), np.uint8)
        drawn[12 - margin : 18 + margin, 12 - margin : 18 + margin, 12 - margin : 18 + margin] = 1
        source = addVolume(drawn, matrix, name, "vtkMRMLLabelMapVolumeNode")
        slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(source, node)
    setattr(faked.panel.parameters, f"{side}Labels", node)


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
        drawTarget(faked, side, OBLIQUE)
    ui.imagesButton.collapsed = ui.outputsButton.collapsed = True
    interact.process_events()
    interact.click(ui.scoreButton)
    interact.wait_until(lambda: "Mean Dice" in ui.reportLabel.text, 60)
    said = dict(report_words.rows(results.reportOf(faked.panel.parameters.outputTransform)))
    for name, side in (("GTV", 6), ("PTV", 12)):
        volume = side**3 * 1.1 * 1.7 * 2.6 / 1000
        assert said[f"Volume of {name}"].startswith(f"{volume:.4g} ml → ")
        assert said[f"Dice of {name}"].startswith("1.000 → ")


def test_landmarks_alone_are_held_against_the_voxels_of_the_images_and_the_field_is_measured(faked, ui):
    """By the real library; the pretended worker registers, by 2 mm there and 2 mm on, which is not back."""
    ui.movingSelector.currentNode().SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(OBLIQUE))
    parameters = faked.panel.parameters
    parameters.wantInverse = True
    for side in ("fixed", "moving"):
        points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", f"{side} points")
        points.AddControlPoint(*(OBLIQUE @ (16, 16, 16, 1))[:3])
        setattr(parameters, f"{side}Landmarks", points)
    parameters.useGuidance = False
    interact.click(ui.applyButton)
    finish(ui)
    interact.wait_until(lambda: "landmark distance" in ui.reportLabel.text, 60)
    figures = {f["name"]: f for f in results.reportOf(parameters.outputTransform)["tg132"]}
    largest = figures["Target registration error, largest"]
    assert largest["value"] == pytest.approx(2, abs=1e-3)
    assert "here 2.6 mm" in largest["tolerance"]
    assert largest["within"] is True
    assert figures["Jacobian determinant, smallest"]["value"] == pytest.approx(1, abs=1e-4)
    assert figures["There and back (consistency), mean"]["value"] == pytest.approx(4, abs=1e-3)


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


@pytest.mark.skipif(browser.CHROMIUM is None, reason="no Chromium here")
def test_what_is_typed_as_a_note_is_neither_markup_nor_wider_than_the_page(faked, ui, tmp_path, monkeypatch):
    """And it is the same after the scene was saved and loaded."""
    import qt

    words = "<b>\"it's\"</b> 100 % & more; a:b|c {name} \\ \u6f22 </td></table><script>document.title='broken'</script>"
    note = words + "x" * 1900
    interact.click(ui.applyButton)
    finish(ui)
    node = faked.panel.parameters.outputTransform
    ui.noteEdit.text = note
    page = tmp_path / "mine.html"
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *_: str(page))
    ui.imagesButton.collapsed = ui.outputsButton.collapsed = True
    interact.process_events()
    interact.click(ui.exportButton)
    with browser.Page(page, tmp_path / "profile") as opened:
        opened.wait_for("document.querySelector('.viewer')?.dataset.ready === 'yes'")
        assert opened.ask("document.title") == node.GetName()
        assert note in opened.ask("[...document.querySelectorAll('td')].map(cell => cell.textContent)")
        assert opened.ask("document.documentElement.scrollWidth <= window.innerWidth")
    name, report, bundle = node.GetName(), results.reportOf(node), str(tmp_path / "scene.mrb")
    assert slicer.mrmlScene.WriteToMRB(bundle)
    slicer.mrmlScene.Clear(0)
    slicer.mrmlScene.ReadFromMRB(bundle, True)
    assert results.reportOf(slicer.util.getNode(name)) == report
    assert report["note"] == note


def test_a_segment_that_others_cover_is_said_not_to_guide(faked, ui):
    for side, volume in (("fixed", "T1"), ("moving", "T2")):
        matrix = nodes.ijkToWorld(slicer.util.getNode(volume))
        drawTarget(faked, side, matrix)
    interact.click(ui.applyButton)
    finish(ui)
    rows = report_words.rows(results.reportOf(faked.panel.parameters.outputTransform))
    said = [value for name, value in rows if name == "Note"]
    assert said == [
        "Not used to guide: GTV; other segments cover it, or it lies outside. Give it a segmentation alone."
    ]


def test_the_slice_views_go_to_the_part_that_the_verdict_says_is_lost(faked, ui):
    interact.click(ui.applyButton)
    finish(ui)
    node = faked.panel.parameters.outputTransform
    assert not ui.placeButton.visible
    lost = {"lost_percent": 14.0, "lost_at_mm": [-12.0, 30.0, -45.0]}
    results.setReport(node, {**results.reportOf(node), **lost})
    faked.panel.update()
    ui.imagesButton.collapsed = ui.outputsButton.collapsed = True
    interact.process_events()
    assert ui.placeButton.visible
    interact.click(ui.placeButton)
    views = slicer.util.getNodesByClass("vtkMRMLSliceNode")
    assert len(views) >= 3
    for view in views:
        assert [view.GetSliceToRAS().GetElement(row, 3) for row in range(3)] == pytest.approx([12.0, -30.0, -45.0])


@pytest.mark.parametrize(
    "report",
    [
        {},
        {"lost_percent": None, "lost_at_mm": []},
        {"lost_percent": 1.0, "lost_at_mm": [1.0, 2.0, 3.0]},
        {"lost_percent": 14.0, "lost_at_mm": [1.0, 2.0]},
        {"lost_percent": 14.0, "lost_at_mm": [1.0, None, 3.0]},
        {"lost_percent": 14.0},
    ],
)
def test_there_is_no_place_to_look_at_where_the_report_names_none(report):
    assert report_words.placeToLook(report) is None
