"""The evidence for a field: what it gains in mutual information, and what it pays for that."""

import numpy as np
import pytest
import torch

from DeepRegistrationLib.fields import warp
from DeepRegistrationLib.fields.inverse import invert
from DeepRegistrationLib.refinement.hypotheses import Evidence, Scale, cosine, tells_more, weigh
from DeepRegistrationLib.refinement.information import Information, normalized_information
from DeepRegistrationLib.settings import AFFINE_ALONE
from Testing.Lib.refinement.test_far_seeing import motion, texture

CURVE = ((0.0, 0.2, 0.4, 0.6, 0.8, 1.0), (0.7, 0.2, 0.9, 0.3, 1.0, 0.1))
"""Fluid bright in one image and dark in the other, and worse: no value says how bright it is in the other image."""


def remapped(image, curve=CURVE):
    return torch.from_numpy(np.interp(image.numpy(), *curve)).float()


def ball(image):
    """Tissue in air: the outline is in every contrast."""
    axes = [torch.linspace(-1, 1, n) for n in image.shape[2:]]
    distance = sum(x.square() for x in torch.meshgrid(*axes, indexing="ij")).sqrt()
    inside = (distance < 0.85).float()[None, None]
    return (0.15 + 0.85 * image) * inside, inside


def test_worth_pays_for_missing_and_roughness_and_discounts_what_was_optimized():
    assert Evidence("lncc", gain=0.2).worth > Evidence("lncc", gain=0.2, miss=0.5).worth
    assert Evidence("lncc", gain=0.2).worth > Evidence("lncc", gain=0.2, rough=0.2).worth
    assert Evidence("lncc", gain=0.2).worth > Evidence("far, information", gain=0.2).worth > 0
    assert Evidence(AFFINE_ALONE).worth == 0
    assert Evidence("information", gain=-0.1).worth == pytest.approx(-0.1)


def test_the_cosine_is_of_fields_in_mm_over_the_anatomy_alone():
    moving, _ = ball(texture((20, 24, 20)))
    scale = Scale(moving, moving, None, None, (1.0, 1.0, 3.0))
    one, other = torch.zeros(2, 1, 3, 20, 24, 20)
    one[:, 0], other[:, 0], other[:, 2] = 3.0, 3.0, 1.0
    assert cosine(scale, one, other) == pytest.approx(0.5**0.5)
    assert cosine(scale, one, -one) == pytest.approx(-1)
    assert cosine(scale, one, torch.zeros_like(one)) == 0
    wild = one.clone()
    wild[..., :2, :2, :2] *= -50
    assert cosine(scale, one, wild) == pytest.approx(1)


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


def test_the_true_field_is_worth_more_than_nothing_and_a_torn_one_less():
    moving, u = texture((64, 60)), motion((64, 60), 4.0)
    scale = Scale(warp(moving, u), moving, None, None, (1.0, 1.0))
    torn = 3 * torch.randn(u.shape, generator=torch.Generator().manual_seed(2))
    right, nothing, wrong = (weigh("lncc", scale, *f) for f in ((u, invert(u)), (0 * u, 0 * u), (torn, torn)))
    assert right.worth > nothing.worth == 0 > wrong.worth
    assert right.miss < 0.1 < wrong.miss
    twice = weigh("lncc", Scale(scale.fixed, moving, None, None, (2.0, 2.0)), torn, torn)
    assert twice.miss_mm == pytest.approx(2 * wrong.miss_mm)
    assert twice.miss == pytest.approx(wrong.miss)
    assert weigh("lncc", scale, torn, None).miss == 0


@pytest.mark.parametrize("shape", [(96, 104), (36, 40, 32)])
def test_half_a_voxel_that_blurs_an_image_tells_less_and_a_motion_undone_tells_more(shape):
    moving, u = ball(texture(shape))[0], motion(shape, 2.0)
    shift = torch.full_like(u, 0.5)
    right = Scale(remapped(moving), moving, None, None, (1.0,) * len(shape))
    assert tells_more(right, 0 * u)
    assert not tells_more(right, shift)
    apart = Scale(remapped(warp(moving, u)), moving, None, None, (1.0,) * len(shape))
    assert tells_more(apart, u)
    assert not tells_more(apart, -u)


def test_what_only_fits_the_edge_of_what_was_seen_tells_no_more_inside():
    """A disk of tissue, seen whole in one image and through a narrow window in the other, and all drawn into that."""
    shape = (80, 88)
    tissue = 0.3 + 0.7 * texture(shape).clamp(0, 1)
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in shape], indexing="ij")
    fixed, moving = tissue * ((y.abs() < 0.35) & (x.abs() < 0.8)), tissue * (y**2 + x**2 < 0.64)
    u = torch.zeros(1, 2, *shape)
    u[0, 0] = y * 0.5 * shape[0] * (0.8 / 0.35 - 1)  # what fills the window fills the disk
    scale = Scale(fixed, moving, None, None, (1.0, 1.0))
    assert tells_more(scale, u)
    assert not tells_more(scale, u, inside=True)
