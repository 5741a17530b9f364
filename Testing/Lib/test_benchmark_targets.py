"""The table of what was asked says what the results say."""

import json

import pytest

from benchmarks import tables, targets


def result(pair: str, method: str, dice: float, wall: float, **more) -> dict:
    base = {"pair": pair, "group": "brain (T1)", "method": method, "threads": 1, "dice": dice, "wall": wall}
    return {**base, "cpu": wall, "folds": 0.0, "sdlogj": 0.5, "inverse_mm": 0.01, "peak_gb": 1.0, "voxels": 10, **more}


def reached(records: list[dict], asked: str, scaling: list[dict] | None = None) -> str:
    (found,) = [row.reached for row in targets.rows(records, scaling or []) if row.asked.startswith(asked)]
    return found


def test_every_pair_is_held_against_its_own_best_peer():
    records = [
        result("a", "ours, accurate", 0.82, 10),
        result("a", "demons, sigma 1.5", 0.80, 40),
        result("a", "elastix, B-spline", 0.70, 5),
        result("b", "ours, accurate", 0.75, 10),
        result("b", "demons, sigma 1.5", 0.70, 40),
        result("b", "elastix, B-spline", 0.76, 20),
        result("b", "before", 0.99, 0),
    ]
    text = reached(records, "1. accurate, brain (T1): ")
    assert text.startswith("+0.005 on average (-0.010 to +0.020); 1 of 2 pairs")
    assert "0.38 of its time on average, a third or less on 1" in text
    assert "settings were chosen on these pairs" in text
    assert "+0.035 over demons, sigma 1.5, the best on average" in text


def test_results_with_other_threads_are_not_compared_and_failures_are_left_out():
    records = [
        result("a", "ours, fast", 0.82, 10),
        result("a", "demons, sigma 1.5", 0.90, 40, threads=2),
        {"pair": "a", "group": "brain (T1)", "method": "elastix, B-spline", "threads": 1, "error": "it crashed"},
    ]
    assert reached(records, "2. fast, brain (T1): ") == "not measured"


def test_what_was_not_measured_is_said_to_be_so():
    assert {row.reached for row in targets.rows([])} == {"not measured", "held by tests"}


@pytest.mark.parametrize("power", [1.0, 1.3])
def test_the_exponent_is_that_of_the_cost(power):
    sizes = [
        {"method": "ours, fast", "kind": "head", "voxels": n, "wall": 1e-5 * n**power} for n in (10**5, 10**6, 10**7)
    ]
    assert reached([], "7.", sizes) == f"fast {power:.2f}"


def test_the_page_has_a_table_for_each_number_of_threads(tmp_path):
    records = [
        result("a", "ours, fast", 0.8, 10),
        result("a", "before", 0.5, 0),
        result("a", "ours, fast", 0.8, 6, threads=2),
    ]
    tables.write(json.loads(json.dumps(records)), tmp_path)
    page = (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    assert "## brain (T1)\n" in page
    assert "## brain (T1), 2 threads\n" in page
    assert page.index("## What was asked") < page.index("## brain (T1)")
    assert (tmp_path / "benchmarks.png").stat().st_size > 1000


def test_pairs_without_a_peer_have_a_table_of_their_own(tmp_path):
    records = [
        result("a", "ours, fast", 0.8, 10),
        result("a", "demons, sigma 1.5", 0.7, 50),
        result("b", "ours, fast", 0.6, 10),
    ]
    tables.write(records, tmp_path, note="Two at a time.")
    page = (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    compared, alone = page.split("This library alone")
    assert "| ours, fast | 1 | 0.800 |" in compared
    assert "| ours, fast | 2 | 0.700 ± 0.141 |" in alone
    assert "Two at a time." in compared
