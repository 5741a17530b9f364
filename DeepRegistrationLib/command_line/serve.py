"""One command after the other in one process, for a program that stays open: PyTorch is loaded once.

On standard input one JSON line a request, ``{"arguments": [...], "folder": "..."}``: the command runs in ``folder``,
and what it prints goes to files there. How it ended is told by ``protocol.ENDED_FILE``, which appears whole:
``{"code": 0, "stays": true}``. Nothing of the folder is open any more then, and nothing of the images is in memory.
``{"stop": true}`` ends the refinement that runs, with what is there as its result.

The process ends when its input does, with what it is at; when there was nothing to do for some time; after a command
that failed unexpectedly; and when it holds more memory than it should.
"""

from __future__ import annotations

import gc
import json
import os
import queue
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..system import give_memory_back, resident_memory, total_memory, wait_briefly
from .interrupt import leave_at_once
from .protocol import ENDED_FILE, ERRORS_FILE, EXIT_BAD_INPUT, EXIT_DONE, IDLE_SECONDS, OUTPUT_FILE

MOST_GROWTH = 1 << 30
"""Bytes more than after the first request: more is kept somewhere, and nobody knows what for."""
MOST_SHARE = 0.25
"""Of the computer's memory, for a process that waits."""


Command = Callable[[Sequence[str], Callable[[], bool]], int]


class Requests:
    """What comes in by standard input, read by a thread of its own: also while a command runs."""

    def __init__(self) -> None:
        self.waiting: queue.Queue[dict[str, Any]] = queue.Queue()
        self.folder: Path | None = None
        self.stop = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        # Not sys.stdin: the interpreter cannot end while a thread waits there.
        for line in os.fdopen(os.dup(0), "rb"):
            with suppress(ValueError):
                request = json.loads(line)
                if isinstance(request, dict) and request.get("stop"):
                    self.stop.set()
                elif isinstance(request, dict) and {"arguments", "folder"} <= {*request}:
                    self.waiting.put(request)
        if self.folder is not None:  # who asked is gone: nobody else would take the images away
            shutil.rmtree(self.folder, ignore_errors=True)
        os._exit(EXIT_DONE)


def load() -> None:
    """What a registration needs, before it is asked for; what cannot be loaded is said when it is."""
    wait_briefly()
    with suppress(Exception):
        from ..pipeline import register  # noqa: F401 - PyTorch, above all
    gc.freeze()  # what stays is not looked through again after each request: 0.1 s of a core


def serve(command: Command, arguments: Sequence[str] = ()) -> int:
    """Serve until there is nothing to do for ``arguments[0]`` seconds; the exit code.

    Args:
        command: runs one command line and returns its exit code; its second argument tells whether to stop.
    """
    idle = float(arguments[0]) if arguments else IDLE_SECONDS
    requests = Requests()
    first = 0
    while True:
        try:
            request = requests.waiting.get(timeout=idle)
        except queue.Empty:
            return EXIT_DONE
        folder = requests.folder = Path(request["folder"])
        requests.stop.clear()
        code = _run(command, request["arguments"], folder, requests.stop.is_set)
        give_memory_back()
        held = resident_memory()
        first = first or held
        stays = (
            code in (EXIT_DONE, EXIT_BAD_INPUT) and held - first < MOST_GROWTH and held < MOST_SHARE * total_memory()
        )
        requests.folder = None
        _tell(folder, {"code": code, "stays": stays})
        if not stays:
            return EXIT_DONE


def _run(command: Command, arguments: Sequence[str], folder: Path, stop: Callable[[], bool]) -> int:
    """One command with its output in files of ``folder``; afterwards nothing of it is open."""
    for number in (signal.SIGINT, signal.SIGTERM):  # as at the start of a process
        signal.signal(number, leave_at_once)
    try:
        os.chdir(folder)
        _print_to(OUTPUT_FILE, ERRORS_FILE)
        return command(arguments, stop)
    except SystemExit as end:  # --help
        return end.code if isinstance(end.code, int) else EXIT_DONE
    except OSError:
        return EXIT_BAD_INPUT
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, leave_at_once)
        _print_to(os.devnull, os.devnull)
        os.chdir(tempfile.gettempdir())


def _print_to(output: str, errors: str) -> None:
    for stream, path in ((sys.stdout, output), (sys.stderr, errors)):
        stream.flush()
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(number, stream.fileno())
        os.close(number)


def _tell(folder: Path, ended: dict[str, Any]) -> None:
    partial = folder / f"{ENDED_FILE}.partial"
    with suppress(OSError):  # the folder is gone: nobody asks any more
        partial.write_text(json.dumps(ended), encoding="utf-8")
        partial.replace(folder / ENDED_FILE)
