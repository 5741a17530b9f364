"""Every similarity that can be chosen is the force that it names."""

import pytest
import torch

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.fields.kernels import Sampler
from DeepRegistrationLib.progress import SILENT
from DeepRegistrationLib.refinement import one_level
from DeepRegistrationLib.refinement.forces import Lncc, LocalGradient, Ssd
from DeepRegistrationLib.refinement.information import Information
from DeepRegistrationLib.refinement.level_images import LevelPair
from DeepRegistrationLib.refinement.levels import Level, Rim, Window, erode
from DeepRegistrationLib.refinement.schedule import plan
from DeepRegistrationLib.settings import AUTO, SIMILARITIES, Settings

SHAPE = (24, 28)
MADE = {
    "lncc": (Lncc, 1),
    "translated": (Lncc, 1),
    "information": (Information, 1),
    "mind": (Ssd, one_level.MIND_CHANNELS),
    "ssd": (Ssd, 1),
    "gradient": (LocalGradient, 1),
}
"""The force of each, and how many channels of the moving image it wants warped."""


def level(similarity: str) -> Level:
    return Level(SHAPE, (1, 1), (1.0, 1.0), 3, 1.0, 0.5, 1.0, similarity=similarity)


def images(like: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """Two blurred patterns, one the other's negative; or two that tell nothing of each other."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.rand(2, 1, *SHAPE, generator=generator)
    fixed = 0.2 + 0.6 * noise[:1]
    return fixed, (1 - fixed if like else 0.2 + 0.6 * noise[1:])


def made(similarity: str, like: bool = True):
    fixed, moving = images(like)
    sampler = Sampler(SHAPE, device=fixed.device)
    sampler.aim(torch.zeros(1, 2, *SHAPE))
    spare = tuple(torch.empty(1, 2, *SHAPE) for _ in range(3))
    return one_level._make_force(fixed, moving, level(similarity), sampler, spare)


@pytest.mark.parametrize("similarity", [name for name in SIMILARITIES if name != AUTO])
def test_a_similarity_that_can_be_chosen_is_made_into_the_force_that_it_names(similarity):
    assert similarity in MADE, "a new similarity: say here which force it is"
    force, source = made(similarity)
    assert (type(force), source.shape[1]) == MADE[similarity]


def test_there_is_no_force_that_cannot_be_chosen():
    assert {*one_level.FORCES} == {*SIMILARITIES} - {AUTO}


def test_what_cannot_be_translated_is_compared_by_mind():
    force, source = made("translated", like=False)
    assert (type(force), source.shape[1]) == MADE["mind"]


@pytest.mark.parametrize("similarity", [name for name in SIMILARITIES if name != AUTO])
@pytest.mark.parametrize("refine", ["fast", "accurate"])
@pytest.mark.parametrize("shape", [(64, 64), (160, 160, 160)])
def test_the_levels_of_a_similarity_have_forces(similarity, refine, shape):
    levels = plan(shape, [1.0] * len(shape), Settings(refine=refine), similarity)
    assert {each.similarity for each in levels} <= {*one_level.FORCES}


def test_a_similarity_without_a_force_is_said_and_not_taken_for_another():
    fixed, moving = images()
    pair = LevelPair(fixed, moving, None, None, None, None, 3.0)
    u, rim = torch.zeros(1, 2, *SHAPE), Rim(level("cosine"), Window((0, 0), SHAPE), SHAPE, torch.device("cpu"))
    with pytest.raises(InputError, match="no similarity 'cosine'; it has lncc"):
        one_level.run_level(level("cosine"), pair, u, rim, None, SILENT, "")


@pytest.mark.parametrize("reach", [1, 2])
@pytest.mark.parametrize("shape", [(12, 14), (9, 8, 7), (1, 6, 2)])
def test_what_is_eroded_lies_so_far_inside(shape, reach):
    mask = (torch.rand((1, 1, *shape), generator=torch.Generator().manual_seed(3)) < 0.95).float() * 0.9995
    pool = torch.nn.functional.max_pool2d if len(shape) == 2 else torch.nn.functional.max_pool3d
    near_outside = pool((mask < 0.999).float(), 2 * reach + 1, 1, reach)
    assert torch.equal(erode(mask, reach), 1 - near_outside)
