"""The harm guard: ordinary pairs go on as they are, others take another measure or stay as the affine left them."""

from functools import partial

import pytest
import torch

from DeepRegistrationLib import register
from DeepRegistrationLib.fields import smooth, warp
from DeepRegistrationLib.fields.inverse import invert
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.refinement import engine, guard, hypotheses
from DeepRegistrationLib.refinement.engine import refine
from DeepRegistrationLib.refinement.rival import ROUNDS
from DeepRegistrationLib.refinement.schedule import DIRECT, plan
from DeepRegistrationLib.settings import AFFINE_ALONE, NETWORK_ALONE, Settings
from Testing.Lib.refinement.test_agreement import TURNS
from Testing.Lib.refinement.test_far_seeing import inner_error, motion, texture
from Testing.Lib.refinement.test_hypotheses import CURVE, ball, remapped

WAVES = ((0.0, 0.25, 0.5, 0.75, 1.0), (0.2, 1.0, 0.3, 0.8, 0.1))


def other_contrast(shape, largest, curve=CURVE):
    """Fixed, moving, and the true field: tissue in air, whose contrast no sign and no steady curve explains."""
    moving, inside = ball(texture(shape, 3))
    u = motion(shape, largest)
    return remapped(warp(moving, u), curve) * (warp(inside, u) > 0.5), moving, u


def error_of_plain(fixed, moving, u):
    plain = refine(fixed, moving, Settings(similarity="lncc"))
    return inner_error(plain.field, u)


@pytest.mark.parametrize("shape", [(64, 60), (96, 104), (20, 24, 20)])
def test_on_an_ordinary_pair_the_guard_does_not_act_and_the_field_is_that_of_the_plain_path(shape):
    moving = texture(shape)
    fixed = warp(moving, motion(shape, 5.0 if len(shape) == 2 else 3.0))
    found = refine(fixed, moving)
    plain = refine(fixed, moving, Settings(similarity="lncc"))
    assert found.choice.chosen == found.similarity == "lncc"
    assert [e.name for e in found.choice.weighed] == ["lncc"]
    assert torch.equal(found.field, plain.field)
    assert torch.equal(found.inverse, plain.inverse)
    assert found.iterations == plain.iterations
    # In 2-D the way back is a tenth of the work: where much was gained it is not gone.
    seen = found.choice.weighed[0]
    assert (seen.miss > 0) == (len(shape) == 3 or seen.gain < guard.LITTLE)


@pytest.mark.parametrize("shape", [(96, 104), (26, 28, 26)])
def test_another_contrast_that_hardly_moved_is_not_torn_apart(shape):
    """LNCC, which the pair looks like, tears it apart."""
    fixed, moving, u = other_contrast(shape, 0.1, WAVES)
    found = refine(fixed, moving)
    assert found.choice.chosen != "lncc"
    assert "lncc" in {e.name for e in found.choice.weighed}
    assert error_of_plain(fixed, moving, u) > 1.0
    assert inner_error(found.field, u) < inner_error(torch.zeros_like(u), u) + 0.1


def test_another_contrast_that_moved_is_aligned_by_the_worthiest_and_all_that_was_tried_is_told():
    fixed, moving, u = other_contrast((96, 104), 4.0)
    before = inner_error(torch.zeros_like(u), u)
    assert error_of_plain(fixed, moving, u) > 1.5 * before
    found = refine(fixed, moving)
    assert inner_error(found.field, u) < 0.3 * before
    names = {e.name for e in found.choice.weighed}
    assert names >= {AFFINE_ALONE, "lncc", DIRECT, "information"}
    assert any(name.startswith("far, ") for name in names)
    best = max(found.choice.weighed, key=lambda e: e.worth)
    assert found.choice.chosen == found.choice.weighed[0].name == best.name
    assert best.apart_mm == 0
    assert next(e for e in found.choice.weighed if e.name == AFFINE_ALONE).apart_mm > 0


@pytest.mark.parametrize("confirmed", [True, False])
def test_where_the_evidence_is_only_silent_the_worthiest_field_goes_on_and_then_its_own(monkeypatch, confirmed):
    """Lungs of two contrasts were torn by 7 mm, from 2.4, as what spoke a little against LNCC's field was not heard."""
    monkeypatch.setattr(guard, "AGAINST", -10.0)
    monkeypatch.setattr(guard, "TURNING", 10.0)
    if not confirmed:
        monkeypatch.setattr(guard, "AGREED", 2.0)
        monkeypatch.setattr(guard, "ALIKE", -1.0)
    fixed, moving, _ = other_contrast((96, 104), 4.0)
    found = refine(fixed, moving)
    weighed = {e.name: e for e in found.choice.weighed}
    assert AFFINE_ALONE not in weighed
    assert weighed["lncc"].worth < guard.WORTHLESS
    best = max(weighed, key=lambda name: weighed[name].worth)
    assert best != "lncc"
    assert found.choice.chosen == (best if confirmed else "lncc")
    if not confirmed:
        assert torch.equal(found.field, refine(fixed, moving, Settings(similarity="lncc")).field)


def test_its_own_field_does_not_go_on_either_where_the_images_are_not_alike_at_its_end(monkeypatch):
    """A slice of another contrast came from 0.38 Dice to 0.25 so, and was good."""
    monkeypatch.setattr(guard, "AGAINST", -10.0)
    monkeypatch.setattr(guard, "TURNING", 10.0)
    monkeypatch.setattr(guard, "AGREED", 2.0)
    found = refine(*other_contrast((96, 104), 4.0)[:2])
    assert found.choice.chosen == AFFINE_ALONE
    assert "lncc" in {e.name for e in found.choice.weighed}


def test_where_no_field_tells_more_at_full_resolution_the_affine_is_the_answer(monkeypatch):
    """A head that lay right was moved by half a voxel: coarse images then told more of each other, fine ones less."""
    monkeypatch.setattr(guard, "AGAINST", -10.0)
    monkeypatch.setattr(guard, "TURNING", 10.0)
    monkeypatch.setattr(guard, "tells_more", lambda *_, **__: False)
    fixed, moving, _ = other_contrast((96, 104), 4.0)
    found = refine(fixed, moving)
    assert found.choice.chosen == AFFINE_ALONE
    assert not found.field.any()
    assert {e.name for e in found.choice.weighed} >= {"lncc", DIRECT, AFFINE_ALONE}


def coarse_tissue(sigma):
    """A ball of tissue in air with structures of ``sigma`` voxels, and finer ones."""
    noise = [torch.randn((1, 1, 30, 32, 30), generator=torch.Generator().manual_seed(seed)) for seed in (3, 53)]
    coarse, fine = (smooth(x, s) for x, s in zip(noise, (sigma, 1.5), strict=True))
    image = coarse / coarse.std() + 0.3 * fine / fine.std()
    return ball((image - image.min()) / (image.max() - image.min()))


def turned_tissue():
    """Fixed, moving and the true field: the coarse levels alone do not speak against LNCC, which tears it apart."""
    moving, inside = coarse_tissue(3.0)
    u = motion((30, 32, 30), 2.0)
    return remapped(warp(moving, u), TURNS) * (warp(inside, u) > 0.5), moving, u


def test_a_contrast_that_turns_is_doubted_at_once_and_aligned_by_another_measure():
    fixed, moving, u = turned_tissue()
    found = refine(fixed, moving)
    assert len(found.choice.weighed) > 1
    assert found.choice.chosen != "lncc"
    assert inner_error(found.field, u) < 0.8 * inner_error(torch.zeros_like(u), u)


@pytest.mark.slow
def test_what_its_end_does_not_confirm_is_tried_anew(monkeypatch):
    fixed, moving, u = turned_tissue()
    before = inner_error(torch.zeros_like(u), u)
    monkeypatch.setattr(guard, "TURNING", 9.0)
    monkeypatch.setattr(guard, "WORTHLESS", -9.0)  # else the coarse levels speak against it, a little
    assert inner_error(refine(fixed, moving).field, u) < 0.8 * before
    monkeypatch.setattr(engine, "confirmed", lambda *_: True)
    assert inner_error(refine(fixed, moving).field, u) > 1.5 * before


def test_one_contrast_is_looked_at_again_only_where_the_coarse_levels_leave_doubt(monkeypatch):
    """Then it goes on bit for bit where its end is confirmed, and where it is not it ends, whatever it is worth."""
    moving = texture((20, 24, 20))
    fixed = warp(moving, motion((20, 24, 20), 3.0))
    plain = refine(fixed, moving)
    monkeypatch.setattr(guard, "DOUBTED", 2.0)
    assert torch.equal(refine(fixed, moving).field, plain.field)
    monkeypatch.setattr(guard, "ALIKE", 2.0)
    anew = refine(fixed, moving)
    assert "lncc" in {e.name for e in anew.choice.weighed}
    assert anew.choice.chosen != "lncc"


def test_what_the_user_asked_for_is_not_judged(monkeypatch):
    monkeypatch.setattr(guard, "AGAINST", float("inf"))
    moving, u = texture((64, 60)), motion((64, 60), 3.0)
    fixed = warp(moving, u)
    points = torch.tensor([[30.0, 30.0], [20.0, 40.0]])
    asked = refine(fixed, moving, Settings(similarity="gradient")).choice
    assert (asked.similarity, asked.chosen, asked.weighed) == ("gradient", "gradient", ())
    assert refine(fixed, moving, landmarks=(points, points)).choice.weighed == ()
    assert refine(fixed, moving, start=u).choice.weighed == ()


def test_where_nothing_is_worth_it_the_affine_alignment_is_the_answer_and_the_report_says_so():
    fixed, moving, _ = other_contrast((96, 104), 1e-6, WAVES)
    images = [Image(x[0, 0].numpy(), Grid.from_shape((96, 104))) for x in (fixed, moving)]
    result = register(*images, affine="none")
    assert result.report.chosen == AFFINE_ALONE
    assert float(result.field.abs().max()) == 0
    assert dict(result.report.lines())["Chosen"].startswith(AFFINE_ALONE)
    named = {e["name"] for e in result.report.as_dict()["hypotheses"]}
    assert named >= {AFFINE_ALONE, "lncc", DIRECT, "information"}


def proposed(fields, asked):
    def propose(reporter, before):
        asked.append(reporter.name)
        return fields if before is None else tuple(0 * u for u in fields)

    return propose


def test_a_network_is_asked_only_where_the_guard_acts():
    asked = []
    moving = texture((20, 24, 20))
    u = motion((20, 24, 20), 3.0)
    found = refine(warp(moving, u), moving, propose=proposed((u, invert(u)), asked))
    assert not asked
    assert [e.name for e in found.choice.weighed] == ["lncc"]


def test_what_a_network_proposes_is_begun_with_and_then_taken_as_it_is_where_nothing_is_confirmed(monkeypatch):
    fixed, moving, u = other_contrast((96, 104), 4.0)
    asked, begun = [], []
    monkeypatch.setitem(guard.PROPOSED, 2, 0.05)
    monkeypatch.setattr(engine, "confirmed", lambda _images, _level, choice, _u: begun.append(choice.chosen))
    found = refine(fixed, moving, propose=proposed((u, invert(u)), asked))
    assert 1 < len(asked) <= ROUNDS  # what it sees more is nothing
    weighed = {e.name: e for e in found.choice.weighed}
    assert weighed.keys() >= {NETWORK_ALONE, guard.FROM_NETWORK, AFFINE_ALONE, "lncc"}
    assert weighed[NETWORK_ALONE].worth > guard.PROPOSED[2]
    assert found.choice.chosen == found.choice.weighed[0].name == NETWORK_ALONE
    assert set(begun) & {DIRECT, "information", "far, information"}
    assert set(found.iterations) == {0}
    assert inner_error(found.field, u) < 0.05


@pytest.mark.parametrize("doubt", ["rough", "no more inside"])
def test_what_a_network_proposes_is_not_taken_as_it_is_where_it_only_fits_the_outline(monkeypatch, doubt):
    """As of ultrasound, to whose sector it drew heads: 13 mm, not 4 of the affine alignment."""
    fixed, moving, u = other_contrast((96, 104), 4.0)
    monkeypatch.setitem(guard.PROPOSED, 2, 0.05)
    monkeypatch.setattr(engine, "confirmed", lambda *_: False)
    if doubt == "rough":
        monkeypatch.setattr(guard, "ROUGHEST", 0.0)
    else:
        monkeypatch.setattr(guard, "tells_more", lambda *_, inside=False: not inside)
    found = refine(fixed, moving, propose=proposed((u, invert(u)), []))
    assert next(e for e in found.choice.weighed if e.name == NETWORK_ALONE).worth > guard.PROPOSED[2]
    assert found.choice.chosen == AFFINE_ALONE


def test_a_stiff_measure_has_the_levels_of_its_own_all_smoothed_as_much_further():
    plans = guard.with_stiff(partial(plan, (96, 104), [1.0, 1.0], Settings()))
    soft, stiff = plans("information"), plans(guard.CANNOT_TEAR)
    for own, other in zip(soft, stiff, strict=True):
        assert other.similarity == own.similarity
        assert (other.force_sigma, other.field_sigma) == (
            guard.STIFFER * own.force_sigma,
            guard.STIFFER * own.field_sigma,
        )
        assert other.iterations == own.iterations


def test_where_contrasts_hide_each_other_what_cannot_tear_is_tried_before_all_stays_as_it_is(monkeypatch):
    fixed, moving, u = other_contrast((26, 28, 26), 2.0)
    monkeypatch.setattr(guard, "AGREED", 2.0)  # as sections of two stains
    found = refine(fixed, moving)
    assert found.choice.chosen == found.choice.weighed[0].name == guard.CANNOT_TEAR
    assert found.choice.weighed[0].worth > 0
    assert sum(found.iterations) > 0
    assert inner_error(found.field, u) < 0.6 * inner_error(torch.zeros_like(u), u)


@pytest.mark.parametrize(("same_way", "chosen"), [(0.35, "information"), (1.0, AFFINE_ALONE)])
def test_what_two_measures_find_alike_is_the_answer_though_not_worth_its_price(monkeypatch, same_way, chosen):
    """Hearts in two contrasts stayed at 0.47 to 0.81 Dice, where either measure led to 0.68 to 0.88."""
    fixed, moving, u = other_contrast((26, 28, 26), 2.0)
    monkeypatch.setattr(hypotheses, "MISS_COST", 2.0)
    monkeypatch.setattr(guard, "PAYS", 0.01)
    monkeypatch.setattr(guard, "SAME_WAY", same_way)
    found = refine(fixed, moving)
    assert found.choice.chosen == found.choice.weighed[0].name == chosen
    if chosen == "information":
        assert found.choice.weighed[0].worth < 0
        assert inner_error(found.field, u) < 0.6 * inner_error(torch.zeros_like(u), u)


def test_how_far_all_else_leads_is_told_from_what_went_on_in_the_end(monkeypatch):
    """Also of what was tried after others had been refused: the network's field lay 0 mm from everything."""
    fixed, moving, u = other_contrast((26, 28, 26), 2.0)
    monkeypatch.setattr(guard, "AGREED", 2.0)
    chosen, *others = refine(fixed, moving, propose=proposed((2 * u, invert(2 * u)), [])).choice.weighed
    assert chosen.apart_mm == 0
    assert {e.name for e in others} >= {AFFINE_ALONE, NETWORK_ALONE, guard.FROM_NETWORK, DIRECT}
    assert all(e.apart_mm > 0.2 for e in others)


def test_a_network_that_is_wrong_is_not_believed(monkeypatch):
    fixed, moving, _ = other_contrast((26, 28, 26), 0.1, WAVES)
    wrong = motion((26, 28, 26), 4.0)
    monkeypatch.setattr(guard, "AGREED", 2.0)
    found = refine(fixed, moving, propose=proposed((wrong, invert(wrong)), []))
    assert next(e for e in found.choice.weighed if e.name == NETWORK_ALONE).worth < guard.PROPOSED[3]
    assert found.choice.chosen == AFFINE_ALONE
    assert float(found.field.abs().max()) == 0


@pytest.mark.parametrize("torn", [False, True])
def test_a_network_that_tears_tissue_is_not_taken_as_it_is_however_alike_it_makes_the_images(monkeypatch, torn):
    """As of a head and its ultrasound: twice as alike, and three times as far off as the affine alignment."""
    fixed, moving, u = other_contrast((96, 104), 4.0)
    if torn:
        waves = [torch.arange(n).mul(0.25).sin() for n in u.shape[2:]]
        u = u + 3.6 * torch.stack([waves[0][:, None].expand(u.shape[2:]), waves[1].expand(u.shape[2:])])[None]
        moving = warp(fixed, invert(u))
    monkeypatch.setitem(guard.PROPOSED, 2, 0.05)
    monkeypatch.setattr(engine, "confirmed", lambda *_: False)
    found = refine(fixed, moving, propose=proposed((u, invert(u)), []))
    network = next(e for e in found.choice.weighed if e.name == NETWORK_ALONE)
    assert network.worth > guard.PROPOSED[2]
    assert (network.rough > guard.ROUGHEST) == torn
    assert found.choice.chosen == (AFFINE_ALONE if torn else NETWORK_ALONE)


@pytest.mark.parametrize("method", ["auto", "none"])
def test_the_pipeline_offers_the_universal_network_unless_none_was_asked_for(method):
    fixed, moving, _ = other_contrast((96, 104), 1e-6, WAVES)
    images = [Image(x[0, 0].numpy(), Grid.from_shape((96, 104))) for x in (fixed, moving)]
    named = {e.name for e in register(*images, affine="none", method=method).report.hypotheses}
    assert (NETWORK_ALONE in named) == (method == "auto")
