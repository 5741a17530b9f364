import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.quality.local_means import mean_around, smoothed


def image(shape, spacing):
    found = sitk.GetImageFromArray(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    found.SetSpacing(spacing)
    return found


@pytest.mark.parametrize("shape", [(20, 30), (1, 17, 23), (12, 14, 9)])
@pytest.mark.parametrize("reach", [1, 2, 13])
def test_a_box_mean_is_that_of_simpleitk(shape, reach):
    radius = [reach if n > 1 else 0 for n in shape]
    radius[-1] = min(reach, 3)
    found = image(shape, [1.0] * len(shape))
    expected = sitk.GetArrayFromImage(sitk.BoxMean(found, radius[::-1]))
    assert np.abs(mean_around(sitk.GetArrayFromImage(found), radius) - expected).max() < 2e-6


@pytest.mark.parametrize(
    ("shape", "spacing"), [((20, 30), (1.5, 1.0)), ((1, 17, 23), (1, 1, 4)), ((12, 14, 9), (1, 2, 0.7))]
)
def test_a_gaussian_is_that_of_simpleitk(shape, spacing):
    found, sigma = image(shape, spacing), 1.2
    expected = sitk.GetArrayFromImage(sitk.DiscreteGaussian(found, sigma**2))
    assert np.abs(smoothed(found, sigma) - expected).max() < 2e-6
