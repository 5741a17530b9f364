"""The robustness benchmark: what is drawn, what counts as harm, and that its page says so."""

import numpy as np
import pytest

from benchmarks.robustness.cases import CHANGES, Case, changed
from benchmarks.robustness.harm import harmed, worst_tenth
from benchmarks.robustness.measure import _drawn
from benchmarks.robustness.page import write
from DeepRegistrationLib.geometry.image import Grid, Image


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
    assert "guard acted on 1 results: 1 are the affine alignment, 0 are better than it, 0 harmed" in page


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
