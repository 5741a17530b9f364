"""What the engine does at full resolution, by the size of the image."""

import math

import pytest

from DeepRegistrationLib.refinement.schedule import MIDDLE, SMALL, plan
from DeepRegistrationLib.settings import Settings


def last_level(shape, refine="fast", similarity="lncc"):
    return plan(shape, [1.0] * len(shape), Settings(refine=refine), similarity)[-1]


def test_a_small_image_gets_many_steps_and_a_large_one_a_few_long_ones():
    small, large = last_level((64, 64, 64)), last_level((160, 192, 224))
    assert (small.iterations, small.step) == (60, 1.0)
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
