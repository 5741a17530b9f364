"""Which measure goes on is decided by what none of them optimized, and nothing goes on that is not worth it."""

import numpy as np
import pytest
import torch

from DeepRegistrationLib import register
from DeepRegistrationLib.fields import warp
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.refinement.engine import refine
from DeepRegistrationLib.refinement.hypotheses import STILL, Evidence
from DeepRegistrationLib.refinement.information import Information, normalized_information
from DeepRegistrationLib.refinement.schedule import RefineSettings
from Testing.Lib.refinement.test_far_seeing import inner_error, motion, texture

CURVE = ((0.0, 0.2, 0.4, 0.6, 0.8, 1.0), (0.7, 0.2, 0.9, 0.3, 1.0, 0.1))
"""Fluid bright in one image and dark in the other, and worse: no value says how bright it is in the other image."""


def remapped(image):
    return torch.from_numpy(np.interp(image.numpy(), *CURVE)).float()


def ball(image):
    """Tissue in air: the outline is in every contrast."""
    axes = [torch.linspace(-1, 1, n) for n in image.shape[2:]]
    distance = sum(x.square() for x in torch.meshgrid(*axes, indexing="ij")).sqrt()
    inside = (distance < 0.85).float()[None, None]
    return (0.15 + 0.85 * image) * inside, inside


@pytest.mark.parametrize("shape", [(112, 120), (36, 40, 36)])
def test_another_contrast_that_hardly_moved_is_not_harmed(shape):
    """LNCC, which is blind to the sign of the contrast but not to more, tears such a pair apart."""
    moving, inside = ball(texture(shape))
    u = motion(shape, 1.0)
    fixed = remapped(warp(moving, u)) * (warp(inside, u) > 0.5)
    before = inner_error(torch.zeros_like(u), u)
    found = refine(fixed, moving)
    assert found.choice.chosen != "lncc"
    assert inner_error(found.field, u) < before + 0.15
    torn = refine(fixed, moving, RefineSettings(similarity="lncc"))
    assert inner_error(torn.field, u) > inner_error(found.field, u) + 0.3


@pytest.mark.parametrize("shape", [(112, 120)])
def test_another_contrast_that_moved_is_aligned(shape):
    moving, inside = ball(texture(shape))
    u = motion(shape, 6.0)
    fixed = remapped(warp(moving, u)) * (warp(inside, u) > 0.5)
    found = refine(fixed, moving)
    assert inner_error(found.field, u) < 0.5 * inner_error(torch.zeros_like(u), u)


def test_large_motion_is_found_from_the_far_seeing_start():
    shape = (36, 40, 36)
    moving, u = texture(shape), motion(shape, 8.0)
    found = refine(warp(moving, u), moving)
    assert inner_error(found.field, u) < 0.5
    assert any(e.name.startswith("far, ") for e in found.choice.weighed)


def test_where_nothing_moved_the_affine_alignment_is_the_answer_and_the_report_says_so():
    moving, inside = ball(texture((64, 72)))
    images = [Image(x[0, 0].numpy(), Grid.from_shape((64, 72))) for x in (remapped(moving) * inside, moving)]
    result = register(*images, affine="none")
    assert result.report.chosen == STILL
    assert float(result.field.abs().max()) == 0
    assert dict(result.report.lines())["Chosen"].startswith(STILL)
    named = {e["name"] for e in result.report.as_dict()["hypotheses"]}
    assert named >= {STILL, "lncc", "translated", "information"}


def test_worth_pays_for_missing_and_roughness_and_discounts_what_was_optimized():
    assert Evidence("lncc", gain=0.2).worth > Evidence("lncc", gain=0.2, miss=0.5).worth
    assert Evidence("lncc", gain=0.2).worth > Evidence("lncc", gain=0.2, rough=0.2).worth
    assert Evidence("lncc", gain=0.2).worth > Evidence("far, information", gain=0.2).worth > 0
    assert Evidence(STILL).worth == 0
    assert Evidence("information", gain=-0.1).worth == pytest.approx(-0.1)


def test_the_chosen_one_is_the_worthiest_and_a_measure_that_was_asked_for_is_taken():
    moving, u = texture((64, 60)), motion((64, 60), 3.0)
    found = refine(warp(moving, u), moving).choice
    assert found.chosen == found.weighed[0].name == max(found.weighed, key=lambda e: e.worth).name
    assert next(e for e in found.weighed if e.name == found.chosen).apart_mm == 0
    asked = refine(warp(moving, u), moving, RefineSettings(similarity="gradient"))
    assert asked.similarity == "gradient"
    assert asked.choice.chosen != STILL


def test_information_grows_along_its_gradient_and_is_normalized():
    moving = texture((36, 40, 32))
    u = motion((36, 40, 32), 2.0)
    fixed = remapped(warp(moving, u))
    force = Information(fixed)
    value, gradient = force(moving)
    step = 1e-2 * gradient / gradient.abs().max()
    assert float(force(moving + step)[0]) > float(value) > float(force(moving - step)[0])
    aligned = normalized_information(fixed, warp(moving, u))
    assert 0 <= normalized_information(fixed, moving) < aligned <= 1
    assert normalized_information(moving, moving) > aligned
