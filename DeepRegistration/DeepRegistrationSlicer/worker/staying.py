"""The worker that stays: it has loaded PyTorch, and serves one request of this Slicer session after the other.

There is at most one. It ends with Slicer, when it has been idle for some minutes, when a request is cancelled or fails
unexpectedly, when it has grown (see the library's ``command_line/serve.py``), and when a request needs another one:
for another device, another PyTorch, another environment.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from DeepRegistrationLib.command_line.protocol import ENDED_FILE, EXIT_FAILED, IDLE_SECONDS

from .install import torchState
from .process import LibraryChild, LibraryProcess, Process, Written

LOGGER = logging.getLogger(__name__)
PASSING = ("PYTEST_", "QT_", "_")
"""Variables of the environment that mean nothing to the worker, by how they begin."""


class StayingWorker:
    """At most one process, which takes one request at a time."""

    def __init__(self, command: list[str] | None = None, idleSeconds: float = IDLE_SECONDS) -> None:
        self._command, self._idleSeconds = command, idleSeconds
        self._child: LibraryChild | None = None
        self._state: Any = None
        self._isBusy = False

    @property
    def processId(self) -> int | None:
        """None if there is no process."""
        return self._child.processId if self._child is not None and self._child.exitCode() is None else None

    def take(self, arguments: list[str], folder: Path) -> bool:
        """Begin with a request; False if it is busy.

        Raises:
            OSError: if there is no process and none can be started.
        """
        if self._isBusy:
            return False
        state = _stateFor(arguments)
        if self.processId is None or state != self._state:
            self.end()
            self._child, self._state = LibraryChild(self._command), state
            where = Path(tempfile.gettempdir())  # nothing of its own lies there
            self._child.start(["serve", str(self._idleSeconds)], where, stdin=subprocess.PIPE)
        assert self._child is not None
        self._child.send(json.dumps({"arguments": arguments, "folder": str(folder)}))
        self._isBusy = True
        return True

    def tell(self, message: dict[str, Any]) -> None:
        """A word about the request that it works on.

        Raises:
            OSError: if it does not listen any more.
        """
        if self._child is not None:
            self._child.send(json.dumps(message))

    def exitCode(self) -> int | None:
        return self._child.exitCode() if self._child is not None else None

    def release(self, stays: bool) -> None:
        """The request is done."""
        self._isBusy = False
        if not stays:
            self.end()

    def end(self) -> None:
        """End the process, now."""
        self._isBusy = False
        if self._child is not None:
            self._child.kill()
            self._child = None


SHARED = StayingWorker()
"""That of this Slicer session."""


class StayingProcess:
    """One request to the worker that stays.

    Where that is busy, or has died before it began (as it does when its idle minutes are over), a process of its own
    takes its place, unseen.
    """

    def __init__(self, worker: StayingWorker | None = None, makeAlone: Callable[[], Process] = LibraryProcess) -> None:
        self._worker, self._makeAlone = worker or SHARED, makeAlone
        self._alone: Process | None = None
        self._arguments: list[str] = []
        self._folder, self._written = Path(), Written(Path())
        self._code: int | None = None
        self._isRunning = False

    def start(self, arguments: list[str], folder: Path) -> None:
        self._arguments, self._folder, self._written = arguments, folder, Written(folder)
        self._code, self._alone = None, None
        for _attempt in range(2):  # it may be about to end, and hear nothing any more
            try:
                self._isRunning = self._worker.take(arguments, folder)
                break
            except BrokenPipeError:
                self._worker.end()
        if not self._isRunning:
            self._startAlone()

    def exitCode(self) -> int | None:
        if self._alone is not None:
            return self._alone.exitCode()
        if not self._isRunning:
            return self._code
        died = self._worker.exitCode()  # before its last word, so that this is not missed
        ended = self._ended()
        if ended is not None:
            self._isRunning, self._code = False, int(ended.get("code", EXIT_FAILED))
            self._worker.release(bool(ended.get("stays")))
        elif died is not None:
            self._isRunning = False
            self._worker.end()
            if self._written.isEmpty:
                LOGGER.info("The worker ended with code %s before it began; another one takes its place", died)
                self._startAlone()
            else:
                self._code = died
        return self._code

    def newLines(self) -> list[str]:
        return self._alone.newLines() if self._alone is not None else self._written.newLines()

    def errorText(self) -> str:
        return self._alone.errorText() if self._alone is not None else self._written.errorText()

    def finishEarly(self) -> bool:
        if self._alone is not None or not self._isRunning:
            return False
        try:
            self._worker.tell({"stop": True})
        except OSError:  # it has died, which is seen soon
            return False
        return True

    def kill(self) -> None:
        if self._alone is not None:
            self._alone.kill()
        elif self._isRunning:
            self._isRunning = False
            self._worker.end()

    def _startAlone(self) -> None:
        self._alone = self._makeAlone()
        self._alone.start(self._arguments, self._folder)

    def _ended(self) -> dict[str, Any] | None:
        try:
            ended = json.loads((self._folder / ENDED_FILE).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return ended if isinstance(ended, dict) else None


def _stateFor(arguments: list[str]) -> tuple[Any, ...]:
    """What a process keeps from its start, and a request may want otherwise."""
    device = arguments[arguments.index("--device") + 1] if "--device" in arguments[:-1] else "auto"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PASSING)}
    return device, torchState(), environment
