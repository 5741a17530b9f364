"""Files that ITK reads without a word though they are cut, sheared, ambiguous, another file, or no image at all."""

import contextlib
import gzip
import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib import system
from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.files import image_files, mgz, nifti
from DeepRegistrationLib.geometry.image import Grid, Image, read_image
from DeepRegistrationLib.inputs.pair import Pair
from Testing.data import real

SHAPE = (6, 8, 10)
VOXELS = np.random.default_rng(5).integers(1, 250, SHAPE).astype(np.uint8)
SFORM = np.array([[2.0, 0, 0, 10], [0, 2, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1]])


def header(**changes) -> bytes:
    """A NIfTI-1 header of ``VOXELS`` in 2 x 2 x 3 mm; by default both forms say the same."""
    says = {"pixdim": (1, 2, 2, 3), "qcode": 1, "scode": 1, "sform": SFORM, "offset": (10, 20, 30), "scale": (1, 0)}
    says |= changes
    data = bytearray(352)
    struct.pack_into("<i", data, 0, 348)
    struct.pack_into("<8h", data, 40, 3, *SHAPE[::-1], 1, 1, 1, 1)
    struct.pack_into("<2h", data, 70, 2, 8)
    struct.pack_into("<8f", data, 76, *says["pixdim"], 1, 1, 1, 1)
    struct.pack_into("<3f", data, 108, 352, *says["scale"])
    data[123] = 2
    struct.pack_into("<2h", data, 252, says["qcode"], says["scode"])
    struct.pack_into("<6f", data, 256, 0, 0, 0, *says["offset"])
    struct.pack_into("<12f", data, 280, *says["sform"][:3].ravel())
    data[344:348] = b"n+1\0"
    return bytes(data)


def write_nifti(path: Path, **changes) -> Path:
    data = header(**changes) + VOXELS.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def test_a_file_whose_two_forms_agree_is_read_without_a_warning(tmp_path):
    image = read_image(write_nifti(tmp_path / "a.nii"))
    assert image.warnings == ()
    np.testing.assert_allclose(image.grid.to_world([1, 1, 1]), [-12, -22, 33])
    np.testing.assert_array_equal(image.array, VOXELS)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"pixdim": (1, 1, 1, 1)}, "two voxel sizes: 1 x 1 x 1 mm .* 2 x 2 x 3 mm"),
        ({"scode": 2, "offset": (1, 2, 3)}, r"sform .* \(code 2, aligned to another image\) was not used .* 33.7 mm"),
        ({"scode": 4, "offset": (10, 20, 80)}, r"\(code 4, MNI 152\) was not used .* 50.0 mm"),
        ({"offset": (10, 20, 35)}, "qform .* was not used but its sform; .* 5.0 mm"),
        ({"qcode": 0, "scode": 0}, "says nothing of its orientation"),
        ({"pixdim": (1, 0, 2, 3)}, "voxels of 0 x 2 x 3 mm .pixdim., for which 1 x 2 x 3 mm were taken"),
        ({"pixdim": (1, np.nan, 2, 3), "scode": 0}, "voxels of nan x 2 x 3 mm"),
        ({"scale": (0, 7)}, "an intercept of 7 and a slope of 0"),
    ],
)
def test_what_itk_leaves_out_of_the_geometry_is_a_warning(tmp_path, changes, sentence):
    image = read_image(write_nifti(tmp_path / "a.nii.gz", **changes), "fixed image")
    assert len(image.warnings) == 1
    assert re.search(sentence, image.warnings[0])
    assert "fixed image" in image.warnings[0]


def test_the_warnings_reach_the_report(tmp_path):
    paths = [write_nifti(tmp_path / f"{side}.nii", scode=2, offset=(1, 2, 3)) for side in ("fixed", "moving")]
    said = Pair.read(paths[0], read_image(paths[1], "moving image"), None, None).warnings
    assert ["fixed" in said[0], "moving" in said[1]] == [True, True]


def test_real_images_are_read_without_a_warning():
    for path in (real("brain_t1", "OAS1_0001_t1.nii.gz"), real("cardiac_mr", "sa_ED.nii.gz")):
        assert read_image(path).warnings == ()


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("degrees", [0.07, 40.0])
def test_a_sheared_sform_is_no_damage(tmp_path, ending, degrees):
    sform = SFORM.copy()
    sform[0, 1] = 2 * np.sin(np.radians(degrees))
    sform[1, 1] = 2 * np.cos(np.radians(degrees))
    path = write_nifti(tmp_path / f"a{ending}", qcode=0, sform=sform)
    if degrees > 1:
        with pytest.raises(InputError, match=r"40\.0 degrees off right angles .*; resample it"):
            read_image(path)
        return
    image = read_image(path)
    np.testing.assert_array_equal(image.array, VOXELS)
    corner = sform @ [9, 7, 5, 1] * [-1, -1, 1, 1]
    np.testing.assert_allclose(image.grid.to_world([5, 7, 9]), corner[:3], atol=0.02)
    assert "0.07 degrees off right angles" in image.warnings[0]


def test_a_sheared_nrrd_keeps_its_place_and_says_so(tmp_path):
    path = tmp_path / "a.nrrd"
    text = (
        "NRRD0004\ntype: uint8\ndimension: 3\nspace: left-posterior-superior\nsizes: 10 8 6\n"
        "space directions: (1,0,0) (0.5,1,0) (0,0,2)\nkinds: domain domain domain\nencoding: raw\n"
        "space origin: (0,0,0)\n\n"
    )
    path.write_bytes(text.encode() + VOXELS.tobytes())
    image = read_image(path)
    np.testing.assert_allclose(image.grid.to_world([1, 2, 3]), [4, 2, 2])
    assert "off right angles" in image.warnings[0]


def test_a_packed_file_beside_a_plain_one_is_itself(tmp_path):
    image = sitk.GetImageFromArray(VOXELS)
    sitk.WriteImage(image, str(tmp_path / "a.nii.gz"))
    sitk.WriteImage(image * 0, str(tmp_path / "a.nii"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii.gz").array, VOXELS)
    assert read_image(tmp_path / "a.nii").array.max() == 0


CUT = [".nii", ".nii.gz", ".hdr", ".jpg", ".bmp", ".tif", ".vtk", ".gipl", ".mha", ".nrrd", ".png"]


@pytest.mark.parametrize("share", [0.5, 0.97])
@pytest.mark.parametrize("ending", CUT)
def test_a_file_that_was_cut_short_is_refused(tmp_path, capfd, ending, share):
    picture = ending in (".jpg", ".bmp", ".png")
    path = tmp_path / f"a{ending}"
    voxels = np.random.default_rng(5).integers(1, 250, (20, 30, 40)).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(voxels[0] if picture else voxels), str(path))
    read_image(path)
    data = path.with_suffix(".img") if ending == ".hdr" else path
    data.write_bytes(data.read_bytes()[: int(share * data.stat().st_size)])
    capfd.readouterr()
    with pytest.raises(InputError, match=r"not whole|could not be read"):
        read_image(path)
    assert capfd.readouterr().err == ""


def test_damage_inside_of_a_packed_file_is_refused(tmp_path):
    path = write_nifti(tmp_path / "a.nii.gz")
    data = bytearray(path.read_bytes())
    data[-6] ^= 255  # the checksum
    path.write_bytes(data)
    with pytest.raises(InputError, match="missing or damaged"):
        read_image(path)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha", ".mgz"])
def test_what_a_header_declares_beyond_memory_is_refused_before_it_is_allocated(tmp_path, monkeypatch, ending):
    path = tmp_path / f"a{ending}"
    if ending == ".mgz":
        path.write_bytes(mgz_file())
    else:
        sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(path))
    for module in (system, mgz, nifti, image_files):
        monkeypatch.setattr(module, "free_memory", lambda: 100, raising=False)
    with pytest.raises(InputError, match="are free; it may be damaged"):
        read_image(path)


def test_a_pipe_and_a_device_are_no_images(tmp_path):
    os.mkfifo(tmp_path / "pipe.nii")
    for path in (tmp_path / "pipe.nii", Path("/dev/zero")):
        with pytest.raises(InputError, match="a pipe or a device"):
            read_image(path)


def test_paths_that_cannot_be_opened_are_one_sentence(tmp_path):
    (tmp_path / "loop.nii").symlink_to(tmp_path / "loop.nii")
    for path, sentence in (
        ("a" * 300 + ".nii", "name is too long"),
        ("a\0b.nii", "holds a character"),
        (tmp_path / "loop.nii", "leads to itself"),
    ):
        with pytest.raises(InputError, match=sentence) as caught:
            read_image(path)
        assert "\n" not in str(caught.value)


def test_a_foreign_hdf5_file_is_one_sentence_without_noise(tmp_path, capfd):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x5.h5", "w") as file:
        file.create_dataset("TransformGroup/0/Transform", data=np.eye(4))
    with pytest.raises(InputError, match="is a transform, not an image"):
        read_image(tmp_path / "x5.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.create_dataset("data", data=np.eye(4))
    with pytest.raises(InputError, match="an HDF5 file that holds no image"):
        read_image(tmp_path / "other.h5")
    (tmp_path / "cut.h5").write_bytes((tmp_path / "x5.h5").read_bytes()[:900])
    with pytest.raises(InputError):
        read_image(tmp_path / "cut.h5")
    assert capfd.readouterr() == ("", "")


def test_what_itk_says_in_bytes_that_are_no_text_is_one_sentence(tmp_path, monkeypatch):
    def complain(self):  # SimpleITK quotes a damaged header
        raise UnicodeDecodeError("utf-8", b"\xd4", 0, 1, "invalid continuation byte")

    sitk.WriteImage(sitk.Image([5, 5, 5], sitk.sitkFloat32), str(tmp_path / "i.nrrd"))
    monkeypatch.setattr(sitk.ImageFileReader, "Execute", complain)
    with pytest.raises(InputError, match="could not be read as an image"):
        read_image(tmp_path / "i.nrrd")


def test_an_image_that_itk_wrote_as_hdf5_is_read(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(tmp_path / "a.hdf5"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.hdf5").array, VOXELS)


def mgz_file(size=SHAPE[::-1], frames=1, kind=0, spacing=(1, 1, 1), voxels=None, version=1) -> bytes:
    data = bytearray(284)
    struct.pack_into(">7ih", data, 0, version, *size, frames, kind, 0, 1)
    struct.pack_into(">15f", data, 30, *spacing, -1, 0, 0, 0, 0, -1, 0, 1, 0, 0, 0, 0)
    return gzip.compress(bytes(data) + (VOXELS.tobytes() if voxels is None else voxels))


def test_a_freesurfer_volume_of_unsigned_short_is_read(tmp_path):
    wide = (VOXELS.astype(np.uint16) * 200).astype(">u2")
    (tmp_path / "a.mgz").write_bytes(mgz_file(kind=10, voxels=wide.tobytes()))
    image = read_image(tmp_path / "a.mgz")
    assert image.array.dtype == np.uint16
    np.testing.assert_array_equal(image.array, wide)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (mgz_file(size=(-10, -8, 6)), "size of -10 x -8 x 6"),
        (mgz_file(size=(0, 8, 6)), "size of 0 x 8 x 6"),
        (mgz_file(size=(10, 8, 7)), "cut short: 80 of 560 bytes"),
        (mgz_file(spacing=(np.nan, 1, 1)), "no geometry"),
        (mgz_file(spacing=(0, 1, 1)), "no geometry"),
        (mgz_file(spacing=(np.inf, 1, 1)), "no geometry"),
        (mgz_file(frames=3), "3 frames; choose one"),
        (mgz_file(version=769), "version 769"),
        (mgz_file()[:-9], "could not be read as a FreeSurfer volume"),
        (mgz_file()[:200] + b"\xff" * 100 + mgz_file()[300:], "could not be read as a FreeSurfer volume"),
        (b"", "could not be read as a FreeSurfer volume"),
    ],
)
def test_a_damaged_freesurfer_volume_is_one_sentence(tmp_path, content, sentence):
    (tmp_path / "a.mgz").write_bytes(content)
    with pytest.raises(InputError, match=sentence) as caught:
        read_image(tmp_path / "a.mgz")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_geometry_of_no_numbers_is_one_sentence(tmp_path, capfd, value):
    image = sitk.GetImageFromArray(VOXELS)
    if value != 0:  # SimpleITK takes these, as it does from some files
        image.SetOrigin([value, 0, 0])
        with pytest.raises(InputError, match=r"The fixed image cannot be used\. The geometry is no geometry"):
            read_image(image, "fixed image")
    for change in ({"pixdim": (1, value, 2, 3)}, {"sform": np.full((4, 4), value), "qcode": 0}):
        path = write_nifti(tmp_path / "a.nii", **change)
        with contextlib.suppress(InputError):  # or ITK takes 1 mm, or its other form
            assert np.isfinite(read_image(path).grid.matrix).all()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("dtype", [">i2", ">f4", "float16", "bool", "longdouble"])
def test_arrays_of_other_types_are_converted(dtype):
    image = Image((VOXELS > 100).astype(dtype), Grid.from_shape(SHAPE))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image.to_sitk()), VOXELS > 100)


def test_arrays_that_are_no_image_are_one_sentence():
    grid = Grid.from_shape((4, 4))
    for array, sentence in (
        (np.full((4, 4), "a"), "no numbers"),
        (np.full((4, 4), None), "no numbers"),
        (np.ones((4, 4), complex), "complex"),
        (np.ones((2, 4, 4, 4)), "voxels on a grid"),
        ([[1, 2], [3, 4]], "voxels on a grid"),
    ):
        with pytest.raises(InputError, match=sentence):
            Image(array, grid)
    with pytest.raises(InputError, match="holds nothing"):
        Image(np.zeros((0, 4)), Grid.from_shape((0, 4)))
    for source in (VOXELS, None, 5):
        with pytest.raises(InputError, match="must be a path or an image"):
            read_image(source, "fixed image")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".hdr"])
@pytest.mark.parametrize(("kind", "order"), [("f4", "<"), ("f8", ">")])
def test_values_of_a_nifti_file_that_are_no_numbers_stay_so(tmp_path, ending, kind, order):
    """ITK reads them as zeros, so that a damaged image would be taken for a whole one."""
    nibabel = pytest.importorskip("nibabel")
    array = np.arange(1, 121, dtype=np.float64).reshape(4, 5, 6)
    array[1, 2, 3], array[0, 0, 1], array[3, 4, 5] = np.nan, np.inf, -np.inf
    made = nibabel.Nifti1Pair if ending == ".hdr" else nibabel.Nifti1Image
    header = made.header_class(endianness=order)
    header.set_data_dtype(np.dtype(order + kind))
    path = tmp_path / f"a{ending}"
    made(array.T, np.eye(4), header).to_filename(path)
    found = read_image(path).array
    assert np.isnan(found[1, 2, 3])
    assert np.array_equal(np.isfinite(found), np.isfinite(array))
    assert np.array_equal(found[np.isfinite(array)], array[np.isfinite(array)])


def test_components_of_a_nifti_file_that_are_no_numbers_stay_so(tmp_path):
    vectors = np.arange(1, 361, dtype=np.float32).reshape(4, 5, 6, 3)
    vectors[1, 2, 3, 2] = np.nan
    path = str(tmp_path / "a.nii")
    sitk.WriteImage(sitk.GetImageFromArray(vectors, isVector=True), path)
    image, _ = image_files.read_file(path, "image")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), vectors)


def test_a_voxel_of_a_nifti_image_without_a_number_is_not_measured(tmp_path):
    array = np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32)
    whole = Image(array, Grid.from_shape(array.shape))
    broken = array.copy()
    broken[3, 4, 5] = np.nan
    Image(broken, whole.grid).save(tmp_path / "a.nii.gz")
    pair = Pair.read(tmp_path / "a.nii.gz", whole, None, None)
    np.testing.assert_array_equal(pair.fixed_mask, np.isfinite(broken))
    assert pair.warnings[0].startswith("The fixed image has 1 voxel without a number")
