"""Again, from here: the next moving image begins where the last result ended."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.host import interact

from ..cases import OTHER, addVolume, blobs
from .test_result_kinds import said

import slicer  # isort: skip
from DeepRegistrationSlicer.errors import SceneInputError  # isort: skip
from DeepRegistrationSlicer.scene import nodes  # isort: skip


def first(faked, ui):
    assert not ui.againButton.enabled
    interact.click(ui.applyButton)
    interact.wait_until(lambda: ui.applyButton.text == "Apply", 60)
    return ui.outputTransformSelector.currentNode()


def test_by_one_click_for_the_image_that_was_loaded_last(faked, ui, monkeypatch):
    before = first(faked, ui)
    assert ui.againButton.enabled
    new = addVolume(blobs(shift=(3, 0, 0)), OTHER, "T2 later")
    arguments = said(faked, monkeypatch, lambda: interact.click(ui.againButton))
    assert "--initial-transform" in arguments
    assert "--from-here" in arguments
    after = ui.outputTransformSelector.currentNode()
    assert after is not before
    assert nodes.movingOf(after) is new
    assert nodes.fixedOf(after) is slicer.util.getNode("T1")
    assert ui.movingSelector.currentNode() is new
    assert ui.initialTransformSelector.currentNode() is None  # the next Apply begins anew
    assert before.GetScene() is slicer.mrmlScene
    arguments = said(faked, monkeypatch, lambda: interact.click(ui.applyButton))
    assert "--initial-transform" not in arguments
    assert "--from-here" not in arguments


def test_without_a_new_image_it_says_so(faked, ui):
    first(faked, ui)
    interact.click(ui.againButton)
    assert ui.statusLabel.text == "Choose the new moving volume first, then press this again."
    interact.choose(ui.movingSelector, "T2 registered")
    interact.choose(ui.fixedSelector, "T2")
    assert not ui.againButton.enabled  # the result is that of another fixed volume


def test_from_the_console(faked, monkeypatch):
    logic = faked.logic
    with pytest.raises(SceneInputError, match="call register first"):
        logic.again(slicer.util.getNode("T2"))
    before = logic.register(slicer.util.getNode("T1"), slicer.util.getNode("T2"), smoothness=2.0, fixedMask=None)
    new, found = addVolume(blobs(), OTHER, "next"), []
    arguments = said(faked, monkeypatch, lambda: found.append(logic.again(new)))
    assert arguments[arguments.index("--smoothness") + 1] == "2.0"
    assert "--initial-transform" in arguments
    assert nodes.movingOf(found[0]) is new
    assert found[0] is not before
    with pytest.raises(SceneInputError, match="Choose the new moving volume first"):
        logic.again(new)
    assert np.isfinite(found[0].GetTransformFromParent().TransformPoint((0, 0, 0))).all()
