"""What users wished for, with the real worker, asked for by clicks and by a call: the same must come out."""

from __future__ import annotations

import numpy as np
import pytest

from Testing import browser
from Testing.host import interact
from Testing.Lib.command_line.test_dicom import ball

from ..cases import MODULE, OBLIQUE, OTHER, PLAIN, addVolume, blobs, centered, geometry, randomPoints
from ..dicom_database import Database
from ..registration.test_registration import distorted
from ..registration.test_verdict_sentences import shouting
from ..viewing.test_resampled import structures

assert MODULE.is_dir()
import slicer  # isort: skip
from DeepRegistrationSlicer.panel import parameters as parametersModule  # isort: skip
from DeepRegistrationSlicer.registration import dicom_export, dicom_import, report_words, results  # isort: skip
from DeepRegistrationSlicer.registration.scorer import Scorer  # isort: skip
from DeepRegistrationSlicer.registration.verdict_sentences import translated  # isort: skip
from DeepRegistrationSlicer.scene import masks, nodes  # isort: skip
from DeepRegistrationSlicer.viewing import report_page  # isort: skip
from DeepRegistrationSlicer.worker import process, staying  # isort: skip
from DeepRegistrationSlicer.worker.methods import MethodEntry  # isort: skip

BOTH = pytest.mark.parametrize("how", ["clicks", "console"])
LONG = pytest.mark.parametrize("how", ["clicks", pytest.param("console", marks=pytest.mark.slow)])
"""That a call asks the worker for the same as a click, quick tests hold; here it is run to its end."""


@pytest.fixture(scope="module")
def warm():
    """A worker that loads PyTorch once for all of these."""
    worker = staying.StayingWorker()
    yield worker
    worker.end()


@pytest.fixture
def ui(panel, warm):
    panel.logic.registration.makeProcess = lambda: staying.StayingProcess(warm)
    return panel.ui


def choosePair(ui):
    interact.choose(ui.fixedSelector, "fixed")
    interact.choose(ui.movingSelector, "moving")


def applied(panel):
    """Apply by click, to its end; the result."""
    interact.click(panel.ui.applyButton)
    interact.wait_until(lambda: not panel.logic.registration.isRunning, 120)
    assert panel.ui.statusLabel.text.startswith("Done"), panel.ui.statusLabel.text
    return panel.ui.outputTransformSelector.currentNode()


@LONG
def test_landmarks_start_it_and_a_pair_that_disagrees_is_named(panel, ui, how):
    fixed = addVolume(blobs(), PLAIN, "fixed")
    turn = geometry((0, 0, 70), (1, 1, 1), (1, 1, 1), (15, -20, 8))
    moving = addVolume(blobs(), turn @ PLAIN, "moving")
    places = randomPoints(PLAIN, (32, 32, 32), 7)
    for name, points in (("here", places), ("there", places @ turn[:3, :3].T + turn[:3, 3])):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
        for index, point in enumerate(points):
            node.AddControlPoint(point + (16 if (name, index) == ("there", 3) else 0), f"N{index}")
    if how == "clicks":
        choosePair(ui)
        interact.click(ui.advancedButton)
        interact.choose(ui.fixedLandmarksSelector, "here")
        interact.choose(ui.movingLandmarksSelector, "there")
        interact.click(ui.affineCheckBox)
        interact.choose(ui.resultKindComboBox, parametersModule.ResultKind.RIGID.label())
        node = applied(panel)
        assert "Fiducial registration error" in ui.reportLabel.text
        assert "N3" in ui.verdictLabel.text
    else:
        lists = {f"{side}Landmarks": slicer.util.getNode(n) for side, n in (("fixed", "here"), ("moving", "there"))}
        node = panel.logic.register(fixed, moving, result="rigid", affine="none", **lists)
    assert node.GetClassName() == "vtkMRMLLinearTransformNode"
    moved = [node.GetTransformFromParent().TransformPoint(p) for p in places]
    assert moved == pytest.approx(places @ turn[:3, :3].T + turn[:3, 3], abs=1e-3)
    report = results.reportOf(node)
    assert report["landmark_pairs"] == 6
    assert report["landmark_fit_mm"] < 1e-3
    words = report_words.verdict(report)[1] + str(dict(report_words.rows(report)))
    assert "Landmark pair N3" in words


def bent(node, points):
    """Largest change of a distance between two of the points, mm."""
    moved = np.array([node.GetTransformFromParent().TransformPoint(p) for p in points])
    lengths = [np.linalg.norm(p[:, None] - p[None], axis=-1) for p in (points, moved)]
    return np.abs(lengths[1] - lengths[0]).max()


@LONG
def test_segments_are_kept_rigid(panel, ui, how):
    fixed = addVolume(blobs(), PLAIN, "fixed")
    moving = distorted(fixed)
    bones = structures()
    parts = [np.argwhere(a)[::5, ::-1] @ m[:3, :3].T + m[:3, 3] for _id, _name, a, m in masks.segmentsOf(bones)]
    if how == "clicks":
        choosePair(ui)
        interact.click(ui.advancedButton)
        interact.choose(ui.rigidLabelsSelector, "RTSTRUCT")
        interact.click(ui.affineCheckBox)
        node = applied(panel)
        assert "Kept rigid" in ui.reportLabel.text
        assert "2 parts" in ui.reportLabel.text
    else:
        node = panel.logic.register(fixed, moving, affine="none", rigidLabels=bones, outputVolume=False)
    assert max(bent(node, points) for points in parts) < 0.02
    assert results.reportOf(node)["rigid_moved_mm"] > 0.3  # without it they would have been bent


@LONG
def test_two_series_are_registered_and_the_result_leaves_as_dicom(panel, ui, how, tmp_path, monkeypatch):
    import qt

    pytest.importorskip("pydicom")
    database = Database()
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    fixed = database.load(tmp_path, "1", "fixed", ball(0))
    moving = database.load(tmp_path, "2", "moving", ball(2))
    (tmp_path / "out").mkdir()
    if how == "clicks":
        monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "out"))
        choosePair(ui)
        node = applied(panel)
        for name in ("images", "outputs", "judgment", "look"):
            getattr(ui, f"{name}Button").collapsed = True
        interact.click(ui.dicomButton)
        interact.click(ui.exportDicomButton)
        (path,) = (tmp_path / "out").iterdir()
        assert ui.dicomLabel.text == f"Written to {path}."
    else:
        node, path = panel.logic.register(fixed, moving), tmp_path / "out" / "registration.dcm"
        dicom_export.exportDicom(node, path)
    read = dicom_import.importDicom(path, fixed, moving)
    places = nodes.ijkToWorld(fixed)[:3, 3] + np.random.default_rng(0).uniform(2, 8, (20, 3)) * np.sign(
        np.diag(nodes.ijkToWorld(fixed))[:3]
    )
    moved = [[n.GetTransformFromParent().TransformPoint(p) for p in places] for n in (node, read)]
    assert moved[1] == pytest.approx(np.array(moved[0]), abs=1e-4)
    assert np.abs(np.array(moved[0]) - places).max() > 0.2


@pytest.mark.skipif(browser.CHROMIUM is None, reason="no Chromium here")
@LONG
def test_the_page_has_the_figures_of_tg_132_and_fades_in_a_browser(faked, how, tmp_path, monkeypatch):
    """The pretended worker registers; labels are scored by the real library."""
    import qt

    on = centered(OTHER, (32, 32, 32), OBLIQUE, (32, 32, 32))
    slicer.util.getNode("T2").SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(on))
    ui, node, path = faked.ui, applied(faked), tmp_path / "report.html"
    for side, volume in (("fixed", "T1"), ("moving", "T2")):
        source = slicer.util.getNode(volume)
        mask = (slicer.util.arrayFromVolume(source) > 100).astype(np.uint8)
        addVolume(mask, nodes.ijkToWorld(source), f"{side} organ", "vtkMRMLLabelMapVolumeNode")
    if how == "clicks":
        monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *_: str(path))
        ui.imagesButton.collapsed = ui.outputsButton.collapsed = True
        interact.click(ui.advancedButton)
        for side in ("fixed", "moving"):
            interact.choose(getattr(ui, f"{side}LabelsSelector"), f"{side} organ")
        interact.click(ui.scoreButton)
        interact.wait_until(lambda: "Mean Dice" in ui.reportLabel.text, 60)
        interact.click(ui.exportButton)
        assert f"Written to {path}." in ui.verdictLabel.text
    else:
        scorer, done = Scorer(), []
        scorer.finished.connect(done.append)
        scorer.score(node, *(slicer.util.getNode(f"{side} organ") for side in ("fixed", "moving")), None, None)
        interact.wait_until(lambda: done, 60)
        report_page.write(node, path)
    with browser.Page(path, tmp_path / "profile") as page:
        page.wait_for("document.querySelector('.viewer')?.dataset.ready === 'yes'")
        rows = page.ask("[...document.querySelectorAll('tr')].map(r => r.innerText)")
        figures = [row for row in rows if row.startswith("TG-132: ")]
        for words in ("Dice", "ausdorff", "Mean distance to agreement", "Jacobian", "within"):
            assert any(words in row for row in figures), (words, figures)
        assert page.ask("[...document.querySelectorAll('.sign span')].length") == 3
        look = """(() => { document.getElementById('fade').value = %d;
          document.getElementById('fade').dispatchEvent(new Event('input'));
          return document.querySelector('figure canvas').toDataURL(); })()"""
        assert page.ask(look % 0) != page.ask(look % 100)
        assert page.ask("performance.getEntriesByType('resource').filter(e => e.name.startsWith('http')).length") == 0


@BOTH
def test_the_verdict_is_read_in_the_users_language(faked, how, monkeypatch):
    monkeypatch.setattr(report_words, "translated", lambda sentence: translated(sentence, shouting))
    if how == "clicks":
        faked.panel.catalog.methods.append(MethodEntry("folds", "folds", ""))
        faked.panel.catalog.changed.emit()
        interact.choose(faked.ui.methodComboBox, "folds")
        applied(faked)
        said = faked.ui.verdictLabel.text
    else:
        node = faked.logic.register(slicer.util.getNode("T1"), slicer.util.getNode("T2"), method="folds")
        said = report_words.verdict(results.reportOf(node))[1]
    assert "THE FIELD FOLDS IN 0.0100 % OF THE IMAGE." in said


APPLE = """
import sys, torch
torch.cuda.is_available, torch.backends.mps.is_available = lambda: False, lambda: True
from DeepRegistrationLib.__main__ import main
sys.exit(main())
"""
"""A PyTorch that says it has the GPU of Apple, and fails at the first copy to it."""


@LONG
def test_a_gpu_of_apple_that_fails_is_said_and_the_processor_goes_on(panel, ui, how):
    panel.logic.registration.makeProcess = lambda: process.LibraryProcess(code=APPLE)
    fixed, moving = (
        addVolume(blobs((16, 16, 16), (n, 0, 0)), PLAIN, name) for n, name in enumerate(("fixed", "moving"))
    )
    if how == "clicks":
        choosePair(ui)
        interact.click(ui.advancedButton)
        interact.choose(ui.deviceComboBox, parametersModule.Device.AUTOMATIC.label())
        interact.choose(ui.resultKindComboBox, parametersModule.ResultKind.RIGID.label())
        node = applied(panel)
        assert "Apple GPU could not be used" in ui.reportLabel.text
    else:
        node = panel.logic.register(fixed, moving, result="rigid", device="auto")
    report = results.reportOf(node)
    assert report["device"] == "cpu"
    assert "Apple GPU could not be used" in dict(report_words.rows(report))["Note"]
