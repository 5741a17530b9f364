"""A whole file under a wrong ending is said to be one, with the ending that it should have."""

import gzip
import re
import shutil
import struct

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.files.contents import misnamed
from DeepRegistrationLib.geometry.image import read_image
from DeepRegistrationLib.geometry.transform import read_transform

ENDINGS = (".nii", ".nii.gz", ".nrrd", ".mha", ".mgh", ".mgz")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One file of each format."""
    folder = tmp_path_factory.mktemp("whole")
    image = sitk.GetImageFromArray(np.random.default_rng(0).random((5, 6, 7), np.float32))
    for ending in ENDINGS[:4]:
        sitk.WriteImage(image, str(folder / f"a{ending}"))
    header = struct.pack(">7ih", 1, 7, 6, 5, 1, 3, 0, 0).ljust(284, b"\0")
    mgh = header + sitk.GetArrayFromImage(image).astype(">f4").tobytes()
    (folder / "a.mgh").write_bytes(mgh)
    (folder / "a.mgz").write_bytes(gzip.compress(mgh))
    return folder


@pytest.mark.parametrize("right", ENDINGS)
@pytest.mark.parametrize("wrong", [*ENDINGS, ".dcm", ".png", ""])
def test_a_whole_file_under_a_wrong_ending_is_read_or_said_how_to_be_named(whole, tmp_path, right, wrong):
    path = tmp_path / f"b{wrong}"
    shutil.copy(whole / f"a{right}", path)
    if wrong == right:
        assert misnamed(path) == ""
        assert read_image(path).array.shape == (5, 6, 7)
        return
    assert misnamed(path) == right
    if (right, wrong) == (".nii", ".nii.gz"):  # which ITK reads all the same
        assert np.array_equal(read_image(path).array, read_image(whole / "a.nii").array)
        return
    with pytest.raises(InputError, match=f"rename it to end in {re.escape(right)}, and try again"):
        read_image(path)


@pytest.mark.parametrize("data", [b"", b"\x1f\x8b", b"\x1f\x8bnonsense", b"NRRX", bytes(400), gzip.compress(b"text")])
def test_contents_that_tell_nothing_are_no_wrong_name(tmp_path, data):
    path = tmp_path / "c.nrrd"
    path.write_bytes(data)
    assert misnamed(path) == ""
    with pytest.raises(InputError, match=r"could not be read as an image|is empty"):
        read_image(path)


def test_what_goes_by_two_names_is_no_wrong_name(tmp_path):
    image = sitk.GetImageFromArray(np.ones((5, 6, 7), np.float32))
    for name in ("d.nhdr", "d.mhd"):
        sitk.WriteImage(image, str(tmp_path / name))
        assert misnamed(tmp_path / name) == ""
    assert misnamed(tmp_path / "nowhere.nii") == ""


@pytest.mark.parametrize("wrong", [".png", ".nrrd"])
def test_so_is_a_photograph(tmp_path, wrong):
    path = tmp_path / "p.jpg"
    sitk.WriteImage(sitk.GetImageFromArray(np.arange(72, dtype=np.uint8).reshape(8, 9)), str(path))
    assert misnamed(path) == ""
    shutil.move(path, tmp_path / f"p{wrong}")
    with pytest.raises(InputError, match=r"rename it to end in \.jpg, and try again"):
        read_image(tmp_path / f"p{wrong}")


@pytest.mark.parametrize("ending", [".mha", ".mhd", ".tfm", ".txt", ".mat"])
def test_capital_letters_that_itk_does_not_read_are_no_damage(tmp_path, ending):
    path = tmp_path / f"t{ending}"
    is_image = ending in (".mha", ".mhd")
    if is_image:
        sitk.WriteImage(sitk.GetImageFromArray(np.ones((5, 6, 7), np.float32)), str(path))
    else:
        sitk.WriteTransform(sitk.AffineTransform(3), str(path))
    capital = path.rename(tmp_path / f"T{ending.upper()}")
    read = read_image if is_image else read_transform
    with pytest.raises(InputError, match=f"in small letters only; rename it to end in {re.escape(ending)}, and"):
        read(capital)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        *[(".tfm", ".h5"), (".tfm", ".mat"), (".tfm", ".nrrd"), (".h5", ".nii.gz"), (".h5", ".nrrd")],
        *[(".mat", ".h5"), (".mat", ".tfm"), (".mat", ".txt"), (".mat", ".nii.gz"), (".xfm", ".tfm"), (".xfm", ".h5")],
        *[(".nii.gz", ".tfm"), (".nrrd", ".h5")],
    ],
)
def test_so_is_a_transform(tmp_path, right, wrong):
    path = str(tmp_path / f"t{right}")
    if right in (".tfm", ".h5", ".mat", ".xfm"):
        sitk.WriteTransform(sitk.AffineTransform(3), path)
    else:
        sitk.WriteImage(sitk.GetImageFromArray(np.zeros((5, 6, 7, 3), np.float32), isVector=True), path)
    shutil.move(path, tmp_path / f"t{wrong}")
    with pytest.raises(InputError, match=f"rename it to end in {re.escape(right)}, and try again"):
        read_transform(tmp_path / f"t{wrong}")


@pytest.mark.parametrize("name", ["t.tfm", "t.txt", "t.mat", "t.xfm", "t.h5", "T.MAT", "t.nii.gz", "t.nrrd", "t"])
@pytest.mark.parametrize("kind", ["matrix", "field"])
def test_a_transform_for_an_image_is_called_one(tmp_path, name, kind):
    written = tmp_path / f"w{name[1:].lower() if name[1:] not in ('', '.nii.gz', '.nrrd') else '.tfm'}"
    transform = sitk.AffineTransform(3)
    if kind == "field" and written.suffix not in (".mat", ".xfm"):
        transform = sitk.DisplacementFieldTransform(sitk.Image([5, 6, 7], sitk.sitkVectorFloat64))
    sitk.WriteTransform(transform, str(written))
    with pytest.raises(InputError, match=f"The fixed image .*{name} is a transform, not an image; give an image file"):
        read_image(written.rename(tmp_path / name), "fixed image")


@pytest.mark.parametrize(
    "text",
    [
        '(Transform "EulerTransform")\n(NumberOfParameters 6)\n',
        "# transform file\n# made by mri_coreg\ntype      = 1 # LINEAR_RAS_TO_RAS\nnxforms   = 1\n",
        "MNI Transform File\n%made by hand\n\nTransform_Type = Linear;\n",
    ],
)
def test_so_is_one_of_another_program(tmp_path, text):
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="is a transform, not an image"):
        read_image(tmp_path / "t.txt")
