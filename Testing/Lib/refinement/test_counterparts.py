"""What only one of two images shows must not pull at the field."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from DeepRegistrationLib.fields import smooth, warp
from DeepRegistrationLib.refinement.counterparts import FILL_SIGMA, MISS, fill_in, trust_in
from DeepRegistrationLib.refinement.engine import refine
from DeepRegistrationLib.refinement.levels import Level
from DeepRegistrationLib.refinement.schedule import plan
from DeepRegistrationLib.settings import Settings

from .test_engine import texture, true_field


def level(shape: tuple[int, ...], spacing: tuple[float, ...] | None = None, similarity: str = "lncc") -> Level:
    return Level(shape, (4,) * len(shape), spacing or (4.0,) * len(shape), 30, 1.5, 0.5, 1.0, similarity=similarity)


def ball(shape: tuple[int, ...], radius: float) -> torch.Tensor:
    axes = torch.meshgrid(*[torch.arange(n) - (n - 1) / 2 for n in shape], indexing="ij")
    return (sum(a.square() for a in axes) < radius**2).float()[None, None]


def half_alike(shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two images that are alike but for a ball in the middle, and the ball."""
    inside = ball(shape, min(shape) / 5)
    return texture(shape, 1), torch.where(inside > 0, texture(shape, 2), texture(shape, 1)), inside > 0


def constant(shape: tuple[int, ...], value: float, axis: int = 0) -> torch.Tensor:
    u = torch.zeros((1, len(shape), *shape))
    u[:, axis] = value
    return u


@pytest.mark.parametrize("similarity", ["lncc", "mind"])
@pytest.mark.parametrize("shape", [(48, 56), (28, 30, 32)])
def test_what_is_unlike_and_missed_is_not_trusted_and_either_alone_is(shape, similarity):
    fixed, moving, inside = half_alike(shape)
    on = level(shape, similarity=similarity)
    still, away = torch.zeros(1, len(shape), *shape), constant(shape, 2.5)
    core = ball(shape, min(shape) / 8) > 0
    outside = smooth(inside.float(), 3.0) < 0.01

    def trust(back: torch.Tensor, image: torch.Tensor = moving) -> torch.Tensor:
        return trust_in(fixed, image, still, back, on)

    assert float(trust(away)[core].mean()) < 0.4
    assert float(trust(away)[outside].mean()) > 0.85  # alike: missed or not
    assert float(trust(still).min()) == 1  # not missed: alike or not
    if similarity == "lncc":  # the sign of the contrast says nothing
        assert torch.allclose(trust(away), trust(away, 1 - moving), atol=0.1)


def test_trust_is_what_its_formula_says():
    shape = (40, 44)
    fixed, moving, _ = half_alike(shape)
    there, back = constant(shape, 1.5), constant(shape, 0.7)
    found = trust_in(fixed, moving, there, back, level(shape))[0, 0].numpy()

    def mean(x: torch.Tensor) -> np.ndarray:
        return smooth(x, 1.5)[0, 0].double().numpy()

    moved = warp(moving, there)
    f, m = mean(fixed), mean(moved)
    covariance = mean(fixed * moved) - f * m
    spread = np.sqrt((mean(fixed**2) - f**2 + 1e-5) * (mean(moved**2) - m**2 + 1e-5))
    unlike = 1 - covariance / spread
    usual = unlike[fixed[0, 0].numpy() > 0.05].mean()
    doubt = (1.5 + 0.7) ** 2 / MISS**2 * (unlike / usual) ** 2
    np.testing.assert_allclose(found, 1 / (1 + doubt**2), atol=2e-3)


def test_thick_slices_are_missed_by_as_many_finest_voxels():
    shape = (20, 24, 28)
    fixed, moving, _ = half_alike(shape)
    still = torch.zeros(1, 3, *shape)
    thick = level(shape, (8.0, 4.0, 4.0))
    across = trust_in(fixed, moving, still, constant(shape, 1.0, 0), thick)
    along = trust_in(fixed, moving, still, constant(shape, 2.0, 1), thick)
    assert torch.allclose(across, along, atol=1e-5)


def test_what_is_not_trusted_is_filled_in_from_around_and_the_rest_is_kept():
    shape = (36, 40)
    inside = ball(shape, 5.0)
    u = constant(shape, 2.0) + inside * 7
    trusted = 1 - inside
    fill_in(u, trusted, level(shape))
    assert torch.equal(u * trusted, constant(shape, 2.0) * trusted)
    assert float((u - constant(shape, 2.0)).abs().max()) < 1e-3
    assert FILL_SIGMA > 1


def test_images_without_anything_to_see_are_trusted():
    flat = torch.zeros((1, 1, 20, 24))
    still = torch.zeros((1, 2, 20, 24))
    assert float(trust_in(flat, flat, still, still, level((20, 24))).min()) == 1


@pytest.mark.parametrize("shape", [(72, 80, 64)])
def test_a_lesion_of_one_image_leaves_the_field_beside_it_alone(shape):
    """The moving image has a lesion; the true field around it is known, as the tissue was moved before it grew."""
    u = true_field(shape, 4.0, 10.0)
    healthy = texture(shape, 3)
    fixed = warp(healthy, u)
    lesion = smooth(ball(shape, 11.0), 1.0)
    moving = healthy * (1 - lesion) + 0.6 * texture(shape, 8) * lesion
    near = (smooth(ball(shape, 15.0), 1.0) > 0.5)[0]

    def error(trusting: bool) -> float:
        def planner(*of):
            return [replace(x, both_ways=x.both_ways and not trusting) for x in plan(*of)]

        settings = Settings(similarity="lncc")
        found = refine(fixed, moving, settings, planner=planner).field
        return float((found - u).square().sum(1).sqrt()[near].mean())

    assert error(trusting=False) < 0.8 * error(trusting=True)


def test_only_coarse_levels_of_volumes_are_gone_through_both_ways():
    volume = plan((160, 192, 224), (1.0, 1.0, 1.0), Settings())
    assert [x.both_ways for x in volume] == [max(x.factors) >= 4 for x in volume]
    assert volume[0].both_ways
    assert not any(x.both_ways for x in plan((512, 512), (1.0, 1.0), Settings()))
