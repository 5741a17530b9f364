"""SIGKILL, SIGTERM and SIGINT at every stage: nothing half written, lost or left running; the same command resumes."""

from __future__ import annotations

import json
import signal
import sys

import pytest

from DeepRegistrationLib.geometry.image import read_image
from DeepRegistrationLib.geometry.transform import read_transform
from DeepRegistrationLib.models.bundle import load_model
from Testing.Campaign import materials
from Testing.Campaign.outcomes import contents
from Testing.Campaign.processes import ended_when, finished, loads_torch, none_left, started

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
STAGES = ("loading", "read", "affine", "prepare", "network", "refine", "output", "writing")
QUICK = ("--affine", "none", "--refine", "none", "--method", "none", "--device", "cpu")
PLAN = materials.PLAN.replace("steps = 1", "steps = 40\ncheckpoint_every = 3\nlog_every = 1")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills") / "good"
    materials.make_good(folder)
    materials.make_run(folder)
    return folder


def whole(folder):
    """Every result is there and can be read."""
    for path in folder.rglob("*"):
        if path.name.endswith((".h5", ".tfm")):
            read_transform(path)
        elif path.name.endswith(".nii.gz") and path.is_file():
            assert read_image(path).array.size
        elif path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".safetensors":
            load_model(path)


def no_harm(process, place, before, number, sent):
    """After a signal: results are those of before or whole new ones; the process said one sentence and left nothing."""
    _, said = process.communicate(timeout=120)
    assert none_left(process.pid)
    if sent and number == signal.SIGINT and process.returncode != 0:
        assert process.returncode == 130, said
    if number != signal.SIGKILL:
        assert len(said.strip().splitlines()) <= 1, said
        assert "Traceback" not in said
        assert not [*place.rglob(".partial-*")]
    after = contents(place)
    if process.returncode != 0:
        lost = {name for name in before if after.get(name) != before[name] and "/" not in name and name != "out"}
        assert not lost
    partial = {name for name in after if ".partial-" in name}
    for name in partial:
        (place / name).unlink()
    whole(place)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda n: n.name)
@pytest.mark.parametrize("stage", STAGES)
def test_register(good, tmp_path, stage, number):
    (tmp_path / "T.h5").write_bytes((good / "warp.h5").read_bytes())
    (tmp_path / "W.nii.gz").write_bytes((good / "moving.nii.gz").read_bytes())
    before = contents(tmp_path)
    images = [str(good / f"{side}.nii.gz") for side in ("fixed", "moving")]
    outputs = ("--output-transform", "T.h5", "--output-volume", "W.nii.gz", "--output-inverse", "I.h5", "--report", "r")
    command = ("DeepRegistrationLib", "register", *images, *outputs, *QUICK[:2], *QUICK[4:], "--progress", "json")
    process = started(tmp_path, *command)

    def reached():
        if stage == "writing":
            return bool([*tmp_path.glob(".partial-*")])
        if stage == "loading":
            return loads_torch(process)
        return f'"stage": "{stage}"' in (tmp_path / "out").read_text(encoding="utf-8")

    sent = ended_when(process, reached, number)
    no_harm(process, tmp_path, before, number, sent)
    if number == signal.SIGKILL:
        finished(tmp_path, *command)
        whole(tmp_path)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda n: n.name)
@pytest.mark.parametrize("stage", ["loading", "a row", "claimed", "one done", "all done"])
def test_batch(good, tmp_path, stage, number):
    rows = [f"{name},{good / 'fixed.nii.gz'},{good / 'moving.nii.gz'}" for name in ("a", "b", "c")]
    (tmp_path / "list.csv").write_text("\n".join(["name,fixed,moving", *rows]), encoding="utf-8")
    command = ("DeepRegistrationLib", "batch", "list.csv", "--output", "b", "--workers", "2", *QUICK)
    process = started(tmp_path, *command)
    out = tmp_path / "b"
    reached = {
        "loading": lambda: loads_torch(process),
        "a row": lambda: (out / ".batch").exists(),
        "claimed": lambda: bool([*out.glob("*/.in-work")]),
        "one done": lambda: bool([*out.glob("*/done.json")]),
        "all done": lambda: len([*out.glob("*/done.json")]) == 3,
    }[stage]
    before = contents(tmp_path)
    sent = ended_when(process, reached, number)
    no_harm(process, tmp_path, before, number, sent)
    done = {path.parent.name: path.read_bytes() for path in out.glob("*/done.json")}
    finished(tmp_path, *command)
    for name, content in done.items():  # what was done is not done again
        assert (out / name / "done.json").read_bytes() == content
    assert len([*out.glob("*/done.json")]) == 3
    assert not [*out.rglob(".partial-*")]
    whole(out)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda n: n.name)
@pytest.mark.parametrize("stage", ["loading", "plan", "steps", "checkpoint", "second checkpoint"])
def test_train(good, tmp_path, stage, number):
    (tmp_path / "plan.toml").write_text(PLAN, encoding="utf-8")
    run = tmp_path / "run"
    command = ("Training", "train", "plan.toml", "--output", "run", "--device", "cpu", "--quiet")
    process = started(tmp_path, *command)

    def lines():
        log = run / "log.jsonl"
        return log.read_text(encoding="utf-8").count("\n") if log.exists() else 0

    reached = {
        "loading": lambda: loads_torch(process),
        "plan": lambda: (run / "plan.json").exists(),
        "steps": lambda: lines() > 1,
        "checkpoint": lambda: (run / "checkpoint.pt").exists(),
        "second checkpoint": lambda: (run / "checkpoint.pt").exists() and lines() > 8,
    }[stage]
    before = contents(tmp_path)
    sent = ended_when(process, reached, number)
    no_harm(process, tmp_path, before, number, sent)
    finished(tmp_path, *command)
    finished(tmp_path, "Training", "export", "plan.toml", "run", "m.safetensors", "--last")
    whole(tmp_path)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda n: n.name)
@pytest.mark.parametrize("stage", ["loading", "writing"])
def test_export(good, tmp_path, stage, number):
    (tmp_path / "m.safetensors").write_bytes((good / "model.safetensors").read_bytes())
    before = contents(tmp_path)
    command = ("Training", "export", str(good / "plan.toml"), str(good / "run"), "m.safetensors", "--last")
    process = started(tmp_path, *command)

    def reached():
        return loads_torch(process) if stage == "loading" else bool([*tmp_path.glob(".partial-*")])

    sent = ended_when(process, reached, number)
    no_harm(process, tmp_path, before, number, sent)
    finished(tmp_path, *command)
    whole(tmp_path)
