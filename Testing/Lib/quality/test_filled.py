"""How much of the anatomy the field alone brings from nothing onto something."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.inputs.content_mask import content_of
from DeepRegistrationLib.inputs.pair import Pair
from DeepRegistrationLib.quality.measurements import measure_filled
from DeepRegistrationLib.quality.report import Report


def block(shape, end):
    """Something in the middle of the last two axes, up to column ``end``."""
    noise = np.random.default_rng(0)
    array = noise.uniform(0, 1, shape).astype(np.float32)  # measured, as exact zeros might not be
    array[..., 10:30, 10:end] = noise.uniform(50, 100, (*shape[:-2], 20, end - 10))
    return Image(array, Grid.from_shape(shape))


def stretched(ndim):
    """x - 10 is halved: the right half of the block is looked up in its left half."""
    matrix = np.eye(ndim)
    matrix[0, 0] = 0.5
    transform = sitk.AffineTransform(ndim)
    transform.SetMatrix(matrix.ravel())
    transform.SetTranslation([4.75, *[0.0] * (ndim - 1)])
    return transform


def filled(fixed, moving, transform, moving_mask=None, result="deformable"):
    pair = Pair.read(fixed, moving, None, moving_mask)
    content = content_of(torch.from_numpy(pair.fixed.array)[None, None])
    report = Report("none", "fast", "auto", "cpu", "1.0", result=result)
    measure_filled(report, pair, transform, np.eye(pair.fixed.grid.ndim + 1), content)
    return report.filled_percent


SHAPES = pytest.mark.parametrize("shape", [(40, 40), (8, 40, 40), (1, 40, 40)], ids=["2-D", "3-D", "one slice"])


@SHAPES
def test_half_of_a_body_stretched_over_the_whole_is_half_of_it(shape):
    whole, half = block(shape, 30), block(shape, 20)
    assert filled(whole, half, stretched(len(shape))) == pytest.approx(50, abs=1)
    assert filled(whole, half, sitk.Transform(len(shape), sitk.sitkIdentity)) == 0
    assert filled(whole, whole, stretched(len(shape))) == 0


def test_what_was_not_measured_is_not_nothing():
    whole, half = block((40, 40), 30), block((40, 40), 20)
    mask = np.zeros((40, 40), np.uint8)
    mask[:, :20] = 1  # the missing half lies outside
    assert filled(whole, half, stretched(2), Image(mask, half.grid)) == 0


def test_of_a_matrix_it_is_not_measured():
    assert np.isnan(filled(block((40, 40), 30), block((40, 40), 20), stretched(2), result="affine"))
