"""What the campaign (Testing/Campaign) found about arguments and small files: each is one sentence now."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.__main__ import main
from DeepRegistrationLib.atlas.labeling import propagate
from DeepRegistrationLib.cohorts.bids import read_folder
from DeepRegistrationLib.cohorts.lists import read_jobs, read_subjects
from DeepRegistrationLib.cohorts.run import run_batch
from DeepRegistrationLib.dicom.image_series import read_series
from DeepRegistrationLib.dicom.registration_reading import read_registration
from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.files.writing import write_text
from DeepRegistrationLib.geometry.image import Grid, Image, read_image
from DeepRegistrationLib.geometry.points import read_points, write_points
from DeepRegistrationLib.geometry.transform import Transform, read_transform
from DeepRegistrationLib.models.bundle import load_model, save_bundle
from DeepRegistrationLib.pipeline import register
from DeepRegistrationLib.quality.report_page import write_page
from Testing.Lib.test_pipeline import bump, pair

GRID = Grid.from_shape((20, 22), 1.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    for name, image in zip(("fixed", "moving"), pair(GRID, 1.0), strict=True):
        image.save(folder / f"{name}.nii.gz")
        Image((image.array // 200).astype(np.uint8), GRID).save(folder / f"{name}_labels.nii.gz")
    Image(np.full(GRID.shape, np.nan, np.float32), GRID).save(folder / "nan.nii.gz")
    Transform.from_field(bump(GRID.shape, 0.5), GRID).save(folder / "t.h5")
    (folder / "long.csv").write_text("label,x,y\n" + "n" * 200_000 + ",5,6\n", encoding="utf-8")
    (folder / "pairs.csv").write_text("fixed,moving\nfixed.nii.gz,moving.nii.gz\n", encoding="utf-8")
    (folder / "p.csv").write_text("x,y\n5,6\n", encoding="utf-8")
    (folder / "one.csv").write_text("image\nfixed.nii.gz\nfixed.nii.gz\n", encoding="utf-8")
    (folder / "none.csv").write_text("image\n", encoding="utf-8")
    Image((np.arange(440).reshape(20, 22) == 200).astype(np.uint8), GRID).save(folder / "one.nii.gz")
    if hasattr(os, "mkfifo"):
        for name in ("pipe.csv", "pipe.h5", "pipe.safetensors"):
            os.mkfifo(folder / name)
    return folder


APPLY = ("apply", "t.h5", "moving.nii.gz", "--reference", "fixed.nii.gz", "--output", "a.nii.gz")
EVALUATE = ("evaluate", "--transform", "t.h5", "--fixed-labels", "fixed_labels.nii.gz", "--moving-labels")
REGISTER = ("register", "fixed.nii.gz", "moving.nii.gz", "--output-transform", "o.h5")
PIPES = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((*APPLY, "--fill", "1e400"), "more than the input's voxels can hold"),
        ((*APPLY, "--fill", "1e300"), "more than the input's voxels can hold"),
        (("apply", "t.h5", "nan.nii.gz", *APPLY[3:]), "no voxel with a number"),
        (("apply", "t.h5", "long.csv", "--output", "a.csv"), "could not be read"),
        (("apply", "t.h5", "p.csv", "--output", "a.csv", "--interpolation", "nearest"), "Points have no voxels"),
        (("apply", "t.h5", "p.csv", "--output", "a.csv", "--fill", "0"), "Points have no voxels"),
        ((*REGISTER, "--fixed-mask", "one.nii.gz"), "has 1 voxel inside"),
        (("template", "one.csv", "--output", "b"), "Two images of one.csv are called fixed"),
        (("template", "none.csv", "--output", "b"), "has no images"),
        ((*EVALUATE, "nan.nii.gz"), "no voxel with a number"),
        ((*EVALUATE, "moving_labels.nii.gz", "--labels", "1-"), "ranges such as"),
        (("batch", "pairs.csv", "--output", "b", "--pairs", ""), "--pairs is"),
        (("register", "", *REGISTER[2:]), "Argument FIXED: it is empty"),
        (("register", "fixed.nii.gz", "", *REGISTER[3:]), "Argument MOVING: it is empty"),
        ((*REGISTER, "--fixed-mask", ""), "--fixed-mask: it is empty"),
        ((*REGISTER, "--initial-transform", ""), "--initial-transform: it is empty"),
        ((*REGISTER, "--fixed-points", "", "--moving-points", ""), "--fixed-points: it is empty"),
        ((*REGISTER, "--rigid-labels="), "--rigid-labels: it is empty"),
        ((*REGISTER, "--output-volume", ""), "--output-volume: it is empty"),
        ((*REGISTER, "--report", ""), "--report: it is empty"),
        (("apply", "t.h5", "", *APPLY[3:]), "Argument INPUT: it is empty"),
        ((*EVALUATE, ""), "--moving-labels: it is empty"),
        (("batch", "", "--output", "b"), "Argument LIST: it is empty"),
        (("batch", "pairs.csv", "--output", ""), "--output: it is empty"),
        (("collect", ""), "Argument DIR: it is empty"),
        (("template", "pairs.csv", "--output", ""), "--output: it is empty"),
        (("propagate", "fixed.nii.gz", "--template", "", "--output", "l.nii.gz"), "--template: it is empty"),
        (("sequence", "fixed.nii.gz", "moving.nii.gz", "", "--output", "s"), "Argument FRAME: it is empty"),
        (("motion", "fixed.nii.gz", "", "--output", "s"), "Argument TRANSFORM: it is empty"),
        ((*REGISTER, "--output-volume", "."), "cannot be written as .: the format"),
        ((*REGISTER, "--method", ""), "The method is empty"),
        (("batch", "pairs.csv", "--output", "a\0b"), "cannot contain a NUL character"),
        ((*REGISTER, "--method", "n" * 5000), "is a name or a path"),
        ((*REGISTER, "--refine", "n" * 5000), "choose from"),
        pytest.param(("batch", "pipe.csv", "--output", "b"), "not a file", marks=PIPES),
        pytest.param(("apply", "t.h5", "pipe.csv", "--output", "a.csv"), "not a file", marks=PIPES),
        pytest.param(("apply", "pipe.h5", *APPLY[2:]), "is a pipe", marks=PIPES),
        pytest.param((*REGISTER, "--initial-transform", "pipe.h5"), "is a pipe", marks=PIPES),
        pytest.param((*REGISTER, "--method", "pipe.safetensors"), "not a file", marks=PIPES),
    ],
)
def test_it_is_one_sentence_of_a_length_that_can_be_read(folder, capsys, monkeypatch, arguments, sentence):
    monkeypatch.chdir(folder)
    (folder / "a.nii.gz").write_bytes(b"earlier")
    assert main(list(arguments)) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert len(said) < 1300
    assert (folder / "a.nii.gz").read_bytes() == b"earlier"


@pytest.mark.skipif(sys.platform != "linux", reason="names are any bytes on Linux alone")
def test_a_name_that_is_not_utf_8_never_reaches_simpleitk(folder, capsys, monkeypatch):
    """There it would end the process; so what stands for its readers and writers here is a failure of the test."""

    def never(*_arguments):
        raise AssertionError("SimpleITK was given a name that is no text")

    monkeypatch.chdir(folder)
    name = os.fsdecode(b"m\xe4n.nii.gz")
    Path(name).write_bytes(Path("moving.nii.gz").read_bytes())
    Path("latin.json").write_text(json.dumps([{"fixed": name, "moving": "moving.nii.gz"}]), encoding="utf-8")
    monkeypatch.setattr(sitk.ImageFileReader, "SetFileName", never)
    monkeypatch.setattr(sitk, "ReadTransform", never)
    for arguments in (
        ("register", name, "fixed.nii.gz", "--output-transform", "o.h5"),
        ("register", "moving.nii.gz", "fixed.nii.gz", "--output-volume", name),
        ("apply", os.fsdecode(b"\xe4.h5"), *APPLY[2:]),
        ("batch", "latin.json", "--output", "b"),
    ):
        assert main(list(arguments)) == 2
        said = capsys.readouterr().err
        assert "UTF-8" in said
        assert said.count("\n") == 1


def test_a_name_of_several_lines_is_told_on_one(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    assert main(["register", "a\nb.nii", "fixed.nii.gz", "--output-transform", "o.h5"]) == 2
    assert "The fixed image a b.nii does not exist" in capsys.readouterr().err


def test_labels_that_are_in_neither_map_are_named(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    assert main([*EVALUATE, "moving_labels.nii.gz", "--labels", "1-2,70-90", "--json"]) == 0
    said = capsys.readouterr()
    assert (
        said.err == f"Not scored, as they are in neither label map: {', '.join(map(str, range(70, 80)))} and others.\n"
    )
    assert set(json.loads(said.out)["dice"]) == {"1", "2"}


@pytest.mark.parametrize("fill", ["nan", "1e20"])
def test_a_fill_that_floats_can_hold_is_taken(folder, monkeypatch, fill):
    monkeypatch.chdir(folder)
    assert main([*APPLY, "--fill", fill]) == 0


def test_an_image_with_holes_of_no_number_is_carried(folder, monkeypatch):
    monkeypatch.chdir(folder)
    image = read_image("moving.nii.gz")
    array = image.array.copy()
    array[8:12, 8:12] = np.nan
    Image(array, image.grid).save("holes.nii.gz")
    assert main(["apply", "t.h5", "holes.nii.gz", *APPLY[3:]]) == 0
    found = read_image("a.nii.gz").array
    assert 10 < np.isnan(found).sum() < 50
    assert np.isfinite(found[:6]).all()


@pytest.mark.parametrize(
    "work",
    [
        lambda: read_image(""),
        lambda: register("", "moving.nii.gz"),
        lambda: register("fixed.nii.gz", "moving.nii.gz", fixed_mask=""),
        lambda: register("fixed.nii.gz", "moving.nii.gz", initial_transform=""),
        lambda: register("fixed.nii.gz", "moving.nii.gz", labels=("", "")),
        lambda: register("fixed.nii.gz", "moving.nii.gz", rigid_labels=""),
        lambda: read_transform(""),
        lambda: read_points(""),
        lambda: read_series("", "fixed image"),
        lambda: read_registration(""),
        lambda: load_model(""),
        lambda: save_bundle("", None, None),
        lambda: write_points(read_points("p.csv"), ""),
        lambda: read_jobs(""),
        lambda: run_batch([], "", outputs=["transform"]),
        lambda: read_folder("", None, "T1w"),
        lambda: read_subjects(""),
        lambda: propagate("fixed.nii.gz", ""),
        lambda: Transform.linear(np.eye(3), GRID).save(""),
        lambda: read_image("fixed.nii.gz").save(""),
        lambda: write_text("", "text"),
        lambda: write_page("", "", "good", [], {}, None, "", None),
    ],
)
def test_an_empty_text_is_no_path_in_the_library_either(folder, monkeypatch, work):
    """As a path it is the current folder, which may be one of DICOM slices."""
    monkeypatch.chdir(folder)
    with pytest.raises(InputError, match=r"^The path of the .* is empty, which names nothing"):
        work()


def test_a_note_and_an_amount_of_memory_may_be_empty(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    quick = ("--method", "none", "--refine", "none", "--affine", "none", "--progress", "none")
    assert main(["register", *REGISTER[1:], "--note", "", *quick]) == 0, capsys.readouterr().err
