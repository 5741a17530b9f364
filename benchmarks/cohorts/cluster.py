"""A Dask cluster of real processes on this machine, to be harmed: each can be killed and is started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from DeepRegistrationLib.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
DASK = (sys.executable, "-m", "dask")


def environment() -> dict[str, str]:
    """This one's, with one thread, and this checkout first."""
    return dict(
        os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1", DASK_DISTRIBUTED__LOGGING__DISTRIBUTED="critical"
    )


def batch(list_path: Path, folder: Path, *more: str) -> subprocess.Popen[bytes]:
    """The command ``batch``, in a session of its own; what it says is in ``folder``.txt."""
    command = [sys.executable, "-m", "DeepRegistrationLib", "batch", str(list_path), "--output", str(folder), *more]
    with folder.with_suffix(".txt").open("ab") as said:
        return subprocess.Popen(command, env=environment(), stdout=said, stderr=said, start_new_session=True)


def timed(command: Sequence[str], more: Mapping[str, str] = {}, cwd: Path = ROOT) -> tuple[float, float]:
    """Wall and processor seconds of a command, with all that it started and waited for; ``more``: of its environment.

    Raises:
        InputError: if it failed, with the end of what it said.
    """
    start = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=cwd, env=environment() | more, stdout=said, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        said.seek(0)
        if status:
            raise InputError(f"It failed: {' '.join(command)}: {said.read()[-500:].decode(errors='replace')}")
    return time.monotonic() - start, used.ru_utime + used.ru_stime


class Cluster:
    """One scheduler and some workers, each with a nanny; a watcher starts again what has ended."""

    def __init__(self, folder: Path, workers: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "scheduler.json"
        self._log = (folder / "cluster.txt").open("ab")
        self._workers: list[subprocess.Popen[bytes] | None] = [None] * workers
        self._space = folder / "dask"
        self._start_scheduler()
        self._open = True
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _run(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*DASK, *arguments], cwd=ROOT, env=environment(), stdout=self._log, stderr=self._log, start_new_session=True
        )

    def _start_scheduler(self) -> None:
        self.file.unlink(missing_ok=True)
        self.scheduler = self._run(
            *("scheduler", "--scheduler-file", str(self.file), "--host", "127.0.0.1", "--port", "0"),
            *("--no-dashboard", "--dashboard-address", "127.0.0.1:0", "--no-jupyter"),
        )
        while not self.file.is_file() or not self.file.stat().st_size:
            if self.scheduler.poll() is not None:
                raise RuntimeError("The scheduler did not start; see cluster.txt.")
            time.sleep(0.1)

    def _watch(self) -> None:
        """As a batch system does: a worker that ended is started again, and so are all when the scheduler is new."""
        while self._open:
            for k, worker in enumerate(self._workers):
                if worker is None or worker.poll() is not None:
                    self._workers[k] = self._run(
                        *("worker", "--scheduler-file", str(self.file), "--nthreads", "1", "--nworkers", "1"),
                        *(
                            "--no-dashboard",
                            "--dashboard-address",
                            "127.0.0.1:0",
                            "--local-directory",
                            str(self._space),
                        ),
                        *("--death-timeout", "60"),
                    )
            time.sleep(0.5)

    def kill_a_worker(self, number: int) -> bool:
        """``kill -9`` of the process that runs tasks, below its nanny; whether there was one."""
        nanny = self._workers[number % len(self._workers)]
        if nanny is None:
            return False
        for process in _family(nanny.pid)[1:]:
            if "spawn_main" in " ".join(_words(process)):
                process.send_signal(signal.SIGKILL)
                return True
        return False

    def restart_scheduler(self) -> None:
        self.scheduler.kill()
        self.scheduler.wait()
        self._start_scheduler()
        for worker in self._workers:  # theirs is gone
            if worker is not None:
                _end(worker.pid)

    def memory(self) -> dict[str, int]:
        """Resident bytes of the scheduler, and of all workers with what they started."""
        return {
            "scheduler": resident(self.scheduler.pid, alone=True),
            "workers": sum(resident(w.pid) for w in self._workers if w is not None),
        }

    def stop(self) -> None:
        self._open = False
        self._thread.join()
        for process in (*self._workers, self.scheduler):
            if process is not None:
                _end(process.pid)
                process.wait()
        self._log.close()


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _end(pid: int) -> None:
    for process in _family(pid):
        try:
            process.kill()
        except psutil.Error:
            continue


def end(process: subprocess.Popen[bytes]) -> None:
    """``kill -9`` of a command alone: what it started has to see that itself."""
    process.send_signal(signal.SIGKILL)
    process.wait()


def resident(pid: int, alone: bool = False) -> int:
    """Bytes of main memory of a process and what it started."""
    total = 0
    for process in _family(pid)[: 1 if alone else None]:
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue
    return total
