"""Frames of a breath with known motion: registered, smoothed over time, and told as curves."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from DeepRegistrationLib import InputError, register
from DeepRegistrationLib.__main__ import main
from DeepRegistrationLib.cohorts.claims import LOCK
from DeepRegistrationLib.cohorts.others import alone_in
from DeepRegistrationLib.fields.operations import smooth
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.geometry.transform import Transform
from DeepRegistrationLib.inputs import pair as inputs_pair
from DeepRegistrationLib.motion.curves import measure_motion
from DeepRegistrationLib.motion.frames import content_on, register_frames
from DeepRegistrationLib.motion.over_time import smooth_over_time, weights_over_time
from DeepRegistrationLib.refinement import engine, one_level, schedule
from Testing.Lib.motion.breath import Breath


@pytest.fixture(scope="module")
def breath():
    return Breath()


@pytest.fixture(scope="module")
def found(breath):
    return register_frames(breath.fixed, breath.frames, cyclic=True, affine="rigid")


def test_every_frame_begins_at_its_neighbors_field(breath, found):
    assert [report["affine"] for report in found.reports] == ["rigid"] + ["given"] * 7
    still = Transform.linear(np.eye(3), breath.grid)
    assert breath.error(found.transforms) < 0.4 * breath.error([still] * 8)
    alone = register_frames(breath.fixed, breath.frames[:2], neighbors=False, affine="rigid")
    assert [report["affine"] for report in alone.reports] == ["rigid"] * 2


def test_the_loop_closes_and_that_is_measured(breath, found):
    assert 0 < found.closure_mm < 1.0
    assert found.closure_mm < found.max_closure_mm
    grown = register_frames(breath.fixed, breath.frames[:2], cyclic=True, affine="rigid")
    assert np.isnan(grown.closure_mm)  # there and back is no loop


def test_smoothness_over_time_brings_registered_frames_nearer_to_the_truth(breath, found):
    grid, content = content_on(breath.fixed)
    before = breath.error(found.transforms)
    for cyclic in (True, False):
        assert breath.error(smooth_over_time(found.transforms, grid, content, 1.0, cyclic)) < before


@pytest.mark.parametrize("cyclic", [True, False])
def test_it_keeps_the_motion_and_takes_the_noise(breath, cyclic):
    content = torch.from_numpy(breath.body)[None, None]

    def maps(size):
        random = torch.Generator().manual_seed(1)
        noise = [size * 4 * smooth(torch.randn(u.shape, generator=random), 2.0) for u in breath.truth]
        return [Transform.from_field(u + n, breath.grid) for u, n in zip(breath.truth, noise, strict=True)]

    clean, noisy = maps(0.0), maps(1.0)
    assert breath.error(smooth_over_time(clean, breath.grid, content, 0.8, cyclic)) < 0.06
    assert breath.error(smooth_over_time(noisy, breath.grid, content, 1.0, cyclic)) < 0.85 * breath.error(noisy)
    assert breath.error(smooth_over_time(noisy, breath.grid, content, 0.0, cyclic)) == pytest.approx(
        breath.error(noisy), abs=2e-3
    )


def test_weights_keep_parabolas_and_the_cycle_has_no_seam():
    for count, width in ((4, 0.2), (5, 1.0), (9, 2.0)):
        rows = weights_over_time(count, width)
        t = np.arange(count)
        for power in range(3):
            assert rows @ t**power == pytest.approx(t**power, abs=1e-6)
        cycle = weights_over_time(count, width, cyclic=True)
        assert cycle.sum(1) == pytest.approx(np.ones(count))
        if count % 2:
            assert np.roll(cycle[0], 2) == pytest.approx(cycle[2], abs=1e-9)
    assert (weights_over_time(3, 1.0) == np.eye(3)).all()
    assert (weights_over_time(6, 0.0) == np.eye(6)).all()


def test_matrices_are_not_smoothed(breath):
    matrices = [Transform.linear(np.eye(3), breath.grid)] * 4
    with pytest.raises(InputError, match="one of these is a matrix"):
        smooth_over_time(matrices, breath.grid, torch.ones(1, 1, *breath.grid.shape, dtype=torch.bool), 1.0)


def test_curves_say_how_far_and_how_large():
    grid = Grid.from_shape((10, 12, 14), (2.0, 1.0, 1.5))
    shift, grown = sitk.AffineTransform(3), sitk.AffineTransform(3)
    shift.SetTranslation([3.0, 0.0, 4.0])
    grown.Scale(1.1)
    parts = np.zeros(grid.shape, np.uint8)
    parts[2:6, 3:7, 4:9] = 7
    points = {"tip": np.array([10.0, 0.0, 0.0])}
    curves = measure_motion([shift, grown], grid, parts > 0, ["in", "out"], Image(parts, grid), points)
    assert curves.mean_mm[0] == pytest.approx(5.0, abs=1e-4)
    volume = 4 * 4 * 5 * 3.0 / 1000
    assert curves.part_volume_ml["label 7"] == pytest.approx([volume, volume * 1.1**3], rel=1e-4)
    assert curves.point_mm["tip"] == pytest.approx([5.0, 1.0])
    assert curves.paths["tip"][1] == pytest.approx([11.0, 0.0, 0.0])
    rows = list(csv.reader(curves.as_csv().splitlines()))
    assert rows[0][:3] == ["Frame", "Mean displacement (mm)", "Largest displacement (mm)"]
    assert [row[0] for row in rows] == ["Frame", "in", "out"]
    assert len({len(row) for row in rows}) == 1


def test_the_commands_write_all_of_it(breath, tmp_path):
    names = []
    for index, image in enumerate([breath.fixed, *breath.frames[:4]]):
        names.append(str(tmp_path / f"f{index}.nrrd"))
        image.save(names[-1])
    parts = Image(breath.body.astype(np.uint8), breath.grid)
    parts.save(tmp_path / "parts.nrrd")
    (tmp_path / "p.csv").write_text("name,x,y\ntip,30,30\n", encoding="utf-8")
    out, more = tmp_path / "out", ["--labels", str(tmp_path / "parts.nrrd"), "--points", str(tmp_path / "p.csv")]
    how = ["--affine", "rigid", "--cyclic", "--smooth-in-time", "0.8"]
    assert main(["sequence", *names, "--output", str(out), *how, *more]) == 0
    document = json.loads((out / "sequence.json").read_text(encoding="utf-8"))
    assert len(document["frames"]) == 4
    assert document["closure_mm"] > 0
    table = list(csv.DictReader((out / "motion.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["Frame"] for row in table] == ["f1.nrrd", "f2.nrrd", "f3.nrrd", "f4.nrrd"]
    assert float(table[3]["tip: displacement (mm)"]) > 0.5
    made = [str(out / f"transform_{index:03d}.nrrd") for index in range(4)]
    assert main(["motion", names[0], *made, "--output", str(out), "--cyclic", "--smooth-in-time", "0.8", *more]) == 0
    again = list(csv.DictReader((out / "motion.csv").read_text(encoding="utf-8").splitlines()))
    first, second = (float(rows[3]["tip: displacement (mm)"]) for rows in (table, again))
    assert first == pytest.approx(second, abs=0.02)


NOT_SOLVED = pytest.mark.xfail(strict=True, reason="begun stiff, a field that follows such noise is confirmed")


@pytest.mark.parametrize(
    "stiff",
    [
        pytest.param((1.0,), marks=pytest.mark.slow, id="soft"),
        pytest.param(schedule.STIFF_FIRST[3], marks=[NOT_SOLVED, pytest.mark.slow], id="stiff"),
    ],
)
def test_no_field_is_handed_on_where_noise_let_none_be_confirmed(monkeypatch, stiff):
    """Else the alignment as a whole, which noise hardly disturbs, is left out, and the field follows the noise."""
    monkeypatch.setitem(schedule.STIFF_FIRST, 3, stiff)
    body = Breath((28, 32, 30), count=6, noise=0.06, depth=6.0)
    found = register_frames(body.fixed, body.frames[:2], method="none", device="cpu")
    assert found.reports[0]["chosen"] == "affine"
    body.truth = body.truth[1:2]
    assert body.error(found.transforms[1:]) < 0.4  # 0.54 with what the first frame handed on


def test_frames_that_are_there_are_taken_as_they_are(tmp_path, capsys):
    breath = Breath((28, 32), depth=4.0)
    names = [str(tmp_path / f"f{index}.nrrd") for index in range(4)]
    for name, image in zip(names, [breath.fixed, *breath.frames[:3]], strict=True):
        image.save(name)
    out = tmp_path / "out"
    run = ["sequence", *names, "--output", str(out), "--affine", "rigid", "--volumes"]

    def said(*more):
        capsys.readouterr()
        assert main([*run, *more]) == 0
        return ["made before" in line for line in capsys.readouterr().out.splitlines()]

    assert said() == [False] * 3
    first = (out / "sequence.json").read_text(encoding="utf-8")
    assert said() == [True] * 3
    assert (out / "sequence.json").read_text(encoding="utf-8") == first
    (out / "volume_002.nrrd").unlink()  # as after an end in the middle
    assert said() == [True, True, False]
    assert (out / "volume_002.nrrd").is_file()
    breath.frames[3].save(names[2])  # the last one begins at what comes of it
    assert said() == [True, False, False]
    assert said("--independent") == [True, False, False]
    assert said("--independent", "--smoothness", "1.5") == [False] * 3


@pytest.mark.parametrize(("verdict", "said"), [("good", ""), ("bad", "f1.nrrd: bad\nf2.nrrd: bad\n")])
def test_without_progress_only_frames_that_are_not_good_are_said(breath, tmp_path, capsys, monkeypatch, verdict, said):
    names = [str(tmp_path / f"f{index}.nrrd") for index in range(3)]
    for name, image in zip(names, [breath.fixed, *breath.frames[:2]], strict=True):
        image.save(name)
    monkeypatch.setattr("DeepRegistrationLib.quality.report.Report.judge", lambda _: (verdict, ["so"]))
    how = ["--method", "none", "--refine", "none", "--affine", "none", "--progress", "none"]
    assert main(["sequence", *names, "--output", str(tmp_path / "out"), *how]) == 0
    assert capsys.readouterr() == ("", said)


def test_a_frame_that_fails_leaves_the_ones_before(breath, tmp_path, capsys, monkeypatch):
    names = [str(tmp_path / f"f{index}.nrrd") for index in range(3)]
    for name, image in zip(names, [breath.fixed, *breath.frames[:2]], strict=True):
        image.save(name)
    out, save = tmp_path / "out", Image.save

    def full(image, path, *rest):
        if Path(path).name == "volume_001.nrrd":
            raise InputError("The disk is full; nothing was written.")
        return save(image, path, *rest)

    monkeypatch.setattr(Image, "save", full)
    run = ["sequence", *names, "--output", str(out), "--affine", "rigid", "--volumes"]
    assert main(run) != 0
    assert "The disk is full" in capsys.readouterr().err
    assert sorted(p.name for p in out.glob("*.nrrd")) == ["transform_000.nrrd", "volume_000.nrrd"]
    monkeypatch.undo()
    assert main(run) == 0
    assert "f1.nrrd: " in (said := capsys.readouterr().out)
    assert said.count("made before") == 1


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--smooth-in-time", "11"], "from 0 to 10"),
        (["--smooth-in-time", "nan"], "from 0 to 10"),
        (["--smooth-in-time", "1", "--result", "rigid"], "for deformable results"),
        (["--output", "{here}/f.nrrd"], "is a file"),
        (["--points", "{here}/twice.csv"], "Two points are called"),
        (["--points", "{here}/far.csv"], "Landmark 2 of the fixed image, at (900, 4) mm LPS, lies far outside"),
        (["--points", "{here}/deep.csv"], "--points are not; give points in this image"),
        (["--labels", "{here}/far.nrrd"], "fixed label map has no label inside the fixed image"),
        (["--labels", "{here}/deep.nrrd"], "--labels is not; give a label map of this image"),
        (["--labels", "{here}/f.nrrd"], "which is no label"),
        (["--output", "{here}/taken"], "would overwrite an input"),
        (["--frames", "{here}/none.nrrd"], "frame 2 {here}/none.nrrd does not exist"),
        (["--frames", "{here}/deep.nrrd"], "Frame 2 is 3-D and the fixed image 2-D"),
        (["--frames", "{here}/twice.csv"], "The frame 2 {here}/twice.csv could not be read as an image"),
    ],
)
def test_what_cannot_be_done_is_said_at_once(breath, tmp_path, capsys, more, says):
    breath.fixed.save(tmp_path / "f.nrrd")
    (tmp_path / "taken").mkdir()
    breath.fixed.save(tmp_path / "taken" / "transform_000.nrrd")
    (tmp_path / "twice.csv").write_text("name,x,y\na,3,3\na,4,4\n", encoding="utf-8")
    (tmp_path / "far.csv").write_text("name,x,y\na,3,3\nb,900,4\n", encoding="utf-8")
    (tmp_path / "deep.csv").write_text("name,x,y,z\na,3,3,3\n", encoding="utf-8")
    matrix = np.array([[0, 1, 900.0], [1, 0, 900.0], [0, 0, 1]])
    Image(np.ones((4, 5), np.uint8), Grid((4, 5), matrix)).save(tmp_path / "far.nrrd")
    Image(np.ones((4, 5, 6), np.uint8), Grid.from_shape((4, 5, 6))).save(tmp_path / "deep.nrrd")
    frames = [str(tmp_path / "f.nrrd"), str(tmp_path / "taken" / "transform_000.nrrd")]
    more = [text.format(here=tmp_path) for text in more]
    if more[0] == "--frames":
        frames, more = [*frames, more[1]], []
    assert main(["sequence", *frames, "--output", str(tmp_path / "out"), *more]) == 2
    assert says.format(here=tmp_path) in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["sequence", "motion"])
def test_another_run_on_the_same_folder_is_refused_and_one_that_was_killed_is_not_in_the_way(
    breath, tmp_path, capsys, command
):
    for name in ("fixed", "frame"):
        breath.fixed.save(tmp_path / f"{name}.nrrd")
    Transform.linear(np.eye(3), breath.grid).save(tmp_path / "t.tfm")
    out, what = tmp_path / "out", {"sequence": "frame.nrrd", "motion": "t.tfm"}[command]
    run = [command, str(tmp_path / "fixed.nrrd"), str(tmp_path / what), "--output", str(out)]
    with alone_in(out, "sequence"):
        assert main(run) == 2
        assert f"Another run works in {out} now, and their results would be mixed" in capsys.readouterr().err
        assert sorted(path.name for path in out.iterdir()) == [LOCK]
    assert not out.exists()
    out.mkdir()
    (out / LOCK).touch()
    assert main(run) == 0
    assert (out / "motion.csv").is_file()
    assert not (out / LOCK).exists()


@pytest.fixture(scope="module")
def deep():
    return Breath((28, 32, 30), count=4, noise=0.02, depth=5.0)


@pytest.fixture(scope="module")
def accepted(deep):
    """The result that is gone on from."""
    return register(deep.fixed, deep.frames[1], affine="rigid").transform


def test_from_here_takes_less_and_is_about_as_near(deep, accepted, monkeypatch):
    """Counted in voxels times steps; the orientation of an accepted result is not doubted again."""
    taken = []
    original = one_level.run_level

    def counted(level, *arguments):
        taken.append(int(np.prod(level.shape)) * original(level, *arguments))
        return taken[-1] // int(np.prod(level.shape))

    monkeypatch.setattr(engine, "run_level", counted)
    work, errors = [], []
    for from_here in (False, True):
        taken.clear()
        result = register(deep.fixed, deep.frames[2], initial_transform=accepted, from_here=from_here)
        work.append(sum(taken))
        errors.append(deep.error([result.transform], 2))
        assert (result.report.mirror.gain == 0) is from_here
    assert work[1] < 0.5 * work[0]
    assert errors[1] < 1.35 * errors[0]


def test_from_here_a_large_image_is_refined_coarser_and_the_report_says_so(deep, accepted, monkeypatch):
    """All but a third of what all its voxels find is found; what is asked for anew is not touched."""
    results = []
    for most in (inputs_pair.MOST_FROM_HERE, 12_000):
        monkeypatch.setattr(inputs_pair, "MOST_FROM_HERE", most)
        results.append(register(deep.fixed, deep.frames[2], initial_transform=accepted, from_here=True))
    fine, coarse = results
    assert fine.report.refined_spacing_mm == ()
    assert coarse.report.refined_spacing_mm == pytest.approx([1.31] * 3, abs=0.03)
    assert dict(coarse.report.lines())["Refined at"].startswith("1.3")
    assert coarse.report.warnings == fine.report.warnings
    assert coarse.warped.grid.same_as(deep.grid)
    before, *after = (deep.error([t], 2) for t in (accepted, fine.transform, coarse.transform))
    assert after[1] < after[0] + 0.3 * (before - after[0])
    anew = register(deep.fixed, deep.frames[2], affine="rigid")
    assert anew.report.working_spacing_mm == (1.0, 1.0, 1.0)


def test_from_here_needs_a_result_to_go_on_from(breath):
    with pytest.raises(InputError, match="give that one as the initial transform"):
        register(breath.fixed, breath.frames[0], from_here=True)
