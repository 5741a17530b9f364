"""What becomes of the input before anything is computed: single slices, label maps of their own extent, padding."""

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.inputs.choices import read_labels
from DeepRegistrationLib.inputs.pair import Pair, label_tensors
from Testing.Lib.geometry.geometries import oblique

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_of_labels_of_another_extent_lies_where_it_lies(axis):
    whole = oblique((30, 36, 40))
    low = [0, 0, 0]
    high = list(whole.shape)
    low[axis], high[axis] = 7, 8
    grid = whole.cropped(low, high)
    images = [Image(RNG.normal(size=grid.shape).astype(np.float32), grid, name) for name in ("fixed", "moving")]
    pair = Pair.read(*images, None, None)
    labels = np.zeros(grid.shape, np.uint8)
    square = [slice(12, 20)] * 3
    square[axis] = slice(None)
    labels[tuple(square)] = 5
    edge = [10, 10, 10]
    edge[axis] = 0
    inner = tuple(slice(e, n - e) for e, n in zip(edge, grid.shape, strict=True))
    cropped = Image(labels[inner], grid.cropped(edge, np.asarray(grid.shape) - edge))
    onto = sitk.AffineTransform(2)
    expected = labels.squeeze(axis)
    full = Image(labels, grid)
    for maps in ((full, cropped), (cropped, full), (cropped, cropped)):
        read = read_labels(maps, pair)
        for tensor in label_tensors(read, pair.fixed.grid, onto, pair.plane):
            np.testing.assert_array_equal(tensor[0, 0].numpy(), expected)


def test_label_maps_that_do_not_fit_are_refused_at_once():
    shape = (12, 13, 14)
    images = [Image(RNG.normal(size=shape).astype(np.float32), Grid.from_shape(shape)) for _ in range(2)]
    pair = Pair.read(*images, None, None)
    flat = Image(np.ones((12, 13), np.uint8), Grid.from_shape((12, 13)))
    whole = Image(np.ones(shape, np.uint8), Grid.from_shape(shape))
    with pytest.raises(InputError, match="2-D and the images 3-D"):
        read_labels((whole, flat), pair)
    slices = [Image(image.array[:1], image.grid.cropped([0, 0, 0], [1, 13, 14])) for image in images]
    with pytest.raises(InputError, match="must be a single slice"):
        read_labels((whole, whole), Pair.read(*slices, None, None))
    turned = Image(np.ones((12, 1, 14), np.uint8), Grid.from_shape((12, 1, 14)))
    with pytest.raises(InputError, match="at an angle"):
        read_labels((turned, turned), Pair.read(*slices, None, None))


def ct(shape=(30, 32, 34)) -> np.ndarray:
    axes = np.meshgrid(*[np.linspace(-1.3, 1.3, n) for n in shape], indexing="ij")
    body = sum(a**2 for a in axes) < 0.8
    return np.where(body, 40 + 30 * RNG.normal(size=shape), -1000 + 10 * RNG.normal(size=shape)).astype(np.int16)


@pytest.mark.parametrize("padding", [-3024, -2000, -32768])
def test_what_a_ct_is_filled_up_with_is_air_and_not_measured(padding):
    array = ct()
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in array.shape], indexing="ij")
    outside = axes[1] ** 2 + axes[2] ** 2 > 1
    padded = np.where(outside, padding, array).astype(np.int16)
    images = [Image(a, Grid.from_shape(array.shape)) for a in (padded, array)]
    pair = Pair.read(*images, None, None)
    np.testing.assert_array_equal(pair.fixed_mask, ~outside)
    assert pair.moving_mask is None
    np.testing.assert_array_equal(pair.clean_fixed.array[~outside], array[~outside])
    assert np.all(pair.clean_fixed.array[outside] == array[~outside].min())
    np.testing.assert_array_equal(pair.given_fixed.array, padded)
    assert pair.clean_moving is pair.given_moving


def test_the_mask_of_the_user_and_what_was_measured_both_count():
    array = ct()
    padded = array.copy()
    padded[:, :, :6] = -3024
    mask = np.zeros(array.shape, np.uint8)
    mask[:, :, :12] = 1
    pair = Pair.read(
        Image(padded, Grid.from_shape(array.shape)),
        Image(array, Grid.from_shape(array.shape)),
        Image(mask, Grid.from_shape(array.shape)),
        None,
    )
    assert pair.fixed_mask[:, :, 6:12].all()
    assert pair.fixed_mask.sum() == 6 * 30 * 32
