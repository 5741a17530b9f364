"""The process that computes: Slicer stays usable, can stop it at once, and survives its crash.

It writes to files that are read by polling. So there is no thread (Slicer's Python does not run them while Qt waits),
no pipe that can fill up, and the same code serves the panel, the console and the tests.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Protocol

import slicer

from DeepRegistrationLib.command_line.protocol import ERRORS_FILE, OUTPUT_FILE

from ..texts import tr as _

POLL_SECONDS = 0.03


class Process(Protocol):
    """What a run needs of a process."""

    def start(self, arguments: list[str], folder: Path) -> None:
        """Run the library's command line with ``arguments``; its output goes to files in ``folder``."""

    def exitCode(self) -> int | None:
        """None while it runs."""

    def newLines(self) -> list[str]:
        """Complete lines of standard output since the last call."""

    def errorText(self) -> str:
        """What it wrote to standard error."""

    def finishEarly(self) -> bool:
        """Ask it to end the refinement with what is there; False if it cannot be asked."""

    def kill(self) -> None:
        """End it and every process it started, now."""


class Ticker(Protocol):
    """Calls back again and again without blocking."""

    def start(self, callback: Any) -> None: ...

    def stop(self) -> None: ...


def pythonExecutable() -> str:
    """The Python with Slicer's packages: Slicer itself is not a Python interpreter.

    Raises:
        FileNotFoundError: if there is none.
    """
    found = shutil.which("PythonSlicer")
    home = getattr(getattr(slicer, "app", None), "slicerHome", "")
    for folder in (Path(home) / "bin" if home else None, Path(sys.executable).parent):
        found = found or (shutil.which("PythonSlicer", path=str(folder)) if folder is not None else None)
    if found is None and Path(sys.executable).name.lower().startswith("python"):
        found = sys.executable
    if not found:
        raise FileNotFoundError(_("PythonSlicer was not found"))
    return found


def libraryFolder() -> Path:
    """The folder that holds ``DeepRegistrationLib``: beside this package when installed, one higher in the sources.

    Raises:
        FileNotFoundError: if it is in neither.
    """
    here = Path(__file__).resolve().parents[1]
    for folder in (here.parent, here.parent.parent):
        if (folder / "DeepRegistrationLib" / "__init__.py").is_file():
            return folder
    raise FileNotFoundError(f"DeepRegistrationLib is neither beside nor above {here.parent}")


class LibraryChild:
    """``python -m DeepRegistrationLib`` as a child process; or ``code`` in its place, or a whole ``command``."""

    def __init__(self, command: list[str] | None = None, code: str = "") -> None:
        self._command, self._code = command, code
        self._process: subprocess.Popen | None = None

    def start(self, arguments: list[str], folder: Path, **streams: Any) -> None:
        """Run it in ``folder``; ``streams`` as of ``Popen``, all closed by default."""
        what = ["-c", self._code] if self._code else ["-m", "DeepRegistrationLib"]
        command = self._command or [pythonExecutable(), *what]
        environment = dict(os.environ, PYTHONUNBUFFERED="1", PYTHONIOENCODING="utf-8", PYTHONDONTWRITEBYTECODE="1")
        paths = [str(libraryFolder()), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        # A group of its own (a session, on POSIX) so that the launcher and the Python it starts end together.
        options: dict[str, Any] = (
            {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
            if os.name == "nt"
            else {"start_new_session": True}
        )
        closed = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        self._process = subprocess.Popen(
            [*command, *arguments], cwd=folder, env=environment, **{**closed, **streams}, **options
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

    def send(self, line: str) -> None:
        """One line to its standard input, if that is a pipe.

        Raises:
            OSError: if it does not listen any more.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode("utf-8") + b"\n")
        self._process.stdin.flush()

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
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
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


class Written:
    """What a worker wrote in ``folder``, as far as it was not read yet."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._offset, self._rest = folder, 0, b""

    @property
    def isEmpty(self) -> bool:
        return self._offset == 0 and not self.newData(1) and not self.errorText()

    def newData(self, most: int) -> bytes:
        try:
            with (self._folder / OUTPUT_FILE).open("rb") as file:
                file.seek(self._offset)
                return file.read(most)
        except OSError:
            return b""

    def newLines(self) -> list[str]:
        data = self.newData(1 << 20)
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-(1 << 20) :]  # a worker that never ends its line must not eat the memory
        return [line.decode("utf-8", "replace") for line in lines]

    def errorText(self) -> str:
        try:
            return (self._folder / ERRORS_FILE).read_text("utf-8", "replace")
        except OSError:
            return ""


class LibraryProcess:
    """One command in a process of its own."""

    def __init__(self, command: list[str] | None = None, code: str = "") -> None:
        self._child = LibraryChild(command, code)
        self._written = Written(Path())

    def start(self, arguments: list[str], folder: Path) -> None:
        self._written = Written(folder)
        with (folder / OUTPUT_FILE).open("wb") as output, (folder / ERRORS_FILE).open("wb") as errors:
            self._child.start(arguments, folder, stdout=output, stderr=errors)

    @property
    def processId(self) -> int | None:
        return self._child.processId

    def exitCode(self) -> int | None:
        return self._child.exitCode()

    def newLines(self) -> list[str]:
        return self._written.newLines()

    def errorText(self) -> str:
        return self._written.errorText()

    def finishEarly(self) -> bool:
        return False

    def kill(self) -> None:
        self._child.kill()


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
