"""Openings that did not move with the anatomy are left out; edges of the anatomy stay in."""

from __future__ import annotations

import numpy as np
import pytest

from DeepRegistrationLib import register
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.geometry.transform import affine_to_sitk, map_points, resample
from DeepRegistrationLib.inputs.field_of_view import without_openings
from DeepRegistrationLib.inputs.pair import Pair

from ..openings import seen_by_a_camera


def _pair(fixed: Image, moving: Image, fixed_mask: Image | None = None) -> Pair:
    return Pair.read(fixed, moving, fixed_mask, None)


@pytest.mark.parametrize("noise", [0.0, 0.003])
def test_behind_an_opening_only_what_was_seen_counts(noise):
    fixed, moving, true = seen_by_a_camera(noise=noise)
    opening = seen_by_a_camera()[0].array > 0
    seen = without_openings(_pair(fixed, moving), true)
    assert (seen.fixed_mask != opening).mean() < 0.01
    assert (seen.moving_mask != opening).mean() < 0.01


@pytest.mark.parametrize("noise", [0.02, 0.04])
@pytest.mark.parametrize("ndim", [2, 3])
def test_so_it_does_where_the_sensor_adds_noise_to_the_dark_around(ndim, noise):
    """An eye came to 0.50 of its vessels, "bad", with 2 % of noise around it, and to 0.75 without."""
    side = 160 if ndim == 2 else 48
    fixed, moving, true = seen_by_a_camera(ndim, side, noise=noise)
    opening = seen_by_a_camera(ndim, side)[0].array > 0
    seen = without_openings(_pair(fixed, moving), true)
    assert (seen.fixed_mask != opening).mean() < 0.02
    assert (seen.moving_mask != opening).mean() < 0.02


def test_an_opening_is_one_also_where_the_image_was_resampled_beforehand():
    fixed, moving, true = seen_by_a_camera()
    moved = resample(moving, fixed.grid, affine_to_sitk(true), dtype=np.float32)
    seen = without_openings(_pair(fixed, moved), np.eye(3))
    assert (seen.moving_mask != (moved.array > 0)).mean() < 0.01
    # Where a third is missing of what is no opening, an edge is an edge.
    body = np.where(np.arange(160)[:, None] + np.zeros(160) < 110, fixed.array, 0)
    body[70:90, :80] = 0
    pair = _pair(fixed, Image(body.astype(np.float32), fixed.grid))
    assert without_openings(pair, np.eye(3)) is pair


def test_the_users_mask_still_counts():
    fixed, moving, true = seen_by_a_camera()
    mine = np.zeros(fixed.grid.shape, np.uint8)
    mine[:, :60] = 1
    seen = without_openings(_pair(fixed, moving, Image(mine, fixed.grid)), true)
    np.testing.assert_array_equal(seen.fixed_mask, (fixed.array > 0) & (mine > 0))


def test_an_opening_behind_which_nothing_moved_and_anatomy_that_moved_are_left_as_they_are():
    fixed, still, _ = seen_by_a_camera(shift=0.0)
    pair = _pair(fixed, still)
    assert without_openings(pair, np.eye(3)) is pair
    # A stripped brain moves with its edge.
    grid = fixed.grid.cropped(np.array([0, 0]), np.array([160, 140]))
    elsewhere = fixed.grid.cropped(np.array([0, 20]), np.array([160, 160]))
    true = np.eye(3)
    true[0, 2] = 20.0
    pair = _pair(Image(fixed.array[:, 20:], grid), Image(fixed.array[:, :140], grid))
    assert elsewhere.shape == grid.shape
    assert without_openings(pair, true) is pair


def test_images_that_fill_their_picture_have_no_opening():
    random = np.random.default_rng(0)
    grid = Grid.from_shape((40, 40), 1.0)
    pair = _pair(*(Image(random.normal(size=(40, 40)).astype(np.float32), grid) for _ in range(2)))
    shifted = np.eye(3)
    shifted[0, 2] = 9
    assert without_openings(pair, shifted) is pair


@pytest.mark.parametrize(("ndim", "side", "noise"), [(2, 160, 0.0), (2, 160, 0.01), (3, 48, 0.0)])
def test_what_a_camera_saw_is_registered_and_its_verdict_is_good(ndim, side, noise):
    fixed, moving, true = seen_by_a_camera(ndim, side, noise=noise)
    result = register(fixed, moving, device="cpu")
    points = np.random.default_rng(1).uniform(0.3 * side, 0.7 * side, (100, ndim))
    wanted = points @ true[:ndim, :ndim].T + true[:ndim, ndim]
    assert np.linalg.norm(map_points(result.transform, points) - wanted, axis=1).mean() < 0.5
    assert result.report.judge()[0] == "good"


@pytest.mark.parametrize(("shift", "degrees"), [(0.12, 0.0), (0.08, 8.0)])
def test_so_is_what_a_sector_shows(shift, degrees):
    """As of ultrasound, 76 degrees wide."""
    *images, true = seen_by_a_camera(shift=shift, degrees=degrees, round_view=False)
    rows, columns = np.indices(images[0].grid.shape)
    x, y = columns - 79.5, rows + 10.0
    depth = np.hypot(x, y)
    sector = (depth > 30) & (depth < 165) & (np.abs(np.arctan2(x, y)) < np.radians(38))
    fixed, moving = (Image(np.where(sector, each.array, 0).astype(np.float32), each.grid) for each in images)
    result = register(fixed, moving, device="cpu")
    points = np.random.default_rng(1).uniform(50, 110, (100, 2))
    wanted = points @ true[:2, :2].T + true[:2, 2]
    assert np.linalg.norm(map_points(result.transform, points) - wanted, axis=1).mean() < 0.5
    assert result.report.judge()[0] == "good"


def test_where_light_is_most_of_what_is_shared_the_detail_is_compared():
    fixed, moving, true = seen_by_a_camera(shift=0.1, round_view=False, depth=0.04)
    result = register(fixed, moving, result="rigid", device="cpu")
    points = np.random.default_rng(1).uniform(40, 110, (100, 2))
    wanted = points @ true[:2, :2].T + true[:2, 2]
    assert np.linalg.norm(map_points(result.transform, points) - wanted, axis=1).mean() < 0.5
    report = result.report
    assert report.similarity == "normalized mutual information of the detail"
    assert report.similarity_after > 1.5 * report.similarity_before
    assert report.judge()[0] == "good"
