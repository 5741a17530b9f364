"""An image that ends inside of its own grid: the constant around it is no anatomy."""

import math

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib import register
from DeepRegistrationLib.inputs.padding import seen_part


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
