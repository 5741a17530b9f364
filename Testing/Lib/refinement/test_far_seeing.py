"""The far-seeing stage on generated pairs whose motion is far beyond what the refinement sees."""

import pytest
import torch

from DeepRegistrationLib.fields import compose, smooth, warp
from DeepRegistrationLib.refinement.far_seeing import far_fields


def texture(shape, seed=0):
    noise = torch.randn((1, 1, *shape), generator=torch.Generator().manual_seed(seed))
    image = smooth(noise, 1.5) + 3 * smooth(noise.flip(2), 4.0)
    return (image - image.min()) / (image.max() - image.min())


def motion(shape, largest, seed=1):
    """Smooth, and nothing at the border."""
    u = smooth(torch.randn((1, len(shape), *shape), generator=torch.Generator().manual_seed(seed)), 7.0)
    for axis, n in enumerate(shape):
        index = torch.arange(n, dtype=torch.float32)
        ramp = (torch.minimum(index, n - 1 - index) / (0.25 * n)).clamp(0, 1)
        u = u * ramp.view([-1 if a == axis else 1 for a in range(len(shape))])
    return u * (largest / float(u.square().sum(1).sqrt().max()))


def inner_error(found, truth):
    middle = tuple(slice(n // 6, n - n // 6) for n in truth.shape[2:])
    return float((found - truth).square().sum(1).sqrt()[(slice(None), *middle)].mean())


@pytest.mark.parametrize("shape", [(26, 28, 26)])
def test_motion_of_a_fifth_of_the_image_is_seen_in_inverted_contrast(shape):
    moving, u = texture(shape), motion(shape, 0.2 * sum(shape) / len(shape))
    fixed = 1 - warp(moving, u)
    there, back = far_fields(fixed, moving, [1.0] * len(shape))
    assert inner_error(there, u) < 0.5 * inner_error(torch.zeros_like(u), u)
    left = compose(there, back).square().sum(1).sqrt().mean()
    assert float(left) < 0.5


def test_thick_slices_are_searched_as_far_in_mm():
    shape, spacing = (12, 44, 44), (4.0, 1.0, 1.0)
    moving = texture((48, 44, 44))
    u = torch.zeros(1, 3, *shape)
    u[:, 0] = 2.0  # slices: 8 mm
    slices = torch.nn.functional.avg_pool3d(moving, (4, 1, 1))
    there, _ = far_fields(warp(slices, u), slices, spacing)
    assert float((there - u)[:, 0, 3:-5, 10:-10, 10:-10].abs().mean()) < 1.0


def test_the_identity_stays_and_an_empty_image_moves_nothing():
    image = texture((18, 20, 16))
    there, back = far_fields(image, image, (1.0, 1.0, 1.0))
    assert float(there.abs().max()) < 1e-3
    assert float(back.abs().max()) < 1e-3
    nothing = torch.zeros_like(image)
    there, _ = far_fields(nothing, nothing, (1.0, 1.0, 1.0))
    assert float(there.abs().max()) < 1e-3


def test_what_is_unknown_is_not_sought():
    shape = (64, 72)
    moving, mask = texture(shape), torch.ones(1, 1, *shape)
    mask[..., 40:] = 0
    spoiled = moving * mask  # as an image that ends there looks
    there, _ = far_fields(moving, spoiled, (1.0, 1.0), None, mask)
    assert float(there[..., :32].abs().mean()) < 0.5
