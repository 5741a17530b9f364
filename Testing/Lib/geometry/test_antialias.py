"""An image sampled more coarsely than it was taken: averaged, where it used to be noise at single points."""

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.geometry.antialias import averaged_for
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.geometry.transform import resample
from DeepRegistrationLib.inputs.pair import Pair, PreparedPair, fixed_on
from Testing.Lib.geometry.geometries import oblique, rotation

NOISE = np.random.default_rng(1)


@pytest.mark.parametrize("shape", [(96, 98), (46, 48, 50)])
def test_noise_is_averaged_on_a_coarser_grid(shape):
    image = Image(NOISE.normal(100, 10, shape).astype(np.float32), Grid.from_shape(shape))
    coarse = resample(image, image.grid.with_spacing(4.0))
    expected = 10 / 4 ** (len(shape) / 2)
    inner = coarse.array[(slice(1, -1),) * len(shape)]
    assert 0.4 * expected < inner.std() < 1.15 * expected  # at single points it was 0.7 of the noise
    assert inner.mean() == pytest.approx(100, abs=0.5)
    assert coarse.array.min() > 90  # nothing of the fill at the far border


def test_what_is_averaged_stays_in_its_place():
    grid = oblique((45, 52, 47), spacing=(0.5, 0.5, 0.5))
    ramp = Image((grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)) @ [1, 2, 3]).astype(np.float32), grid)
    coarse = resample(ramp, grid.with_spacing(2.0))
    place = coarse.grid.to_world(np.moveaxis(np.indices(coarse.grid.shape), 0, -1)) @ [1, 2, 3]
    inner = (slice(1, -1),) * 3
    np.testing.assert_allclose(coarse.array[inner], place[inner], atol=1e-2)


def test_only_axes_that_are_stepped_over_are_averaged():
    image = Image(NOISE.normal(size=(40, 40, 10)).astype(np.float32), Grid.from_shape((40, 40, 10), (1, 1, 4)))
    averaged = averaged_for(image.to_sitk(), image.grid.with_spacing(4.0))
    assert averaged.GetSize() == (10, 10, 10)


def test_a_turned_grid_of_the_same_spacing_averages_nothing():
    image = Image(NOISE.normal(size=(30, 30, 30)).astype(np.float32), Grid.from_shape((30, 30, 30)))
    turned = np.eye(4)
    turned[:3, :3] = rotation((30, 40, 50))
    source = image.to_sitk()
    assert averaged_for(source, Grid((30, 30, 30), turned)) is source


def test_a_transform_that_shrinks_the_image_counts_too():
    image = Image(NOISE.normal(100, 10, (90, 90)).astype(np.float32), Grid.from_shape((90, 90)))
    small = Grid.from_shape((30, 30))
    shrink = sitk.AffineTransform(2)
    shrink.Scale(3.0)
    assert resample(image, small, shrink).array[1:-1, 1:-1].std() < 1.1 * 10 / 3


def test_labels_are_never_averaged():
    labels = Image(NOISE.integers(0, 2, (40, 40)).astype(np.uint8) * 9, Grid.from_shape((40, 40)))
    assert set(np.unique(resample(labels, labels.grid.with_spacing(4.0), mode="nearest").array)) == {0, 9}


def test_both_images_are_averaged_onto_the_working_grid():
    shape = (64, 64, 64)
    images = [Image(NOISE.normal(100, 10, shape).astype(np.float32), Grid.from_shape(shape)) for _ in range(2)]
    pair = Pair.read(*images, None, None)
    grid = images[0].grid.with_spacing(4.0)
    level = PreparedPair.prepare(pair, fixed_on(pair, grid), grid, np.eye(4))
    for tensor in (level.fixed, level.moving):
        assert float(tensor[..., 1:-1, 1:-1, 1:-1].std()) == pytest.approx(10 / 8, rel=0.25)
