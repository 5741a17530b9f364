import numpy as np
import pytest
import SimpleITK as sitk
import torch

from DeepRegistrationLib import fields
from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.halfway import Halfway, _affine_of, half_of, square_root
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.geometry.single_slice import flatten
from DeepRegistrationLib.geometry.transform import Transform, displacement_on, resample
from DeepRegistrationLib.geometry.volume_change import volume_change
from Testing.Lib.fields.test_fields import smooth_field
from Testing.Lib.geometry.geometries import GRIDS, oblique

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


def test_from_halfway_to_the_fixed_image_and_the_whole_way_on_is_the_way_to_the_moving_image(pair):
    _, _, transform, halfway = pair
    grid = halfway.fixed.grid
    assert apart(sitk.CompositeTransform([transform, halfway.to_fixed]), halfway.to_moving, grid) < 0.05


def test_swapped_images_meet_in_the_same_place():
    grid = GRIDS["oblique anisotropic flipped"]
    u = smooth_field(grid.shape)
    image = Image(RNG.random(grid.shape, dtype=np.float32), grid)
    one = Halfway.of(Transform.from_field(u, grid), image, image)
    other = Halfway.of(Transform.from_field(fields.invert(u, tolerance=0.005), grid), image, image)
    assert apart(one.to_moving, other.to_fixed, grid) < 0.05


def far(grid, shift, degrees):
    """A turn about the grid's center, and a shift in mm, LPS."""
    matrix, angle = np.eye(grid.ndim + 1), np.radians(degrees)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:-1, -1] = grid.center - matrix[:-1, :-1] @ grid.center
    matrix[0, -1] += shift
    return matrix


def bending(transform, grid):
    """(*grid.shape, ndim) mm: what a transform does beside its affine part."""
    matrix = _affine_of(transform)
    places = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    whole = places + displacement_on(transform, grid)
    return np.linalg.inv(matrix)[:-1, :-1] @ (whole - places @ matrix[:-1, :-1].T - matrix[:-1, -1])[..., None]


@pytest.mark.parametrize(("shift", "degrees"), [(0, 0), (100, 40), (0, 140), (300, 0)])
@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_both_images_are_bent_alike_however_far_apart_they_lie(grid, shift, degrees):
    transform = Transform.from_field(smooth_field(grid.shape), grid, far(grid, shift, degrees))
    image = Image(RNG.random(grid.shape, dtype=np.float32), grid)
    halfway = Halfway.of(transform, image, image)
    middle = halfway.fixed.grid
    sizes = [np.abs(bending(way, middle)).mean() for way in (halfway.to_fixed, halfway.to_moving)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.1)
    assert sum(sizes) == pytest.approx(np.abs(bending(transform, grid)).mean(), rel=0.1)  # nothing is left out
    assert apart(sitk.CompositeTransform([transform, halfway.to_fixed]), halfway.to_moving, middle) < 0.05


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_swapped_images_look_the_same_halfway(grid):
    away = far(grid, 100, 40)
    away[:-1, :-1] *= 1.2
    other = Grid(grid.shape, away @ grid.matrix)
    field = smooth_field(grid.shape)
    smooth = [fields.smooth(torch.from_numpy(RNG.random((1, 1, *grid.shape))), 2.0)[0, 0] for _ in range(2)]
    fixed, moving = (Image(a.float().numpy(), g) for a, g in zip(smooth, (grid, other), strict=True))
    one = Halfway.of(Transform.from_field(field, grid, away), fixed, moving)
    back = Transform.inverse_of(fields.invert(field, tolerance=0.005), grid, away, other)
    two = Halfway.of(back, moving, fixed)
    middle = one.fixed.grid
    for mine, image, way, same in (
        (one.fixed, fixed, two.to_moving, one.to_fixed),
        (one.moving, moving, two.to_fixed, one.to_moving),
    ):
        assert apart(way, same, middle) < 0.05
        inner = tuple(slice(3, -3) for _ in grid.shape)
        seen = resample(image, middle, way)
        np.testing.assert_allclose(mine.array[inner], seen.array[inner], atol=0.03 * np.ptp(image.array))


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


def test_what_bends_much_is_not_torn():
    """A whirl, which turns its middle by 100 degrees and folds nowhere."""
    grid = Grid.from_shape((64, 60))
    away = torch.from_numpy(np.indices(grid.shape)).float()[None] - 30
    angle = np.radians(100) * (-away.square().sum(1) / (2 * 8.0**2)).exp()
    turned = torch.stack(
        [away[:, 0] * angle.cos() - away[:, 1] * angle.sin(), away[:, 0] * angle.sin() + away[:, 1] * angle.cos()], 1
    )
    transform = Transform.from_field(turned - away, grid, far(grid, 100, 40))
    image = Image(RNG.random(grid.shape, dtype=np.float32), grid)
    halfway = Halfway.of(transform, image, image)
    middle = halfway.fixed.grid
    for way in (halfway.to_fixed, halfway.to_moving):
        assert volume_change(displacement_on(way, middle), middle).min() > 0.2
    on = sitk.CompositeTransform([transform, halfway.to_fixed])
    assert np.abs(displacement_on(on, middle) - displacement_on(halfway.to_moving, middle)).max() < 0.1


@pytest.mark.parametrize("shift", [0.0, 60.0])
def test_single_slices_meet_between_their_planes(shift):
    fixed_grid = oblique((1, 40, 33), (5.0, 1.5, 0.7))
    flat = Grid.from_shape((40, 33))
    image = Image(RNG.random(fixed_grid.shape, dtype=np.float32), fixed_grid)
    away = np.eye(4)
    away[:3, 3] = 20 * fixed_grid.directions[:, 0] + shift * fixed_grid.directions[:, 2]
    moving = Image(image.array, Grid(fixed_grid.shape, away @ fixed_grid.matrix))
    *_, plane = flatten(image, moving)
    transform = Transform.from_field(plane.lift_field(smooth_field(flat.shape)), fixed_grid, away)
    halfway = Halfway.of(transform, image, moving)
    middle = halfway.fixed.grid
    assert middle.shape == fixed_grid.shape
    np.testing.assert_allclose(middle.center, fixed_grid.center + away[:3, 3] / 2, atol=1e-6)
    sizes = [np.abs(bending(way, middle)).mean() for way in (halfway.to_fixed, halfway.to_moving)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.1)
    assert apart(sitk.CompositeTransform([transform, halfway.to_fixed]), halfway.to_moving, middle) < 0.05
    for half in (halfway.fixed, halfway.moving):
        assert (half.array != 0).mean() > 0.9


def test_a_field_that_folds_has_no_half():
    grid = Grid.from_shape((12, 14, 16))
    u = torch.zeros(1, grid.ndim, *grid.shape)
    u[:, 0] = -2 * (fields.identity(grid.shape)[:, 0] - grid.shape[0] / 2)
    with pytest.raises(InputError, match="no half"):
        half_of(Transform.from_field(u, grid))
