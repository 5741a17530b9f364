import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import Grid, Image, read_image
from Testing.data import real
from Testing.Lib.geometry.geometries import GRIDS

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_an_index_lies_where_simpleitk_says(grid):
    image = grid.to_sitk(np.zeros(grid.shape, np.float32))
    index = RNG.uniform(-3, 30, (20, grid.ndim))
    expected = [image.TransformContinuousIndexToPhysicalPoint(i[::-1].tolist()) for i in index]
    np.testing.assert_allclose(grid.to_world(index), expected, atol=1e-9)
    np.testing.assert_allclose(grid.to_index(np.array(expected)), index, atol=1e-9)
    assert Grid.from_sitk(image).same_as(grid)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize(
    "grid", [g for g in GRIDS.values() if g.ndim == 3], ids=[k for k, g in GRIDS.items() if g.ndim == 3]
)
def test_an_image_survives_writing_and_reading(tmp_path, grid, suffix):
    image = Image(RNG.normal(size=grid.shape).astype(np.float32), grid)
    image.save(tmp_path / f"image{suffix}")
    again = read_image(tmp_path / f"image{suffix}")
    np.testing.assert_array_equal(again.array, image.array)
    assert again.grid.same_as(grid, 1e-3)


def test_resizing_keeps_the_field_of_view():
    grid = GRIDS["oblique anisotropic flipped"]
    half = grid.resized((10, 13, 11))
    np.testing.assert_allclose(half.extent, grid.extent)
    np.testing.assert_allclose(half.to_world([-0.5] * 3), grid.to_world([-0.5] * 3))
    np.testing.assert_allclose(half.center, grid.center)


def test_cropping_and_padding_move_no_voxel():
    grid = GRIDS["oblique anisotropic flipped"]
    np.testing.assert_allclose(grid.padded(4).to_world([4, 4, 4]), grid.origin)
    np.testing.assert_allclose(grid.cropped([2, 3, 4], [9, 9, 9]).origin, grid.to_world([2, 3, 4]))


def test_a_color_picture_turns_gray(tmp_path):
    color = np.zeros((6, 5, 3), np.uint8)
    color[..., 1] = 200
    sitk.WriteImage(sitk.GetImageFromArray(color, isVector=True), str(tmp_path / "color.png"))
    gray = read_image(tmp_path / "color.png")
    assert gray.array.shape == (6, 5)
    assert gray.array.dtype == np.uint8
    assert int(gray.array[0, 0]) == round(0.587 * 200)


def test_a_freesurfer_volume_lies_where_nibabel_puts_it():
    nibabel = pytest.importorskip("nibabel")
    path = real("brain_native", "OAS1_0001_norm.mgz")
    ours, theirs = read_image(path), nibabel.load(path)
    np.testing.assert_array_equal(ours.array.transpose(2, 1, 0), np.asarray(theirs.dataobj))
    ras = (theirs.affine @ [12, 34, 56, 1])[:3]
    np.testing.assert_allclose(ours.grid.to_world([56, 34, 12]), ras * [-1, -1, 1], atol=1e-4)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "does not exist"), (b"not an image", "could not be read")],
)
def test_a_bad_file_is_named_in_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "image.nii.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=sentence) as caught:
        read_image(path, "fixed image")
    assert "fixed image" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_freesurfer_volume_is_refused(tmp_path):
    (tmp_path / "x.mgz").write_bytes(b"\x1f\x8b damaged")
    with pytest.raises(InputError, match="FreeSurfer"):
        read_image(tmp_path / "x.mgz")


def test_a_sequence_is_refused_but_one_time_point_is_taken():
    one = sitk.GetImageFromArray(np.zeros((1, 4, 5, 6), np.float32), isVector=False)
    assert read_image(one).array.shape == (4, 5, 6)
    with pytest.raises(InputError, match="time point"):
        read_image(sitk.GetImageFromArray(np.zeros((2, 4, 5, 6), np.float32), isVector=False))


def test_writing_into_a_missing_folder_is_one_sentence(tmp_path):
    image = Image(np.zeros((4, 4), np.float32), Grid.from_shape((4, 4)))
    with pytest.raises(InputError, match="create it first"):
        image.save(tmp_path / "nowhere" / "x.nrrd")
    with pytest.raises(InputError, match="format is unknown"):
        image.save(tmp_path / "x.strange")


def test_a_label_map_as_a_picture_keeps_its_labels(tmp_path):
    for dtype, top in ((np.int16, 2), (np.float32, 200), (np.int64, 40_000)):
        labels = Image((np.arange(30).reshape(5, 6) % 3 * (top // 2)).astype(dtype), Grid.from_shape((5, 6)))
        labels.save(tmp_path / "l.png")
        np.testing.assert_array_equal(read_image(tmp_path / "l.png").array, labels.array)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".bmp"])
def test_a_volume_as_a_picture_is_refused_but_one_slice_is_none(tmp_path, ending):
    volume = Image(np.arange(60, dtype=np.uint8).reshape(3, 4, 5), Grid.from_shape((3, 4, 5)))
    with pytest.raises(InputError, match=r"cannot be written as v.* cannot hold it"):
        volume.save(tmp_path / f"v{ending}")
    assert not list(tmp_path.iterdir())
    Image(volume.array[:, 1:2], volume.grid.cropped([0, 1, 0], [3, 2, 5])).save(tmp_path / f"s{ending}")
    assert read_image(tmp_path / f"s{ending}").array.shape == (3, 5)


@pytest.mark.parametrize(("shape", "count"), [((4, 5, 6), 3), ((5, 6), 2)])
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_a_displacement_field_for_an_image_is_named(tmp_path, shape, count, ending):
    path = tmp_path / f"field{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(np.full((*shape, count), 0.5, np.float32), isVector=True), str(path))
    with pytest.raises(InputError, match=rf"{path.name} has {count} values in each voxel, as a displacement field"):
        read_image(path, "fixed image")


@pytest.mark.parametrize("count", [2, 3, 4])
def test_fractions_of_several_kinds_in_a_voxel_are_no_color(count):
    part = sitk.Image(6, 5, sitk.sitkFloat32) + 0.5
    with pytest.raises(InputError, match=f"{count} values in each voxel"):
        read_image(sitk.Compose([part] * count))
    whole = sitk.Cast(part + 3.5, sitk.sitkUInt8)
    assert np.all(read_image(sitk.Compose(whole, whole * 0)).array == 4)  # gray and its opacity
