"""What a worker process says, as signals: progress and one end for a registration, an answer for a question."""

from __future__ import annotations

import json
import logging
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from DeepRegistrationLib.command_line.protocol import EXIT_CANCELLED, EXIT_DONE
from DeepRegistrationLib.errors import NO_MEMORY

from ..texts import tr as _
from .process import Process, QtTicker, Ticker
from .signals import Signal

LOGGER = logging.getLogger(__name__)


class WorkerRun:
    """One run of the worker, told as signals. Exactly one of ``finished``, ``failed``, ``cancelled`` ends it."""

    def __init__(self, process: Process) -> None:
        self.progressed = Signal("stage", "fraction", "message")
        self.previewed = Signal("fileName", "level")
        self.finished = Signal("report")
        self.failed = Signal("sentence")
        self.cancelled = Signal()
        self.isRunning = False
        self._process = process
        self._report: dict[str, Any] | None = None

    def start(self, arguments: list[str], folder: Path) -> None:
        """Start; ``poll`` has to be called again and again from then on."""
        self._report, self.isRunning = None, True
        try:
            self._process.start(arguments, folder)
        except OSError as error:
            self.isRunning = False
            LOGGER.exception("The registration worker did not start")
            self.failed.emit(
                _("The registration worker could not be started ({reason}); reinstall the extension.").format(
                    reason=error
                )
            )

    def poll(self) -> None:
        """Pass on what happened since the last call."""
        if not self.isRunning:
            return
        code = self._process.exitCode()  # before the lines, so that the last ones are not missed
        self._readLines()
        if code is None or not self.isRunning:
            return
        while self._readLines():
            pass
        self.isRunning = False
        errors = self._process.errorText()
        self._process.kill()  # what it started may still be there
        if code != EXIT_DONE or self._report is None:
            LOGGER.warning("The registration worker ended with code %s: %s", code, errors.strip())
        if code == EXIT_DONE and self._report is not None:
            self.finished.emit(self._report)
        elif code == EXIT_CANCELLED:
            self.cancelled.emit()
        else:
            self.failed.emit(explain(code, errors))

    def cancel(self) -> None:
        """Stop now; when this returns, the worker and everything it started are gone."""
        if self.isRunning:
            self.isRunning = False
            self._process.kill()
            self.cancelled.emit()

    def finishEarly(self) -> bool:
        """Have the refinement end with what is there; False if that cannot be asked for."""
        return self.isRunning and self._process.finishEarly()

    def _readLines(self) -> bool:
        lines = self._process.newLines()
        for line in lines:
            event = parse(line)
            if event is None:
                continue
            if event["stage"] == "done":
                self._report = event.get("report") or {}
            if self.isRunning:
                self.progressed.emit(event["stage"], event["fraction"], event["message"])
                if isinstance(event.get("preview"), str):
                    self.previewed.emit(Path(event["preview"]).name, event["message"])
        return bool(lines)


class Answer:
    """One command of the library that answers: ``finished(answer)`` or ``failed(sentence)`` ends it.

    ``heard(line)`` tells of each line that it prints.
    The answer is what it prints, or what ``fetch`` (see ``ask``) makes of the files that it wrote.
    """

    def __init__(self, makeProcess: Callable[[], Process], ticker: Ticker | None = None) -> None:
        self.heard = Signal("line")
        self.finished = Signal("answer")
        self.failed = Signal("sentence")
        self.makeProcess = makeProcess
        self._ticker = ticker or QtTicker()
        self._process: Process | None = None
        self._folder: Path | None = None
        self._lines: list[str] = []
        self._fetch: Callable[[Path], Any] | None = None

    @property
    def isRunning(self) -> bool:
        return self._process is not None

    def ask(self, arguments: list[str], folder: Path, fetch: Callable[[Path], Any] | None = None) -> None:
        """Start; ``folder`` is where it runs, and is removed at the end, after ``fetch(folder)``."""
        self.end()
        self._folder, self._lines, self._process, self._fetch = folder, [], self.makeProcess(), fetch
        try:
            self._process.start(arguments, folder)
        except OSError as error:
            LOGGER.exception("The worker did not start")
            self.end()
            self.failed.emit(str(error))
            return
        self._ticker.start(self.poll)

    def poll(self) -> None:
        """Look once whether it is done."""
        if self._process is None:
            return
        code = self._process.exitCode()
        lines = self._process.newLines()
        self._lines += lines
        for line in lines:
            self.heard.emit(line)
        if code is None or self._process is None:  # who hears it may end it
            return
        errors = self._process.errorText()
        answer: Any = "\n".join(self._lines)
        if code == EXIT_DONE and self._fetch is not None and self._folder is not None:
            try:
                answer = self._fetch(self._folder)
            except (OSError, ValueError):
                LOGGER.exception("Reading what the worker wrote")
                code = 1
        self.end()
        if code == EXIT_DONE:
            self.finished.emit(answer)
        else:
            LOGGER.warning("The worker said (exit code %s): %s", code, errors.strip())
            self.failed.emit(explain(code, errors))

    def end(self) -> None:
        """End it without a word."""
        self._ticker.stop()
        if self._process is not None:
            self._process.kill()
            self._process = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def parse(line: str) -> dict[str, Any] | None:
    """A progress line, or None if it is something else (a warning of some package, garbage)."""
    try:
        event = json.loads(line)
        fraction = float(event["fraction"])
        return {
            **event,
            "stage": str(event["stage"]),
            "fraction": min(max(fraction, 0.0), 1.0) if fraction == fraction else 0.0,
            "message": str(event.get("message") or ""),
        }
    except (ValueError, TypeError, KeyError):
        return None


def explain(code: int, errors: str) -> str:
    """One sentence for a worker that ended without a result."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    if "No module named 'torch'" in errors:
        return _("PyTorch is not installed; press Apply again and accept its installation.")
    if any(phrase in errors.lower() for phrase in NO_MEMORY):
        return _(
            "There was not enough memory; crop or resample the images, close other programs or choose the processor "
            "(CPU) as the device, then try again."
        )
    if code in (-signal.SIGTERM, -9, 137, 143):
        return _(
            "The registration was ended from outside, most likely because the computer ran out of memory; close other "
            "programs or resample the images, then try again."
        )
    isSentence = last.endswith(".") and not re.match(r"\w+(Error|Exception|Warning)\b", last)
    if code > 0 and isSentence and "Traceback (most recent call last)" not in errors:
        return last
    if code == EXIT_DONE:
        return _("The registration ended without a result; try again, and report it if it happens again.")
    return _(
        "The registration stopped unexpectedly (code {code}); the details are in the application log "
        "(View / Error Log)."
    ).format(code=code)
