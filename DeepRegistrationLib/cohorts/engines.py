"""Where pairs are done: in warm processes of this machine, or by Dask on this one or on a cluster."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

from ..errors import InputError, RegistrationFailed
from .children import Child, Limits
from .finished import Task
from .work import DIED, FAILED, Row, do_on_any_worker, do_pair, row_of, stop_children

INSTALL = "install it with: pip install 'SlicerDeepRegistration[scale]'"
LOST = "The scheduler was lost; what is done is kept, run the same again to go on."
AHEAD = 16
"""Tasks at the scheduler beyond two for each thread there: a worker never waits, and memory stays flat."""
TOGETHER = 8
"""So many are sent at once, as a message costs as much as a task; less than ``AHEAD``, so that some always wait."""


class Engine(Protocol):
    """Does tasks, in any order."""

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Row]]:
        """Each task with its row, as soon as it is there."""

    def stop(self) -> None:
        """End at once what still runs."""


class Local:
    """Threads, each with a child of its own."""

    def __init__(self, workers: int, limits: Limits, command: Sequence[str]) -> None:
        self._children = [Child(limits, command) for _ in range(workers)]
        self._free: SimpleQueue[Child] = SimpleQueue()
        for child in self._children:
            self._free.put(child)
        self._pool = ThreadPoolExecutor(workers)

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Row]]:
        waiting = iter(tasks)
        running: dict[Future[Row], Task] = {}
        while True:
            for task in islice(waiting, 2 * len(self._children) - len(running)):
                running[self._pool.submit(self._one, task)] = task
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()

    def _one(self, task: Task) -> Row:
        child = self._free.get()
        try:
            return do_pair(task, child)
        finally:
            self._free.put(child)

    def stop(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        for child in self._children:
            child.stop()
        self._pool.shutdown(wait=True)


class OnDask:
    """Dask's scheduler hands out the tasks; each thread of its workers has a child of its own."""

    def __init__(self, scheduler: str | None, workers: int, limits: Limits, command: Sequence[str]) -> None:
        distributed = load_dask()
        self._distributed, self._limits, self._command = distributed, limits, tuple(command)
        self._cluster: Any = None
        self._slots = self._submitted = self._look_again = 0
        try:
            if scheduler is None:
                self._cluster = distributed.LocalCluster(
                    n_workers=1,
                    threads_per_worker=workers,
                    processes=False,
                    dashboard_address="127.0.0.1:0",  # None would take its usual port, and complain if that is taken
                    silence_logs=logging.CRITICAL,
                )
                self._client = distributed.Client(self._cluster, set_as_default=False)
            elif Path(scheduler).is_file():
                self._client = distributed.Client(scheduler_file=scheduler, timeout="30s", set_as_default=False)
            else:
                self._client = distributed.Client(scheduler, timeout="30s", set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"The scheduler {scheduler} does not answer; give the address that it printed, such as "
                "tcp://10.0.0.1:8786, or its scheduler file."
            ) from error

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Row]]:
        waiting = iter(tasks)
        running: dict[Any, Task] = {}
        finished = self._distributed.as_completed(loop=self._client.loop)
        self._fill(waiting, running, finished)
        while running:
            try:
                futures = finished.next_batch()
                done = [(running.pop(future), future) for future in futures]
                rows = self._rows_of(done)
                self._fill(waiting, running, finished)
            except (OSError, CancelledError) as error:  # Dask's CommClosedError is an OSError
                raise RegistrationFailed(LOST) from error
            yield from rows

    def _fill(self, waiting: Iterator[Task], running: dict[Any, Task], finished: Any) -> None:
        if not running or self._submitted >= self._look_again:  # workers come and go
            self._slots = sum(self._client.nthreads().values())
            self._look_again = self._submitted + AHEAD + self._slots
        free = AHEAD + 2 * self._slots - len(running)
        if running and free < TOGETHER:
            return
        tasks = [*islice(waiting, max(0, free))]
        if not tasks:
            return
        texts = [json.dumps(task.as_dict()) for task in tasks]
        futures = self._client.map(do_on_any_worker, texts, limits=self._limits, command=self._command, pure=False)
        self._submitted += len(tasks)
        running.update(zip(futures, tasks, strict=True))
        finished.update(futures)

    def _rows_of(self, done: Sequence[tuple[Task, Any]]) -> list[tuple[Task, Row]]:
        """The rows of futures that have ended, fetched in one go unless one of them is no result."""
        with suppress(self._distributed.scheduler.KilledWorker):  # one that was done again, as its row was lost
            if all(future.status == "finished" for _, future in done):
                rows = self._client.gather([future for _, future in done])
                return [(task, row) for (task, _), row in zip(done, rows, strict=True)]
        return [(task, self._row_of(future, task)) for task, future in done]

    def _row_of(self, future: Any, task: Task) -> Row:
        if future.status == "finished":
            row: Row = future.result()
            return row
        if future.status in ("cancelled", "lost"):
            raise RegistrationFailed(LOST)
        error = future.exception()
        if isinstance(error, self._distributed.scheduler.KilledWorker):
            return row_of(task, DIED, "Its worker was ended from outside, most likely for lack of memory.")
        return row_of(task, FAILED, f"The worker could not do it ({type(error).__name__}: {error}).")

    def stop(self) -> None:
        stop_children()
        for one in (self._client, self._cluster):
            if one is not None:
                one.close(timeout=5)


def load_dask() -> Any:
    """The package ``distributed``.

    Raises:
        InputError: if it is not installed.
    """
    try:
        import distributed
    except ImportError as error:
        raise InputError(f"A scheduler needs Dask, which is not installed here; {INSTALL}.") from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters becomes a sentence
    return distributed


def has_dask() -> bool:
    from importlib.util import find_spec

    return find_spec("distributed") is not None and not os.environ.get("DEEP_REGISTRATION_WITHOUT_DASK")
