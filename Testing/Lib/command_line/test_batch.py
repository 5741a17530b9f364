"""The commands batch and collect, with real registrations."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.__main__ import main
from DeepRegistrationLib.cohorts import run as runs
from DeepRegistrationLib.cohorts.bids import read_folder
from DeepRegistrationLib.command_line.batch_command import parse_shard, parse_size, weights_for
from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.models import bundle
from DeepRegistrationLib.models.bundle import save_bundle
from DeepRegistrationLib.models.methods import find_method, fresh_model
from DeepRegistrationLib.settings import Settings
from Testing.Lib.geometry.geometries import oblique
from Testing.Lib.quality.test_doubt import picture

ROOT = Path(__file__).resolve().parents[3]
QUICK = ("--affine", "none", "--refine", "none")


@pytest.fixture
def images(tmp_path):
    for name in ("a", "b"):
        picture(oblique((20, 22, 24)), ord(name)).save(tmp_path / f"{name}.nrrd")
    return tmp_path


def table(folder):
    with (folder / "reports.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_it_runs_from_the_command_line(images, capsys):
    entries = [{"fixed": "a.nrrd", "moving": "b.nrrd"}, {"fixed": "a.nrrd", "moving": "nowhere.nrrd"}]
    (images / "l.json").write_text(json.dumps(entries), encoding="utf-8")
    out = images / "out"
    same = ["batch", str(images / "l.json"), "--output", str(out), *QUICK]
    assert main([*same, "--outputs", "transform,doubt"]) == 1
    said = capsys.readouterr()
    assert "1 of 2 pairs failed (a_nowhere)" in said.err
    assert "does not exist" in said.out
    assert sitk.ReadTransform(str(out / "a_b" / "transform.h5")).GetDimension() == 3
    assert (out / "a_b" / "doubt.nii.gz").is_file()
    assert [row["refine"] for row in table(out)] == ["none", ""]
    assert main([*same, "--outputs", "nonsense"]) == 2
    provenance = json.loads((out / "a_b" / "report.json").read_text(encoding="utf-8"))["provenance"]
    assert [*provenance["inputs"]] == ["fixed", "moving"]
    assert len(provenance["inputs"]["fixed"]["sha256"]) == 64
    assert {"versions", "host", "started", "ended", "settings"} <= {*provenance}

    # The command that it names does the same.
    again = [*provenance["command"], "--progress", "none"]
    again[again.index("--output-transform") + 1] = str(images / "again.h5")
    again[again.index("--output-doubt") + 1] = str(images / "again.nii.gz")
    assert main(again) == 0
    assert (images / "again.nii.gz").read_bytes() == (out / "a_b" / "doubt.nii.gz").read_bytes()

    capsys.readouterr()
    (out / "reports.csv").unlink()
    assert main(["collect", str(out)]) == 0
    assert "2 pairs (1 done, 1 failed)" in capsys.readouterr().out

    assert main([*same, "--outputs", "transform,doubt", "--progress", "none"]) == 1
    quiet = capsys.readouterr()
    assert quiet.out == ""
    assert "a_nowhere: The moving image" in quiet.err  # a pair that is good costs no line
    # In the order in which pairs end, which is not always the same.
    assert sorted(line.split(":")[0] for line in quiet.err.splitlines()[:-1]) == sorted(
        line.split()[1].rstrip(":") for line in said.out.splitlines() if not line.endswith("good")
    )
    assert len(table(out)) == 2
    assert main(["collect", str(images)]) == 2
    assert not [path for path in out.rglob("*") if path.name.startswith(".partial")]


def test_every_setting_reaches_the_workers(images, monkeypatch):
    (images / "l.csv").write_text("fixed,moving\na.nrrd,b.nrrd\n", encoding="utf-8")
    seen = []
    monkeypatch.setattr(runs, "_all_rows", lambda _engine, tasks: seen.extend(tasks) or iter(()))
    typed = ["--method", "voxelmorph-2", "--untrained", "--fine-tune", "--refine", "accurate", "--affine", "none"]
    typed += ["--result", "rigid", "--similarity", "mind", "--smoothness", "2", "--device", "cpu", "--seed", "3"]
    with pytest.raises(KeyError):  # no row comes
        runs_main(["batch", str(images / "l.csv"), "--output", str(images / "out"), *typed])
    assert seen[0].settings == {
        "result": "rigid",
        "method": "voxelmorph-2",
        "variant": None,
        "fine_tune": True,
        "refine": "accurate",
        "affine": "none",
        "similarity": "mind",
        "smoothness": 2.0,
        "device": "cpu",
        "seed": 3,
        "untrained": True,
        "from_here": False,
    }
    assert seen[0].weights  # of the box


def runs_main(arguments):
    from DeepRegistrationLib.__main__ import _run

    _run(arguments)


@pytest.mark.parametrize(
    "wrong",
    [
        ["--workers", "-5"],
        ["--workers", "0"],
        ["--threads", "-1"],
        ["--memory", "much"],
        ["--shard", "3/2"],
        ["--method", "nothing"],
        ["--method", "voxelmorph-2", "--variant", "nothing"],
        ["--smoothness", "100"],
        ["--seed", "-1"],
        ["--pairs", "all"],
    ],
)
def test_what_cannot_be_is_one_sentence_before_anything_starts(images, capsys, wrong):
    (images / "l.csv").write_text("fixed,moving\na.nrrd,b.nrrd\n", encoding="utf-8")
    assert main(["batch", str(images / "l.csv"), "--output", str(images / "out"), *wrong]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert not (images / "out").exists()


def test_results_cannot_go_where_a_file_is(images, capsys):
    (images / "l.csv").write_text("fixed,moving\na.nrrd,b.nrrd\n", encoding="utf-8")
    for session in ("ses-1", "ses-2"):
        (images / "sub-1" / session / "anat").mkdir(parents=True)
        (images / "sub-1" / session / "anat" / f"sub-1_{session}_T1w.nii.gz").touch()
    for source in (images / "l.csv", images):
        assert main(["batch", str(source), "--output", str(images / "a.nrrd")]) == 2
        assert "--output cannot be a folder, as " in capsys.readouterr().err


def test_a_scheduler_without_dask_says_what_to_install(images, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    (images / "l.csv").write_text("fixed,moving\na.nrrd,b.nrrd\n", encoding="utf-8")
    same = ["batch", str(images / "l.csv"), "--output", str(images / "out")]
    assert main([*same, "--scheduler", "tcp://127.0.0.1:1"]) == 2
    assert "[scale]" in capsys.readouterr().err


def test_nothing_of_dask_is_imported_for_one_pair():
    code = "import sys; import DeepRegistrationLib.command_line.commands; import DeepRegistrationLib.cohorts.one_pair\n"
    code += "print([m for m in sys.modules if m.split('.')[0] in ('dask', 'distributed')])"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True, encoding="utf-8"
    )
    assert run.stdout.strip() == "[]"


def test_amounts_and_shards():
    assert [parse_size(text) for text in ("", "4GB", "1.5g", "800 MB", "2GiB")] == [0, 4e9, 1.5e9, 8e8, 2e9]
    assert parse_shard("2/5") == (2, 5)
    for wrong in ("0/2", "3/2", "1", "a/b", "-1/2"):
        with pytest.raises(InputError, match="--shard"):
            parse_shard(wrong)


def test_a_bids_data_set_becomes_a_bids_derivative(images):
    for number in (1, 2):
        place = images / "bids" / "sub-01" / f"ses-{number}" / "anat"
        place.mkdir(parents=True)
        picture(oblique((20, 22, 24)), number).save(place / f"sub-01_ses-{number}_T1w.nii.gz")
    out = images / "out"
    same = [
        "batch",
        str(images / "bids"),
        "--output",
        str(out),
        "--outputs",
        "transform,volume,inverse,halfway",
        *QUICK,
    ]
    assert main(same) == 0
    place, stem = out / "sub-01" / "ses-2" / "anat", "sub-01_ses-2_"
    for name in ("from-01ses2_to-01ses1_mode-image_xfm.h5", "from-01ses1_to-01ses2_mode-image_xfm.h5"):
        assert sitk.ReadTransform(str(place / f"{stem}{name}")).GetDimension() == 3
    moved = sitk.ReadImage(str(place / f"{stem}space-01ses1_T1w.nii.gz"))
    fixed = sitk.ReadImage(str(images / "bids" / "sub-01" / "ses-1" / "anat" / "sub-01_ses-1_T1w.nii.gz"))
    assert moved.GetSize() == fixed.GetSize()
    for number in (1, 2):  # each session has its image halfway, and the way from there
        stem = out / "sub-01" / f"ses-{number}" / "anat" / f"sub-01_ses-{number}_"
        assert sitk.ReadImage(f"{stem}space-halfway01ses101ses2_T1w.nii.gz").GetSize() == fixed.GetSize()
        xfm = sitk.ReadTransform(f"{stem}from-halfway01ses101ses2_to-01ses{number}_mode-image_xfm.h5")
        assert xfm.GetDimension() == 3
    assert main(same) == 0
    assert [row["status"] for row in table(out)] == ["skipped"]


def test_a_session_ten_comes_after_a_session_nine(tmp_path):
    for session in ("9", "10"):
        place = tmp_path / "sub-01" / f"ses-{session}" / "anat"
        place.mkdir(parents=True)
        (place / f"sub-01_ses-{session}_T1w.nii.gz").touch()
    (job,) = read_folder(tmp_path, None)
    assert "ses-9" in job.fixed.name
    assert "ses-10" in job.moving.name


def test_a_pair_that_has_no_half_keeps_all_else_and_its_command_can_be_typed(images):
    fixed = picture(oblique((20, 22, 24)), 1)
    turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    moving = Image(fixed.array, Grid(fixed.grid.shape, turn @ fixed.grid.matrix))
    start = sitk.AffineTransform(3)
    start.SetMatrix(turn[:3, :3].ravel().tolist())
    for name, image in (("f", fixed), ("m", moving)):
        image.save(images / f"{name}.nii.gz")
    sitk.WriteTransform(start, str(images / "turn.tfm"))
    (images / "list.csv").write_text(
        "name,fixed,moving,initial_transform\nhalf,f.nii.gz,m.nii.gz,turn.tfm\n", encoding="utf-8"
    )
    out = images / "out"
    (out / "half").mkdir(parents=True)
    (out / "half" / "halfway_fixed.nii.gz").touch()  # of an earlier run
    arguments = ["batch", str(images / "list.csv"), "--output", str(out), "--outputs", "transform,halfway", *QUICK]
    assert main(arguments) == 0
    report = json.loads((out / "half" / "report.json").read_text(encoding="utf-8"))
    assert "no half" in " ".join(report["warnings"])
    assert (out / "half" / "transform.h5").exists()
    assert not [*(out / "half").glob("halfway*")]
    assert not [word for word in report["provenance"]["command"] if "halfway" in word]
    assert main(arguments) == 0
    (row,) = table(out)
    assert row["status"] == "skipped"
    assert "no half" in row["reasons"]
    arguments[-len(QUICK) - 1] = "transform,volume,halfway"  # there is no volume yet
    assert main(arguments) == 0
    assert [row["status"] for row in table(out)] == ["done"]
    start.SetMatrix(np.eye(3).ravel().tolist())
    sitk.WriteTransform(start, str(images / "turn.tfm"))
    assert main(arguments) == 0
    assert [row["status"] for row in table(out)] == ["done"]
    assert (out / "half" / "halfway_fixed.nii.gz").stat().st_size


def test_auto_knows_the_weights_that_it_takes_for_images_of_one_dimension_alone(tmp_path, monkeypatch):
    """A batch is done again when its weights are others: those of 2-D images count where 3-D ones take none."""
    model = fresh_model(find_method("universal"), 2)
    monkeypatch.setattr(bundle, "BOX", tmp_path)
    monkeypatch.delenv(bundle.USER_FOLDER_VARIABLE, raising=False)
    save_bundle(tmp_path / "flat.safetensors", model.network, model.header)
    assert list(weights_for(Settings())) == ["flat.safetensors"]
    assert weights_for(Settings(method="none")) == {}
