"""The template of a cohort, made by real registrations of small images, from the command line."""

import csv
import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.__main__ import main
from DeepRegistrationLib.cohorts.others import alone_in

RADII = ((15, 20), (19, 16), (20, 21))


def ellipse(a, b):
    """An image and its label map: an ellipse with parts inside that tell left from right and up from down."""
    y, x = np.mgrid[-32:32, -32:32] + 0.5
    image = np.zeros((64, 64))
    for height, size, right, down in ((100, 1.0, 0, 0), (80, 0.45, 0.35, 0.1), (60, 0.25, -0.5, -0.3)):
        r = np.sqrt((x / a - right) ** 2 + (y / b - down) ** 2)
        image += height / (1 + np.exp(14 * (r - size)))
    return image, (np.sqrt((x / a) ** 2 + (y / b) ** 2) < 1).astype(np.uint8)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    rows = ["name,image,labels"]
    for number, radii in enumerate(RADII):
        image, labels = ellipse(*radii)
        sitk.WriteImage(sitk.GetImageFromArray(image.astype(np.float32)), str(folder / f"{number}.nrrd"))
        sitk.WriteImage(sitk.GetImageFromArray(labels), str(folder / f"{number}_labels.nrrd"))
        rows.append(f"s{number},{number}.nrrd,{number}_labels.nrrd")
    (folder / "list.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def made(cohort):
    assert main(["template", str(cohort / "list.csv"), "--output", str(cohort / "out"), "--rounds", "2"]) == 0
    return cohort / "out"


def half_axes(image):
    inside = sitk.GetArrayFromImage(image) > 0.25
    return [np.ptp(np.flatnonzero(inside.any(axis))) / 2 + 0.5 for axis in (0, 1)]


def test_the_template_has_the_mean_shape_of_all(made):
    template = sitk.ReadImage(str(made / "template.nii.gz"))
    np.testing.assert_allclose(half_axes(template), np.mean(RADII, axis=0), atol=1.0)
    drift = json.loads((made / "template.json").read_text(encoding="utf-8"))["drift_mm"]
    assert len(drift) == 2
    assert drift[1] < 0.7 * drift[0]


def test_maps_lead_to_each_subject_and_back(made):
    for number in range(len(RADII)):
        own = made / "subjects" / f"s{number}"
        there, back = (sitk.ReadTransform(str(own / f"{name}.h5")) for name in ("transform", "inverse"))
        for point in ((32.0, 20.0), (40.0, 36.0)):
            np.testing.assert_allclose(back.TransformPoint(there.TransformPoint(point)), point, atol=0.2)
        assert (own / "warped.nii.gz").is_file()
    growth = sitk.GetArrayFromImage(sitk.ReadImage(str(made / "mean_jacobian.nii.gz")))
    assert growth[20:44, 20:44].mean() == pytest.approx(1, abs=0.1)


def test_labels_of_all_others_fit_each_subject_and_somebody_new(made, cohort, capsys):
    with (made / "leave_one_out.csv").open(encoding="utf-8") as file:
        scores = {row["name"]: float(row["dice"]) for row in csv.DictReader(file)}
    assert {*scores} == {f"s{n}" for n in range(len(RADII))}
    assert min(scores.values()) > 0.95
    image, labels = ellipse(16, 17)
    sitk.WriteImage(sitk.GetImageFromArray(image.astype(np.float32)), str(cohort / "new.nrrd"))
    arguments = ["propagate", str(cohort / "new.nrrd"), "--template", str(made), "--output", str(cohort / "l.nrrd")]
    assert main(arguments) == 0
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(cohort / "l.nrrd")))
    assert 2 * (found & labels).sum() / (found.sum() + labels.sum()) > 0.95
    assert "good" in capsys.readouterr().out


def test_a_second_run_registers_nobody_again(made, cohort, capsys):
    times = {path: path.stat().st_mtime_ns for path in made.rglob("transform.h5")}
    assert main(["template", str(cohort / "list.csv"), "--output", str(made), "--rounds", "2"]) == 0
    assert {path: path.stat().st_mtime_ns for path in made.rglob("transform.h5")} == times
    assert "done" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--rounds", "0"], "--rounds is a number from 1 to 50"),
        (["--start", "nobody"], "no subject called nobody"),
        (["--refine", "none"], "A template needs"),
        (["--workers", "0"], "--workers"),
    ],
)
def test_what_cannot_be_made_is_said_before_anything_starts(cohort, tmp_path, capsys, more, sentence):
    assert main(["template", str(cohort / "list.csv"), "--output", str(tmp_path / "o"), *more]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_bad_lists_and_folders_get_a_sentence(cohort, tmp_path, capsys):
    (tmp_path / "one.csv").write_text("image\n0.nrrd\n", encoding="utf-8")
    (tmp_path / "gone.csv").write_text("image\na.nrrd\nb.nrrd\n", encoding="utf-8")
    sitk.WriteTransform(sitk.AffineTransform(2), str(tmp_path / "t.tfm"))
    (tmp_path / "transform.csv").write_text("name,image\nt,t.tfm\nu,t.tfm\n", encoding="utf-8")
    for name, sentence in (("one.csv", "two or more"), ("gone.csv", "is not there"), ("transform.csv", "image of t ")):
        assert main(["template", str(tmp_path / name), "--output", str(tmp_path / "o")]) == 2
        assert sentence in capsys.readouterr().err
    image = str(cohort / "0.nrrd")
    for template, sentence in ((tmp_path / "none", "There is no folder"), (tmp_path, "no template with labels")):
        assert main(["propagate", image, "--template", str(template), "--output", str(tmp_path / "l.nrrd")]) == 2
        assert sentence in capsys.readouterr().err


def test_labels_for_somebody_new_replace_nothing_of_the_template(made, cohort, capsys):
    before = {path: path.read_bytes() for place in (made, cohort) for path in place.rglob("*") if path.is_file()}
    own = ("template.nii.gz", "template_labels.nii.gz", "rounds/0/template.nii.gz", "subjects/s0/warped.nii.gz")
    outputs = {made / name: f"template's {name}" for name in own} | {cohort / "1.nrrd": "image of s1"}
    for output, what in outputs.items():
        arguments = ["propagate", str(cohort / "0.nrrd"), "--template", str(made), "--output", str(output)]
        assert main(arguments) == 2
        assert f"overwrite an input (the {what})" in capsys.readouterr().err
    assert all(path.read_bytes() == content for path, content in before.items())


def test_what_was_made_with_other_settings_is_made_again_and_that_is_said_once(made, cohort, tmp_path, capsys):
    shutil.copytree(made, tmp_path / "out")
    arguments = ["template", str(cohort / "list.csv"), "--output", str(tmp_path / "out"), "--rounds", "1"]
    assert main([*arguments, "--smoothness", "2"]) == 0
    assert capsys.readouterr().err.count("made with other settings (smoothness 1.0, now 2.0)") == 1


def test_another_run_on_the_same_folder_is_refused(cohort, tmp_path, capsys):
    with alone_in(tmp_path / "out", "template"):
        assert main(["template", str(cohort / "list.csv"), "--output", str(tmp_path / "out")]) == 2
    assert "Another run works in" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_labels_of_an_earlier_template_do_not_stay_beside_another(made, cohort, tmp_path, capsys):
    shutil.copytree(made, tmp_path / "out")
    shutil.copytree(cohort, tmp_path / "in", ignore=shutil.ignore_patterns("out"))
    rows = (cohort / "list.csv").read_text(encoding="utf-8").splitlines()
    without = "\n".join([*rows[:2], *(row.rpartition(",")[0] + "," for row in rows[2:])])
    (tmp_path / "in" / "list.csv").write_text(without, encoding="utf-8")
    out = tmp_path / "out"
    assert main(["template", str(tmp_path / "in" / "list.csv"), "--output", str(out), "--rounds", "2"]) == 0
    assert "are left aside, as they are of one subject" in capsys.readouterr().err
    assert not (out / "template_labels.nii.gz").exists()
    assert not (out / "leave_one_out.csv").exists()


def test_what_was_replaced_in_a_template_since_is_said(made, cohort, tmp_path, capsys):
    new, deep = str(cohort / "0.nrrd"), tmp_path / "deep.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((5, 6, 7), np.uint8)), str(deep))
    shutil.copytree(made, tmp_path / "out")
    about = json.loads((made / "template.json").read_text(encoding="utf-8"))

    def said(image, about):
        (tmp_path / "out" / "template.json").write_text(json.dumps(about), encoding="utf-8")
        assert (
            main(["propagate", image, "--template", str(tmp_path / "out"), "--output", str(tmp_path / "l.nrrd")]) == 2
        )
        return capsys.readouterr().err

    assert "The image is 3-D and the template in" in said(str(deep), about)
    for subjects in ([1], {"s0": 1}, {"s0": {"image": new}}):
        assert "template.json is damaged; run the command template again" in said(new, {"subjects": subjects})
    for what, name in (("image", "image of s1"), ("labels", "label map of s1")):
        other = about["subjects"] | {"s1": about["subjects"]["s1"] | {what: str(deep)}}
        assert f"The {name} is 3-D and the template 2-D" in said(new, about | {"subjects": other})
