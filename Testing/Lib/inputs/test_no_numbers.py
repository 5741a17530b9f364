"""Voxels without a number, as FSL and SPM leave them around a brain: nothing was measured there, all else is right."""

import numpy as np
import pytest

from DeepRegistrationLib import InputError, register
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.geometry.padding import background_of
from DeepRegistrationLib.inputs.checks import read_mask
from DeepRegistrationLib.inputs.pair import Pair
from Testing.Lib.test_pipeline import pair

GRID = Grid.from_shape((40, 44), 2.0)


def ball(grid=GRID):
    axes = np.meshgrid(*[np.linspace(-1.1, 1.1, n) for n in grid.shape], indexing="ij")
    return sum(a**2 for a in axes) < 1


def around(image, value):
    """The image with ``value`` outside of a ball."""
    return Image(np.where(ball(image.grid), image.array, value).astype(np.float32), image.grid)


@pytest.fixture(scope="module")
def images():
    return pair(GRID, 1.5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_background_without_numbers_gives_what_a_mask_gives(images, value):
    plain = [around(image, 0) for image in images]
    mask = Image(ball().astype(np.uint8), GRID)
    how = {"affine": "none", "method": "none", "device": "cpu"}
    expected = register(*plain, fixed_mask=mask, moving_mask=mask, **how)
    found = register(*(around(image, value) for image in images), **how)
    inside = ball()
    shift = (found.field - expected.field).abs().amax(1)[0].numpy()
    assert shift[inside].mean() < 0.1
    assert expected.field.abs().amax() > 1
    assert np.isfinite(found.warped.array).all()
    assert np.isfinite(
        [found.report.similarity_after, found.report.max_displacement_mm, found.report.doubt_percent]
    ).all()
    assert ["without a number" in warning for warning in found.report.warnings[:2]] == [True, True]


def test_both_masks_count(images):
    half = np.zeros(GRID.shape, np.uint8)
    half[:20] = 1
    read = Pair.read(around(images[0], np.nan), images[1], Image(half, GRID), None)
    np.testing.assert_array_equal(read.fixed_mask, ball() & (half > 0))
    assert read.moving_mask is None
    assert np.isfinite(read.given_fixed.array).all()
    assert read.given_moving is images[1]


def test_in_single_slices_too(images):
    slices = [Image(around(i, np.nan).array[None], Grid.from_shape((1, *GRID.shape), 2.0)) for i in images]
    read = Pair.read(*slices, None, None)
    np.testing.assert_array_equal(read.fixed_mask, ball())


def test_the_background_is_that_of_the_numbers():
    array = np.full((12, 12), 50.0)
    array[0], array[:, 0] = -1000, np.nan
    array[-1] = array[:, -1] = -1000
    assert background_of(array) == -1000
    assert background_of(np.where(ball(Grid.from_shape((20, 20))), 7.0, np.nan)) == 7


def test_labels_and_masks_without_a_single_number_are_refused(images):
    nothing = Image(np.full(GRID.shape, np.nan, np.float32), GRID)
    labels = Image(ball().astype(np.uint8), GRID)
    with pytest.raises(InputError, match="no voxel with a number"):
        register(*images, labels=(nothing, labels), device="cpu")
    with pytest.raises(InputError, match="empty inside"):
        read_mask(nothing, images[0], "fixed mask")


def test_an_array_that_may_not_be_written_is_not_written(images, recwarn):
    frozen = images[0].array.copy()
    frozen.flags.writeable = False
    how = {"affine": "auto", "refine": "none", "method": "none", "device": "cpu"}
    register(Image(frozen, GRID), images[1], **how)
    assert not [w for w in recwarn if "writable" in str(w.message)]


def test_nothing_writes_into_the_arrays_of_the_caller(images):
    kept = [image.array.copy() for image in images]
    register(*images, affine="auto", method="none", device="cpu")
    for image, before in zip(images, kept, strict=True):
        np.testing.assert_array_equal(image.array, before)
