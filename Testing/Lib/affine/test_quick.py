"""What small images are compared with says what the other measure says, and how it changes with the matrix."""

import numpy as np
import pytest
import torch

from DeepRegistrationLib.affine.content import find_content
from DeepRegistrationLib.affine.measure import JointMeasure
from DeepRegistrationLib.affine.quick import SMALL, QuickMeasure, measure_of
from DeepRegistrationLib.geometry.image import Grid, Image


def blobs(shape, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, 1, *[max(1, n // 4) for n in shape], generator=generator)
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    array = torch.nn.functional.interpolate(x, size=shape, mode=mode)[0, 0].numpy()
    return Image(array, Grid.from_shape(shape))


def measures(shape, bins=20):
    contents = find_content(blobs(shape, 0)), find_content(blobs(shape, 1))
    quick = measure_of(*contents, 15.0, 1.5, 3000, bins)
    assert isinstance(quick, QuickMeasure)
    return quick, JointMeasure(quick.fixed, quick.moving, bins)


def matrices(ndim):
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn(6, ndim, ndim + 1, generator=generator) * 0.1
    noise[0], noise[1, :, -1] = 0.0, 1.5  # as they lie, and half outside
    return torch.eye(ndim, ndim + 1) + noise


SHAPES = pytest.mark.parametrize("shape", [(40, 34), (24, 30, 27), (1, 30, 40), (30, 1, 40), (30, 40, 1)], ids=str)


@SHAPES
def test_it_says_what_the_other_measure_says(shape):
    quick, other = measures(shape)
    x = matrices(len(shape))
    found, wanted = quick.evaluate(x), other.evaluate(x)
    torch.testing.assert_close(found.loss, wanted.loss, rtol=1e-3, atol=1e-4)
    for a, b in ((found.gradient, wanted.gradient), (found.curvature, wanted.curvature)):
        assert float((a - b).abs().max()) < 2e-3 * float(b.abs().max())
    rough, wanted = quick.rough_losses(x), other.rough_losses(x)
    torch.testing.assert_close(rough, wanted, rtol=1e-3, atol=1e-3)


def test_nothing_is_alike_where_a_matrix_leads_nowhere():
    quick, _ = measures((24, 30, 27))
    singular, away = torch.zeros(1, 3, 4), torch.eye(3, 4)[None].clone()
    away[..., -1] = 100.0
    found = quick.evaluate(torch.cat([singular, away]))
    assert found.loss.isfinite().all()
    assert float(found.loss[1]) == pytest.approx(0.0, abs=1e-6)
    assert found.gradient[1].abs().max() == 0
    assert quick.rough_losses(singular).isfinite().all()


def test_large_images_are_compared_as_before():
    shape = (8, 250, 260)
    assert np.prod(shape) > SMALL
    content = find_content(blobs(shape, 0))
    assert content.voxels == np.prod(shape)
    assert type(measure_of(content, content, 100.0, 10.0, 500, 16)) is JointMeasure
