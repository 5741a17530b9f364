"""How a case ended, by class; and the process that tries the cases, ended where one hangs."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import re
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SENTENCE, ACCEPTED = "one clear sentence", "rightly accepted"
FAULTS = (
    "traceback",
    "failed unexpectedly",
    "sentence after library noise",
    "hang",
    "crash",
    "beyond memory",
    "damaged an input or an earlier output",
    "silently accepted",
    "no sentence",
)
SECONDS = 120.0
"""Far beyond what any of the small cases takes, also on a busy machine."""
_NOISE = re.compile(r"HDF5-DIAG|WARNING: In |Warning:|itk::|ERROR: In |nifti_|File \"", re.IGNORECASE)


@dataclass(frozen=True)
class Case:
    """One thing to try.

    Attributes:
        program: "DeepRegistrationLib", "Training" (their ``main``), or "register()".
        arguments: of the command, or the keywords of ``register`` by the name of a value.
        about: what is wrong or odd, for the table of what went wrong.
        refused: whether it must be refused; None: either is right.
    """

    program: str
    arguments: Any
    about: str
    refused: bool | None = True

    def __str__(self) -> str:
        return f"{self.program} {self.about}"


@dataclass
class Outcome:
    kind: str
    said: str = ""
    case: Case | None = field(default=None)


class Trier:
    """Tries cases in a process of its own, each in an empty folder that holds earlier outputs."""

    def __init__(self, inputs: Path, place: Path) -> None:
        self.inputs, self.place = inputs, place
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()

    def tried(self, case: Case) -> Outcome:
        """The class of what came of it."""
        before, earlier = contents(self.inputs), contents(self.place)
        answer = self._answer(case)
        if isinstance(answer, str):
            return Outcome(answer, case=case)
        kind = judged(answer, case.refused)
        if contents(self.inputs) != before or (kind != ACCEPTED and not _still_there(earlier, contents(self.place))):
            kind = FAULTS[6]
        return Outcome(kind, answer["err"].strip(), case)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answer(self, case: Case) -> dict[str, Any] | str:
        process = self._alive()
        assert process.stdin is not None
        task = {"program": case.program, "arguments": case.arguments, "folder": str(self.place)}
        process.stdin.write(json.dumps(task) + "\n")
        process.stdin.flush()
        try:
            line = self._lines.get(timeout=SECONDS)
        except queue.Empty:
            self.close()
            return "hang"
        if not line:
            self.close()
            return "crash"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _alive(self) -> subprocess.Popen[str]:
        if self._process is None:
            command = [sys.executable, "-m", "Testing.Campaign.worker"]
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
            self._process = subprocess.Popen(
                command, cwd=self.place, env=environment, text=True, encoding="utf-8", **pipes
            )
            self._lines = queue.Queue()
            threading.Thread(target=_read, args=(self._process, self._lines), daemon=True).start()
        return self._process


def _read(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put("")


def judged(answer: dict[str, Any], refused: bool | None) -> str:
    """The class by exit code and what was printed."""
    code, said = answer["code"], answer["err"].strip()
    if "Traceback" in said:
        return "traceback"
    if "unexpectedly" in said or "unexpectedly" in answer["out"]:
        return "failed unexpectedly"
    if "not enough memory" in said:
        return "beyond memory"
    if _NOISE.search(said):
        return "sentence after library noise"
    if code == 0:
        return "silently accepted" if refused else ACCEPTED
    lines = said.splitlines()
    if code not in (1, 2) or not lines or not lines[-1].endswith((".", ")")) or len(said) > 1500:
        return "no sentence"
    if len(lines) > 1 and not all(line.endswith(".") or ": " in line for line in lines):
        return "sentence after library noise"
    return SENTENCE


def contents(folder: Path) -> dict[str, str]:
    """A hash of every file by its place."""
    found = {}
    for above, _, names in os.walk(folder):
        for name in names:
            path = Path(above, name)
            if path.is_file() and not path.is_symlink():
                found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _still_there(earlier: dict[str, str], now: dict[str, str]) -> bool:
    return all(now.get(name) == digest for name, digest in earlier.items())
