"""What there is to compute on, and how much memory it has left; asked in a process of its own, which loads PyTorch."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ..texts import tr as _
from .install import isTorchInstalled
from .process import LibraryProcess, Process, Ticker, newFolder
from .signals import Signal
from .worker_run import Answer

QUESTION = """
import json, torch
from DeepRegistrationLib.device import available_bytes
cpu = available_bytes(torch.device("cpu"))
cuda = None
if torch.cuda.is_available():
    cuda = [torch.cuda.get_device_name(0), available_bytes(torch.device("cuda"))]
print(json.dumps({"cpu": cpu, "cuda": cuda, "mps": torch.backends.mps.is_available()}))
"""


def askLibrary() -> Process:
    """A process that answers ``QUESTION``."""
    return LibraryProcess(code=QUESTION)


class DeviceFinder:
    """``text`` says what was found; ``changed()`` when it is known."""

    def __init__(self, makeProcess: Callable[[], Process] = askLibrary, ticker: Ticker | None = None) -> None:
        self.changed = Signal()
        self.text = ""
        self.answer = Answer(makeProcess, ticker)
        self.answer.finished.connect(self._onAnswer)

    def find(self) -> None:
        """Ask; returns at once."""
        if isTorchInstalled() and not self.answer.isRunning:
            self.answer.ask([], newFolder())

    def _onAnswer(self, text: str) -> None:
        try:
            self.text = describeDevices(json.loads(text))
        except (ValueError, KeyError, TypeError):
            return
        self.changed.emit()


def describeDevices(found: dict[str, Any]) -> str:
    """One line for the user."""
    memory = _("{size:.1f} GB free").format(size=found["cpu"] / 1e9)
    if found["cuda"] is None and found.get("mps"):  # it shares the processor's memory
        return _("Apple graphics processor; processor: {memory}.").format(memory=memory)
    if found["cuda"] is None:
        return _("No graphics card that PyTorch can use; processor: {memory}.").format(memory=memory)
    name, free = found["cuda"]
    return _("{name}: {free:.1f} GB free; processor: {memory}.").format(name=name, free=free / 1e9, memory=memory)
