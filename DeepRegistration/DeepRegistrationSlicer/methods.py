"""The methods a user can choose, as the library lists them. The list is asked for in a process of its own."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .install import isTorchInstalled
from .signals import Signal
from .texts import tr as _
from .worker import LibraryProcess, Process, QtTicker, Ticker

LOGGER = logging.getLogger(__name__)
NO_NETWORK = "none"
"""The library's name of refinement without a network; it is always there."""


@dataclass(frozen=True)
class Method:
    """One entry: what ``register`` calls it, what the user reads, what it is for, whether it can be used now."""

    name: str
    title: str
    purpose: str
    isAvailable: bool = True


def refinementAlone() -> Method:
    return Method(
        NO_NETWORK,
        _("Refinement alone"),
        _("For any two images; needs no trained network."),
    )


class MethodCatalog:
    """``methods`` holds what is known; ``changed()`` is sent when the library has answered."""

    def __init__(self, makeProcess: Callable[[], Process] = LibraryProcess, ticker: Ticker | None = None) -> None:
        self.changed = Signal()
        self.methods = [refinementAlone()]
        self.makeProcess = makeProcess
        self._ticker = ticker or QtTicker()
        self._process: Process | None = None
        self._folder: Path | None = None
        self._lines: list[str] = []

    @property
    def isRunning(self) -> bool:
        return self._process is not None

    def find(self, name: str) -> Method | None:
        return next((method for method in self.methods if method.name == name), None)

    def refresh(self) -> None:
        """Ask the library; returns at once. Without PyTorch there is nobody to ask."""
        if self.isRunning or not isTorchInstalled():
            return
        self._folder, self._lines = Path(tempfile.mkdtemp(prefix="DeepRegistration-")), []
        self._process = self.makeProcess()
        try:
            self._process.start(["methods", "--json"], self._folder)
        except OSError:
            LOGGER.exception("Listing the methods")
            self.stop()
            return
        self._ticker.start(self.poll)

    def poll(self) -> None:
        """Look once after the answer."""
        if self._process is None:
            return
        code = self._process.exitCode()
        self._lines += self._process.newLines()
        if code is None:
            return
        errors = self._process.errorText()
        self.stop()
        methods = parseMethods("\n".join(self._lines)) if code == 0 else []
        if not methods:
            LOGGER.warning("The methods could not be listed (exit code %s): %s", code, errors)
            return
        self.methods = methods
        self.changed.emit()

    def stop(self) -> None:
        self._ticker.stop()
        if self._process is not None:
            self._process.kill()
            self._process = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def parseMethods(text: str) -> list[Method]:
    """The library's JSON list; entries without a name are left out, and so is all that is not such a list."""
    try:
        entries: Any = json.loads(text)
    except ValueError:
        return []
    if not isinstance(entries, list):
        return []
    return [
        Method(
            str(entry["name"]),
            str(entry.get("title") or entry["name"]),
            str(entry.get("purpose") or ""),
            bool(entry.get("available", True)),
        )
        for entry in entries
        if isinstance(entry, dict) and entry.get("name")
    ]
