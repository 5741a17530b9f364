"""What the engine does on the coarse levels, and at full resolution by the size of the image."""

import math

import numpy as np
import pytest

from DeepRegistrationLib import register
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.geometry.transform import displacement_on
from DeepRegistrationLib.refinement.schedule import MIDDLE, SINCE, SINCE_FINE, SMALL, STIFF_FIRST, plan
from DeepRegistrationLib.settings import Settings


def last_level(shape, refine="fast", similarity="lncc"):
    return plan(shape, [1.0] * len(shape), Settings(refine=refine), similarity)[-1]


def test_a_small_image_gets_many_steps_and_a_large_one_a_few_long_ones():
    small, large = last_level((64, 64, 64)), last_level((160, 192, 224))
    assert (small.iterations, small.step) == (40, 1.0)
    assert (large.iterations, large.step) == (4, 2.0)


@pytest.mark.parametrize(("refine", "share"), [("accurate", 1.0), ("fast", 0.5)])
def test_between_them_steps_become_fewer_as_voxels_become_more(refine, share):
    for shape in ((80, 80, 80), (96, 96, 96), (64, 128, 128), (112, 112, 112)):
        level = last_level(shape, refine)
        assert SMALL <= math.prod(shape) < MIDDLE
        assert level.step == 1.0
        assert level.iterations * math.prod(shape) == pytest.approx(60 * SMALL * share, rel=0.05)
    assert last_level((64, 128, 128)).iterations > last_level((128, 128, 128)).iterations


def test_only_what_compares_one_contrast_was_seen_to_gain():
    assert last_level((64, 128, 128), similarity="translated").step == 2.0


@pytest.mark.parametrize("similarity", ["lncc", "translated", "information", "mind"])
@pytest.mark.parametrize("shape", [(48, 56, 48), (64, 64, 64), (27, 183, 152), (64, 128, 128), (24, 256, 256)])
def test_what_has_moved_since_is_looked_for_in_bounded_work(shape, similarity):
    """Of the steps at full resolution there are as many as before while the image is small."""
    levels = plan(shape, (1.0,) * 3, Settings(from_here=True), similarity)
    last, voxels = levels[-1], math.prod(shape)
    if max(last.factors) == 1:
        assert last.iterations * voxels <= SINCE_FINE
        assert last.iterations == SINCE[1] if voxels <= SINCE_FINE / SINCE[1] else last.iterations >= 3
    else:
        assert max(last.factors) == 2
        assert similarity == "mind" or 3 * voxels > SINCE_FINE


def test_coarse_levels_begin_stiff_within_a_contrast_unless_a_result_is_there():
    for from_here, similarity, stiff in (
        (False, "lncc", True),
        (True, "lncc", False),
        (False, "translated", False),
        (False, "information", False),
    ):
        for ndim in (2, 3):
            levels = plan((64,) * ndim, (1.0,) * ndim, Settings(from_here=from_here), similarity)
            times = STIFF_FIRST[ndim] if stiff else (1.0,)
            assert [level.force_times for level in levels] == [times] * (len(levels) - 1) + [(1.0,)]


@pytest.mark.parametrize("ndim", [2, 3])
def test_coarse_levels_grow_soft_to_the_end(ndim):
    assert list(STIFF_FIRST[ndim]) == sorted(STIFF_FIRST[ndim], reverse=True)
    assert STIFF_FIRST[ndim][-1] == 1


def fingers(aside, shape=(64, 64)):
    """A hand, of which each finger looks like its neighbors."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    picture = 1 / (1 + np.exp(8 * (np.hypot((x - 32 - aside) / 20, (y - 54) / 10) - 1)))
    for number, length in enumerate((14, 22, 26, 23, 12)):
        away = np.hypot(x - 14 - 9 * number - aside, np.maximum(0, np.maximum(44 - length - y, y - 48)))
        picture += 1 / (1 + np.exp(2 * (away - 2.5))) - 0.4 / (1 + np.exp(2 * (away - 1.2)))  # skin and bone
    noise = np.random.default_rng(int(aside)).normal(0, 1, shape)
    return Image((100 * picture.clip(0, 1.2) + noise).astype(np.float32), Grid.from_shape(shape))


def test_fingers_do_not_slip_onto_their_neighbors():
    """All are 7 pixels aside, and 9 from each other: 3.7 are found where the first steps are as soft as the last."""
    fixed, moving = fingers(0), fingers(7)
    transform = register(fixed, moving, affine="none", device="cpu").transform
    along = displacement_on(transform, fixed.grid)[fixed.array > 50, 0]
    assert along.mean() == pytest.approx(7, abs=1.0)
