"""The robustness benchmark: what is drawn, what counts as harm, and that its page says so."""

import re

import numpy as np
import pytest

from benchmarks.robustness.cases import CHANGES, Case, changed
from benchmarks.robustness.harm import harmed, worst_tenth
from benchmarks.robustness.measure import _drawn
from benchmarks.robustness.page import write
from benchmarks.robustness.relation import Fit
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.quality.expected_error import OF_A_FIELD, Relation


def record(kind, affine, after, **more):
    return {
        "case": f"{kind} | {affine}",
        "kind": kind,
        "change": "as it is",
        "method": "ours, fast",
        "affine": affine,
        "after": after,
        **more,
    }


def test_a_draw_is_the_same_each_time_and_holds_every_kind():
    cases = [(f"{kind} | {n}", n) for kind in ("brain", "heart", "lung") for n in range(20)]
    drawn = _drawn(cases, 7)
    assert drawn == _drawn(cases, 7)
    assert len({key for key, _ in drawn}) == 7
    assert {key.split(" | ")[0] for key, _ in drawn[:3]} == {"brain", "heart", "lung"}
    assert _drawn(cases, None) == cases


def test_harm_is_worse_than_the_affine_in_any_measure():
    assert harmed(record("brain", {"dice": 0.8}, {"dice": 0.78}))
    assert not harmed(record("brain", {"dice": 0.8}, {"dice": 0.795}))
    assert harmed(record("liver", {"mm": 3.0, "mm outside": 1.0}, {"mm": 1.0, "mm outside": 1.5}))
    assert worst_tenth([1.0, 5.0, 2.0]) == 5.0


def test_the_page_tells_harm_and_where_the_guard_acted(tmp_path):
    records = [
        record("brain", {"dice": 0.6}, {"dice": 0.8}, chosen="lncc", guard_acted=False, verdict="good"),
        record("brain", {"dice": 0.5}, {"dice": 0.4}, chosen="lncc", guard_acted=False, verdict="check"),
        record("chest", {"mm": 2.0}, {"mm": 2.0}, chosen="affine", guard_acted=True, verdict="good"),
    ]
    write(records, tmp_path, "one core")
    page = (tmp_path / "robustness.md").read_text(encoding="utf-8")
    assert "Machine: one core. 3 cases." in page
    assert "| brain | Dice | ours, fast | 2 | 0.450 | 0.400 | 0.500 | 0.600 | 50.0 |" in page
    assert "guard acted on 1 results" in page
    assert "(0): 1 are the affine alignment, 0 are better than it, 0 harmed" in page


def test_a_peer_is_compared_on_the_cases_that_both_came_through(tmp_path):
    records = []
    for name, affine, own, other in (("a", 4.0, 1.0, 2.0), ("b", 6.0, 3.0, 2.5), ("c", 9.0, 8.0, None)):
        one = {"case": name, "kind": "liver", "change": "as it is", "affine": {"mm": affine}}
        records.append({**one, "method": "ours, fast", "after": {"mm": own}})
        theirs = {"error": "it fell over"} if other is None else {"after": {"mm": other}}
        records.append({**one, "method": "ConvexAdam, MIND", **theirs})
    write(records, tmp_path, "one core")
    page = (tmp_path / "robustness.md").read_text(encoding="utf-8")
    assert "On the 2 cases that both came through." in page
    assert "| liver | mm | 2 | 5.000 | 2.000 | 2.250 | 1 |" in page
    assert "* ConvexAdam, MIND on 1 case (liver): it fell over" in page


def with_known_relation(count=40):
    """Results of four kinds whose errors follow a relation, but for one in ten, which is three times as far off."""
    random, made = np.random.default_rng(0), []
    relation = Relation((-1.5, 0.25, 0.4, 0.5), 1.0)
    for n in range(4 * count):
        affine, doubt, bend = random.uniform(0.1, 6), random.uniform(0, 40), random.uniform(0.5, 10)
        error = relation.expected(affine, doubt, bend)[0] * (3.0 if n % 10 == 3 else random.uniform(0.95, 1.05))
        measured = {"affine": affine, "doubt": doubt, "bend": bend}
        true = {"mm": 2.0 * error}
        made.append(
            record(
                ("brain", "liver", "heart", "skull")[n % 4],
                true,
                true,
                case=f"{n}",
                verdict="good",
                chosen="lncc",
                points_mm=affine,
                step_mm=2.0,
                measured=measured,
                measured_still=measured,
            )
        )
    return made


def test_the_relation_of_measures_and_errors_is_found_again_whatever_a_tenth_of_them_does():
    fit = Fit(with_known_relation(), with_bend=True)
    np.testing.assert_allclose(fit.relation.powers, (-1.5, 0.25, 0.4, 0.5), atol=0.1)
    assert 1.0 < fit.relation.factor < 3.5
    assert np.mean(fit.true <= fit.bounds) == pytest.approx(0.9, abs=0.01)
    assert fit.covered().keys() == {"brain", "heart", "liver", "skull"}


def test_a_kind_is_estimated_by_what_was_fitted_without_it():
    records = with_known_relation()
    spoiled = [{**r, "after": {"mm": 50 * r["after"]["mm"]}} if r["kind"] == "liver" else r for r in records]
    own, others = (Fit(those, with_bend=True) for those in (records, spoiled))
    livers = own.kinds == "liver"
    np.testing.assert_allclose(others.expected[livers], own.expected[livers])
    assert others.covered()["liver"] < 0.7 < own.covered()["liver"]


def test_the_estimated_error_stands_against_the_true_one(tmp_path):
    write(
        [*with_known_relation(), record("liver", {"mm": 5.0}, {"mm": 5.0}, case="not measured")], tmp_path, "one core"
    )
    page = (tmp_path / "robustness.md").read_text(encoding="utf-8")
    rank = re.search(r"Fields: 160 results, rank correlation (0\.\d+); 90 % below the bound", page)
    assert rank
    assert float(rank[1]) > 0.8
    assert "Affine alignments: 160 results" in page
    assert f"in use: {', '.join(f'{c:.2f}' for c in OF_A_FIELD.powers)}, {OF_A_FIELD.factor:.2f}" in page
    assert page.index("![True against estimated error](reliability.png)") > page.index("## The estimated error")
    assert (tmp_path / "reliability.png").stat().st_size > 1000


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_the_same_for_the_same_seed_and_another_for_another(change):
    random = np.random.default_rng(0)
    images = [Image(random.random((40, 44)).astype(np.float32), Grid.from_shape((40, 44))) for _ in range(2)]
    case = Case("made", "noise", "as it is", *images)
    one, same, other = (changed(case, change, seed) for seed in (0, 0, 1))
    assert one.change == change
    for a, b in ((one.fixed, same.fixed), (one.moving, same.moving)):
        np.testing.assert_array_equal(a.array, b.array)
    if change not in ("half the view", "thick slices"):
        assert any(
            not np.array_equal(a.array, b.array) for a, b in ((one.fixed, other.fixed), (one.moving, other.moving))
        )


def test_failures_of_one_reason_are_one_line_without_places_in_memory(tmp_path):
    why = "RuntimeError: /build/itkFilter.hxx:223:\nITK ERROR: Filter(0x{:x}): too few voxels"
    failed = [
        {
            **record("heart", {"dice": 0.5}, {}, error=why.format(number)),
            "method": "greedy, NCC",
            "case": f"heart | {number}",
        }
        for number in (10, 11)
    ]
    write([record("heart", {"dice": 0.5}, {"dice": 0.6}, verdict="good"), *failed], tmp_path, "one core")
    page = (tmp_path / "robustness.md").read_text(encoding="utf-8")
    assert "* greedy, NCC on 2 cases (heart): RuntimeError: ITK ERROR: Filter: too few voxels\n" in page
