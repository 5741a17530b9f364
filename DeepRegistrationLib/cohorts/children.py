"""A process that registers one pair after another and stays warm between them; seen from the process that asks it."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..system import SPINS

COMMAND = (sys.executable, "-m", "DeepRegistrationLib.cohorts.child")
LOOKS_EVERY = 0.2
"""Seconds between two looks at a child's memory."""


@dataclass(frozen=True)
class Limits:
    """Of one worker: its threads, and its bytes of main memory (0: no limit)."""

    threads: int = 1
    memory: int = 0


class Died(Exception):  # noqa: N818 - not an error of ours
    """The child ended while it worked; the text says why, as a sentence."""


class Child:
    """Started with the first task, and again after it died."""

    def __init__(self, limits: Limits, command: Sequence[str] = COMMAND) -> None:
        self._limits, self._command = limits, [*command]
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.Queue[bytes] = queue.Queue()
        self._errors: Any = None
        self._lock = threading.Lock()
        self._stopped = False

    def ask(self, task: dict[str, Any], memory: int | None = None) -> dict[str, Any]:
        """The answer to a task.

        Args:
            task: plain values.
            memory: the limit for this task, in place of the worker's own.

        Raises:
            Died: if the process ended instead, or was ended as it took more memory than it may.
        """
        process = self._alive()
        limit = self._limits.memory if memory is None else memory
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(task).encode() + b"\n")
            process.stdin.flush()
        except OSError:
            pass  # it has died; its end is read below
        while True:
            try:
                line = self._answers.get(timeout=LOOKS_EVERY if limit else None)
            except queue.Empty:
                used = resident_bytes(process.pid)
                if used > limit:
                    self._end(process)
                    raise Died(
                        f"It needed more than the {limit / 1e9:.2g} GB that a worker may take; raise --memory, or "
                        "crop the images."
                    ) from None
                continue
            if not line:
                raise Died(self._end(process))
            answer: dict[str, Any] = json.loads(line)
            return answer

    def stop(self) -> None:
        """End it, from any thread; whoever waits for its answer hears that it died."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()
                self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    def _alive(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped:
                raise Died("It was stopped.")
            if self._process is not None and self._process.poll() is None:
                return self._process
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed where its end is seen
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=_environment(self._limits.threads),
                process_group=0 if os.name != "nt" else None,  # Ctrl+C is for the one that asks
            )
            self._answers = queue.Queue()
            threading.Thread(target=_read, args=(self._process, self._answers), daemon=True).start()
            return self._process

    def _end(self, process: subprocess.Popen[bytes]) -> str:
        """Why it ended."""
        process.kill()
        code = process.wait()
        self._errors.seek(0)
        lines = self._errors.read()[-2000:].decode(errors="replace").splitlines()
        self._errors.close()
        with self._lock:
            self._process = None
        if code in (-signal.SIGTERM, -9, 137, 143):
            return "It was ended from outside, most likely for lack of memory; try fewer at a time or smaller images."
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return last if code > 0 and last else f"It ended without a result (code {code})."


def _read(process: subprocess.Popen[bytes], answers: queue.Queue[bytes]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        answers.put(line)
    answers.put(b"")


def _environment(threads: int) -> dict[str, str]:
    above = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(p for p in (above, os.environ.get("PYTHONPATH", "")) if p)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
    spins = os.environ.get("GOMP_SPINCOUNT", SPINS)
    return dict(os.environ, PYTHONPATH=paths, GOMP_SPINCOUNT=spins, **dict.fromkeys(names, str(threads)))


def resident_bytes(pid: int) -> int:
    """Main memory that a process holds; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def usable_cores() -> int:
    """Of those that there are, the ones that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
