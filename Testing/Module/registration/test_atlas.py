"""An atlas of several volumes: by clicks, with the real library; and what cannot be made is said."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from Testing.host import interact

from ..cases import FAKE, OBLIQUE, addVolume, blobs, sceneContent

import slicer  # isort: skip
from DeepRegistrationLib.settings import Settings  # isort: skip
from DeepRegistrationSlicer.errors import SceneInputError, RegistrationError  # isort: skip
from DeepRegistrationSlicer.registration import atlas, results  # isort: skip
from DeepRegistrationSlicer.scene import nodes  # isort: skip
from DeepRegistrationSlicer.worker import process  # isort: skip

pytestmark = pytest.mark.usefixtures("host")
SHAPE = (20, 20, 20)


@pytest.fixture
def several(panel, monkeypatch):
    """The open panel with three volumes, of which the last two are checked."""
    monkeypatch.setattr(atlas, "ROUNDS", 1)
    panel.logic.registration.installer = SimpleNamespace(ensure=lambda: None)
    for k in range(3):
        addVolume(blobs(SHAPE, shift=(2 * k - 2, 0, 0)), OBLIQUE, f"MR {k}/a")
    panel.panel.parameters.fixedVolume = slicer.util.getNode("MR 0/a")
    panel.panel.parameters.method = "none"
    panel.ui.imagesButton.collapsed = panel.ui.outputsButton.collapsed = True
    interact.click(panel.ui.severalButton)
    assert not panel.ui.atlasButton.enabled
    for k in (1, 2):
        interact.check(panel.ui.severalSelector, f"MR {k}/a")
    return panel


def fake(several):
    several.panel.sections["atlas"].maker.answer.makeProcess = lambda: process.LibraryProcess(FAKE)


def test_it_is_made_by_click(several):
    fake(several)
    ui, section = several.ui, several.panel.sections["atlas"]
    said = []
    section.maker.progressed.connect(said.append)
    interact.click(ui.atlasButton)
    interact.wait_until(lambda: not section.maker.isRunning, 60)
    assert said[-1] == "Round 2 of 2: 3 of 3 volumes."
    assert ui.atlasLabel.text.startswith("Atlas of 3 is there")
    assert section.maker._folder is None
    made = slicer.util.getNode("Atlas of 3")
    assert np.allclose(nodes.ijkToWorld(made), OBLIQUE)
    assert slicer.util.arrayFromVolume(slicer.util.getNode("Atlas of 3 volume change")).mean() == pytest.approx(1)
    for k in range(3):
        node, transform = (slicer.util.getNode(name) for name in (f"MR {k}/a", f"MR {k}/a to Atlas of 3"))
        assert (nodes.fixedOf(transform), nodes.movingOf(transform)) == (made, node)
        moved = transform.GetTransformFromParent().TransformPoint((OBLIQUE @ [9, 9, 9, 1])[:3].tolist())
        assert np.subtract(moved, (OBLIQUE @ [9, 9, 9, 1])[:3]) == pytest.approx([-2, 0, 0], abs=1e-4)
        assert results.reportOf(transform)["verdict"] == "good"
    assert slicer.util.getNode("Registrations to Atlas of 3").GetNumberOfRows() == 3
    composite = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    assert composite.GetBackgroundVolumeID() == made.GetID()


def test_a_volume_that_is_moved_meanwhile_is_told_with_its_transform(several):
    fake(several)
    section, node, done = several.panel.sections["atlas"], slicer.util.getNode("MR 1/a"), []
    section.maker.progressed.connect(lambda *_: done or (done.append(1), node.SetOrigin(1, 2, 3)))
    interact.click(several.ui.atlasButton)
    interact.wait_until(lambda: not section.maker.isRunning, 60)
    reports = [results.reportOf(slicer.util.getNode(f"MR {k}/a to Atlas of 3")) for k in range(3)]
    assert [report["verdict"] for report in reports] == ["good", "check", "good"]
    assert "Moved while this was computed: MR 1/a" in slicer.util.getNode("Registrations to Atlas of 3").GetCellText(
        1, 1
    )


def test_cancel_keeps_what_is_done_and_another_start_gets_it(several):
    fake(several)
    ui, section = several.ui, several.panel.sections["atlas"]
    several.panel.parameters.method = "hang"
    interact.click(ui.atlasButton)
    interact.wait_until(lambda: "1 of 3" in ui.atlasLabel.text, 60)
    assert ui.atlasButton.text == "Cancel the atlas"
    before, folder = sceneContent(), section.maker._folder
    interact.click(ui.atlasButton)
    assert ui.atlasLabel.text.startswith("Cancelled; what was finished is kept")
    assert sceneContent() == before
    assert (folder / "out").is_dir()
    several.panel.parameters.method = "none"
    interact.click(ui.atlasButton)
    assert section.maker._folder == folder
    interact.wait_until(lambda: not section.maker.isRunning, 60)
    assert not folder.exists()
    assert ui.atlasButton.text == "Make an atlas"


def test_bad_ends_of_the_library_are_one_sentence(several):
    fake(several)
    several.panel.parameters.method = "bad-input"
    before = sceneContent()
    interact.click(several.ui.atlasButton)
    interact.wait_until(lambda: not several.panel.sections["atlas"].maker.isRunning, 60)
    assert several.ui.atlasLabel.text == "The list names something else."
    assert sceneContent() == before


@pytest.mark.slow
def test_the_library_makes_one_whose_shape_is_the_mean(several):
    ui, section = several.ui, several.panel.sections["atlas"]
    interact.click(ui.atlasButton)
    interact.wait_until(lambda: "1 of 3" in ui.atlasLabel.text, 120)
    folder = section.maker._folder
    interact.click(ui.atlasButton)  # cancelled
    kept = {path: path.stat().st_mtime_ns for path in folder.rglob("transform.h5")}
    assert kept
    read, stays = section.maker._read, []

    def look(names):
        stays.extend(path.stat().st_mtime_ns == time for path, time in kept.items())
        return read(names)

    section.maker._read = look
    interact.click(ui.atlasButton)
    interact.wait_until(lambda: not section.maker.isRunning, 300)
    assert stays == [True] * len(kept)  # not made again
    made, first = (slicer.util.getNode(name) for name in ("Atlas of 3", "MR 0/a"))
    ours, theirs = (slicer.util.arrayFromVolume(node).astype(float).ravel() for node in (made, first))
    assert np.corrcoef(ours, theirs)[0, 1] > 0.9  # they differ in their pose alone
    first, last = (slicer.util.getNode(f"MR {k}/a to Atlas of 3") for k in (0, 2))
    place = (OBLIQUE @ [10, 10, 10, 1])[:3].tolist()
    apart = np.subtract(*(t.GetTransformFromParent().TransformPoint(place) for t in (last, first)))
    assert apart == pytest.approx(OBLIQUE[:3, 2] * 4, abs=1.5)  # 4 slices apart


def test_what_cannot_be_made_is_said_and_nothing_starts(several):
    maker = several.panel.sections["atlas"].maker
    volumes = [slicer.util.getNode(f"MR {k}/a") for k in range(3)]
    flat = addVolume(blobs((1, 20, 20)), OBLIQUE, "flat")
    for chosen, settings, words in (
        (volumes[:1], Settings(), "two volumes or more"),
        ([volumes[0], volumes[0]], Settings(), "two volumes or more"),
        ([*volumes, flat], Settings(), "flat is one slice"),
        (volumes, Settings(result="rigid"), "deformable result"),
        (volumes, Settings(refine="none"), "deformable result"),
    ):
        with pytest.raises(SceneInputError, match=words):
            maker.start(chosen, settings)
    assert maker._folder is None
    several.panel.parameters.resultKind = type(several.panel.parameters.resultKind)("rigid")
    interact.click(several.ui.atlasButton)
    assert "deformable result" in several.ui.atlasLabel.text
    assert not maker.isRunning


def test_a_volume_that_is_gone_and_a_library_that_fails_are_said(several, tmp_path):
    section, ui = several.panel.sections["atlas"], several.ui
    before = sceneContent()
    section.maker.failed.emit("Because.")
    assert ui.atlasLabel.text == "Because."
    section.maker._volumes = [slicer.util.getNode(f"MR {k}/a") for k in range(3)]
    slicer.mrmlScene.RemoveNode(section.maker._volumes[2])
    section.maker.answer.finished.emit({})
    assert "was removed from the scene" in ui.atlasLabel.text
    assert len(sceneContent()) < len(before)
    section.maker.answer._process = SimpleNamespace(kill=lambda: None)
    with pytest.raises(RegistrationError, match="is being made"):
        section.maker.start([])
    section.maker._folder = Path(tmp_path)
    section.close()
    assert not tmp_path.exists()
