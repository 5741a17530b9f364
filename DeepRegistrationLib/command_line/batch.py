"""Many pairs, each in a process of its own: one that fails, even by a crash, stops no other; a second run goes on.

A list is JSON or CSV. Each entry has ``fixed`` and ``moving`` and may have ``name``, ``fixed_mask``, ``moving_mask``,
``fixed_points``, ``moving_points``, ``fixed_labels``, ``moving_labels`` and ``initial_transform``: paths, relative to
the list. JSON is a list of such entries, or a Learn2Reg file whose ``registration_val``, ``registration_test`` or
``pairs`` is one.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from ..errors import InputError
from ..geometry.image import PathLike

EXTRAS = (
    "fixed_mask",
    "moving_mask",
    "fixed_points",
    "moving_points",
    "fixed_labels",
    "moving_labels",
    "initial_transform",
)
LISTS = ("pairs", "registration_val", "registration_test")
OUTPUTS = {
    "transform": "transform.h5",
    "volume": "warped.nii.gz",
    "inverse": "inverse.h5",
    "jacobian": "jacobian.nii.gz",
    "doubt": "doubt.nii.gz",
}
COLUMNS = (
    "similarity_before",
    "similarity_after",
    "doubt_percent",
    "folding_percent",
    "log_jacobian_sd",
    "mean_displacement_mm",
    "max_displacement_mm",
    "inverse_error_mm",
    "total_seconds",
    "method",
    "refine",
    "affine",
    "device",
    "model_hash",
)
DONE, TABLE = "done.json", "reports.csv"
IMAGE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".mgz", ".mgh", ".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Job:
    """One pair; ``options`` are the extra files of ``EXTRAS`` that it has."""

    name: str
    fixed: Path
    moving: Path
    options: dict[str, Path] = field(default_factory=dict)

    def arguments(self) -> list[str]:
        """For the command ``register``."""
        found = [str(self.fixed), str(self.moving)]
        for name, path in self.options.items():
            found += [f"--{name.replace('_', '-')}", str(path)]
        return found


@dataclass(frozen=True)
class Outcome:
    """How one pair went: "done", "skipped" (done by an earlier run) or "failed" with the sentence that says why."""

    job: Job
    status: str
    report: dict[str, Any] = field(default_factory=dict)
    sentence: str = ""


def read_jobs(path: PathLike) -> list[Job]:
    """The pairs of a list.

    Raises:
        InputError: if it cannot be read, is empty, or an entry lacks an image.
    """
    source = Path(path)
    try:
        text = source.read_text(encoding="utf-8-sig")
        entries: Any = list(csv.DictReader(text.splitlines())) if source.suffix.lower() == ".csv" else json.loads(text)
    except OSError as error:
        raise InputError(f"The list {source} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InputError(f"The list {source} is not valid JSON ({error}); see the command batch --help.") from error
    if isinstance(entries, dict):
        entries = next((entries[key] for key in LISTS if entries.get(key)), None)
    if not isinstance(entries, list) or not entries:
        raise InputError(f"The list {source} has no pairs; it needs entries with fixed and moving.")
    jobs: list[Job] = []
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict) or not entry.get("fixed") or not entry.get("moving"):
            raise InputError(f"Entry {number} of {source} needs fixed and moving, the paths of two images.")
        fixed, moving = (source.parent / str(entry[side]) for side in ("fixed", "moving"))
        name = str(entry.get("name") or f"{_stem(fixed)}_{_stem(moving)}")
        if Path(name).name != name or name in (".", ".."):
            raise InputError(f"The name {name!r} in {source} cannot be a folder's name; use letters and digits.")
        if any(job.name == name for job in jobs):
            raise InputError(f"Two pairs of {source} are called {name}; give each a name of its own.")
        options = {key: source.parent / str(entry[key]) for key in EXTRAS if entry.get(key)}
        jobs.append(Job(name, fixed, moving, options))
    return jobs


def _stem(path: Path) -> str:
    name = path.name
    ending = next((e for e in IMAGE_ENDINGS if name.lower().endswith(e)), path.suffix)
    return name[: len(name) - len(ending)] if ending else name


def run_batch(
    jobs: Sequence[Job],
    folder: PathLike,
    options: Sequence[str] = (),
    outputs: Sequence[str] = ("transform", "volume"),
    workers: int = 1,
    told: Callable[[int, int, Outcome], None] | None = None,
    command: Sequence[str] = (sys.executable, "-m", "DeepRegistrationLib"),
) -> list[Outcome]:
    """Register every pair into a folder of its name, and keep ``reports.csv`` up to date.

    Args:
        jobs: the pairs.
        folder: where the results go.
        options: further arguments of the command ``register``, the same for all.
        outputs: of ``OUTPUTS``, what to keep besides the report.
        workers: so many at a time; each needs memory of its own.
        told: called with how many are done, how many there are, and the last one.
        command: what runs the library; tests replace it.

    Returns:
        One outcome a pair, in the order of ``jobs``.

    Raises:
        InputError: if the folder cannot be written or an output is unknown.
    """
    unknown = [name for name in outputs if name not in OUTPUTS]
    if unknown or not outputs:
        raise InputError(f"The outputs can be {', '.join(OUTPUTS)}, not {', '.join(unknown) or 'nothing'}.")
    target = Path(folder).absolute()
    running, found = _Running(), dict[int, Outcome]()

    def one(job: Job) -> Outcome:
        return _register(job, target / job.name, [*options], outputs, command, running)

    try:
        target.mkdir(parents=True, exist_ok=True)
        _write_table([], target)
    except OSError as error:
        raise InputError(f"The folder {target} cannot be written: {error.strerror}.") from error
    with ThreadPoolExecutor(max(1, workers)) as pool:
        futures = {pool.submit(one, job): index for index, job in enumerate(jobs)}
        try:
            for future in as_completed(futures):
                found[futures[future]] = future.result()
                _write_table([found[index] for index in sorted(found)], target)
                if told is not None:
                    told(len(found), len(jobs), found[futures[future]])
        except BaseException:  # Ctrl+C: what is finished stays
            pool.shutdown(wait=False, cancel_futures=True)
            running.stop()
            raise
    return [found[index] for index in sorted(found)]


class _Running:
    """The processes that are running, so that they can be ended with this one."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._processes: set[subprocess.Popen[str]] = set()
        self._stopped = False

    def run(self, command: list[str], environment: dict[str, str]) -> tuple[int, str]:
        """Exit code and standard error."""
        with self._lock:
            if self._stopped:
                return 130, ""
            process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", env=environment
            )
            self._processes.add(process)
        errors = process.communicate()[1]
        with self._lock:
            self._processes.discard(process)
        return process.returncode, errors

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in self._processes:
                process.kill()


def _register(
    job: Job, folder: Path, options: list[str], outputs: Sequence[str], command: Sequence[str], running: _Running
) -> Outcome:
    arguments = [*job.arguments(), *options]
    files = [folder / OUTPUTS[name] for name in outputs]
    done = _read_json(folder / DONE)
    report = _read_json(folder / "report.json")
    if done.get("arguments") == arguments and report and all(path.is_file() for path in files):
        return Outcome(job, "skipped", report)
    try:
        folder.mkdir(exist_ok=True)
        (folder / DONE).unlink(missing_ok=True)
    except OSError as error:
        return Outcome(job, "failed", sentence=f"The folder {folder} cannot be written: {error.strerror}.")
    wanted = [part for name, path in zip(outputs, files, strict=True) for part in (f"--output-{name}", str(path))]
    above = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(p for p in (above, os.environ.get("PYTHONPATH", "")) if p)
    code, errors = running.run(
        [*command, "register", *arguments, *wanted, "--report", str(folder), "--progress", "none"],
        dict(os.environ, PYTHONPATH=paths),
    )
    report = _read_json(folder / "report.json")
    if code == 0 and report:
        (folder / DONE).write_text(json.dumps({"arguments": arguments}), encoding="utf-8")
        return Outcome(job, "done", report)
    return Outcome(job, "failed", sentence=_why(code, errors))


def _why(code: int, errors: str) -> str:
    if code in (-signal.SIGTERM, -9, 137, 143):
        return "It was ended from outside, most likely for lack of memory; try fewer at a time or smaller images."
    last = next((line.strip() for line in reversed(errors.splitlines()) if line.strip()), "")
    return last if code > 0 and last else f"It ended without a result (code {code})."


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_table(outcomes: Sequence[Outcome], folder: Path) -> None:
    """Into a new file that replaces the old one, so that an interrupted run leaves no half table."""
    rest = folder / f"{TABLE}.part"
    with rest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "fixed", "moving", "status", "verdict", "reasons", *COLUMNS])
        for outcome in outcomes:
            report, job = outcome.report, outcome.job
            reasons = outcome.sentence or " ".join(report.get("reasons") or [])
            cells = [job.name, job.fixed, job.moving, outcome.status, report.get("verdict", ""), reasons]
            writer.writerow([*cells, *("" if report.get(c) is None else report[c] for c in COLUMNS)])
    rest.replace(folder / TABLE)
