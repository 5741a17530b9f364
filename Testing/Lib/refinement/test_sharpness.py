"""What was interpolated between thick slices is told by how smooth it is, whatever its voxels are now."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from DeepRegistrationLib.refinement.engine import refine
from DeepRegistrationLib.refinement.sharpness import as_soft_as_each_other, softening
from DeepRegistrationLib.settings import Settings

from .test_engine import texture

SHAPE = (48, 40, 44)


def interpolated(image, axis, thick=4):
    """The volume from slices of ``thick`` voxels, on its own voxels again."""
    window = [1, 1, 1]
    window[axis] = thick
    return F.interpolate(F.avg_pool3d(image, window), size=image.shape[2:], mode="trilinear", align_corners=False)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_the_axis_of_the_slices_is_found_and_the_other_image_is_to_be_blurred_along_it(axis, noise):
    image, other = texture(SHAPE, 0, 0.6), texture(SHAPE, 1, 0.6)
    noisy = image + noise * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    slices = interpolated(other, axis)
    of_image, of_slices = softening(noisy, slices)
    assert [s > 0 for s in of_image] == [a == axis for a in range(3)]
    assert 1 <= of_image[axis] <= 2.5
    assert of_slices == (0.0, 0.0, 0.0)
    assert softening(slices, noisy) == (of_slices, of_image)


def test_images_as_they_were_taken_and_such_that_are_soft_all_over_are_left_alone():
    image, other = texture(SHAPE, 0, 0.6), texture(SHAPE, 1, 0.6)
    flat = torch.full(image.shape, 0.5)
    for one in (image, 1 - image, image.square(), F.avg_pool3d(other, 5, 1, 2), flat):
        assert not any(map(any, softening(one, other)))
        assert as_soft_as_each_other(one, other) == (one, other)  # the very same tensors
    plane = texture((64, 64), 0)
    assert softening(plane, F.avg_pool2d(plane, (9, 1), 1, (4, 0))) == ((0.0, 0.0), (0.0, 0.0))


@pytest.mark.parametrize("shape", [(2, 40, 44), (1, 40, 44), (3, 3, 3)])
def test_volumes_of_hardly_a_slice_are_looked_at_without_complaint(shape):
    image, other = (torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    softening(image, other)


@pytest.mark.parametrize("turned", [False, True])
def test_slices_that_were_interpolated_stay_where_they_are(turned):
    image = texture(SHAPE, 0, 0.6)
    pair = (image, interpolated(image, 1)) if not turned else (interpolated(image, 1), image)
    found = refine(*pair, Settings(similarity="lncc")).field.norm(dim=1).mean()
    assert found < 0.3  # of a slice of four; 0.42 and 0.44 as sharp as they are


def test_what_is_known_is_not_taken_back():
    image = texture(SHAPE, 0, 0.6)
    soft, same = as_soft_as_each_other(image, image, lacking=(0.0, 2.0, 0.0))
    assert same is image
    steps = [float(x.diff(dim=3).square().mean()) for x in (soft, image)]
    assert steps[0] < 0.8 * steps[1]
    assert np.isclose(float(soft.min()), 0, atol=0.05)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_where_a_soft_image_ends_nothing_is_sharp(axis):
    """It shows less than the other one: zeros, straight or aslant."""
    image, other = texture(SHAPE, 0), texture(SHAPE, 1)
    lost = other.clone()
    lost.narrow(axis + 2, 0, 15).zero_()
    assert not any(map(any, softening(image, lost)))
    z, y, x = torch.meshgrid(*map(torch.arange, SHAPE), indexing="ij")
    there = (z + y + 3 * (z, y, x)[axis] > 80).float()[None, None]
    for pair in ((image, other * there), (other * there, image)):
        assert not any(map(any, softening(*pair)))
        assert as_soft_as_each_other(*pair) == pair


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_two_axes_that_lack_as_much_are_no_slices(axis):
    """As what ultrasound sees beside its beam."""
    image, other = texture(SHAPE, 0, 0.6), texture(SHAPE, 1, 0.6)
    width = [5, 5, 5]
    width[axis] = 1
    wide = F.avg_pool3d(other, width, 1, [w // 2 for w in width])
    assert not any(map(any, softening(image, wide)))


def test_along_an_axis_along_which_nothing_changes_there_is_nothing_to_tell():
    image, other = texture(SHAPE, 0, 1.5), texture(SHAPE, 1, 1.5)
    layers = other[:, :, :, :1, :1].expand_as(other).contiguous()
    assert not any(map(any, softening(layers, layers + 0.01 * image)))
