"""The same through Dask, where it is installed."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from DeepRegistrationLib.cohorts.engines import OnDask
from DeepRegistrationLib.cohorts.lists import read_jobs
from DeepRegistrationLib.cohorts.run import Resources, run_batch
from DeepRegistrationLib.errors import InputError, RegistrationFailed

from .lists_of_stand_ins import COMMAND, asked, calls, listed, run_list, table

distributed = pytest.importorskip("distributed", reason="Dask is not installed")
ROOT = Path(__file__).resolve().parents[3]


def test_several_workers_are_dask_s_and_give_the_same(tmp_path):
    engine = Resources(2).engine()
    engine.stop()
    assert isinstance(engine, OnDask)
    outcomes = run_list(tmp_path, "a", "bad", "crash", "once", *(f"short{k}" for k in range(60)), workers=2)
    assert [o.status for o in outcomes[:5]] == ["done", "failed", "failed", "done", "done"]
    assert [row["status"] for row in table(tmp_path / "out")].count("done") == 62
    assert len({process for _, process, _, _ in asked(tmp_path)}) <= 2 + 3  # as many as there are, and for the dead


@pytest.mark.slow
def test_a_running_scheduler_whose_workers_are_killed(tmp_path):
    names = [f"short{k}" for k in range(40)]
    jobs = read_jobs(listed(tmp_path, *names))
    killed = []

    def kill(done, _count, _outcome):
        if done in (5, 15):
            nanny = [*cluster.workers.values()][len(killed) % 2]
            killed.append(nanny.pid)
            nanny.process.process._process.kill()

    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as cluster:
        resources = Resources(scheduler=cluster.scheduler_address, command=COMMAND)
        outcomes = run_batch(jobs, tmp_path / "out", outputs=["transform"], resources=resources, told=kill)
    assert len(killed) == 2
    assert [o.status for o in outcomes if o.status not in ("done", "skipped")] == []
    assert {*calls(tmp_path)} == {*names}


@pytest.mark.slow
def test_a_scheduler_that_is_lost_loses_nothing(tmp_path):
    jobs = read_jobs(listed(tmp_path, *(f"short{k}" for k in range(60))))
    file = tmp_path / "scheduler.json"
    code = "from distributed import Scheduler; import asyncio, sys\n"
    code += "async def go():\n async with Scheduler(host='127.0.0.1', port=0, dashboard_address='127.0.0.1:0',"
    code += " scheduler_file=sys.argv[1]) as s: await s.finished()\nasyncio.run(go())"
    command = [sys.executable, "-c", code, str(file)]
    scheduler = subprocess.Popen(command)
    for _ in range(300):
        if file.is_file() and file.stat().st_size:
            break
        time.sleep(0.1)
    code = "from distributed import Worker; import asyncio, sys\n"
    code += "async def go():\n async with Worker(scheduler_file=sys.argv[1], nthreads=2,"
    code += " dashboard_address='127.0.0.1:0') as w: await w.finished()\nasyncio.run(go())"
    worker = subprocess.Popen([sys.executable, "-c", code, str(file)], cwd=ROOT)

    def lose(done, _count, _outcome):
        if done == 10:
            scheduler.kill()

    try:
        with pytest.raises(RegistrationFailed, match="run the same again"):
            run_batch(
                jobs,
                tmp_path / "out",
                outputs=["transform"],
                resources=Resources(scheduler=str(file), command=COMMAND),
                told=lose,
            )
    finally:
        scheduler.kill()
        worker.kill()
        scheduler.wait()
        worker.wait()
    outcomes = run_list(tmp_path, *(f"short{k}" for k in range(60)), workers=2)
    assert {o.status for o in outcomes} == {"done", "skipped"}
    assert len([o for o in outcomes if o.status == "skipped"]) >= 10
    assert len(calls(tmp_path)) < 70  # those that the worker was at


def test_a_scheduler_that_does_not_answer_is_one_sentence(tmp_path):
    jobs = read_jobs(listed(tmp_path, "a"))
    for address in ("nonsense", "tcp://127.0.0.1:0x", "xyz://a"):
        with pytest.raises(InputError, match="does not answer"):
            run_batch(jobs, tmp_path / "out", resources=Resources(scheduler=address))
    assert not (tmp_path / "out").exists()
