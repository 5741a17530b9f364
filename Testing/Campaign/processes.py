"""Real processes that are ended in the middle, and what must be true afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from Testing.Campaign.outcomes import ROOT

PATIENCE = 120.0


def started(folder: Path, *command: str) -> subprocess.Popen[str]:
    """``python -m ...`` in a session of its own."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    with (folder / "out").open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=environment,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )


def ended_when(process: subprocess.Popen[str], reached: Callable[[], bool], number: int) -> bool:
    """Send the signal once a stage is reached; whether the process was still there."""
    deadline = time.monotonic() + PATIENCE
    while not reached():
        if process.poll() is not None:
            return False
        assert time.monotonic() < deadline, "the stage was never reached"
        time.sleep(0.005)
    if process.poll() is not None:
        return False
    process.send_signal(number)
    return True


def loads_torch(process: subprocess.Popen[str]) -> bool:
    """Whether our own code has begun; what Python does before is its own."""
    try:
        return "libtorch" in Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True


def session_of(number: int) -> list[int]:
    """Processes of a session that live (Linux)."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            after = (place / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if after[0] != "Z" and int(after[3]) == number:
            found.append(int(place.name))
    return found


def none_left(number: int) -> bool:
    """Whether a session is empty, after a moment for its processes to hear of their parent's end."""
    deadline = time.monotonic() + 10
    while session_of(number):
        if time.monotonic() > deadline:
            for pid in session_of(number):
                os.kill(pid, signal.SIGKILL)
            return False
        time.sleep(0.05)
    return True


def finished(folder: Path, *command: str) -> str:
    """What a command that must succeed printed."""
    process = started(folder, *command)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    return (folder / "out").read_text(encoding="utf-8")
