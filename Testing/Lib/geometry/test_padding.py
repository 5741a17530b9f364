"""An image that ends inside of its own grid: the constant around it is no anatomy."""

import math

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib import register
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.geometry.padding import background_of, comparable, ct_padding, measured_part, seen_part


def texture(shape: tuple[int, ...], seed: int = 0, offset: float = 400) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    smooth = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(noise), 2.5))
    return offset + 40 * smooth / smooth.std()


def turned(array: np.ndarray, degrees: float, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """The array resampled through a rotation and a shift, and where it was measured."""
    image = sitk.GetImageFromArray(array)
    n = image.GetDimension()
    transform = sitk.Euler3DTransform() if n == 3 else sitk.Euler2DTransform()
    transform.SetCenter([s / 2 for s in image.GetSize()])
    transform.SetTranslation([shift] * n)
    angle = math.radians(degrees)
    transform.SetRotation(angle, 0.5 * angle, 0) if n == 3 else transform.SetAngle(angle)
    ones = image * 0 + 1
    parts = [sitk.Resample(x, image, transform, sitk.sitkLinear, 0.0) for x in (image, ones)]
    return sitk.GetArrayFromImage(parts[0]), sitk.GetArrayFromImage(parts[1]) > 0.5


@pytest.mark.parametrize("offset", [400, 0])
@pytest.mark.parametrize(("shape", "degrees"), [((40, 44, 36), 0.0), ((40, 44, 36), 8.0), ((90, 80), 3.0)])
def test_what_a_resampled_image_shows_is_found(shape, degrees, offset):
    array, measured = turned(texture(shape, offset=offset), degrees, 5.0)
    seen = seen_part(array)
    assert seen is not None
    assert (seen == measured).mean() > 0.999


def ball(shape: tuple[int, ...]) -> np.ndarray:
    axes = np.meshgrid(*[np.linspace(-1.1, 1.1, n) for n in shape], indexing="ij")
    return sum(a**2 for a in axes) < 1


@pytest.mark.parametrize("shape", [(60, 64), (40, 44, 36)])
def test_anatomy_on_a_background_of_zeros_is_no_padding(shape):
    assert seen_part(texture(shape) * ball(shape)) is None


def test_a_box_with_a_notch_is_no_padding():
    array = np.zeros((40, 40, 40), np.float32)
    array[5:35, 5:35, 5:35] = texture((30, 30, 30))
    assert seen_part(array) is not None
    array[5:12, 15:25, 15:25] = 0
    assert seen_part(array) is None


@pytest.mark.parametrize("blur", [0, 1])
def test_a_box_of_one_value_is_what_is_shown(blur):
    """The mask of a box, or a strip of a segmentation, was refused as the same intensity everywhere."""
    array = np.zeros((8, 200), np.float32)
    array[:, 96:] = 255
    array[:, 95] = 100 * blur
    assert seen_part(array) is None
    assert measured_part(array) is None


def test_of_a_constant_nothing_is_seen():
    assert not seen_part(np.full((8, 9, 7), 3.0, np.float32)).any()


def test_an_image_that_is_measured_everywhere_has_no_padding():
    assert seen_part(texture((30, 30, 30))) is None
    assert seen_part(np.where(texture((30, 30, 30)) < 320, 0, 100).astype(np.int16)) is None


def test_the_cut_through_a_resampled_image_does_not_pull():
    fixed = texture((36, 40, 32))
    moving = np.zeros_like(fixed)
    moving[:, 12:] = fixed[:, 12:]  # right where it lies, but a third was never measured
    images = [sitk.GetImageFromArray(a) for a in (fixed, moving)]
    result = register(*images, affine="none", refine="fast")
    assert float(result.field.abs().max()) < 0.3


BODY = ball((40, 44, 36))


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.where(BODY, 300, 0), 0),
        (np.where(BODY, 300, 5000), 5000),
        (np.where(BODY, 300, 0) + 32768, 32768),
        (np.where(BODY, 40, 255).astype(np.uint8), 255),
        (np.where(BODY, 40, -1024).astype(np.int16), -1024),
        (np.where(BODY, 3e-12, 1e-12), 1e-12),
        (np.where(BODY, 1e308, -1e308), -1e308),
        (np.full((5, 5), 7), 7),
        (texture((30, 30, 30), offset=1000), texture((30, 30, 30), offset=1000).min()),
    ],
)
def test_the_value_around_an_image_is_its_own_background(array, expected):
    assert background_of(array) == pytest.approx(expected, rel=0.05)


def test_noise_around_a_value_is_background_too():
    noise = np.random.default_rng(1).normal(0, 15, BODY.shape)
    assert background_of(np.where(BODY, 40, -1000) + noise) == pytest.approx(-1000, abs=3)


@pytest.mark.parametrize(
    "array",
    [
        np.where(BODY, 40, -1024),  # air
        np.where(BODY, 300, 0),
        np.where(BODY, 300, 5000),
        np.linspace(-4096, 4095, 1000).reshape(10, 10, 10).round(),  # phase
    ],
)
def test_background_is_no_padding(array):
    assert ct_padding(array) is None


def test_only_what_single_precision_cannot_hold_is_scaled():
    grid = Grid.from_shape(BODY.shape)
    rng = np.random.default_rng(1).random(BODY.shape)
    plain = Image(np.where(BODY, 300 + rng, 0), grid)
    assert comparable(plain) is plain
    assert measured_part(plain.array) is None
    for factor in (1e-12, 1e300, 1e305, 1e-300):
        scaled = comparable(Image(plain.array * factor, grid)).array
        assert scaled.dtype == np.float32
        np.testing.assert_allclose(scaled, plain.array * (1000 / plain.array.max()), rtol=1e-4)


def test_one_voxel_out_of_all_proportion_leaves_the_others():
    grid = Grid.from_shape(BODY.shape)
    array = np.where(BODY, 300 + np.random.default_rng(1).random(BODY.shape), 0)
    array[20, 20, 20] = 1e300
    clean = comparable(Image(array, grid)).array
    others = np.delete(clean.ravel(), np.ravel_multi_index((20, 20, 20), clean.shape))
    assert np.isfinite(clean).all()
    assert len(np.unique(others)) > 1000
    assert others.max() > 0.1 * clean.max()


def shades(seed=1):
    """Noise around 0, a body of 200 to 300."""
    rng = np.random.default_rng(seed)
    return np.where(BODY, 200 + 100 * rng.random(BODY.shape), rng.normal(0, 5, BODY.shape))


@pytest.mark.parametrize("size", [1e4, 1e7, -12345.6])
def test_voxels_where_a_fit_failed_are_what_is_around_them(size):
    array, grid = shades(), Grid.from_shape(BODY.shape)
    failed = np.random.default_rng(2).random(BODY.shape) < 0.005
    spoiled = np.where(failed, size, array)
    clean = comparable(Image(spoiled, grid)).array
    assert np.abs(clean - array)[~failed].max() < 1e-3
    assert np.abs(clean - array)[failed & BODY].max() < 150  # the body's edge and other such voxels may be beside it
    assert spoiled[failed].max() == spoiled[failed].min() == size  # nothing is written into what was given


def test_what_is_far_brighter_and_has_a_size_stays_brighter_than_all_else():
    array, grid = shades(), Grid.from_shape(BODY.shape)
    bladder = np.zeros(BODY.shape, bool)
    bladder[20:23, 20:23, 20:23] = True
    bright = np.where(bladder, 5e5, array)
    clean = comparable(Image(bright, grid)).array
    assert clean[bladder].min() > 10 * clean[~bladder].max()
    assert clean.max() < 1e-1 * bright.max()
    np.testing.assert_allclose(clean[~bladder], array[~bladder], atol=1e-3)


def test_many_bright_voxels_over_noise_are_no_outliers():
    vessels = np.random.default_rng(3).normal(0, 1, BODY.shape)
    vessels[:, 10:34:3, 10:34:3] = 1000.0
    np.testing.assert_allclose(comparable(Image(vessels, Grid.from_shape(BODY.shape))).array, vessels, rtol=1e-6)
