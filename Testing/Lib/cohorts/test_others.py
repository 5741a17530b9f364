"""Runs of other settings on one folder: refused while they work there, said where they left results."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from DeepRegistrationLib.cohorts import others
from DeepRegistrationLib.cohorts.ledger import OWN
from DeepRegistrationLib.cohorts.lists import read_jobs
from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.settings import Settings

from .lists_of_stand_ins import calls, listed, run

ROOT = Path(__file__).resolve().parents[3]
STIFFER = Settings(smoothness=2.0)


@pytest.fixture(autouse=True)
def without_dask(monkeypatch):
    monkeypatch.setenv("DEEP_REGISTRATION_WITHOUT_DASK", "1")


def while_running(jobs, out, check, **options):
    """``check`` while a run works on ``out``; what the run came to."""
    found = []
    thread = threading.Thread(target=lambda: found.append(run(jobs, out, **options)))
    thread.start()
    try:
        while not [*out.glob(f"{OWN}/rows/*.jsonl")]:  # made once it has looked whether it is alone
            time.sleep(0.005)
        check()
    finally:
        thread.join()
    return found[0]


def test_a_run_of_other_settings_is_refused_while_one_works_there(tmp_path):
    jobs, out = read_jobs(listed(tmp_path, *(f"short{k}" for k in range(20)))), tmp_path / "out"

    def check():
        with pytest.raises(InputError, match=r"works in .*out now with other settings \(smoothness 1.0, now 2.0\)"):
            run(jobs, out, settings=STIFFER)
        with pytest.raises(InputError, match="other weights of the models"):
            run(jobs[:3], out, weights={"a": "1"}, list_path="another")
        assert len(run(jobs, out)) == 20  # of the same settings: they share the work

    outcomes = while_running(jobs, out, check)
    assert {outcome.status for outcome in outcomes} <= {"done", "skipped"}
    assert len(calls(tmp_path)) == 20
    assert [*(out / OWN / "running").iterdir()] == []
    assert [o.status for o in run(jobs, out, settings=STIFFER)] == ["done"] * 20


def test_other_pairs_in_the_same_folder_may_have_other_settings(tmp_path):
    jobs, out = read_jobs(listed(tmp_path, *(f"short{k}" for k in range(20)))), tmp_path / "out"
    more = read_jobs(listed(tmp_path, "a"))
    check = lambda: run(more, out, settings=STIFFER, list_path="another")  # noqa: E731
    assert len(while_running(jobs, out, check)) == 20


def test_a_run_that_was_killed_is_in_nobodys_way(tmp_path):
    jobs, out = read_jobs(listed(tmp_path, "a")), tmp_path / "out"
    code = (
        "import os; from pathlib import Path; from DeepRegistrationLib.cohorts.others import Presence; "
        f"Presence(Path({str(out / OWN / 'running')!r}), '1', {{'settings': {{'smoothness': 9.0}}}}, "
        "'e3b0c44298fc1c14'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert (out / OWN / "running" / "1" / "run.json").exists()
    assert [o.status for o in run(jobs, out)] == ["done"]


def test_results_of_other_settings_are_made_again_and_that_is_said_once(tmp_path):
    jobs, out, said = read_jobs(listed(tmp_path, "bad", "a", "b")), tmp_path / "out", []
    for settings, count in ((None, 0), (None, 0), (STIFFER, 1), (STIFFER, 1)):
        run(jobs, out, settings=settings, note=said.append)
        assert len(said) == count
    assert "(smoothness 1.0, now 2.0); they are made again and replaced" in said[0]
    done = out / "a_m" / "done.json"
    old = json.loads(done.read_text(encoding="utf-8"))
    old["recipe"]["version"] = "0.0.1"
    done.write_text(json.dumps(old), encoding="utf-8")
    run(jobs, out, settings=STIFFER, note=said.append)
    assert "version 0.0.1, now " in said[1]


def test_a_run_that_shares_no_work_is_alone_in_its_folder_and_leaves_nothing_empty(tmp_path):
    out = tmp_path / "more" / "out"
    with others.alone_in(out, "template"):
        with pytest.raises(InputError, match=r"Another run works in .*out now.* or give template another folder"):
            run_alone(out)
        (out / "made").touch()
    run_alone(out)
    assert [path.name for path in out.iterdir()] == ["made"]
    run_alone(tmp_path / "other" / "out")
    assert not (tmp_path / "other").exists()
    with pytest.raises(InputError, match=r"The folder .*made cannot be written: .*; choose another one"):
        run_alone(out / "made")


def run_alone(folder):
    with others.alone_in(folder, "template"):
        assert folder.is_dir()


@pytest.mark.parametrize("before", [None, [], {}, "x"])
def test_a_damaged_note_of_an_earlier_run_says_nothing(before):
    assert others.other_than(before, {"version": "1", "settings": {}, "weights": {}}) == ""
