import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.__main__ import main
from DeepRegistrationLib.command_line.commands import parse_labels
from DeepRegistrationLib.command_line.progress_bar import ProgressBar
from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import Image, read_image
from DeepRegistrationLib.geometry.transform import map_points, read_transform
from Testing.Lib.files.full_disk import files_up_to, needs_limit
from Testing.Lib.geometry.geometries import oblique
from Testing.Lib.test_pipeline import pair

LABELS = ["--fixed-labels", "{l}", "--moving-labels", "{l}"]
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
    assert json.loads((done / "report" / "report.json").read_text(encoding="utf-8"))["verdict"] == "good"


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
    (tmp_path / "p.csv").write_text("\n".join(rows), encoding="utf-8")
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


def test_apply_takes_what_looks_like_labels_for_labels_and_says_so(done, tmp_path, capsys):
    labels = read_image(done / "moving_labels.nii.gz")
    Image(labels.array * 40, labels.grid).save(tmp_path / "given.nii.gz")
    arguments = ["apply", done / "t.h5", tmp_path / "given.nii.gz", "--reference", done / "fixed.nii.gz"]
    given = set(np.unique(labels.array * 40))
    assert main([*map(str, arguments), "--output", str(tmp_path / "l.nii.gz")]) == 0
    assert "label map" in capsys.readouterr().out
    assert set(np.unique(read_image(tmp_path / "l.nii.gz").array)) <= given
    assert main([*map(str, arguments), "--output", str(tmp_path / "m.nii.gz"), "--interpolation", "linear"]) == 0
    assert capsys.readouterr().out == ""
    assert not set(np.unique(read_image(tmp_path / "m.nii.gz").array)) <= given


@pytest.mark.parametrize(("far", "fill"), [(True, "-7"), (True, "nan"), (False, "-7")])
def test_apply_says_when_nothing_of_the_input_lies_on_the_reference(done, tmp_path, capsys, far, fill):
    fixed = sitk.ReadImage(str(done / "fixed.nii.gz"))
    fixed.SetOrigin([x + 500 * far for x in fixed.GetOrigin()])
    sitk.WriteImage(fixed, str(tmp_path / "f.nii.gz"))
    arguments = ["apply", done / "t.h5", done / "moving.nrrd", "--reference", tmp_path / "f.nii.gz", "--fill", fill]
    assert main([*map(str, arguments), "--output", str(tmp_path / "w.nrrd")]) == 0
    assert ("Nothing of the input lies on the reference" in capsys.readouterr().err) == far


def test_apply_keeps_color_and_fills_with_each_channels_background(tmp_path):
    slide = np.full((40, 50, 3), (250, 240, 230), np.uint8)
    slide[10:30, 10:40] = np.random.default_rng(0).integers(0, 200, (20, 30, 3))
    sitk.WriteImage(sitk.GetImageFromArray(slide, isVector=True), str(tmp_path / "slide.png"))
    shift = sitk.TranslationTransform(2, (8.0, 0.0))
    sitk.WriteTransform(shift, str(tmp_path / "t.tfm"))
    arguments = ["apply", "t.tfm", "slide.png", "--reference", "slide.png", "--output"]
    arguments = [str(tmp_path / a) if "." in a else a for a in arguments]
    assert main([*arguments, str(tmp_path / "moved.png")]) == 0
    moved = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "moved.png")))
    np.testing.assert_array_equal(moved[:, :-8], slide[:, 8:])
    np.testing.assert_array_equal(moved[:, -8:], np.broadcast_to((250, 240, 230), (40, 8, 3)))
    assert main([*arguments, str(tmp_path / "black.png"), "--fill", "0"]) == 0
    assert not sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "black.png")))[:, -7:].any()


def test_without_progress_only_what_speaks_against_a_result_is_said(done, tmp_path, capsys):
    """A good one costs no character; a doubtful one is told with its warnings, though nobody wants to see a bar."""
    how = ["--affine", "none", "--method", "none", "--device", "cpu", "--progress", "none"]
    images = [str(done / "fixed.nii.gz"), str(done / "moving.nrrd")]
    assert main(["register", *images, *how, "--output-transform", str(tmp_path / "t.h5")]) == 0
    assert capsys.readouterr() == ("", "")
    noise = np.random.default_rng(0).normal(size=(24, 28, 26)).astype(np.float32)
    Image(noise, read_image(images[0]).grid).save(tmp_path / "noise.nrrd")
    images[1] = str(tmp_path / "noise.nrrd")
    assert main(["register", *images, *how, "--refine", "none", "--output-transform", str(tmp_path / "n.h5")]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(("Verdict: bad: ", "Verdict: check: "))
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("command", ["register", "batch", "template", "sequence"])
def test_every_command_with_a_progress_says_what_none_leaves(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert "none: only a verdict that is not good is said" in " ".join(capsys.readouterr().out.split())


@needs_limit
def test_a_full_disk_leaves_all_earlier_results_and_exits_with_1(done, tmp_path, capfd):
    arguments = ["register", done / "fixed.nii.gz", done / "moving.nrrd", "--affine", "none", "--refine", "none"]
    arguments += [
        "--output-volume",
        tmp_path / "w.nii.gz",
        "--output-jacobian",
        tmp_path / "j.nii",
        "--report",
        tmp_path / "report",
        "--progress",
        "none",
    ]
    (tmp_path / "report").mkdir()
    for name in ("w.nii.gz", "j.nii", "report/report.json", "report/overlay.png", "report/report.html"):
        (tmp_path / name).write_text("an earlier good result", encoding="utf-8")
    before = _contents(tmp_path)
    with files_up_to(70_000):  # the volume fits, the Jacobian does not
        assert main([*map(str, arguments)]) == 1
    said = capfd.readouterr().err
    assert "j.nii" in said
    assert "make room" in said
    assert said.count("\n") == 1
    assert _contents(tmp_path) == before
    assert {p.name for p in tmp_path.iterdir()} == {"w.nii.gz", "j.nii", "report"}


def test_without_a_terminal_progress_is_a_few_plain_lines(done, tmp_path, capfd):
    arguments = ["register", done / "fixed.nii.gz", done / "moving.nrrd", "--affine", "none", "--device", "cpu"]
    assert main([*map(str, arguments), "--output-transform", str(tmp_path / "t.h5")]) == 0
    said = capfd.readouterr().err
    assert "\r" not in said
    assert [line.split()[1] for line in said.splitlines()] == ["affine", "prepare", "network", "refine", "output"]


def test_on_a_terminal_progress_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    bar = ProgressBar()
    for stage, fraction in (("read", 0.0), ("read", 0.05), ("refine", 1.0)):
        bar(stage, fraction, "message")
    bar.close()
    said = capsys.readouterr().err
    assert said.count("\r") == 3
    assert said.count("\n") == 1
    assert said.endswith("\n")


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
        (["register", "{f}", "{m}", "--output-volume", "{d}/hard.nrrd"], "overwrite an input (the moving image)"),
        (["register", "{f}", "{m}", "--output-volume", "{d}/link.nrrd"], "overwrite an input (the moving image)"),
        (["register", "{f}", "{m}", "--output-jacobian", "{l}", "--fixed-mask", "{l}"], "(the fixed mask)"),
        (["register", "{f}", "{m}", "--output-doubt", "{l}", "--moving-labels", "{l}"], "(the moving labels)"),
        (["register", "{f}", "{m}", "--output-inverse", "{t}", "--initial-transform", "{t}"], "initial transform"),
        (["register", "{f}", "{m}", "--output-volume", "{d}/w", "--refine", "fast"], "format is unknown"),
        (["register", "{f}", "{m}", "--output-volume", "{d}/w.mgz"], "format is unknown"),
        (["register", "{f}", "{m}", "--output-volume", "{d}/w.png"], "cannot hold it"),
        (["register", "{f}", "{m}", "--output-jacobian", "{d}/j.h5"], "format is unknown"),
        (["register", "{f}", "{m}", "--output-doubt", "{d}/d.jpg"], "cannot hold it"),
        (["register", "{f}", "{m}", "--output-transform", "{d}/t"], "format is unknown"),
        (["register", "{f}", "{m}", "--output-transform", "{d}/t.xfm"], "format is unknown"),
        (["register", "{f}", "{m}", "--output-transform", "{d}/t.mat"], "cannot hold it"),
        (["register", "{f}", "{m}", "--output-inverse", "{d}/t.mat"], "cannot hold it"),
        (["register", "{f}", "{m}", "--output-inverse", "{o}", "--output-transform", "{o}"], "are the same file"),
        (["register", "{f}", "{m}", "--output-volume", "{d}/a.nhdr", "--output-doubt", "{d}/a.mhd"], "same file"),
        (["register", "{f}", "{m}", "--output-transform", "{d}/folder.h5"], "it is a folder"),
        (["register", "{f}", "{m}", "--output-transform", "{d}/" + "n" * 300 + ".h5"], "too long"),
        (["register", "{f}", "{m}", "--output-transform", "{d}/circle.h5"], "symbolic links"),
        (["register", "{f}", "{m}", "--output-transform", "{d}/a\0.h5"], "NUL"),
        (["register", "{f}", "{m}", "--report", "{m}"], "is a file"),
        (["register", "{f}", "{m}", "--report", "{m}/report"], "is a file"),
        (["register", "{f}", "{m}", "--report", "a\0"], "NUL"),
        (["register", "{f}", "{m}", "--report", "{d}/circle.h5"], "choose another"),
        (["register", "{f}", "{d}/" + "n" * 300, "--output-transform", "{o}"], "too long"),
        (["register", "{f}", "a\0", "--output-transform", "{o}"], "a character no name can have"),
        (["register", "{f}", "{d}/circle.h5", "--output-transform", "{o}"], "leads to itself"),
        (["register", "{f}", "{m}", "--output-transform", "{o}", "--variant", "zzz"], "has no variants"),
        (["register", "{f}", "{m}", "--output-transform", "{o}", "--seed", "many"], "invalid int"),
        (["register", "{f}", "{m}", "--output-transform", "{o}", "--smoothness", "soft"], "invalid float"),
        (["register", "{f}", "{m}", "--output-transform", "{o}", "--smoothness", "nan"], "smoothness is a number"),
        (["apply", "{t}", "{m}", "--reference", "{f}", "--output", "{m}"], "(the input)"),
        (["apply", "{t}", "{m}", "--reference", "{f}", "--output", "{f}"], "(the reference)"),
        (["apply", "{t}", "{m}", "--reference", "{f}", "--output", "{t}"], "(the transform)"),
        (["apply", "{t}", "{p}", "--output", "{p}"], "(the input)"),
        (["apply", "{t}", "{p}", "--output", "{d}/p.fcsv"], "use a name ending in one of .csv"),
        (["apply", "{t}", "{m}", "--reference", "{f}", "--output", "{d}/w"], "format is unknown"),
        (["apply", "{t}", "{m}", "--reference", "{f}", "--output", "{d}/w.png"], "cannot hold it"),
        (["apply", "{t}", "{l}", "--reference", "{f}", "--output", "{d}/w.nrrd", "--fill", "-1"], "from 0 to 255"),
        (["apply", "{t}", "{l}", "--reference", "{f}", "--output", "{d}/w.nrrd", "--fill", "nan"], "from 0 to 255"),
        (["apply", "{h}", "{m}", "--reference", "{f}", "--output", "{d}/w.nrrd"], "without an ITK transform"),
        (["register", "{h}", "{m}", "--output-volume", "{d}/w.nrrd"], "holds no image"),
        (["evaluate", "--transform", "{h}", "--fixed-points", "{p}", "--moving-points", "{p}"], "without an ITK"),
        (["evaluate", "--transform", "{t}", *LABELS, "--labels", "1-400000000"], "more than 100000"),
        (["evaluate", "--transform", "{t}", *LABELS, "--labels", "5-2"], "numbers and ranges"),
        (["register", "{f}", "{m}", "--output-transform", "{o}", "--refine", "slow"], "invalid choice"),
        (["register", "{f}", "{m}", "--output-transform", "{o}", "--fixed-points", "p.csv"], "belong together"),
        (["apply", "{t}", "{m}", "--output", "{o}"], "--reference"),
        (["apply", "{m}", "{m}", "--reference", "{f}", "--output", "{o}"], "not a displacement field"),
        (["evaluate", "--transform", "{t}"], "Nothing to score"),
        (["sing"], "invalid choice"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(done, tmp_path, capfd, arguments, sentence):
    places = {"f": done / "fixed.nii.gz", "m": done / "moving.nrrd", "t": done / "t.h5", "o": tmp_path / "out.h5"}
    places |= {"l": done / "moving_labels.nii.gz", "p": tmp_path / "p.csv", "h": tmp_path / "foreign.h5", "d": tmp_path}
    (tmp_path / "hard.nrrd").hardlink_to(places["m"])
    (tmp_path / "link.nrrd").symlink_to(places["m"])
    (tmp_path / "circle.h5").symlink_to(tmp_path / "circle.h5")
    (tmp_path / "folder.h5").mkdir()
    places["p"].write_text("x,y,z\n1,2,3\n", encoding="utf-8")
    with h5py.File(places["h"], "w") as file:
        file["a"] = [1, 2, 3]
    before = _contents(done, tmp_path)
    capfd.readouterr()
    assert main([a.format(**places) for a in arguments]) == 2
    said = capfd.readouterr()  # also what libraries print past Python
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert "Traceback" not in said.err
    assert _contents(done, tmp_path) == before


def _contents(*folders):
    return {p: p.read_bytes() for folder in folders for p in folder.rglob("*") if p.is_file()}


def test_progress_as_json_ends_with_the_report(done, tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "DeepRegistrationLib", "register", done / "fixed.nii.gz", done / "moving.nrrd",
         "--output-transform", tmp_path / "t.h5", "--affine", "none", "--refine", "none", "--progress", "json"],
        capture_output=True, text=True, cwd=ROOT, check=True, encoding="utf-8",
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
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, encoding="utf-8",
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
