"""The reports of ``register`` and ``evaluate``: TG-132's figures, what they were made of, a note, a line to sign."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib import pipeline
from DeepRegistrationLib.__main__ import main
from DeepRegistrationLib.files.image_files import read_file
from DeepRegistrationLib.geometry import image as image_module
from DeepRegistrationLib.geometry.image import Image
from DeepRegistrationLib.geometry.transform import affine_to_sitk
from Testing.Lib.geometry.geometries import oblique

GRID = oblique((20, 22, 24), (2.0, 1.5, 1.5), (10, 0, 20))
FAST = ["--method", "none", "--refine", "none", "--affine", "none", "--progress", "none"]


@pytest.fixture
def files(tmp_path):
    index = np.indices(GRID.shape)
    for name, shift in (("fixed", 0), ("moving", 1)):
        away = sum((index[a] - (10 + shift * (a == 2))) ** 2 for a in range(3))
        Image(np.exp(-away / 40).astype(np.float32), GRID).save(tmp_path / f"{name}.nrrd")
        Image((away < 30).astype(np.uint8), GRID).save(tmp_path / f"{name}_labels.nrrd")
        x, y, z = GRID.center
        rows = ["label,x,y,z", f"a,{x + shift},{y},{z}", f"b,{x + 3},{y + shift},{z}"]
        (tmp_path / f"{name}.csv").write_text("\n".join(rows), encoding="utf-8")
    matrix = np.eye(4)
    matrix[:3, 3] = (1, 0, 0)
    sitk.WriteTransform(affine_to_sitk(matrix), str(tmp_path / "t.tfm"))
    sitk.WriteTransform(affine_to_sitk(np.linalg.inv(matrix)), str(tmp_path / "i.tfm"))
    return tmp_path


def run(*arguments) -> int:
    return main([str(a) for a in arguments])


def report_of(folder):
    values = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    figures = {f["name"]: f for f in values["tg132"]["figures"]}
    return values, figures, (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def reads(monkeypatch):
    """The names of all images that are read from the disk."""
    names = []

    def counted(path, name):
        names.append(Path(path).name)
        return read_file(path, name)

    monkeypatch.setattr(image_module, "read_file", counted)
    return names


def test_a_report_reads_no_image_again(files, reads):
    labels = [x for s in ("fixed", "moving") for x in (f"--{s}-labels", files / f"{s}_labels.nrrd")]
    images = [files / "fixed.nrrd", files / "moving.nrrd"]
    register = ["register", *images, "--method", "none", "--affine", "none", "--progress", "none"]
    assert run(*register, "--report", files / "a", *labels) == 0
    assert sorted(reads) == ["fixed.nrrd", "fixed_labels.nrrd", "moving.nrrd", "moving_labels.nrrd"]
    reads.clear()
    given = ["--fixed", images[0], "--moving", images[1]]
    assert run("evaluate", "--transform", files / "t.tfm", *given, *labels, "--report", files / "b") == 0
    assert sorted(reads) == ["fixed.nrrd", "fixed_labels.nrrd", "moving.nrrd", "moving_labels.nrrd"]
    assert (files / "b" / "report.html").is_file()


def test_a_registration_is_recorded(files):
    options = ["--report", files / "report", "--note", "Seen <twice>."]
    assert run("register", files / "fixed.nrrd", files / "moving.nrrd", *FAST, *options) == 0
    values, figures, page = report_of(files / "report")
    assert "Brock et al. 2017" in values["tg132"]["source"]
    assert figures["Jacobian determinant, smallest"]["value"] == pytest.approx(1, abs=1e-5)
    assert figures["There and back (consistency), largest"]["value"] == pytest.approx(0, abs=1e-4)
    assert figures["Target registration error, mean"]["value"] is None
    assert values["tg132"]["remarks"] == []
    content = (files / "moving.nrrd").read_bytes()
    assert values["inputs"]["moving image"] == {"name": "moving.nrrd", "sha256": hashlib.sha256(content).hexdigest()}
    assert values["note"] == "Seen <twice>."
    assert values["made"].endswith("+00:00")
    assert values["verdict"] in ("good", "check", "bad")
    for words in ("Seen &lt;twice&gt;.", "Signature", "Reviewed by", values["inputs"]["fixed image"]["sha256"]):
        assert words in page


def test_what_drew_the_field_is_no_independent_test(files):
    guides = ["--fixed-points", files / "fixed.csv", "--moving-points", files / "moving.csv"]
    options = ["--method", "none", "--affine", "none", "--progress", "none", "--report", files / "report"]
    assert run("register", files / "fixed.nrrd", files / "moving.nrrd", *options, *guides) == 0
    values, figures, page = report_of(files / "report")
    assert figures["Target registration error, mean"]["value"] >= 0
    assert "no independent test" in values["tg132"]["remarks"][0]
    assert "no independent test" in page


def test_a_transform_is_evaluated(files, capsys):
    known = [f"--{side}-{what}" for what in ("points", "labels") for side in ("fixed", "moving")]
    paths = [files / f"{side}{ending}" for ending in (".csv", "_labels.nrrd") for side in ("fixed", "moving")]
    given = [part for pair in zip(known, paths, strict=True) for part in pair]
    more = ["--inverse", files / "i.tfm", "--report", files / "report"]
    images = ["--fixed", files / "fixed.nrrd", "--moving", files / "moving.nrrd"]
    assert run("evaluate", "--transform", files / "t.tfm", *given, *more, *images, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    values, figures, page = report_of(files / "report")
    assert said["tg132"] == values["tg132"]
    # By hand: point a is moved onto its counterpart, b misses by (1, -1, 0).
    assert figures["Target registration error, mean"]["value"] == pytest.approx(np.sqrt(2) / 2)
    assert figures["Target registration error, largest"]["value"] == pytest.approx(np.sqrt(2))
    assert figures["Dice, worst structure"]["value"] == pytest.approx(said["dice"]["1"]["after"])
    assert figures["There and back (consistency), largest"]["value"] == pytest.approx(0, abs=1e-5)
    assert values["inputs"]["transform"]["name"] == "t.tfm"
    assert page.count("<canvas") == 3
    assert run("evaluate", "--transform", files / "t.tfm", *given[:4]) == 0
    assert "Target registration error, largest: 1.414 mm (within)" in capsys.readouterr().out


def test_structures_that_overlap_are_evaluated_in_pairs_of_label_maps(files, capsys):
    labels = ["--fixed-labels", files / "fixed_labels.nrrd", "--moving-labels", files / "moving_labels.nrrd"]
    wider = [files / f"{side}_wider.nrrd" for side in ("fixed", "moving")]
    for path, x in zip(wider, (10, 11), strict=True):
        away = sum((n - (x if a == 2 else 10)) ** 2 for a, n in enumerate(np.indices(GRID.shape)))
        Image(2 * (away < 60).astype(np.uint8), GRID).save(path)
    found = {}
    for name, given in (
        ("inner", labels),
        ("outer", ["--fixed-labels", wider[0], "--moving-labels", wider[1]]),
        ("both", [*labels, "--more-labels", *wider]),
        ("second", [*labels, "--more-labels", *wider, "--labels", "2"]),
    ):
        assert run("evaluate", "--transform", files / "t.tfm", *given, "--json") == 0
        found[name] = json.loads(capsys.readouterr().out)
    for of in (lambda said: said["dice"], lambda said: said["tg132"]["structures"]):
        assert of(found["both"]) == of(found["inner"]) | of(found["outer"])
        assert of(found["second"]) == of(found["outer"])
    means = [found[name]["mean_dice_after"] for name in ("inner", "outer")]
    assert found["both"]["mean_dice_after"] == pytest.approx(np.mean(means))
    assert [found["both"]["inputs"][f"{s} labels 2"]["name"] for s in ("fixed", "moving")] == [p.name for p in wider]
    again = ["--more-labels", files / "fixed_labels.nrrd", files / "moving_labels.nrrd"]
    assert run("evaluate", "--transform", files / "t.tfm", *labels, *again) == 2
    assert "Label 1 is in more than one pair of label maps" in capsys.readouterr().err


def test_a_note_without_a_report_is_refused_before_anything_is_computed(files, capsys, monkeypatch):
    monkeypatch.setattr(pipeline, "register", None)
    images = (files / "fixed.nrrd", files / "moving.nrrd")
    assert run("register", *images, "--output-transform", files / "x.h5", "--note", "a") == 2
    assert "add --report DIR" in capsys.readouterr().err
    assert run("register", *images, "--report", files / "r", "--note", "a" * 3000) == 2
    assert "shorten it to 2000" in capsys.readouterr().err


def test_an_inverse_of_another_dimension_is_one_sentence(files, capsys):
    flat = files / "flat.tfm"
    sitk.WriteTransform(affine_to_sitk(np.eye(3)), str(flat))
    points = ["--fixed-points", files / "fixed.csv", "--moving-points", files / "moving.csv"]
    assert run("evaluate", "--transform", files / "t.tfm", "--inverse", flat, *points) == 2
    assert "The inverse transform is 2-D and the transform 3-D" in capsys.readouterr().err


def test_the_field_alone_can_be_looked_at_and_no_input_is_replaced(files, capsys):
    assert run("evaluate", "--transform", files / "t.tfm", "--fixed", files / "fixed.nrrd") == 0
    said = capsys.readouterr().out
    assert "Jacobian determinant, smallest: 1 (within)" in said
    assert "There and back (consistency), mean: - (not measured)" in said
    picture = files / "overlay.png"
    sitk.WriteImage(sitk.Image(8, 8, sitk.sitkUInt8), str(picture))
    before = picture.read_bytes()
    assert run("evaluate", "--transform", files / "t.tfm", "--fixed", picture, "--report", files) == 2
    assert "--report would overwrite an input (the fixed image)" in capsys.readouterr().err
    assert picture.read_bytes() == before
