"""The rival: a proposed field goes on where it tells more than what the engine found; asked only where much moved."""

from functools import partial

import pytest
import torch

from DeepRegistrationLib.fields import compose, smooth, warp
from DeepRegistrationLib.fields.inverse import invert
from DeepRegistrationLib.progress import SILENT, Reporter, Watch
from DeepRegistrationLib.refinement import engine
from DeepRegistrationLib.refinement.engine import refine
from DeepRegistrationLib.refinement.guard import Choice
from DeepRegistrationLib.refinement.level_images import Images
from DeepRegistrationLib.refinement.levels import Window
from DeepRegistrationLib.refinement.proposal import Proposal
from DeepRegistrationLib.refinement.rival import ROUNDS, challenged
from DeepRegistrationLib.refinement.schedule import plan
from DeepRegistrationLib.settings import AFFINE_ALONE, NETWORK_ALONE, Settings
from Testing.Lib.refinement.test_far_seeing import inner_error, motion, texture
from Testing.Lib.refinement.test_guard import other_contrast

SHAPE = (96, 104)


def proposing(u):
    """What a network would propose: ``u`` without its detail; and nothing more where it sees the image moved."""
    u = smooth(u, 2.0)
    return lambda _reporter, before: (u, invert(u)) if before is None else (0 * u, 0 * u)


def most_of(u, looks, seen=0.7):
    """Each look sees ``seen`` of what is left."""

    def propose(_reporter, before):
        looks.append(before)
        left = u if before is None else compose(invert(before), u)
        return seen * left, invert(seen * left)

    return propose


def never(_reporter, _before):
    raise AssertionError("nothing is proposed here")


def pair(largest):
    moving, u = texture(SHAPE), motion(SHAPE, largest)
    return warp(moving, u), moving, u


def test_where_much_moved_the_proposal_goes_on_if_it_tells_more():
    fixed, moving, u = pair(18)
    alone, found = refine(fixed, moving), refine(fixed, moving, propose=proposing(u))
    assert inner_error(found.field, u) < 0.7 * inner_error(alone.field, u)
    assert found.choice.chosen == f"{NETWORK_ALONE}, lncc"
    first, second = found.choice.weighed
    assert (first.name, second.name) == (found.choice.chosen, "lncc")
    assert first.apart_mm == 0 < second.apart_mm
    assert len(found.iterations) == 1  # the last level's


def test_the_network_looks_again_at_what_it_moved_as_long_as_that_tells_more():
    """Each look sees most of what is left, as networks see less of what is far."""
    fixed, moving, u = pair(18)
    looks = []

    found = refine(fixed, moving, propose=most_of(u, looks))
    assert [look is None for look in looks] == [True] + [False] * (ROUNDS - 1)
    assert found.choice.chosen == f"{NETWORK_ALONE}, lncc"
    once = refine(fixed, moving, propose=lambda *_: (0.7 * u, invert(0.7 * u)))
    assert inner_error(found.field, u) < 0.8 * inner_error(once.field, u)
    assert [e.name for e in found.choice.weighed] == [f"{NETWORK_ALONE}, lncc", "lncc"]


@pytest.mark.parametrize("look", [1, 2])
def test_who_stops_during_a_look_keeps_what_was_shown_before(look):
    fixed, moving, u = pair(18)
    looks, shown = [], []

    def keep(name, field_on):
        shown.append((name, field_on(SHAPE)))

    watch = Watch(stop=lambda: len(looks) >= look)
    watch.preview = keep
    found = refine(fixed, moving, propose=most_of(u, looks), reporter=Reporter(watch=watch))
    alone = refine(fixed, moving)
    assert (found.choice.chosen == alone.choice.chosen) == (look == 1)
    assert torch.equal(found.field, alone.field) == (look == 1)
    assert watch.stopped_at == "the last look"
    assert [name for name, _ in shown].count("the last look") == look - 1
    apart = [inner_error(found.field, field) for _, field in shown]  # folds are removed at the end
    assert apart[-1] == min(apart)


def test_who_stopped_before_is_not_kept_waiting_by_a_network():
    fixed, moving, _ = pair(18)
    counts = []

    def stop():
        counts.append(True)
        return len(counts) > 40

    refine(fixed, moving, propose=never, reporter=Reporter(watch=Watch(stop=stop)))


def test_across_contrasts_too():
    fixed, moving, u = pair(18)
    alone, found = refine(1 - fixed, moving), refine(1 - fixed, moving, propose=proposing(u))
    assert alone.similarity != "lncc"
    assert inner_error(found.field, u) < 0.7 * inner_error(alone.field, u)
    assert found.choice.chosen == f"{NETWORK_ALONE}, translated"


def test_a_proposal_that_tells_less_changes_nothing():
    fixed, moving, u = pair(14)
    alone, found = refine(fixed, moving), refine(fixed, moving, propose=proposing(-u))
    assert torch.equal(found.field, alone.field)
    assert found.choice.chosen == alone.choice.chosen
    assert found.iterations == alone.iterations


@pytest.mark.parametrize("invert_contrast", [False, True])
def test_where_little_moved_nothing_is_proposed(invert_contrast):
    fixed, moving, _ = pair(3)
    found = refine(1 - fixed if invert_contrast else fixed, moving, propose=never)
    assert not found.choice.chosen.startswith(NETWORK_ALONE)


@pytest.mark.parametrize(("roughness", "taken"), [(3.0, True), (4.0, False)])
def test_the_affine_alignment_goes_only_where_the_rival_tells_more_than_its_roughness_costs(roughness, taken):
    """Both tell more, by 31 and 18 %, with 0.26 and 0.29 of standard deviation of the log Jacobian."""
    fixed, moving, u = pair(6)
    noise = smooth(torch.randn(u.shape, generator=torch.Generator().manual_seed(5)), 3.0)
    proposed = u + roughness * noise / noise.abs().max()
    window, nothing = Window((0, 0), SHAPE), torch.zeros_like(u)
    images = Images(fixed, moving, None, None, None, None, window, SHAPE, 1.0, fixed, moving)
    choice = Choice("translated", nothing, None, AFFINE_ALONE)
    field, _, found = challenged(
        images,
        partial(plan, SHAPE, (1.0, 1.0), Settings()),
        nothing,
        (),
        choice,
        run=lambda _images, levels, start: (start, [0] * len(levels)),
        proposal=Proposal(lambda before: (proposed if before is None else 0 * proposed,) * 2, window),
        reporter=SILENT,
    )
    torch.testing.assert_close(field, proposed if taken else nothing, atol=1e-4, rtol=0)
    assert found.chosen == (f"{NETWORK_ALONE}, translated" if taken else AFFINE_ALONE)


@pytest.mark.parametrize("wrong", [False, True])
def test_the_network_looks_again_where_its_field_is_the_answer_as_long_as_that_tells_more(monkeypatch, wrong):
    fixed, moving, u = other_contrast(SHAPE, 8.0)
    monkeypatch.setattr(engine, "confirmed", lambda *_: False)
    first, looks = 0.4 * u, []
    further = motion(SHAPE, 8.0) if wrong else None

    def propose(reporter, before):
        if before is not None and further is not None:
            looks.append(before)
            return further, invert(further)
        return most_of(u, looks, 0.4)(reporter, before)

    found = refine(fixed, moving, propose=propose)
    assert found.choice.chosen == found.choice.weighed[0].name == NETWORK_ALONE
    assert found.choice.weighed[0].apart_mm == 0
    if wrong:
        assert len(looks) == 2
        assert inner_error(found.field, first) < 0.05
    else:
        assert len(looks) > 1
        assert inner_error(found.field, u) < 0.7 * inner_error(first, u)
