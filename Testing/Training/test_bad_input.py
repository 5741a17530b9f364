"""Every command says in one sentence what is wrong with its input, and nothing that was there is lost."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from DeepRegistrationLib.errors import InputError, NotWritten
from DeepRegistrationLib.geometry.image import Grid, Image, read_image
from Training.__main__ import main
from Training.pairs.manifest import read_manifest
from Training.plan import plan_of
from Training.runs import checkpoint
from Training.runs.export import export
from Training.runs.loop import train
from Training.runs.train import source_of

from ..Lib.files.full_disk import files_up_to, needs_limit
from .small_runs import tiny_plan, write_data

CPU = torch.device("cpu")
PLAN = """method = "voxelmorph-1"
seed = 1
[synthesis]
shape = [32, 32]
families = { shapes = 1.0 }
[schedule]
steps = 1
batch = 1
validate_every = 0
"""


def refused(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 2) -> str:
    """The one sentence that a command says instead of doing its work."""
    assert main([str(argument) for argument in arguments]) == code
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    assert "Traceback" not in said
    assert "unexpectedly" not in said
    return said


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seed = 1", "seed = 1180591620717411303424", "seed must be"),
        ("shape = [32, 32]", "shape = 32", "synthesis.shape cannot be 32"),
        ("shape = [32, 32]", "shape = [100000000, 100000000]", "up to 4096"),
        ("shape = [32, 32]", "shape = [4096, 4096, 4096]", "GB"),
        ("batch = 1", "batch = 900000000", "GB"),
        ("validate_every = 0", "validate_every = 1\nvalidation_pairs = 900000000", "GB"),
        ("steps = 1", "steps = 1\nfade_in = nan", "fade_in cannot be nan"),
        ("steps = 1", "steps = 1\nclip = inf", "clip cannot be inf"),
        ("steps = 1", "steps = 9999999999", "at most 1000000000"),
        ("families = { shapes = 1.0 }", "families = { shapes = nan }", "shapes cannot be nan"),
        ("families = { shapes = 1.0 }", "families = { shapes = 1.0, head = -0.5 }", "negative"),
        ("families = { shapes = 1.0 }", "count = [6, 900000000]", "254"),
        ("families = { shapes = 1.0 }", "deform = { spacing = [1e-9], sd = [1.0] }", "from 0.01 to 1"),
        ("families = { shapes = 1.0 }", "contrast = { blur = [3.0, 1.0] }", "smaller first"),
        ("[schedule]", "[optimizer]\nbetas = [2.0, 0.9]\n[schedule]", "betas"),
        ("[schedule]", "[optimizer]\nlearning_rate = nan\n[schedule]", "learning_rate cannot be nan"),
        ("[schedule]", "[loss]\nweight = nan\n[schedule]", "loss.weight cannot be nan"),
        ('method = "voxelmorph-1"', "method = " + "[" * 3000, "cannot be read"),
    ],
)
def test_a_plan_that_says_what_cannot_be(
    old: str, new: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN.replace(old, new), encoding="utf-8")
    assert words in refused(capsys, "train", path, "--output", tmp_path / "run", "--device", "cpu")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"training": 5}, "a list of images"),
        ({"training": [5]}, 'no "image"'),
        ({"training": [{"image": 5}]}, 'no "image"'),
        ({"validation": 5}, '"validation" must be a list'),
        ({"registration_val": {"fixed": "a"}}, '"registration_val" must be a list'),
        ({"training_paired_images": 7}, '"training_paired_images" must be a list'),
        ({"training_paired_images": [{"fixed": ["a"], "moving": 3}]}, "two paths"),
        ({"label": 3}, "label map of the manifest must be the path"),
        ({"landmarks": [1]}, "file of landmarks of the manifest must be the path"),
        ({"image": "x" * 5000}, "is no path"),
        ({"image": "a\0b"}, "must be the path"),
    ],
)
def test_a_manifest_with_something_else_where_lists_and_paths_belong(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    manifest = write_data(tmp_path / "data", 2)
    table = json.loads(manifest.read_text(encoding="utf-8"))
    for key, value in change.items():
        (table["training"][0] if key in ("label", "landmarks", "image") else table)[key] = value
    manifest.write_text(json.dumps(table), encoding="utf-8")
    with pytest.raises(InputError, match=words):
        read_manifest(manifest)


def test_a_pipe_or_a_folder_is_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        assert "not a file" in refused(capsys, "train", path, "--output", tmp_path / "run")
        with pytest.raises(InputError, match="not a file"):
            read_manifest(path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--threads", -3), "--threads"),
        (("--threads", 0), "--threads"),
        (("--steps", 0), "--steps"),
        (("--steps", 10**20), "at most 1000000000"),
        (("--steps", "many"), "--steps"),
        (("--device", "cpu:banana"), "device"),
        (("--nonsense",), "--nonsense"),
    ],
)
def test_arguments_that_cannot_be(
    arguments: tuple[Any, ...], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN, encoding="utf-8")
    assert words in refused(capsys, "train", path, "--output", tmp_path / "run", *arguments)


def test_torchruns_variables_must_be_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN, encoding="utf-8")
    monkeypatch.setenv("WORLD_SIZE", "many")
    assert "WORLD_SIZE" in refused(capsys, "train", path, "--output", tmp_path / "run", "--device", "cpu")
    monkeypatch.setenv("WORLD_SIZE", "2")  # but nothing says where the others are
    assert "torchrun" in refused(capsys, "train", path, "--output", tmp_path / "run", "--device", "cpu")


def test_other_commands_that_cannot_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "within the folder" in refused(capsys, "manifest", tmp_path, tmp_path / "m.json", "--images", "/tmp/*.nii")
    assert "within the folder" in refused(
        capsys, "manifest", tmp_path, tmp_path / "m.json", "--images", "*.png", "--labels", "../*.png"
    )
    assert "does not exist" in refused(capsys, "manifest", tmp_path / "no", tmp_path / "m.json")
    assert "--samples" in refused(capsys, "synthesize", tmp_path / "s.png", "--samples", 10**9)
    assert "--seed" in refused(capsys, "synthesize", tmp_path / "s.png", "--seed", -1)
    assert "GB" in refused(capsys, "synthesize", tmp_path / "s.png", "--shape", 4096, 4096, 4096)
    assert "--pairs" in refused(capsys, "evaluate", "universal", "--output", tmp_path / "e", "--pairs", -1)


def test_names_that_no_file_can_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, circle = tmp_path / "plan.toml", tmp_path / "circle"
    plan.write_text(PLAN, encoding="utf-8")
    circle.symlink_to(circle)
    for name in ("a\0b", circle):
        refused(capsys, "import-keras", name, tmp_path / "m.safetensors")
        refused(capsys, "export", plan, name, tmp_path / "m.safetensors")
    for command in (("synthesize", plan), ("train", plan, "--output")):
        assert "NUL" in refused(capsys, *command, "a\0b")
    assert not (tmp_path / "m.safetensors").exists()


def test_labels_and_thresholds_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ("evaluate", "universal", "--output", tmp_path / "e")
    assert "--labels" in refused(capsys, *common, "--labels", 3, -1)
    assert "--mask-threshold" in refused(capsys, *common, "--mask-threshold", "nan")


def test_a_fault_of_the_program_is_one_sentence_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(path: object) -> None:
        raise TypeError("first line\nsecond line")

    monkeypatch.setattr("Training.runs.train.read_plan", fail)
    assert main(["train", "x", "--output", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "The work failed unexpectedly (TypeError: first line).\n"


def _without_networks(state: dict[str, Any]) -> None:
    del state["networks"]


def _other_shapes(state: dict[str, Any]) -> None:
    weights = state["networks"]["registration"]
    name = next(iter(weights))
    weights[name] = torch.zeros(1, 2, 3)


def _without_plan(state: dict[str, Any]) -> None:
    del state["plan"]


def _step_is_text(state: dict[str, Any]) -> None:
    state["step"] = "three"


@pytest.mark.parametrize("damage", [_without_networks, _other_shapes, _without_plan, _step_is_text])
def test_a_damaged_checkpoint_is_neither_resumed_nor_exported(
    damage: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    plan = tiny_plan("voxelmorph-1", 1, 1)
    run = train(plan, source_of(plan, CPU), tmp_path, CPU, tensorboard=False, quiet=True)
    state = run.state()
    damage(state)
    checkpoint.write_checkpoint(tmp_path / checkpoint.NAME, state)
    with pytest.raises(InputError):
        train(plan, source_of(plan, CPU), tmp_path, CPU, tensorboard=False, quiet=True)
    with pytest.raises(InputError):
        export(plan, tmp_path, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()
    (tmp_path / checkpoint.NAME).write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="damaged"):
        checkpoint.read_checkpoint(tmp_path / checkpoint.NAME)


def test_weights_that_are_not_numbers_are_not_exported(tmp_path: Path) -> None:
    plan = tiny_plan("voxelmorph-1", 1, 1)
    run = train(plan, source_of(plan, CPU), tmp_path, CPU, tensorboard=False, quiet=True)
    next(run.registration.parameters()).data.fill_(float("nan"))
    checkpoint.write_checkpoint(tmp_path / checkpoint.NAME, run.state())
    with pytest.raises(InputError, match="not numbers"):
        export(plan, tmp_path, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("which", ["image", "label"])
def test_an_image_with_nan_is_found_before_the_first_step(which: str, tmp_path: Path) -> None:
    manifest = write_data(tmp_path / "data", 4)
    path = tmp_path / "data" / ("imagesTr" if which == "image" else "labelsTr") / "Toy_0003_0000.nii.gz"
    image = read_image(path)
    array = image.array.astype(np.float32)
    array[3, 4] = np.nan
    Image(array, image.grid).save(path)
    plan = plan_of({"method": "voxelmorph-1", "data": {"manifest": str(manifest)}})
    with pytest.raises(InputError, match=r"Toy_0003_0000\.nii\.gz has values that are not numbers"):
        source_of(plan, CPU)


def test_no_output_replaces_an_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN, encoding="utf-8")
    folder = tmp_path / "run"
    assert main(["train", str(plan), "--output", str(folder), "--device", "cpu", "--quiet"]) == 0
    os.link(plan, tmp_path / "link.safetensors")
    targets = [plan, tmp_path / "link.safetensors", *(folder / n for n in ("checkpoint.pt", "plan.json", "log.jsonl"))]
    for target in targets:
        before = target.read_bytes()
        assert "is the input" in refused(capsys, "export", plan, folder, target)
        assert target.read_bytes() == before
    manifest = write_data(tmp_path / "data", 2)
    images = sorted((tmp_path / "data" / "imagesTr").iterdir())
    labels = sorted((tmp_path / "data" / "labelsTr").iterdir())
    kept = {path: path.read_bytes() for path in (manifest, *images, *labels)}
    for target in (images[0], labels[1]):
        listing = ("manifest", tmp_path / "data", target, "--images", "imagesTr/*.gz", "--labels", "labelsTr/*.gz")
        assert "is the input" in refused(capsys, *listing)
    for target in (manifest, images[0]):
        assert "is the input" in refused(capsys, "fields", manifest, target, "--output", tmp_path / "fields")
    assert "is the input" in refused(capsys, "synthesize", plan, tmp_path / "s.png", "--recipes", plan)
    assert "is the input" in refused(capsys, "import-keras", images[0], images[0])
    assert {path: path.read_bytes() for path in kept} == kept


def test_a_manifest_that_does_not_fit_leaves_the_one_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        Image(np.ones((20, 20), np.float32), Grid.from_shape((20, 20))).save(tmp_path / f"{name}.nii.gz")
    out = tmp_path / "out.json"
    assert main(["manifest", str(tmp_path), str(out)]) == 0
    before = out.read_bytes()
    Image(np.ones((20, 20, 20), np.float32), Grid.from_shape((20, 20, 20))).save(tmp_path / "b.nii.gz")
    assert "2-D or all 3-D" in refused(capsys, "manifest", tmp_path, out)
    assert out.read_bytes() == before


@needs_limit
def test_a_full_disk_cuts_no_picture_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, sheet = tmp_path / "plan.toml", tmp_path / "s.png"
    plan.write_text(PLAN, encoding="utf-8")
    assert main(["synthesize", str(plan), str(sheet), "--samples", "1"]) == 0
    before = sheet.read_bytes()
    with files_up_to(2000):
        assert "make room" in refused(capsys, "synthesize", plan, sheet, "--samples", 1, "--seed", 3, code=1)
    assert sheet.read_bytes() == before
    assert "format is unknown" in refused(capsys, "synthesize", plan, tmp_path / "s.zzz", "--samples", 1)


@needs_limit
def test_a_full_disk_leaves_the_plan_and_the_checkpoint_of_the_run(tmp_path: Path) -> None:
    plan = tiny_plan("voxelmorph-1", 1, 1)
    run = train(plan, source_of(plan, CPU), tmp_path, CPU, tensorboard=False, quiet=True)
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with files_up_to(100), pytest.raises(NotWritten, match="unchanged"):
        train(plan, source_of(plan, CPU), tmp_path, CPU, tensorboard=False, quiet=True)
    with files_up_to(100), pytest.raises(NotWritten, match="unchanged") as caught:
        checkpoint.write_checkpoint(tmp_path / checkpoint.NAME, run.state())
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_an_empty_path_is_not_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "Argument folder: it is empty" in refused(capsys, "manifest", "", "out.json")
