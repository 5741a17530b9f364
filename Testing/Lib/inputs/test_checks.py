import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.inputs.checks import check_overlap, read_mask, read_pair, unlike_units
from DeepRegistrationLib.inputs.pair import Pair
from Testing.Lib.geometry.geometries import oblique

RNG = np.random.default_rng(2)


def image(shape=(8, 9, 10), **changes):
    array = RNG.normal(size=shape).astype(np.float32)
    for index, value in changes.items():
        array[int(index[1:])] = value
    return Image(array, Grid.from_shape(shape))


@pytest.mark.parametrize(
    ("moving", "sentence"),
    [
        (Image(np.full((8, 9, 10), np.nan), Grid.from_shape((8, 9, 10))), "no voxel with a number"),
        (Image(np.full((8, 9, 10), np.inf), Grid.from_shape((8, 9, 10))), "no voxel with a number"),
        (
            Image(np.where(RNG.random((8, 9, 10)) > 0.5, np.nan, 3), Grid.from_shape((8, 9, 10))),
            "same value everywhere",
        ),
        (Image(np.ones((8, 9, 10), np.float32), Grid.from_shape((8, 9, 10))), "same value everywhere"),
        (image((8, 3, 10)), "at least 4"),
        (image((30, 30)), "same dimension"),
        ("nowhere.nii", "does not exist"),
    ],
)
def test_what_cannot_be_registered_is_said_in_one_sentence(moving, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        read_pair(image(), moving)
    assert str(caught.value).count("\n") == 0


def test_images_that_share_no_space_are_refused():
    near, far = oblique(), oblique(origin=(500.0, 0.0, 0.0))
    check_overlap(near, oblique(origin=(-20.0, 10.0, 80.0)))
    with pytest.raises(InputError, match="do not overlap"):
        check_overlap(near, far)


@pytest.mark.parametrize(("times", "large"), [(1000.0, "moving image"), (0.001, "fixed image"), (1e-6, "fixed image")])
@pytest.mark.parametrize("away", [0.0, 1e6])
def test_meters_against_millimeters_are_named(times, large, away):
    fixed = image((20, 20, 20))
    scaled = np.diag([times, times, times, 1.0])
    scaled[0, 3] = away
    moving = Image(fixed.array, Grid(fixed.grid.shape, scaled @ fixed.grid.matrix))
    if away:
        with pytest.raises(InputError, match=f"The {large} is .* times as large .* check the voxel size .* overlap"):
            check_overlap(fixed.grid, moving.grid)
        return
    (sentence,) = Pair.read(fixed, moving, None, None).warnings
    assert sentence.startswith(f"The {large} is 1000")
    assert "check the voxel size" in sentence


def test_a_part_of_the_body_is_not_taken_for_other_units():
    whole, part = Grid.from_shape((9, 9, 9), 200.0), Grid.from_shape((9, 9, 9), 4.0)
    assert unlike_units(whole, part) == unlike_units(part, whole) == ""


def test_a_mask_of_another_geometry_is_brought_onto_the_image():
    fixed = image((20, 20, 20))
    fine = Grid.from_shape((20, 20, 20)).resized((40, 40, 40))
    mask = np.zeros(fine.shape, np.uint8)
    mask[:20] = 3
    found = read_mask(Image(mask, fine), fixed, "fixed mask")
    assert found[:10].all()
    assert not found[10:].any()


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (np.zeros((8, 9, 10), np.uint8), "is empty"),
        (np.ones((9, 10), np.uint8), "2-D"),
    ],
)
def test_a_useless_mask_is_refused(mask, sentence):
    with pytest.raises(InputError, match=sentence):
        read_mask(sitk.GetImageFromArray(mask), image(), "fixed mask")


def test_a_mask_of_a_few_voxels_is_refused():
    mask = np.zeros((20, 20, 20), np.uint8)
    mask[1:3, 1:3, 1:3] = 1
    fixed = image((20, 20, 20))
    with pytest.raises(InputError, match="has 8 voxels inside"):
        read_mask(Image(mask, fixed.grid), fixed, "fixed mask")
