import numpy as np
import pytest
import SimpleITK as sitk
import torch

from DeepRegistrationLib import fields
from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.halfway import Halfway, half_of, square_root
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.geometry.transform import Transform, displacement_on
from Testing.Lib.fields.test_fields import smooth_field
from Testing.Lib.geometry.geometries import GRIDS

RNG = np.random.default_rng(2)


def turned(ndim):
    """A third of a radian, a tenth larger, sheared and shifted, LPS mm."""
    matrix = np.eye(ndim + 1)
    matrix[:2, :2] = 1.1 * np.array([[np.cos(0.33), -np.sin(0.33)], [np.sin(0.33), np.cos(0.33)]])
    matrix[0, 1] += 0.05
    matrix[:ndim, ndim] = 5.0
    return matrix


@pytest.fixture(params=GRIDS.values(), ids=GRIDS)
def pair(request):
    grid = request.param
    u = smooth_field(grid.shape)
    transform = Transform.from_field(u, grid, turned(grid.ndim))
    fixed, moving = (Image(RNG.random(grid.shape, dtype=np.float32), grid) for _ in range(2))
    return grid, u, transform, Halfway.of(transform, fixed, moving)


def apart(a, b, grid):
    """Voxels, on average, over the grid without its rim, where fields fade."""
    inner = (slice(None), slice(None), *(slice(2, -2) if n > 8 else slice(None) for n in grid.shape))
    difference = lps_voxels(a, grid) - lps_voxels(b, grid)
    return float(difference[inner].square().sum(1).sqrt().mean())


def lps_voxels(transform, grid):
    step = torch.as_tensor(displacement_on(transform, grid)).movedim(-1, 0)[None]
    return step / float(min(grid.spacing))


def test_twice_the_half_is_the_whole(pair):
    grid, _, transform, halfway = pair
    twice = sitk.CompositeTransform([halfway.to_moving, halfway.to_moving])
    assert apart(twice, transform, grid) < 0.05


def test_both_ways_from_halfway_are_inverse_to_each_other(pair):
    grid, _, _, halfway = pair
    there_and_back = sitk.CompositeTransform([halfway.to_fixed, halfway.to_moving])
    assert apart(there_and_back, sitk.Transform(grid.ndim, sitk.sitkIdentity), grid) < 0.05


def test_swapped_images_meet_in_the_same_place():
    grid = GRIDS["oblique anisotropic flipped"]
    u = smooth_field(grid.shape)
    image = Image(RNG.random(grid.shape, dtype=np.float32), grid)
    one = Halfway.of(Transform.from_field(u, grid), image, image)
    other = Halfway.of(Transform.from_field(fields.invert(u, tolerance=0.005), grid), image, image)
    assert apart(one.to_moving, other.to_fixed, grid) < 0.05


def test_half_of_a_turn_is_half_its_angle():
    half = square_root(turned(3))
    np.testing.assert_allclose(half @ half, turned(3), atol=1e-9)
    whole = np.eye(4)
    whole[:2, :2] = [[np.cos(1), -np.sin(1)], [np.sin(1), np.cos(1)]]
    assert np.arctan2(*square_root(whole)[[1, 0], 0]) == pytest.approx(0.5)


@pytest.mark.parametrize("diagonal", [[-1, 1, 1, 1], [-1, -1, 1, 1]], ids=["mirror", "half a turn"])
def test_what_has_no_half_is_said(diagonal):
    with pytest.raises(InputError, match="no half"):
        square_root(np.diag(np.array(diagonal, float)))


@pytest.mark.parametrize("degrees", [150.0, 165.0, 179.9])
def test_near_half_a_turn_it_is_not_left_to_chance(degrees):
    angle = np.radians(degrees)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    if degrees < 160:
        np.testing.assert_allclose(square_root(matrix) @ square_root(matrix), matrix, atol=1e-9)
        return
    with pytest.raises(InputError, match="more than 160 degrees"):
        square_root(matrix)


def test_nothing_is_cut_off_where_the_images_lie_far_apart():
    grid = Grid.from_shape((20, 22, 24))
    away = np.eye(4)
    away[:3, 3] = 300.0, -40.0, 12.0
    array = np.pad(RNG.random((12, 14, 16), dtype=np.float32) + 1, 4)
    fixed, moving = Image(array, grid), Image(array, Grid(grid.shape, away @ grid.matrix))
    halfway = Halfway.of(Transform.linear(away, grid), fixed, moving)
    for image in (halfway.fixed, halfway.moving):
        np.testing.assert_allclose(image.array, array, atol=1e-3)
    np.testing.assert_allclose(halfway.fixed.grid.center, grid.center + away[:3, 3] / 2, atol=1e-6)


def test_a_field_that_folds_has_no_half():
    grid = next(grid for grid in GRIDS.values() if min(grid.shape) > 8)
    u = torch.zeros(1, grid.ndim, *grid.shape)
    u[:, 0] = -2 * (fields.identity(grid.shape)[:, 0] - grid.shape[0] / 2)
    with pytest.raises(InputError, match="no half"):
        half_of(Transform.from_field(u, grid))
