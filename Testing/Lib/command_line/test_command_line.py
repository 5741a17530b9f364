import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.__main__ import main
from DeepRegistrationLib.command_line.commands import parse_labels
from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import Image, read_image
from DeepRegistrationLib.geometry.transform import map_points, read_transform
from Testing.Lib.geometry.geometries import oblique
from Testing.Lib.test_pipeline import pair

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run of the command ``register`` on files."""
    folder = tmp_path_factory.mktemp("run")
    fixed, moving = pair(oblique((24, 28, 26), (1.5, 1.2, 1.0)), 2.0)
    fixed.save(folder / "fixed.nii.gz")
    moving.save(folder / "moving.nrrd")
    for name, image in (("fixed", fixed), ("moving", moving)):
        labels = Image((image.array // 150).astype(np.uint8), image.grid)
        labels.array[tuple(np.nonzero(np.pad(np.zeros([s - 8 for s in image.array.shape]), 4, constant_values=1)))] = 0
        labels.save(folder / f"{name}_labels.nii.gz")
    outputs = {
        "--output-transform": "t.h5",
        "--output-inverse": "i.h5",
        "--output-volume": "w.nii.gz",
        "--output-jacobian": "j.nrrd",
        "--report": "report",
    }
    arguments = ["register", folder / "fixed.nii.gz", folder / "moving.nrrd", "--affine", "none", "--device", "cpu"]
    for option, name in outputs.items():
        arguments += [option, folder / name]
    assert main([str(a) for a in [*arguments, "--progress", "none"]]) == 0
    return folder


def test_every_output_is_there_and_on_the_fixed_grid(done):
    fixed = read_image(done / "fixed.nii.gz")
    assert read_image(done / "w.nii.gz").grid.same_as(fixed.grid, 1e-3)
    assert read_image(done / "j.nrrd").grid.same_as(fixed.grid, 1e-3)
    assert {p.name for p in (done / "report").iterdir()} == {"report.html", "report.json", "overlay.png"}
    assert json.loads((done / "report" / "report.json").read_text())["verdict"] == "good"


def test_apply_repeats_the_warped_volume(done, tmp_path):
    arguments = ["apply", done / "t.h5", done / "moving.nrrd", "--reference", done / "fixed.nii.gz"]
    assert main([*map(str, arguments), "--output", str(tmp_path / "w.nii.gz")]) == 0
    np.testing.assert_allclose(read_image(tmp_path / "w.nii.gz").array, read_image(done / "w.nii.gz").array, atol=1e-2)


def test_apply_with_nearest_makes_no_new_label(done, tmp_path):
    arguments = ["apply", done / "t.h5", done / "moving_labels.nii.gz", "--reference", done / "fixed.nii.gz"]
    arguments += ["--output", tmp_path / "l.nii.gz", "--interpolation", "nearest"]
    assert main([*map(str, arguments)]) == 0
    assert set(np.unique(read_image(tmp_path / "l.nii.gz").array)) <= set(range(8))


def test_applied_points_land_where_the_image_does(done, tmp_path):
    transform = read_transform(done / "t.h5")
    fixed = read_image(done / "fixed.nii.gz").grid.to_world(np.random.default_rng(0).uniform(6, 18, (8, 3)))
    rows = ["x,y,z", *[",".join(f"{v:.9f}" for v in p) for p in map_points(transform, fixed)]]
    (tmp_path / "p.csv").write_text("\n".join(rows))
    assert main(["apply", str(done / "t.h5"), str(tmp_path / "p.csv"), "--output", str(tmp_path / "q.csv")]) == 0
    np.testing.assert_allclose(np.loadtxt(tmp_path / "q.csv", delimiter=",", skiprows=1), fixed, atol=5e-3)


def test_evaluate_tells_dice_before_and_after(done, capsys):
    arguments = ["evaluate", "--transform", done / "t.h5", "--json"]
    for side in ("fixed", "moving"):
        arguments += [f"--{side}-labels", done / f"{side}_labels.nii.gz"]
    assert main([*map(str, arguments)]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["mean_dice_after"] > scores["mean_dice_before"]
    present = np.union1d(*(read_image(done / f"{side}_labels.nii.gz").array for side in ("fixed", "moving")))
    assert set(scores["dice"]) == {str(v) for v in present if v}
    assert scores["folding_percent"] == 0


def test_evaluate_tells_landmark_distances(done, tmp_path, capsys):
    points = read_image(done / "fixed.nii.gz").grid.to_world(np.array([[12.0, 14, 13], [8, 9, 10]]))
    moved = map_points(read_transform(done / "t.h5"), points)
    for name, p in (("f.csv", points), ("m.csv", moved)):
        np.savetxt(tmp_path / name, p, delimiter=",")
    arguments = ["evaluate", "--transform", done / "t.h5", "--json"]
    arguments += ["--fixed-points", tmp_path / "f.csv", "--moving-points", tmp_path / "m.csv"]
    assert main([*map(str, arguments)]) == 0
    assert json.loads(capsys.readouterr().out)["mean_tre_after_mm"] < 1e-4


def test_methods_are_listed(capsys):
    assert main(["methods", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert "none" in [entry["name"] for entry in entries]
    assert main(["methods"]) == 0
    assert "none" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["register", "{f}", "{m}"], "Nothing would be kept"),
        (["register", "{f}", "{f}", "--output-transform", "{o}"], "same file"),
        (["register", "{f}", "nowhere.nii", "--output-transform", "{o}"], "does not exist"),
        (["register", "{f}", "{m}", "--output-transform", "/nowhere/t.h5"], "create it first"),
        (["register", "{f}", "{m}", "--output-volume", "{m}"], "overwrite an input"),
        (["register", "{f}", "{m}", "--output-transform", "{o}", "--refine", "slow"], "invalid choice"),
        (["register", "{f}", "{m}", "--output-transform", "{o}", "--fixed-points", "p.csv"], "belong together"),
        (["apply", "{t}", "{m}", "--output", "{o}"], "--reference"),
        (["apply", "{m}", "{m}", "--reference", "{f}", "--output", "{o}"], "not a displacement field"),
        (["evaluate", "--transform", "{t}"], "Nothing to score"),
        (["sing"], "invalid choice"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(done, tmp_path, capsys, arguments, sentence):
    places = {"f": done / "fixed.nii.gz", "m": done / "moving.nrrd", "t": done / "t.h5", "o": tmp_path / "out.h5"}
    assert main([a.format(**places) for a in arguments]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert "Traceback" not in said


def test_progress_as_json_ends_with_the_report(done, tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "DeepRegistrationLib", "register", done / "fixed.nii.gz", done / "moving.nrrd",
         "--output-transform", tmp_path / "t.h5", "--affine", "none", "--refine", "none", "--progress", "json"],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert all({"stage", "fraction", "message"} <= set(line) for line in lines)
    assert lines[-1]["stage"] == "done"
    assert lines[-1]["report"]["method"] == "none"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_an_interrupted_run_exits_with_130_and_writes_nothing(tmp_path):
    fixed, moving = pair(oblique((70, 70, 70)), 2.0)
    sitk.WriteImage(fixed.to_sitk(), str(tmp_path / "f.nrrd"))
    sitk.WriteImage(moving.to_sitk(), str(tmp_path / "m.nrrd"))
    run = subprocess.Popen(
        [sys.executable, "-m", "DeepRegistrationLib", "register", tmp_path / "f.nrrd", tmp_path / "m.nrrd",
         "--output-transform", tmp_path / "t.h5", "--refine", "accurate", "--progress", "json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    while '"refine"' not in run.stdout.readline():
        assert run.poll() is None
    time.sleep(0.1)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "cancelled" in said
    assert not (tmp_path / "t.h5").exists()


def test_label_ranges_are_read():
    assert parse_labels("1-3,7") == [1, 2, 3, 7]
    assert parse_labels(None) is None
    with pytest.raises(InputError, match="ranges"):
        parse_labels("a-b")
