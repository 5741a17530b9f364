"""How far two images agree, whatever their contrasts, and whether one contrast is a steady curve of the other."""

import pytest
import torch

from DeepRegistrationLib.fields import warp
from DeepRegistrationLib.refinement.agreement import agreement, agreement_across, turning
from DeepRegistrationLib.refinement.guard import AGREED, ALIKE, TURNING
from Testing.Lib.refinement.test_far_seeing import motion, texture
from Testing.Lib.refinement.test_hypotheses import ball, remapped

SHAPE = (30, 32, 30)
RISES = ((0.0, 0.3, 1.0), (0.1, 0.7, 1.0))
TURNS = ((0.0, 0.35, 0.7, 1.0), (0.15, 0.8, 0.3, 1.0))


def test_one_contrast_agrees_as_it_is_another_once_one_is_made_the_other():
    image, _ = ball(texture(SHAPE))
    assert agreement(image, image) == pytest.approx(1, abs=1e-3)
    assert agreement(image, remapped(image, RISES)) > ALIKE
    turned = remapped(image, TURNS)
    assert agreement(image, turned) < ALIKE
    assert agreement_across(image, turned) > ALIKE


def test_what_lies_wrong_does_not_agree_in_any_contrast():
    image, _ = ball(texture(SHAPE))
    other, _ = ball(texture(SHAPE, 5))
    assert agreement(image, other) < AGREED
    assert agreement_across(image, other) < AGREED
    moved = warp(remapped(image, TURNS), motion(SHAPE, 6.0))
    assert agreement_across(image, moved) < 0.7 * agreement_across(image, remapped(image, TURNS))


def test_too_little_says_nothing():
    blank = torch.zeros(1, 1, 12, 12, 12)
    assert turning(blank, blank) == 0
    assert agreement_across(blank, blank) == 0


def test_a_curve_that_turns_is_told_from_one_that_rises_where_it_is_known():
    image, _ = ball(texture(SHAPE))
    moved = warp(image, motion(SHAPE, 0.7))
    assert turning(image, remapped(image, RISES)) < TURNING
    assert turning(image, moved) < 0.2 * turning(image, remapped(moved, TURNS))
    turned = image.clone()
    turned[..., 15:] = remapped(image, TURNS)[..., 15:]
    assert turning(image, turned) > 2 * TURNING
    known = torch.ones_like(image)
    known[..., 15:] = 0
    assert turning(image, turned, known) < TURNING
