"""Beside a moving image of thick slices the fixed one is seen as unsharp: what only it shows must not pull."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from DeepRegistrationLib import register
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.geometry.transform import displacement_on
from DeepRegistrationLib.inputs.pair import Pair, PreparedPair, fixed_on
from DeepRegistrationLib.inputs.resolution import COARSER, lacking
from DeepRegistrationLib.refinement.engine import refine
from DeepRegistrationLib.settings import Settings

from ..geometry.geometries import oblique
from ..refinement.test_engine import texture


def spaced(*spacing):
    return Grid.from_shape((16,) * len(spacing), spacing)


def slices(array, axis, thick):
    """An image in which ``thick`` voxels of ``array`` along an axis are one."""
    parts = np.moveaxis(array, axis, 0)
    mean = np.moveaxis(parts.reshape(-1, thick, *parts.shape[1:]).mean(1), 0, axis)
    return Image(np.ascontiguousarray(mean), Grid.from_shape(array.shape).resized(mean.shape))


@pytest.mark.parametrize("spacing", [(1, 1), (2, 2, 2), (3, 1, 1)])
def test_images_of_one_grid_and_finer_ones_lack_nothing(spacing):
    grid = spaced(*map(float, spacing))
    for times in (1.0, 0.5, 0.99 * COARSER):
        assert lacking(grid, spaced(*(times * s for s in spacing)), np.eye(grid.ndim + 1)) == (0.0,) * grid.ndim


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_thick_slices_lack_what_they_averaged_over(axis):
    spacing = [2.0, 2.0, 2.0]
    spacing[axis] = 8.0
    found = lacking(spaced(2.0, 2.0, 2.0), spaced(*spacing), np.eye(4))
    expected = np.zeros(3)
    expected[axis] = np.sqrt((4**2 - 1) / 6)
    assert found == pytest.approx(expected)
    assert not any(lacking(spaced(*spacing), spaced(2.0, 2.0, 2.0), np.eye(4)))


def test_the_axis_is_that_of_the_fixed_image_however_both_lie():
    """The moving image's third array axis, turned onto the fixed image's second, and twice as large there."""
    quarter = np.eye(4)
    quarter[:3, :3] = 2 * Rotation.from_euler("x", 90, degrees=True).as_matrix()
    moving = spaced(8.0, 2.0, 2.0)  # array axis 0 is z
    found = lacking(spaced(1.0, 1.0, 1.0), moving, quarter)
    assert found == pytest.approx((0.0, np.sqrt((4**2 - 1) / 6), 0.0), abs=1e-6)


def test_slices_across_both_axes_blur_both_as_much_as_one():
    fixed = spaced(1.0, 1.0)
    turned = Grid(fixed.shape, np.array(Rotation.from_euler("z", 45, degrees=True).as_matrix()) @ np.diag([1.0, 6, 1]))
    found = lacking(fixed, turned, np.eye(3))
    assert found[0] == pytest.approx(found[1])
    assert np.square(found).sum() == pytest.approx((6**2 + 1 - 2) / 6)


def test_the_pair_says_what_is_lacking():
    grid = oblique((24, 24, 24))
    array = texture(grid.shape)[0, 0].numpy()
    fixed, thick = Image(array, grid), Image(array[::3].copy(), grid.resized((8, 24, 24)))
    pair = Pair.read(fixed, thick, None, None)
    prepared = PreparedPair.prepare(pair, fixed_on(pair, grid), grid, np.eye(4))
    assert prepared.lacking == pytest.approx((np.sqrt((3**2 - 1) / 6), 0.0, 0.0))
    assert torch.equal(prepared.fixed[0, 0], torch.from_numpy(array))  # the network and the report see it as it is


@pytest.mark.parametrize(("shape", "seed"), [((64, 64), 0), ((64, 64), 1), ((48, 40, 44), 0)])
def test_what_did_not_move_moves_half_as_far(shape, seed):
    fixed = texture(shape, seed)
    thick = slices(fixed[0, 0].numpy(), 0, 4)
    lncc = Settings(similarity="lncc")
    pair = Pair.read(Image(fixed[0, 0].numpy(), Grid.from_shape(shape)), thick, None, None)
    moving = PreparedPair.prepare(pair, fixed_on(pair, pair.fixed.grid), pair.fixed.grid, np.eye(len(shape) + 1)).moving
    blur = lacking(pair.fixed.grid, thick.grid, np.eye(len(shape) + 1))
    sharp, soft = (refine(fixed, moving, lncc, lacking=x).field.norm(dim=1).mean() for x in ((), blur))
    assert soft < 0.65 * sharp


def test_slices_of_a_volume_stay_where_they_are_in_it():
    array = texture((48, 40, 44))[0, 0].numpy()
    result = register(Image(array, Grid.from_shape(array.shape)), slices(array, 0, 4), affine="none", device="cpu")
    away = np.linalg.norm(displacement_on(result.transform, result.fixed.grid), axis=-1)
    assert away.mean() < 0.35  # of a slice of four; 0.5 as sharp as it is
