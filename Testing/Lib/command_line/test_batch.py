"""Many pairs: resumable, and one that fails stops no other."""

import csv
import json
import sys
import time

import pytest
import SimpleITK as sitk

from DeepRegistrationLib.__main__ import main
from DeepRegistrationLib.command_line.batch import read_jobs, run_batch
from DeepRegistrationLib.errors import InputError
from Testing.Lib.geometry.geometries import oblique
from Testing.Lib.quality.test_doubt import picture

FAKE = """
import json, os, pathlib, sys, time
a = sys.argv
value = lambda name: a[a.index(name) + 1]
fixed = pathlib.Path(a[2])
with open(fixed.parent / "calls", "a") as file:
    file.write(fixed.stem + "\\n")
if fixed.stem.startswith("bad"):
    print("The fixed image cannot be read.", file=sys.stderr); sys.exit(2)
if fixed.stem.startswith("crash"):
    os.kill(os.getpid(), 9)
if fixed.stem.startswith("slow"):
    time.sleep(60)
pathlib.Path(value("--output-transform")).write_text("t")
report = {"verdict": "good", "reasons": ["Fine."], "similarity_after": 0.5, "method": "none"}
(pathlib.Path(value("--report")) / "report.json").write_text(json.dumps(report))
"""


@pytest.fixture
def fake(tmp_path):
    (tmp_path / "fake.py").write_text(FAKE)
    return [sys.executable, str(tmp_path / "fake.py")]


def listed(folder, *names):
    path = folder / "list.json"
    path.write_text(json.dumps([{"fixed": f"{name}.nrrd", "moving": "m.nrrd"} for name in names]))
    return path


def calls(folder):
    return (folder / "calls").read_text().split()


def table(folder):
    with (folder / "reports.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_one_that_fails_or_crashes_stops_no_other(tmp_path, fake):
    jobs = read_jobs(listed(tmp_path, "a", "bad", "crash", "b"))
    told = []
    out = tmp_path / "out"
    outcomes = run_batch(jobs, out, outputs=["transform"], told=lambda *x: told.append(x[:2]), command=fake)
    assert [o.status for o in outcomes] == ["done", "failed", "failed", "done"]
    assert outcomes[1].sentence == "The fixed image cannot be read."
    assert "lack of memory" in outcomes[2].sentence
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    rows = table(out)
    assert [row["name"] for row in rows] == ["a_m", "bad_m", "crash_m", "b_m"]
    assert rows[0]["verdict"] == "good"
    assert rows[0]["similarity_after"] == "0.5"
    assert rows[1]["reasons"] == "The fixed image cannot be read."


def test_what_is_done_is_not_done_again_unless_the_settings_or_files_changed(tmp_path, fake):
    jobs, out = read_jobs(listed(tmp_path, "a", "bad", "b")), tmp_path / "out"
    run_batch(jobs, out, outputs=["transform"], command=fake)
    again = run_batch(jobs, out, outputs=["transform"], command=fake)
    assert [o.status for o in again] == ["skipped", "failed", "skipped"]
    assert calls(tmp_path) == ["a", "bad", "b", "bad"]
    assert table(out)[0]["verdict"] == "good"  # also of those that were skipped
    (out / "b_m" / "transform.h5").unlink()
    assert [o.status for o in run_batch(jobs, out, outputs=["transform"], command=fake)][2] == "done"
    other = run_batch(jobs, out, ["--smoothness", "2"], outputs=["transform"], command=fake)
    assert [o.status for o in other] == ["done", "failed", "done"]


def test_several_at_a_time_give_the_same_table(tmp_path, fake):
    jobs = read_jobs(listed(tmp_path, *"abcdef"))
    run_batch(jobs, tmp_path / "out", outputs=["transform"], workers=3, command=fake)
    assert [row["name"][0] for row in table(tmp_path / "out")] == list("abcdef")


def test_an_interrupt_ends_the_workers_and_keeps_what_is_finished(tmp_path, fake):
    jobs = read_jobs(listed(tmp_path, "a", "slow", "b"))

    def interrupt(done, _count, _outcome):
        if done == 1:
            raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_batch(jobs, tmp_path / "out", outputs=["transform"], told=interrupt, command=fake)
    assert time.monotonic() - start < 30  # not the minute that the slow one sleeps
    assert table(tmp_path / "out")[0]["name"] == "a_m"
    assert "b" not in calls(tmp_path)


def test_a_csv_list_with_extra_files(tmp_path):
    (tmp_path / "l.csv").write_text("fixed,moving,name,fixed_mask\nf.nii,m.nrrd,one,mask.nrrd\ng.nii.gz,m.nrrd,,\n")
    jobs = read_jobs(tmp_path / "l.csv")
    assert [job.name for job in jobs] == ["one", "g_m"]
    assert jobs[0].fixed == tmp_path / "f.nii"
    assert jobs[0].arguments()[2:] == ["--fixed-mask", str(tmp_path / "mask.nrrd")]
    assert jobs[1].arguments()[2:] == []


def test_a_learn2reg_file(tmp_path):
    pairs = [{"fixed": "./imagesTr/a.nii.gz", "moving": "./imagesTr/b.nii.gz"}]
    (tmp_path / "dataset.json").write_text(json.dumps({"name": "x", "registration_val": pairs}))
    assert [job.name for job in read_jobs(tmp_path / "dataset.json")] == ["a_b"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ("[]", "has no pairs"),
        ('{"name": "x"}', "has no pairs"),
        ('[{"fixed": "a.nrrd"}]', "Entry 1"),
        ('[{"fixed": "a.nrrd", "moving": "b.nrrd", "name": "../x"}]', "cannot be a folder's name"),
        ('[{"fixed": "a.nrrd", "moving": "b.nrrd"}, {"fixed": "a.nii", "moving": "b.nii"}]', "Two pairs"),
    ],
)
def test_a_wrong_list_is_one_sentence(tmp_path, text, words):
    (tmp_path / "l.json").write_text(text)
    with pytest.raises(InputError, match=words):
        read_jobs(tmp_path / "l.json")


def test_it_runs_from_the_command_line(tmp_path, capsys):
    grid = oblique((20, 22, 24))
    for name in ("a", "b"):
        picture(grid, ord(name)).save(tmp_path / f"{name}.nrrd")
    entries = [{"fixed": "a.nrrd", "moving": "b.nrrd"}, {"fixed": "a.nrrd", "moving": "nowhere.nrrd"}]
    (tmp_path / "l.json").write_text(json.dumps(entries))
    out = tmp_path / "out"
    same = ["batch", str(tmp_path / "l.json"), "--output", str(out), "--affine", "none", "--refine", "none"]
    assert main([*same, "--outputs", "transform,doubt"]) == 1
    said = capsys.readouterr()
    assert "1 of 2 pairs failed (a_nowhere)" in said.err
    assert "does not exist" in said.out
    assert sitk.ReadTransform(str(out / "a_b" / "transform.h5")).GetDimension() == 3
    assert (out / "a_b" / "doubt.nii.gz").is_file()
    assert [row["refine"] for row in table(out)] == ["none", ""]
    assert main([*same, "--outputs", "nonsense"]) == 2
