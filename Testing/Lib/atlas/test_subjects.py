"""Subjects that cannot be in one template: said in a sentence before anything is registered."""

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.__main__ import main
from DeepRegistrationLib.atlas.subjects import check_subjects
from DeepRegistrationLib.cohorts.lists import read_subjects


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    for name, shape in {"a": (12, 14), "b": (12, 14), "deep": (6, 7, 8), "slice": (1, 8, 9)}.items():
        sitk.WriteImage(sitk.GetImageFromArray(random.random(shape)), str(tmp_path / f"{name}.nrrd"))
    half = np.arange(12 * 14).reshape(12, 14) // 84
    sitk.WriteImage(sitk.GetImageFromArray(half), str(tmp_path / "labels.nrrd"))
    away = sitk.GetImageFromArray(half)
    away.SetOrigin((900.0, 0.0))
    sitk.WriteImage(away, str(tmp_path / "away.nrrd"))
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((12, 14))), str(tmp_path / "flat.nrrd"))
    (tmp_path / "bad.nrrd").write_text("NRRD0004\n", encoding="utf-8")
    (tmp_path / "more").mkdir()
    (tmp_path / "link.nrrd").symlink_to(tmp_path / "a.nrrd")
    (tmp_path / "hard.nrrd").hardlink_to(tmp_path / "a.nrrd")
    return tmp_path


def listed(folder, *rows):
    path = folder / "list.csv"
    path.write_text("\n".join(["name,image,mask,labels", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            "c,deep.nrrd,,",
            "The image of c is 3-D and the image of a 2-D; a template is made of images of one",
        ),
        ("c,bad.nrrd,,", "image of c "),
        ("c,flat.nrrd,,", "The image of c has the same value everywhere"),
        ("c,a.nrrd,,", "The images of a and c are one file ("),
        ("c,more/../a.nrrd,,", "The images of a and c are one file ("),
        ("c,link.nrrd,,", "The images of a and c are one file ("),
        ("c,hard.nrrd,,", "The images of a and c are one file ("),
        ("b,b.nrrd,deep.nrrd,", "The mask of b is 3-D and the image of b 2-D"),
        ("b,b.nrrd,away.nrrd,", "The mask of b is empty inside the image of b"),
        ("b,b.nrrd,,deep.nrrd", "label map of b holds"),
        ("b,b.nrrd,,slice.nrrd", "label map of b holds"),
        ("b,b.nrrd,,away.nrrd", "The b label map has no label inside the b image"),
    ],
)
def test_one_that_does_not_fit_is_said_before_anything_starts(folder, capsys, row, says):
    path = listed(folder, "a,a.nrrd,labels.nrrd,", row)
    assert main(["template", str(path), "--output", str(folder / "out")]) == 2
    said = capsys.readouterr().err
    assert says in said.splitlines()[-1]
    assert said.count("\n") == 1 + ("are left aside, as they are of one subject" in said)
    assert not (folder / "out").exists()


def test_labels_of_another_dimension_and_slices_among_volumes(folder, capsys):
    parts = sitk.GetImageFromArray(np.ones((6, 7, 8), np.uint8))
    sitk.WriteImage(parts, str(folder / "parts.nrrd"))
    for rows, says in (
        (("a,a.nrrd,,labels.nrrd", "b,b.nrrd,,parts.nrrd"), "The label map of b is 3-D and the image of b 2-D"),
        (("a,deep.nrrd,,", "b,slice.nrrd,,"), "The image of b is a single slice and the image of a a volume"),
    ):
        assert main(["template", str(listed(folder, *rows)), "--output", str(folder / "out")]) == 2
        assert says in capsys.readouterr().err


def test_copies_are_said_and_may_be_meant(folder):
    (folder / "copy.nrrd").write_bytes((folder / "a.nrrd").read_bytes())
    subjects, said = read_subjects(listed(folder, "a,a.nrrd,,", "b,b.nrrd,,", "c,copy.nrrd,,")), []
    check_subjects(subjects, subjects[1], said.append)
    assert len(said) == 1
    assert "The images of a and c have the same voxels" in said[0]
    check_subjects(subjects, subjects[0])
