"""A matrix that was not looked for may put the images where nothing sees that they belong elsewhere."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from DeepRegistrationLib import register
from DeepRegistrationLib.affine.content import contents_of, find_content
from DeepRegistrationLib.affine.elsewhere import FAR, how_far_elsewhere
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.geometry.transform import affine_to_sitk

from ..openings import seen_by_a_camera
from ..refinement.test_engine import texture


@pytest.mark.parametrize("ndim", [2, 3])
def test_how_far_a_shift_is_from_right_is_told_and_a_near_one_is_not(ndim):
    shape = (64,) * ndim
    fixed = Image(texture(shape, 1)[0, 0].numpy(), Grid.from_shape(shape))
    size = find_content(fixed).size
    for share in (0.0, 0.06, 0.3, 0.45):
        matrix = np.eye(ndim + 1)
        matrix[0, -1] = share * size
        found = how_far_elsewhere(contents_of(fixed, fixed), matrix)
        assert found == pytest.approx(share * size if share > FAR else 0.0, rel=0.1)


@pytest.mark.parametrize("seed", [0, 1, 11])
def test_detail_that_is_alike_by_chance_far_away_does_not_accuse_a_right_place(seed):
    """Bright and dark of one image are bright in the other: detail correlates best where half of it is outside."""
    tissue = gaussian_filter(np.random.default_rng(seed).normal(size=(96, 96)), 6)
    tissue = (tissue - tissue.min()) / np.ptp(tissue)
    body = np.hypot(*(np.mgrid[:96, :96] / 96 - 0.5)) < 0.45
    contrasts = (np.where(body, 0.2 + 0.8 * x, 0).astype(np.float32) for x in (tissue, np.abs(2 * tissue - 1)))
    fixed, moving = (Image(x, Grid.from_shape(x.shape)) for x in contrasts)
    assert how_far_elsewhere(contents_of(fixed, moving), np.eye(3)) == 0


def test_an_eye_that_moved_behind_its_opening_is_to_be_checked_without_the_affine_stage():
    fixed, moving, true = seen_by_a_camera(shift=-0.3, noise=0.01)
    result = register(fixed, moving, affine="none", device="cpu")
    verdict, reasons = result.report.judge()
    assert result.report.elsewhere_mm == pytest.approx(np.linalg.norm(true[:-1, -1]), rel=0.1)
    assert verdict != "good"
    assert any("fit better" in reason for reason in reasons)
    right = register(fixed, moving, initial_transform=affine_to_sitk(true), device="cpu").report
    assert right.elsewhere_mm == 0


def test_images_with_nothing_to_see_say_nothing():
    flat = Image(np.zeros((24, 24), np.float32), Grid.from_shape((24, 24)))
    assert how_far_elsewhere(contents_of(flat, flat), np.eye(3)) == 0
