"""Bad and odd inputs over all commands and the API: every one ends in a sentence or a result, and harms nothing."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from Testing.Campaign import materials
from Testing.Campaign.commands import CALL, Generator
from Testing.Campaign.outcomes import ACCEPTED, FAULTS, ROOT, SENTENCE, Case, Outcome, Trier
from Testing.Campaign.training_commands import training_cases

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="pipes, links and limits of POSIX")]
EVERY = 60
"""Every so manieth case also runs as a real process."""


def all_cases(folder: Path, pairs_of_faults: int = 300) -> list[Case]:
    """Makes the materials in ``folder``."""
    good = folder / "good"
    materials.make_good(good)
    materials.make_run(good)
    bad, odd = materials.odd_images(folder / "images")
    others = [
        materials.odd_points(folder / "points"),
        materials.odd_transforms(folder / "transforms"),
        materials.odd_lists(folder / "lists"),
    ]
    return [*Generator(good, bad, odd, *others).cases(pairs_of_faults), *training_cases(good, bad, folder / "plans")]


def fresh(place: Path, number: int) -> Path:
    """An empty folder with earlier results of the names that the cases write."""
    folder = place / str(number)
    (folder / "folder.nii.gz").mkdir(parents=True)
    for name in ("T.h5", "a.nii.gz", "a.csv", "kept.txt", "m.safetensors", "m.json", "s.png", "f.json", "reports.csv"):
        (folder / name).write_bytes(b"an earlier result")
    return folder


def table(outcomes: list[Outcome]) -> str:
    """The classes by program, counted."""
    programs = sorted({outcome.case.program for outcome in outcomes})
    counted = Counter((outcome.case.program, outcome.kind) for outcome in outcomes)
    lines = [f"{'':40}" + "".join(f"{name:>22}" for name in programs) + f"{'all':>8}"]
    for kind in (SENTENCE, ACCEPTED, *FAULTS):
        numbers = [counted[name, kind] for name in programs]
        lines.append(f"{kind:40}" + "".join(f"{n:22}" for n in numbers) + f"{sum(numbers):8}")
    return "\n".join(lines)


def test_every_odd_input_is_a_sentence_or_a_result(tmp_path, capsys):
    inputs, place = tmp_path / "inputs", tmp_path / "place"
    cases = all_cases(inputs)
    outcomes = []
    trier = Trier(inputs, place)
    try:
        for number, case in enumerate(cases):
            trier.place = fresh(place, number)
            outcomes.append(trier.tried(case))
    finally:
        trier.close()
    with capsys.disabled():
        print(f"\n{table(outcomes)}")
        for outcome in outcomes:
            if outcome.kind in FAULTS:
                print(f"{outcome.kind}: {outcome.case}\n    {outcome.said[-600:]}")
    assert not [str(outcome.case) for outcome in outcomes if outcome.kind in FAULTS]
    assert len(outcomes) > 1000


def test_a_real_process_ends_as_the_function_does(tmp_path):
    cases = [case for case in all_cases(tmp_path / "inputs", 0) if case.program != CALL]
    cases = [case for case in cases if not any("\0" in argument for argument in case.arguments)][::EVERY]
    for number, case in enumerate(cases):
        command = [sys.executable, "-m", case.program, *case.arguments]
        run = subprocess.run(
            command,
            cwd=fresh(tmp_path / "place", number),
            env={"PATH": "", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=300,
        )
        said = run.stderr.strip()
        if case.refused:
            assert (run.returncode in (1, 2), len(said.splitlines())) == (True, 1), (str(case), said)
        assert "Traceback" not in said, (str(case), said)
