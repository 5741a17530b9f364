"""DICOM folders in, DICOM registrations out, and back onto the images they were made for."""

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib import pipeline
from DeepRegistrationLib.__main__ import main
from DeepRegistrationLib.dicom.image_series import read_series
from DeepRegistrationLib.dicom.registration_writing import write_registration
from DeepRegistrationLib.geometry.image import read_image
from Testing.Lib.dicom.test_registration import PATIENT, folder_of

pydicom = pytest.importorskip("pydicom")


def ball(shift: float) -> np.ndarray:
    k, j, i = np.indices((16, 20, 24))
    distance = np.sqrt((2 * (k - 7.5)) ** 2 + (0.75 * (j - 9.5 - shift)) ** 2 + (0.5 * (i - 11.5)) ** 2)
    return (1000 / (1 + np.exp(2 * (distance - 4)))).astype(np.int16)


@pytest.fixture
def folders(tmp_path):
    fixed = folder_of(tmp_path / "fixed", volume=ball(0))
    return fixed, folder_of(tmp_path / "moving", "2", "6", study="10", volume=ball(2)), tmp_path


def run(*arguments) -> int:
    return main([str(a) for a in arguments])


def test_a_registration_goes_out_and_is_applied(folders, capsys):
    fixed, moving, out = folders
    names = [out / name for name in ("t.dcm", "i.dcm", "w.nrrd")]
    options = ["--output-transform", names[0], "--output-inverse", names[1], "--output-volume", names[2]]
    assert run("register", fixed, moving, *options, "--method", "none", "--affine", "rigid", "--progress", "none") == 0
    assert run("apply", names[0], moving, "--reference", fixed, "--output", out / "again.nrrd") == 0
    warped, again = read_image(names[2]).array, read_image(out / "again.nrrd").array
    assert np.abs(warped.astype(int) - again).max() <= 1  # float32 vectors, whole numbers
    assert run("apply", names[1], fixed, "--reference", moving, "--output", out / "back.nrrd") == 0
    assert np.abs(read_image(out / "back.nrrd").array - ball(2)).mean() < np.abs(ball(0) - ball(2)).mean()
    assert run("apply", names[0], fixed, "--reference", moving, "--output", out / "no.nrrd") == 2
    assert "brings the reference onto the input" in capsys.readouterr().err
    other = folder_of(out / "other", "3", "7")
    for image, reference in ((other, fixed), (moving, other)):
        assert run("apply", names[0], image, "--reference", reference, "--output", out / "no.nrrd") == 2
        assert "frame of reference" in capsys.readouterr().err
    assert run("evaluate", "--transform", names[0]) == 2  # read; there is nothing to score
    assert "Nothing to score" in capsys.readouterr().err


@pytest.fixture
def never(monkeypatch):
    def fail(*_args, **_options):
        raise AssertionError("computed before the options were looked at")

    monkeypatch.setattr(pipeline, "register", fail)


@pytest.mark.usefixtures("never")
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"t0010_0020": "18"}, "different patients (they differ in ID)"),
        (
            {"t0010_0010": "Roe^Jane", "t0010_0030": "19700102"},
            "different patients (they differ in name and birth date)",
        ),
    ],
)
def test_two_patients_are_refused_before_anything_is_computed(tmp_path, capsys, changed, words):
    fixed = folder_of(tmp_path / "fixed")
    moving = folder_of(tmp_path / "moving", "2", "6", PATIENT | changed)
    assert run("register", fixed, moving, "--output-transform", tmp_path / "t.dcm") == 2
    said = capsys.readouterr().err
    assert words in said
    assert "--different-patients" in said
    with pytest.raises(AssertionError, match="computed"):
        pipeline.register()
    # Asked for, it is done (which here is where the stand-in fails).
    assert run("register", fixed, moving, "--output-transform", tmp_path / "t.dcm", "--different-patients") == 1
    assert "computed" in capsys.readouterr().err


def test_a_name_written_otherwise_is_the_same_patient(tmp_path):
    fixed = folder_of(tmp_path / "fixed", volume=ball(0))
    moving = folder_of(tmp_path / "moving", "2", "6", PATIENT | {"t0010_0010": "DOE^JANE^"}, volume=ball(1))
    options = ["--method", "none", "--refine", "none", "--affine", "none", "--progress", "none"]
    assert run("register", fixed, moving, "--output-transform", tmp_path / "t.dcm", *options) == 0


@pytest.mark.usefixtures("never")
def test_what_lacks_a_frame_of_reference_is_refused_before_anything_is_computed(tmp_path, capsys):
    fixed = folder_of(tmp_path / "fixed")
    image = tmp_path / "moving.nrrd"
    sitk.WriteImage(sitk.Image(8, 8, 8, sitk.sitkInt16), str(image))
    assert run("register", fixed, image, "--output-transform", tmp_path / "t.dcm") == 2
    assert "is no DICOM series" in capsys.readouterr().err
    bare = folder_of(tmp_path / "bare", "2", None)
    assert run("register", fixed, bare, "--output-transform", tmp_path / "t.dcm") == 2
    assert "name no frame of reference" in capsys.readouterr().err
    assert run("register", fixed, bare, "--output-volume", tmp_path / "t.dcm") == 2
    assert "cannot be written as t.dcm" in capsys.readouterr().err


def test_another_patients_image_is_not_warped(folders, capsys):
    fixed, moving, out = folders
    options = ["--method", "none", "--refine", "none", "--affine", "none", "--progress", "none"]
    assert run("register", fixed, moving, "--output-transform", out / "t.dcm", *options) == 0
    other = folder_of(out / "other", "3", "6", PATIENT | {"t0010_0020": "18"})
    again = ["apply", out / "t.dcm", other, "--reference", fixed, "--output", out / "w.nrrd"]
    assert run(*again) == 2
    assert "the input are of different patients" in capsys.readouterr().err
    assert run(*again, "--different-patients") == 0


@pytest.mark.parametrize("affine", ["none", "rigid"], ids=["field", "matrix"])
def test_in_one_frame_of_reference_the_instances_tell_which_image_is_moved(tmp_path, capsys, affine):
    fixed = folder_of(tmp_path / "fixed", volume=ball(0))
    moving = folder_of(tmp_path / "moving", "2", volume=ball(2))
    if affine == "rigid":
        pair = read_series(fixed, "fixed image"), read_series(moving, "moving image")
        shift = sitk.AffineTransform(3)
        shift.SetTranslation((0, 1.5, 0))
        write_registration(shift, tmp_path / "t.dcm", sitk.Image(2, 2, 2, sitk.sitkUInt8), *pair)
    else:
        options = ["--method", "none", "--affine", "none", "--progress", "none"]
        assert run("register", fixed, moving, "--output-transform", tmp_path / "t.dcm", *options) == 0
    assert run("apply", tmp_path / "t.dcm", moving, "--reference", fixed, "--output", tmp_path / "w.nrrd") == 0
    away = [np.abs(v - ball(0).astype(int)).mean() for v in (ball(2), read_image(tmp_path / "w.nrrd").array)]
    assert away[1] < 0.5 * away[0]
    capsys.readouterr()
    assert run("apply", tmp_path / "t.dcm", fixed, "--reference", moving, "--output", tmp_path / "x.nrrd") == 2
    assert "brings the reference onto the input" in capsys.readouterr().err


@pytest.mark.usefixtures("never")
def test_no_output_replaces_a_slice_of_an_input(tmp_path, capsys):
    fixed = folder_of(tmp_path / "fixed")
    moving = folder_of(tmp_path / "moving", "2", "6")
    slices = {path: path.read_bytes() for place in (fixed, moving) for path in place.iterdir()}
    (tmp_path / "link.dcm").symlink_to(sorted(fixed.iterdir())[0])
    for place, which in ((fixed, "fixed"), (moving, "moving")):
        assert run("register", fixed, moving, "--output-transform", sorted(place.iterdir())[0]) == 2
        assert f"would overwrite a slice of the {which} image" in capsys.readouterr().err
    assert run("register", fixed, moving, "--output-transform", tmp_path / "link.dcm") == 2
    assert "overwrite a slice of the fixed image" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in slices} == slices
    # A registration beside the slices is none of them, and may be made again.
    (fixed / "t.dcm").write_bytes(b"made before")
    assert run("register", fixed, moving, "--output-transform", fixed / "t.dcm") == 1
    assert "computed" in capsys.readouterr().err
