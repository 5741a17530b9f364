"""The comparison with an older commit: alternating runs, honest ratios, and nothing left behind."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.speed import measure, page
from benchmarks.speed.cases import cases
from benchmarks.worker import voxels_of
from DeepRegistrationLib import InputError


def row(who, repeat, wall, case="head", **more):
    found = {"case": case, "kind": "curve", "voxels": 1000, "who": who, "repeat": repeat, "wall": wall, "peak_gb": 1.0}
    return found | {"points": [[0.0, 0.0, 1.5 if who == "old" else 1.0]], "stages": {"affine": wall / 2}} | more


def test_ratios_are_of_runs_that_followed_each_other():
    assert page.ratios([1, 4, 1], [2, 4, 4]) == (0.5, 0.25, 1.0)
    assert all(np.isnan(page.ratios([], [])))


def test_the_page_tells_ratio_spread_stages_distance_and_curve(tmp_path):
    rows = [row("new", n, 1.0 + n) for n in (1, 2, 3)] + [row("old", n, 2 * (1.0 + n)) for n in (1, 2, 3)]
    rows += [row("peer:demons, sigma 1.5", n, 9.0, stages=None) for n in (1, 2, 3)]
    rows += [row("new", 1, 1.0, "other"), row("old", 1, float("nan"), "other", error="ValueError: no")]
    page.write(rows, tmp_path / "docs" / "speed.md", "abc1234", "3 runs")
    text = (tmp_path / "docs" / "speed.md").read_text(encoding="utf-8")
    assert "| head | 1000 | 3.00 | 6.00 | **0.50** (0.50 to 0.50) | 1.00 / 1.00 | 0.500 |" in text
    assert "| other | | ValueError: no | | | | |" in text
    affine = next(line for line in text.splitlines() if line.startswith("| head | old |"))
    assert affine.split(" | ")[3] == "3.00"
    assert affine.endswith("| 3.00 | 6.00 |")
    assert "| 1000 | head | 3.00 | 6.00 | 9.00 |" in text


def test_a_commit_that_is_not_there_is_one_sentence_and_leaves_no_tree(tmp_path):
    before = subprocess.run(["git", "worktree", "list"], cwd=measure.ROOT, capture_output=True, check=False).stdout
    with pytest.raises(InputError, match="There is no commit 0000000"), measure.older_tree("0000000"):
        pytest.fail("there is such a commit")
    after = subprocess.run(["git", "worktree", "list"], cwd=measure.ROOT, capture_output=True, check=False).stdout
    assert after == before


def test_runs_that_are_none_are_refused(tmp_path):
    with pytest.raises(InputError, match="At least one"):
        measure.run_speed(argparse.Namespace(repeats=0))


def test_the_curve_begins_with_a_thousand_voxels(tmp_path):
    first = next(iter(cases(tmp_path, quick=True, large=False, pairs=None)))
    assert voxels_of(first.fixed) == 1000
    assert first.kind == "curve"


@pytest.mark.slow
def test_both_sides_take_turns_and_agree_with_themselves(tmp_path):
    case = next(iter(cases(tmp_path, quick=True, large=False, pairs=None)))
    sides = {"new": measure.ROOT, "old": measure.ROOT, "peer:demons, sigma 1.5": measure.ROOT}
    rows = list(measure.alternate(case, sides, 2, 1, tmp_path))
    assert [(r["who"][:3], r["repeat"]) for r in rows] == [(w, n) for n in (1, 2) for w in ("new", "old", "pee")]
    assert not any("error" in r for r in rows)
    assert rows[0]["points"] == rows[1]["points"]
    stages = rows[0]["stages"]
    assert {"affine", "mirror check", "refine", "error estimate", "output"} <= set(stages)
    assert sum(stages.values()) <= rows[0]["wall"] * 1.01


def test_only_the_cases_that_are_named_are_made_and_a_wrong_name_is_said(tmp_path):
    (case,) = cases(tmp_path, quick=True, large=False, pairs=None, only=["10"])
    assert case.name == "10"
    with pytest.raises(InputError, match="There is no case 11; there are 10; 24"):
        next(cases(tmp_path, quick=True, large=False, pairs=None, only=["11"]))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts what the asking process held")
def test_memory_is_that_of_the_process_and_not_of_the_one_that_asked():
    child = "from benchmarks.memory import peak_gb; print(peak_gb())"
    asking = (
        "import subprocess, sys; held = bytearray(b'x') * 400_000_000; "
        f"print(subprocess.check_output([sys.executable, '-c', {child!r}], text=True))"
    )
    root, said = Path(measure.__file__).parents[2], {"capture_output": True, "text": True, "encoding": "utf-8"}
    printed = subprocess.run([sys.executable, "-c", asking], check=True, cwd=root, **said).stdout
    assert 0.005 < float(printed) < 0.35
