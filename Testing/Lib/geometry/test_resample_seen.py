import numpy as np
import pytest
import torch

from DeepRegistrationLib.geometry.image import Image
from DeepRegistrationLib.geometry.transform import Transform, resample, resample_seen

from .geometries import oblique


@pytest.mark.parametrize("bends", [True, False])
def test_image_and_view_are_those_of_two_resamplings(bends):
    grid, own = oblique((14, 17, 19), (2.0, 1.5, 1.25)), oblique((12, 15, 16), (2.1, 1.6, 1.3))
    image = Image(np.random.default_rng(0).integers(10, 900, own.shape).astype(np.int16), own)
    u = 3 * torch.randn(1, 3, *grid.shape, generator=torch.Generator().manual_seed(0))
    transform = Transform.from_field(u, grid) if bends else None
    moved, seen = resample_seen(image, grid, transform)
    ones = Image(np.ones(own.shape, np.uint8), own)
    assert np.array_equal(seen, resample(ones, grid, transform, mode="nearest").array > 0)
    assert 0.1 < seen.mean() < 0.95
    assert np.array_equal(moved.array, resample(image, grid, transform, dtype=np.float32).array)
