"""The registration runs in a process of its own: Slicer stays usable, can stop it at once, and survives its crash.

The worker writes to files that are read by polling. So there is no thread (Slicer's Python does not run them while Qt
waits), no pipe that can fill up, and the same code serves the panel, the console and the tests.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import slicer

from .signals import Signal
from .texts import tr as _

LOGGER = logging.getLogger(__name__)

BAD_INPUT, CANCELLED = 2, 130
"""Exit codes of the library's command line."""

POLL_SECONDS = 0.03

USER_FOLDER_VARIABLE = "DEEPREGISTRATION_MODELS"
"""Tells the worker where the user's own models are."""

OUTPUT_NAME, ERROR_NAME = "worker-output.jsonl", "worker-errors.txt"


class Process(Protocol):
    """What a job needs of a process."""

    def start(self, arguments: list[str], folder: Path) -> None:
        """Run the library's command line with ``arguments``; its output goes to files in ``folder``."""

    def exitCode(self) -> int | None:
        """None while it runs."""

    def newLines(self) -> list[str]:
        """Complete lines of standard output since the last call."""

    def errorText(self) -> str:
        """What it wrote to standard error."""

    def kill(self) -> None:
        """End it and every process it started, now."""


class Ticker(Protocol):
    """Calls back again and again without blocking."""

    def start(self, callback: Any) -> None: ...

    def stop(self) -> None: ...


def pythonExecutable() -> str:
    """The Python with Slicer's packages: Slicer itself is not a Python interpreter."""
    return shutil.which("PythonSlicer") or sys.executable


def libraryFolder() -> Path:
    """The folder that holds ``DeepRegistrationLib``: beside this package when installed, one higher in the sources.

    Raises:
        FileNotFoundError: if it is in neither.
    """
    here = Path(__file__).resolve().parent
    for folder in (here.parent, here.parent.parent):
        if (folder / "DeepRegistrationLib" / "__init__.py").is_file():
            return folder
    raise FileNotFoundError(f"DeepRegistrationLib is neither beside nor above {here.parent}")


class LibraryProcess:
    """``python -m DeepRegistrationLib`` as a child process."""

    def __init__(self, command: list[str] | None = None) -> None:
        self._command = command
        self._process: subprocess.Popen | None = None
        self._folder = Path()
        self._offset = 0
        self._rest = b""

    def start(self, arguments: list[str], folder: Path) -> None:
        command = self._command or [pythonExecutable(), "-m", "DeepRegistrationLib"]
        environment = dict(os.environ, PYTHONUNBUFFERED="1", PYTHONIOENCODING="utf-8", PYTHONDONTWRITEBYTECODE="1")
        paths = [str(libraryFolder()), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        self._folder, self._offset, self._rest = folder, 0, b""
        # A group of its own (a session, on POSIX) so that the launcher and the Python it starts end together.
        options: dict[str, Any] = (
            {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
            if os.name == "nt"
            else {"start_new_session": True}
        )
        with (folder / OUTPUT_NAME).open("wb") as output, (folder / ERROR_NAME).open("wb") as errors:
            self._process = subprocess.Popen(
                [*command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                cwd=folder,
                env=environment,
                **options,
            )
        atexit.register(self.kill)

    @property
    def processId(self) -> int | None:
        return self._process.pid if self._process else None

    def exitCode(self) -> int | None:
        if self._process is None:
            return None
        code = self._process.poll()
        if code is not None:
            atexit.unregister(self.kill)
        return code

    def newLines(self) -> list[str]:
        try:
            with (self._folder / OUTPUT_NAME).open("rb") as file:
                file.seek(self._offset)
                data = file.read(1 << 20)
        except OSError:
            return []
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-(1 << 20) :]  # a worker that never ends its line must not eat the memory
        return [line.decode("utf-8", "replace") for line in lines]

    def errorText(self) -> str:
        try:
            return (self._folder / ERROR_NAME).read_text("utf-8", "replace")
        except OSError:
            return ""

    def kill(self) -> None:
        atexit.unregister(self.kill)
        if self._process is None:
            return
        if os.name == "nt":
            if self._process.poll() is None:
                subprocess.run(
                    ["taskkill", "/F", "/T", "/PID", str(self._process.pid)], capture_output=True, check=False
                )
        else:
            # Also when the leader has ended: what it started may still be there.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        self._waitForGroup(0.5)

    def _waitForGroup(self, seconds: float) -> None:
        """The system needs a moment to take the memory of a killed process back."""
        end = time.monotonic() + seconds
        while os.name != "nt" and time.monotonic() < end:
            try:
                os.killpg(self._process.pid, 0)
            except (ProcessLookupError, PermissionError):
                return
            time.sleep(0.01)


class QtTicker:
    """A ``QTimer``; Qt is only needed once it starts."""

    def __init__(self, milliseconds: int = 100) -> None:
        self._milliseconds = milliseconds
        self._timer: Any = None
        self._callback: Any = None

    def start(self, callback: Any) -> None:
        import qt

        self._callback = callback
        if self._timer is None:
            self._timer = qt.QTimer()
            self._timer.setInterval(self._milliseconds)
            self._timer.connect("timeout()", self._onTimeout)
        self._timer.start()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.stop()

    def _onTimeout(self) -> None:
        self._callback()


class Job:
    """One run of the worker, told as signals. Exactly one of ``finished``, ``failed``, ``cancelled`` ends it."""

    def __init__(self, process: Process) -> None:
        self.progressed = Signal("stage", "fraction", "message")
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
        if code != 0 or self._report is None:
            LOGGER.warning("The registration worker ended with code %s: %s", code, errors.strip())
        if code == 0 and self._report is not None:
            self.finished.emit(self._report)
        elif code == CANCELLED:
            self.cancelled.emit()
        else:
            self.failed.emit(explain(code, errors))

    def cancel(self) -> None:
        """Stop now; when this returns, the worker and everything it started are gone."""
        if self.isRunning:
            self.isRunning = False
            self._process.kill()
            self.cancelled.emit()

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
        return bool(lines)


class Answer:
    """One command of the library that prints something: ``finished(text)`` or ``failed(sentence)`` ends it."""

    def __init__(self, makeProcess: Callable[[], Process], ticker: Ticker | None = None) -> None:
        self.finished = Signal("text")
        self.failed = Signal("sentence")
        self.makeProcess = makeProcess
        self._ticker = ticker or QtTicker()
        self._process: Process | None = None
        self._folder: Path | None = None
        self._lines: list[str] = []

    @property
    def isRunning(self) -> bool:
        return self._process is not None

    def ask(self, arguments: list[str], folder: Path) -> None:
        """Start; ``folder`` is where it runs, and is removed at the end."""
        self.stop()
        self._folder, self._lines, self._process = folder, [], self.makeProcess()
        try:
            self._process.start(arguments, folder)
        except OSError as error:
            LOGGER.exception("The worker did not start")
            self.stop()
            self.failed.emit(str(error))
            return
        self._ticker.start(self.poll)

    def poll(self) -> None:
        """Look once whether it is done."""
        if self._process is None:
            return
        code = self._process.exitCode()
        self._lines += self._process.newLines()
        if code is None:
            return
        errors, text = self._process.errorText(), "\n".join(self._lines)
        self.stop()
        if code == 0:
            self.finished.emit(text)
        else:
            LOGGER.warning("The worker said (exit code %s): %s", code, errors.strip())
            self.failed.emit(explain(code, errors))

    def stop(self) -> None:
        """End it without a word."""
        self._ticker.stop()
        if self._process is not None:
            self._process.kill()
            self._process = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def processEvents() -> None:
    """Let Slicer react, where there is an application."""
    app = getattr(slicer, "app", None)
    if app is not None:
        app.processEvents()


def waitFor(process: Process) -> int:
    """The exit code of a process; Slicer stays usable meanwhile."""
    while True:
        code = process.exitCode()
        if code is not None:
            return code
        processEvents()
        time.sleep(POLL_SECONDS)


def newFolder() -> Path:
    """A folder of our own among Slicer's temporary files; whoever asks for it removes it."""
    app = getattr(slicer, "app", None)
    return Path(tempfile.mkdtemp(prefix="DeepRegistration-", dir=app.temporaryPath if app is not None else None))


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
    if "MemoryError" in errors or "out of memory" in errors.lower() or "can't allocate memory" in errors.lower():
        return _(
            "There was not enough memory; crop or resample the images, close other programs or choose the processor "
            "(CPU) as the device, then try again."
        )
    if code in (-signal.SIGTERM, -9, 137, 143):
        return _(
            "The registration was ended from outside, most likely because the computer ran out of memory; close other "
            "programs or resample the images, then try again."
        )
    if code > 0 and last.endswith(".") and not re.match(r"\w+(Error|Exception|Warning)\b", last):
        return last
    if code == 0:
        return _("The registration ended without a result; try again, and report it if it happens again.")
    return _(
        "The registration stopped unexpectedly (code {code}); the details are in the application log "
        "(View / Error Log)."
    ).format(code=code)
