"""The logic, as a script calls it: what comes into the scene, and what does not when something goes wrong."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from .. import cases
from ..cases import OBLIQUE, OTHER, PLAIN, addVolume, blobs, unchangedScene

import slicer  # isort: skip
from DeepRegistrationSlicer.registration import logic as logicModule  # isort: skip
from DeepRegistrationSlicer.scene import nodes  # isort: skip
from DeepRegistrationSlicer.registration import results  # isort: skip
from DeepRegistrationSlicer.registration.request import SETTINGS, Request, settingsFrom  # isort: skip
from DeepRegistrationSlicer.worker import process  # isort: skip
from DeepRegistrationSlicer.errors import CancelledError, SceneInputError, RegistrationError  # isort: skip

pytestmark = pytest.mark.usefixtures("host")
FAKE = [sys.executable, str(Path(__file__).parents[1] / "fake_worker.py")]


class NoInstaller:
    def ensure(self):
        """PyTorch is there."""


@pytest.fixture
def logic():
    made = logicModule.RegistrationLogic(lambda: process.LibraryProcess(FAKE), installer=NoInstaller())
    yield made
    made.cancel()


@pytest.fixture
def pair():
    return addVolume(blobs(), OBLIQUE, "fixed"), addVolume(blobs(shift=(2, 0, 0)), OTHER, "moving")


def folders() -> list[Path]:
    return sorted(Path(slicer.app.temporaryPath).glob("DeepRegistration-*"))


def test_a_registration_gives_a_transform_that_knows_its_volumes(logic, pair):
    fixed, moving = pair
    node = logic.register(fixed, moving)
    assert node.GetName() == "moving to fixed"
    assert nodes.fixedOf(node) is fixed
    assert nodes.movingOf(node) is moving
    assert results.reportOf(node)["similarity_after"] == 0.8
    assert node.GetTransformFromParent().TransformPoint(*OBLIQUE[:3, 3]) == pytest.approx(OBLIQUE[:3, 3] + [-2, 0, 0])
    volume = slicer.util.getNode("moving registered")
    assert np.allclose(nodes.ijkToWorld(volume), OBLIQUE)
    assert moving.GetParentTransformNode() is None
    assert folders() == []


def test_only_what_is_asked_for_is_made(logic, pair):
    before = set(cases.sceneContent())
    logic.register(*pair, outputVolume=False, showResult=False)
    assert {i.rstrip("0123456789") for i in set(cases.sceneContent()) - before} == {"vtkMRMLTransformNode"}


def test_every_output_can_be_asked_for_and_goes_where_it_is_told(logic, pair):
    own = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "mine")
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "warped")
    node = logic.register(
        *pair, outputTransform=own, outputVolume=volume, outputInverse=True, outputJacobian=True, outputMagnitude=True
    )
    result = logic.lastResult
    assert node is own
    assert result.volume is volume
    assert volume.GetImageData() is not None
    assert result.inverse.GetName() == "fixed to moving"
    assert nodes.fixedOf(result.inverse) is pair[1]
    assert slicer.util.arrayFromVolume(result.magnitude).max() == pytest.approx(2)
    assert slicer.util.arrayFromVolume(result.jacobian).shape == (32, 32, 32)


def test_the_keywords_reach_the_command_line(logic, pair, monkeypatch):
    kept = {}
    load = results.load
    monkeypatch.setattr(
        logicModule,
        "load",
        lambda ask, folder, *rest: (
            kept.update(
                a=json.loads((folder / "arguments.json").read_text(encoding="utf-8")),
                files={p.name for p in folder.iterdir()},
            )
            or load(ask, folder, *rest)
        ),
    )
    points = [slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode") for _ in range(2)]
    for node in points:
        node.AddControlPoint([1, 2, 3])
    labels = [
        addVolume((blobs() > 100).astype(np.uint8), m, "l", "vtkMRMLLabelMapVolumeNode") for m in (OBLIQUE, OTHER)
    ]
    logic.register(
        *pair,
        method="vm2",
        refine="accurate",
        fineTune=True,
        affine="none",
        similarity="mind",
        smoothness=2.5,
        device="cpu",
        seed=7,
        fixedMask=labels[0],
        movingMask=labels[1],
        fixedLabels=labels[0],
        movingLabels=labels[1],
        fixedLandmarks=points[0],
        movingLandmarks=points[1],
        initialTransform=cases.linearTransform(np.eye(4)),
    )
    said = kept["a"]
    for switch in (
        "--no-compression",
        "--fine-tune",
        "--previews",
    ):  # nobody keeps these files, so they need no compression
        said.remove(switch)
    options = dict(zip(said[3::2], said[4::2], strict=True))
    assert said[:3] == ["register", "fixed.nrrd", "moving.nrrd"]
    assert options == {
        "--output-transform": "transform.nrrd",
        "--output-volume": "warped.nrrd",
        "--fixed-mask": "fixed-mask.nrrd",
        "--moving-mask": "moving-mask.nrrd",
        "--fixed-points": "fixed-points.csv",
        "--moving-points": "moving-points.csv",
        "--fixed-labels": "fixed-labels.nrrd",
        "--moving-labels": "moving-labels.nrrd",
        "--initial-transform": "initial.h5",
        "--method": "vm2",
        "--refine": "accurate",
        "--affine": "none",
        "--similarity": "mind",
        "--smoothness": "2.5",
        "--device": "cpu",
        "--seed": "7",
        "--progress": "json",
    }
    assert {v for v in options.values() if "." in v and v != "2.5"} <= kept["files"]


def test_every_setting_is_named_where_the_console_looks(logic):
    said = logicModule.RegistrationLogic.register.__doc__
    assert [name for name in SETTINGS if not re.search(rf"\b{name}\b", said)] == []


def test_defaults_are_left_to_the_library(pair, tmp_path):
    said = Request(*pair).write(tmp_path)
    assert said == [
        *("register", "fixed.nrrd", "moving.nrrd", "--no-compression", "--output-transform", "transform.nrrd"),
        *("--output-volume", "warped.nrrd", "--progress", "json"),
    ]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"smoothnes": 2}, "did you mean smoothness?"),
        ({"fineTun": True}, "did you mean fineTune?"),
        ({"fine_tune": True}, "did you mean fineTune?"),
        ({"fixdMask": None}, "did you mean fixedMask?"),
        ({"outputVolum": True}, "did you mean outputVolume?"),
        ({"zzzz": 1}, "what can be set is method, variant, fineTune"),
        ({"fineTune": 3}, "fineTune is True or False, not 3"),
        ({"smoothness": 99}, "The smoothness 99 is out of range"),
        ({"similarity": "best"}, "similarity can be auto, lncc"),
        ({"seed": 1.5}, "seed is a whole number"),
    ],
)
def test_a_misspelled_or_impossible_setting_is_one_sentence(logic, pair, wrong, sentence):
    with unchangedScene(), pytest.raises(SceneInputError, match=re.escape(sentence)):
        logic.register(*pair, **wrong)
    assert folders() == []


def test_results_of_the_former_version_are_known_again(pair):
    """Their key, as it was written; "what is there already is not done again"."""
    former = (
        '{"method": "vm2", "fineTune": true, "refine": "fast", "affine": "auto", "similarity": "mind", '
        f'"smoothness": 2.0, "seed": 3, "fixedMask": "{pair[1].GetID()}"}}'
    )
    settings = settingsFrom({"method": "vm2", "fineTune": True, "similarity": "mind", "smoothness": 2, "seed": 3})
    assert Request(*pair, settings, fixedMask=pair[1]).key() == former
    assert Request(*pair, settingsFrom({"device": "cpu"})).key() == Request(*pair).key()


def test_the_overlay_is_shown_and_readable(logic, pair):
    fixed, moving = pair
    logic.register(fixed, moving)
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        assert composite.GetBackgroundVolumeID() == fixed.GetID()
        assert composite.GetForegroundVolumeID() == logic.lastResult.volume.GetID()
        assert composite.GetForegroundOpacity() == 0.5
    for node in (fixed, logic.lastResult.volume):
        display = node.GetDisplayNode()
        assert 250 < display.GetWindow() < 400
        assert not display.GetAutoWindowLevel()


def test_a_window_that_the_user_set_is_kept(logic, pair):
    for node in pair:
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetAutoWindowLevel(False)
        node.GetDisplayNode().SetWindowLevel(77, 33)
    logic.register(*pair)
    assert [n.GetDisplayNode().GetWindow() for n in (*pair, logic.lastResult.volume)] == [77, 77, 77]


def test_it_can_run_while_the_script_goes_on(logic, pair, host):
    said = []
    logic.progressed.connect(lambda stage, fraction, message: said.append(fraction))
    logic.finished.connect(said.append)
    assert logic.register(*pair, method="slow", waitForCompletion=False) is None
    assert logic.isRunning
    from Testing.host import interact

    interact.wait_until(lambda: not logic.isRunning)
    assert said[-1].transform.GetName() == "moving to fixed"
    assert len(said) > 5
    assert said[:-1] == sorted(said[:-1])


@pytest.mark.parametrize(
    "method", ["bad-input", "garbage", "traceback", "memory", "suicide", "no-files", "broken-files"]
)
def test_after_any_failure_the_scene_is_as_before(logic, pair, method):
    logic.register(*pair, showResult=True)
    with unchangedScene(), pytest.raises(RegistrationError) as caught:
        logic.register(*pair, method=method)
    assert str(caught.value).endswith(".")
    assert not logic.isRunning
    assert folders() == []
    assert logic.register(*pair) is not None


def test_existing_outputs_are_not_touched_by_a_failure(logic, pair):
    volume = addVolume(blobs(), PLAIN, "kept")
    transform = cases.bendingTransform("kept too")
    point = transform.GetTransformFromParent().TransformPoint(5, 5, 5)
    with pytest.raises(RegistrationError):
        logic.register(*pair, method="broken-files", outputTransform=transform, outputVolume=volume)
    assert np.allclose(slicer.util.arrayFromVolume(volume), blobs())
    assert transform.GetTransformFromParent().TransformPoint(5, 5, 5) == point


def test_cancel_leaves_nothing(logic, pair):
    with unchangedScene():
        logic.register(*pair, method="hang", waitForCompletion=False)
        time.sleep(0.3)
        logic.cancel()
    assert folders() == []
    with pytest.raises(CancelledError):
        logic.wait()


def test_cancel_from_an_event_ends_the_waiting(logic, pair):
    logic.progressed.connect(lambda *_: logic.cancel())
    with unchangedScene(), pytest.raises(CancelledError, match="cancelled; nothing was changed"):
        logic.register(*pair, method="hang")


def test_closing_the_scene_stops_the_work(logic, pair):
    told = []
    logic.cancelled.connect(lambda: told.append(1))
    logic.register(*pair, method="hang", waitForCompletion=False)
    slicer.mrmlScene.Clear(0)
    assert told == [1]
    assert not logic.isRunning


def test_an_input_removed_meanwhile_is_one_sentence(logic, pair):
    logic.register(*pair, method="slow", waitForCompletion=False)
    slicer.mrmlScene.RemoveNode(pair[1])
    with unchangedScene(), pytest.raises(RegistrationError, match="moving was removed from the scene"):
        logic.wait()


def test_an_output_removed_meanwhile_is_made_anew(logic, pair):
    own = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "mine")
    logic.register(*pair, method="slow", outputTransform=own, waitForCompletion=False)
    slicer.mrmlScene.RemoveNode(own)
    assert logic.wait().GetName() == "moving to fixed"


def test_two_at_once_are_refused_with_a_sentence(logic, pair):
    logic.register(*pair, method="hang", waitForCompletion=False)
    with pytest.raises(RegistrationError, match="A registration is running"):
        logic.register(*pair)


@pytest.mark.parametrize(
    ("arrange", "sentence"),
    [
        (lambda f, m: (None, m), "Choose the fixed volume"),
        (lambda f, m: (f, None), "Choose the moving volume"),
        (lambda f, m: (f, f), "are the same"),
        (lambda f, m: (f, slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "void")), "void has no voxels"),
    ],
)
def test_bad_input_is_refused_before_anything_is_started(logic, pair, arrange, sentence):
    with pytest.raises(SceneInputError, match=sentence):
        logic.register(*arrange(*pair))
    assert folders() == []


def test_an_input_is_never_overwritten(logic, pair):
    with pytest.raises(RegistrationError, match="moving would be overwritten"):
        logic.register(*pair, outputVolume=pair[1])
    mask = addVolume(np.ones((32, 32, 32), np.uint8), OBLIQUE, "mask")
    with pytest.raises(RegistrationError, match="mask would be overwritten"):
        logic.register(*pair, fixedMask=mask, outputJacobian=mask)


@pytest.mark.parametrize(
    ("counts", "sentence"), [((1, 2), "has 1 and"), ((0, 0), "has no points"), ((1, None), "come in pairs")]
)
def test_landmarks_that_are_no_pairs_are_one_sentence(logic, pair, counts, sentence):
    points = []
    for count in counts:
        node = None if count is None else slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
        for index in range(count or 0):
            node.AddControlPoint([index, 0, 0])
        points.append(node)
    with unchangedScene(), pytest.raises(SceneInputError, match=sentence):
        logic.register(*pair, fixedLandmarks=points[0], movingLandmarks=points[1])


def test_a_second_run_does_not_count_the_first_ones_transform(logic, pair):
    fixed, moving = pair
    node = logic.register(fixed, moving)
    moving.SetAndObserveTransformNodeID(node.GetID())
    assert logic.register(fixed, moving, outputTransform=node) is node
    with pytest.raises(SceneInputError, match="which bends it"):
        logic.register(fixed, moving)


def test_a_refused_installation_is_one_sentence(logic, pair):
    class Refused:
        def ensure(self):
            raise RegistrationError("Without PyTorch nothing can be registered.")

    logic.installer = Refused()
    with unchangedScene(), pytest.raises(RegistrationError, match="Without PyTorch"):
        logic.register(*pair)
    assert folders() == []
