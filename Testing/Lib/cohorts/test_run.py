"""Many pairs: resumed by content, by warm workers, and one that fails or dies stops no other."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest

from DeepRegistrationLib.cohorts.children import usable_cores
from DeepRegistrationLib.cohorts.claims import Claim
from DeepRegistrationLib.cohorts.ledger import OWN, collect
from DeepRegistrationLib.cohorts.lists import read_jobs
from DeepRegistrationLib.cohorts.run import Resources
from DeepRegistrationLib.errors import InputError, NotWritten, RegistrationFailed
from DeepRegistrationLib.settings import Settings

from ..files.full_disk import small_disk
from .lists_of_stand_ins import asked, calls, listed, run, run_list, table

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def without_dask(monkeypatch):
    monkeypatch.setenv("DEEP_REGISTRATION_WITHOUT_DASK", "1")


def states(outcomes):
    return [outcome.status for outcome in outcomes]


def test_one_that_fails_or_crashes_stops_no_other(tmp_path):
    told = []
    outcomes = run_list(tmp_path, "a", "bad", "crash", "b", told=lambda *x: told.append(x[:2]))
    assert states(outcomes) == ["done", "failed", "failed", "done"]
    assert outcomes[1].sentence == "The fixed image cannot be read."
    assert "lack of memory" in outcomes[2].sentence
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    rows = table(tmp_path / "out")
    assert [row["name"] for row in rows] == ["a_m", "bad_m", "crash_m", "b_m"]
    assert rows[0]["verdict"] == "good"
    assert rows[0]["similarity_after"] == "0.5"
    assert rows[1]["reasons"] == "The fixed image cannot be read."


def test_a_worker_stays_warm_and_a_pair_that_killed_it_is_tried_once_more_alone(tmp_path):
    outcomes = run_list(tmp_path, "a", "once", "b", "c", "crash")
    assert states(outcomes) == ["done", "done", "done", "done", "failed"]
    found = {}
    for name, process, _, alone in asked(tmp_path):
        found.setdefault(name, []).append((process, alone))
    assert found["a"][0][0] == found["once"][0][0]
    assert found["b"][0][0] == found["c"][0][0] != found["a"][0][0]
    assert [alone for _, alone in found["once"]] == ["False", "True"]
    assert [alone for _, alone in found["crash"]] == ["False", "True"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory is not watched")
def test_a_worker_that_takes_too_much_memory_is_ended_and_its_pair_tried_without_a_limit(tmp_path):
    outcomes = run_list(tmp_path, "a", "large", memory=200_000_000)
    assert states(outcomes) == ["done", "done"]
    assert calls(tmp_path) == ["a", "large", "large"]


def test_what_is_done_is_not_done_again_unless_the_settings_or_files_changed(tmp_path):
    jobs, out = read_jobs(listed(tmp_path, "a", "bad", "b")), tmp_path / "out"
    run(jobs, out)
    assert states(run(jobs, out)) == ["skipped", "failed", "skipped"]
    assert calls(tmp_path) == ["a", "bad", "b", "bad"]
    assert table(out)[0]["verdict"] == "good"  # also of those that were skipped
    (out / "b_m" / "transform.h5").unlink()
    assert states(run(jobs, out))[2] == "done"
    assert states(run(jobs, out, settings=Settings(smoothness=2.0))) == ["done", "failed", "done"]
    assert states(run(jobs, out, settings=Settings(smoothness=2.0), weights={"x": "1"})) == ["done", "failed", "done"]
    again = run(jobs, out, settings=Settings(smoothness=2.0, untrained=True), weights={"x": "1"})
    assert states(again) == ["done", "failed", "done"]
    assert '"untrained": true' in (out / "a_m" / "transform.h5").read_text(encoding="utf-8")


def test_an_input_that_was_replaced_is_done_again_and_one_that_was_only_touched_is_not(tmp_path):
    jobs, out = read_jobs(listed(tmp_path, "a", "b")), tmp_path / "out"
    run(jobs, out)
    before = (tmp_path / "a.nrrd").stat()
    (tmp_path / "a.nrrd").write_text("z", encoding="utf-8")  # as long, and it says that it is as old
    os.utime(tmp_path / "a.nrrd", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.utime(tmp_path / "b.nrrd")
    assert states(run(jobs, out)) == ["done", "skipped"]
    (tmp_path / "m.nrrd").write_text("another", encoding="utf-8")
    assert states(run(jobs, out)) == ["done", "done"]


def test_the_voxels_beside_a_header_and_the_files_of_a_folder_are_its_content(tmp_path):
    (tmp_path / "f.mhd").write_text("ElementType = MET_UCHAR\nElementDataFile = other.bin\n", encoding="utf-8")
    (tmp_path / "dicom").mkdir()
    for path in (tmp_path / "other.bin", tmp_path / "dicom" / "1.dcm"):
        path.write_text("1", encoding="utf-8")
    (tmp_path / "l.csv").write_text("fixed,moving\nf.mhd,dicom\n", encoding="utf-8")
    jobs, out = read_jobs(tmp_path / "l.csv"), tmp_path / "out"
    assert states(run(jobs, out)) == ["done"]
    assert states(run(jobs, out)) == ["skipped"]
    for path in (tmp_path / "other.bin", tmp_path / "dicom" / "1.dcm"):
        path.write_text("2", encoding="utf-8")
        assert states(run(jobs, out)) == ["done"]
        assert states(run(jobs, out)) == ["skipped"]


@pytest.mark.parametrize("harm", ["cut", "other", "empty report"])
def test_a_damaged_result_does_not_count_as_done(tmp_path, harm):
    jobs, out = read_jobs(listed(tmp_path, "a")), tmp_path / "out"
    run(jobs, out)
    path = out / "a_m" / ("report.json" if harm == "empty report" else "transform.h5")
    good = path.read_bytes()
    path.write_bytes({"cut": good[:-10], "other": b"x" * len(good), "empty report": b""}[harm])
    assert states(run(jobs, out)) == ["done"]
    assert path.read_bytes() == good


def test_the_result_of_another_input_does_not_stay_where_the_new_one_fails(tmp_path):
    jobs, out = read_jobs(listed(tmp_path, "a")), tmp_path / "out"
    run(jobs, out)
    (tmp_path / "bad.nrrd").write_text("bad", encoding="utf-8")
    (tmp_path / "list.json").write_text(
        json.dumps([{"name": "a_m", "fixed": "bad.nrrd", "moving": "m.nrrd"}]), encoding="utf-8"
    )
    assert states(run(read_jobs(tmp_path / "list.json"), out)) == ["failed"]
    assert [*(out / "a_m").iterdir()] == []


def test_an_earlier_result_stays_where_the_disk_is_full(tmp_path):
    out = tmp_path / "out"
    run(read_jobs(listed(tmp_path, "a")), out)
    before = {path.name: path.read_bytes() for path in (out / "a_m").iterdir() if path.name != "done.json"}
    (tmp_path / "full.nrrd").write_text("full", encoding="utf-8")
    for fixed, ends in (("full", pytest.raises(NotWritten, match="0 of 1 pairs done")), ("a", nullcontext())):
        entry = {"name": "a_m", "fixed": f"{fixed}.nrrd", "moving": "m.nrrd"}
        (tmp_path / "list.json").write_text(json.dumps([entry]), encoding="utf-8")
        with ends:
            assert states(run(read_jobs(tmp_path / "list.json"), out)) == ["done"]
        after = {path.name: path.read_bytes() for path in (out / "a_m").iterdir() if path.name != "done.json"}
        assert after == before


def test_several_at_a_time_give_the_same_table_and_share_the_cores(tmp_path):
    run_list(tmp_path, *"abcdef", workers=3)
    assert [row["name"][0] for row in table(tmp_path / "out")] == list("abcdef")
    assert {threads for _, _, threads, _ in asked(tmp_path)} == {str(max(1, usable_cores() // 3))}


def test_an_interrupt_ends_the_workers_and_keeps_what_is_finished(tmp_path):
    def interrupt(done, _count, _outcome):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_list(tmp_path, "a", "slow", "b", told=interrupt)
    assert table(tmp_path / "out")[0]["name"] == "a_m"
    assert table(tmp_path / "out")[2]["status"] == "not done"
    assert "b" not in calls(tmp_path)


@pytest.mark.parametrize("moved", [True, False])
def test_a_folder_that_is_gone_is_said_to_be_and_ends_the_run(tmp_path, moved):
    names = [f"short{k}" for k in range(8)]

    def remove(done, _count, _outcome):
        if done == 1 and moved:
            (tmp_path / "out").rename(tmp_path / "elsewhere")
        elif done == 1:
            shutil.rmtree(tmp_path / "out" / OWN)

    with pytest.raises(RegistrationFailed, match=r"out was removed or moved during the work; run the same command"):
        run_list(tmp_path, *names, told=remove)
    assert names[-1] not in calls(tmp_path)
    assert {*states(run_list(tmp_path, *names))} <= {"done", "skipped"}


def test_nothing_more_is_begun_where_a_pair_found_no_room(tmp_path):
    names = [f"a{k}" for k in range(3)] + ["full"] + [f"b{k}" for k in range(20)]
    told = []
    sentence = r"The disk is full, .*out ended with 3 of 24 pairs done; make room and run the same command again"
    with pytest.raises(NotWritten, match=sentence):
        run_list(tmp_path, *names, told=lambda *x: told.append(x[2].status))
    assert told == ["done", "done", "done", "failed"]
    assert calls(tmp_path) in (names[:4], names[:5])  # the next one was asked for beside it
    assert [row["status"] for row in table(tmp_path / "out")][:5] == [*told, "not done"]
    (tmp_path / "full.nrrd").rename(tmp_path / "c.nrrd")
    entries = [{"name": f"{name}_m", "fixed": f"{name}.nrrd", "moving": "m.nrrd"} for name in names]
    entries[3]["fixed"] = "c.nrrd"
    (tmp_path / "list.json").write_text(json.dumps(entries), encoding="utf-8")
    again = states(run(read_jobs(tmp_path / "list.json"), tmp_path / "out"))
    assert again[:4] == ["skipped", "skipped", "skipped", "done"]
    assert "failed" not in again


def test_a_disk_that_fills_up_during_the_work_is_said_and_what_is_done_stays(tmp_path):
    jobs = read_jobs(listed(tmp_path, "a", "b"))
    with small_disk(tmp_path / "disk", 200) as disk:

        def fill(_done, _count, _outcome):
            with suppress(OSError), (disk / "more").open("wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass

        with pytest.raises(NotWritten, match=r"(The disk is full|No space left on device).*; .*make room"):
            run(jobs, disk / "out", told=fill)
        (disk / "more").unlink()
        again = states(run(jobs, disk / "out"))
        assert "skipped" in again  # whichever was first; the other one may have been done beside it
        assert {*again} <= {"skipped", "done"}


def test_a_folder_that_cannot_be_written_to_is_said_rightly(tmp_path):
    jobs, out = read_jobs(listed(tmp_path, "a")), tmp_path / "out"
    run(jobs, out)
    place = next((out / OWN / "lists").iterdir())
    place.unlink()
    place.mkdir()
    with pytest.raises(InputError, match="it is a folder"):
        run(jobs, out)
    shutil.rmtree(out)
    out.write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=r"The folder .*out cannot be written: Not a directory; choose another one"):
        run(jobs, out)


def test_runs_and_shards_on_one_folder_lose_nothing_and_do_nothing_twice(tmp_path):
    names = [f"short{k}" for k in range(20)]
    jobs, out = read_jobs(listed(tmp_path, *names)), tmp_path / "out"
    shards = [(1, 1), (1, 1), (1, 3), (2, 3), (3, 3)]
    found = {}
    threads = [
        threading.Thread(target=lambda k=k, s=s: found.update({k: run(jobs, out, shard=s)}))
        for k, s in enumerate(shards)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(found[k]) for k in range(5)] == [20, 20, 7, 7, 6]
    assert {s for outcomes in found.values() for s in states(outcomes)} <= {"done", "skipped"}
    assert sorted(calls(tmp_path)) == sorted(names)
    assert [row["verdict"] for row in table(out)] == ["good"] * 20


def test_a_pair_in_the_work_of_another_run_is_waited_for(tmp_path):
    jobs, out = read_jobs(listed(tmp_path, "a", "b")), tmp_path / "out"
    (out / "a_m").mkdir(parents=True)
    claim = Claim(out / "a_m")
    assert claim.take()
    threading.Timer(1.0, claim.release).start()
    assert states(run(jobs, out)) == ["done", "done"]
    assert calls(tmp_path) == ["b", "a"]


def test_a_line_cut_by_a_kill_and_a_folder_without_results(tmp_path):
    run_list(tmp_path, "a", "b")
    rows = next((tmp_path / "out" / OWN / "rows").iterdir())
    rows.write_text(rows.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    assert [row["status"] for row in collect(tmp_path / "out")] == ["done", "not done"]
    with pytest.raises(InputError, match="no results of batch"):
        collect(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
@pytest.mark.skipif(os.name == "nt", reason="its signals are others")
def test_a_child_ends_with_the_process_that_asked_it(tmp_path, number):
    heard = "" if number == signal.SIGKILL else f"signal.signal({int(number)}, signal.SIG_DFL); "  # nohup's are deaf
    code = (
        f"import signal, sys; {heard}from DeepRegistrationLib.cohorts.children import Child, Limits\n"
        "child = Child(Limits()); child._alive(); print(child.pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True, cwd=ROOT, encoding="utf-8")
    child = int(parent.stdout.readline())
    parent.send_signal(number)
    parent.wait(60)
    for _ in range(200):
        if not is_running(child):
            break
        time.sleep(0.1)
    parent.stdin.close()
    parent.stdout.close()
    assert not is_running(child)


def is_running(process):
    try:
        os.kill(process, 0)
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return False


@pytest.mark.parametrize("values", [{"workers": -5}, {"workers": 0}, {"threads": -1}, {"workers": 10**9}])
def test_numbers_of_workers_that_cannot_be(values):
    with pytest.raises(InputError, match="number from"):
        Resources(**values)


def test_displacements_are_named_as_the_challenge_wants_them(tmp_path):
    outcomes = run_list(tmp_path, "a_0001_0000", "b", outputs=["displacement"])
    assert states(outcomes) == ["done", "done"]
    (tmp_path / "x_0002.nrrd").write_text("x", encoding="utf-8")
    pairs = [{"fixed": "a_0001_0000.nrrd", "moving": "x_0002.nrrd", "name": name} for name in ("one", "two")]
    (tmp_path / "list.json").write_text(json.dumps(pairs[:1]), encoding="utf-8")
    run(read_jobs(tmp_path / "list.json"), tmp_path / "out", outputs=["displacement"])
    (tmp_path / "list.json").write_text(json.dumps(pairs), encoding="utf-8")
    with pytest.raises(InputError, match="Two pairs"):
        run(read_jobs(tmp_path / "list.json"), tmp_path / "out", outputs=["displacement"])
    assert (tmp_path / "out" / "b_m" / "disp.nii.gz").is_file()
    assert (tmp_path / "out" / "learn2reg" / "disp_0001_0002.nii.gz").is_file()
