"""A whole list: from jobs to outcomes, with any engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import DeepRegistrationError, InputError, NotWritten
from ..files.writing import check_named, shown
from ..geometry.image import PathLike
from ..settings import Settings
from .children import COMMAND, Limits, usable_cores
from .engines import Engine, Local, OnDask, has_dask
from .finished import Task, recipe_of
from .learn2reg import submission_name
from .ledger import Ledger, collect
from .lists import Job
from .names import OUTPUT_FILES, named_outputs, outputs_of
from .others import tell_replaced
from .work import BUSY, DIED, FAILED, Row

SUBMISSION = "learn2reg"
MOST_WORKERS = 1024
COLLECTS_EVERY = 30.0
"""Seconds at least between two tables while a run goes on; and at most a tenth of the time goes there."""


@dataclass(frozen=True)
class Outcome:
    """How one pair went: "done", "skipped" (done before, or by another run) or "failed" with the sentence why."""

    job: Job
    status: str
    report: dict[str, Any] = field(default_factory=dict)
    sentence: str = ""


@dataclass(frozen=True)
class Resources:
    """Who does the work.

    Attributes:
        workers: so many pairs at a time on this machine.
        threads: of each worker; 0: the cores that there are, shared out.
        memory: bytes that a worker may take; 0: no limit.
        scheduler: address or file of a running Dask scheduler, which has workers of its own.
        command: what runs a child; tests replace it.
    """

    workers: int = 1
    threads: int = 0
    memory: int = 0
    scheduler: str | None = None
    command: Sequence[str] = COMMAND

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= MOST_WORKERS:
            raise InputError(f"--workers is a number from 1 to {MOST_WORKERS}, not {self.workers}.")
        if not 0 <= self.threads <= MOST_WORKERS:
            raise InputError(f"--threads is a number from 1 to {MOST_WORKERS}, not {self.threads}.")
        if self.memory < 0:
            raise InputError("--memory is an amount such as 4GB.")

    def engine(self) -> Engine:
        """Dask where it is here or a scheduler was named, else processes of this machine.

        Raises:
            InputError: if the scheduler does not answer, or Dask is not installed.
        """
        limits = Limits(self.threads or max(1, usable_cores() // self.workers), self.memory)
        if self.scheduler is not None or (self.workers > 1 and has_dask()):
            return OnDask(self.scheduler, self.workers, limits, self.command)
        return Local(self.workers, limits, self.command)


def run_batch(
    jobs: Sequence[Job],
    folder: PathLike,
    settings: Settings | None = None,
    outputs: Sequence[str] = ("transform", "volume"),
    resources: Resources | None = None,
    told: Callable[[int, int, Outcome], None] | None = None,
    *,
    weights: Mapping[str, str] | None = None,
    shard: tuple[int, int] = (1, 1),
    list_path: str = "",
    note: Callable[[str], None] | None = None,
) -> list[Outcome]:
    """Register every pair into a folder of its name; ``reports.csv`` and ``index.html`` tell of all.

    Args:
        jobs: the pairs.
        folder: where the results go; other runs may work on it at the same time.
        settings: the same for all.
        outputs: of ``named_outputs``, what to keep besides the report.
        resources: who does the work.
        told: called with how many are done, how many there are, and the last one.
        weights: hashes of the models that may be taken; other ones make another result.
        shard: (i, n): only every n-th pair, from the i-th on.
        list_path: of the list, whose pairs are told of in the table.
        note: called with a sentence if results of other settings are there, which are made again.

    Returns:
        One outcome a pair, in the order of ``jobs``.

    Raises:
        InputError: if the folder cannot be written, a run of other settings works there, or an argument cannot be used.
        NotWritten: if the disk is full; what is not done by then is not begun.
        RegistrationFailed: if the scheduler or the folder was lost.
    """
    unknown = [name for name in outputs if name not in named_outputs()]
    if unknown or not outputs:
        raise InputError(f"The outputs can be {', '.join(named_outputs())}, not {', '.join(unknown) or 'nothing'}.")
    outputs = outputs_of(outputs)
    index, count = shard
    if not 1 <= index <= count:
        raise InputError(f"--shard is i/n with i from 1 to n, not {index}/{count}.")
    if "displacement" in outputs:
        jobs = _named_as_submitted(jobs)
    check_named(folder, "folder of the results")
    target = Path(folder).absolute()
    chosen = (settings or Settings()).as_dict()
    jobs_here = {job.name: job for job in jobs[index - 1 :: count]}
    task_of = partial(_task, target=target, outputs=outputs, chosen=chosen, weights=weights or {})
    resources = resources or Resources()
    engine = resources.engine()
    found: dict[str, Outcome] = {}
    recipe = recipe_of(chosen, weights or {})
    with _ended(engine, target), Ledger(target, list_path, [job.name for job in jobs], recipe) as ledger:
        tables = _Tables(target)
        tell_replaced(map(task_of, jobs_here.values()), target, note)
        for row in _all_rows(engine, map(task_of, jobs_here.values())):
            job = jobs_here[row["name"]]
            found[job.name] = Outcome(job, row["status"], row["report"], row["sentence"])
            with _room(target, found, len(jobs_here)):
                ledger.append(row)
                tables.make()
            if told is not None:
                told(len(found), len(jobs_here), found[job.name])
            if row.get("full"):  # the others would be computed for nothing
                raise _no_room(target, found, len(jobs_here))
    return [found[name] for name in jobs_here]


@contextmanager
def _room(target: Path, found: Mapping[str, Outcome], count: int) -> Iterator[None]:
    """Where there is none, the sentence is that of the whole run."""
    try:
        yield
    except NotWritten as error:
        raise (_no_room(target, found, count) if error.full else error) from error


def _no_room(target: Path, found: Mapping[str, Outcome], count: int) -> NotWritten:
    done = sum(outcome.status != FAILED for outcome in found.values())
    return NotWritten(
        f"The disk is full, so the work on {shown(target)} ended with {done} of {count} pairs done; make room and run "
        "the same command again, which goes on with the others.",
        full=True,
    )


@contextmanager
def _ended(engine: Engine, target: Path) -> Iterator[None]:
    """The end of a run, also after Ctrl+C: what is finished stays, and the table tells of it.

    Where the run fails, what fails here is not said instead.
    """
    try:
        yield
    except BaseException:
        engine.stop()
        with suppress(DeepRegistrationError, OSError):
            collect(target)
        raise
    engine.stop()
    collect(target)


def _named_as_submitted(jobs: Sequence[Job]) -> list[Job]:
    """Displacements where the challenge wants them, for images that are named as it names them."""
    found, taken = list[Job](), set[str]()
    for job in jobs:
        name = submission_name(job.fixed, job.moving)
        if name in taken:
            raise InputError(f"Two pairs would be written as {name}; leave one of them out, or displacement.")
        if name is not None:
            taken.add(name)
            job = replace(job, files={**job.files, "displacement": f"{SUBMISSION}/{name}"})
        found.append(job)
    return found


def _task(job: Job, target: Path, outputs: Sequence[str], chosen: dict[str, Any], weights: Mapping[str, str]) -> Task:
    folder = target / job.name
    inputs = {"fixed": job.fixed, "moving": job.moving, **job.options}
    made = {name: target / job.files[name] if name in job.files else folder / OUTPUT_FILES[name] for name in outputs}
    return Task(
        job.name,
        str(folder),
        {what: str(path.absolute()) for what, path in inputs.items()},
        {name: str(path) for name, path in made.items()},
        chosen,
        {**weights},
    )


def _all_rows(engine: Engine, tasks: Iterable[Task]) -> Iterator[Row]:
    """A row for each task: one whose worker died once more, alone; one that another run has, when that one is done."""
    busy: list[Task] = []
    again: list[Task] = []
    for task, row in engine.run(tasks):
        if row["status"] == BUSY:
            busy.append(task)
        elif row["status"] == DIED:
            again.append(replace(task, alone=True))
        else:
            yield row
    while busy or again:
        if busy:
            waiting, busy = busy, []
            for task, row in engine.run(waiting):
                (busy if row["status"] == BUSY else again if row["status"] == DIED else []).append(task)
                if row["status"] not in (BUSY, DIED):
                    yield row
            again = [replace(task, alone=True) for task in again]
            if busy:
                time.sleep(0.2)
            continue
        for task, row in engine.run([again.pop()]):
            if row["status"] == BUSY:
                busy.append(task)
            else:
                yield row | ({"status": FAILED} if row["status"] == DIED else {})


class _Tables:
    """Makes the table now and then: each time costs as much as there are rows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._next = time.monotonic() + COLLECTS_EVERY

    def make(self) -> None:
        start = time.monotonic()
        if start >= self._next:
            collect(self._folder)
            end = time.monotonic()
            self._next = end + max(COLLECTS_EVERY, 10 * (end - start))
