"""A signal in plain Python: signals declared in Python do not exist in every Slicer's Qt binding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Signal:
    """Calls the connected functions, in the order in which they were connected.

    ``Signal("fraction", "message")`` names what is sent, for the reader.
    """

    def __init__(self, *argumentNames: str) -> None:
        self.argumentNames = argumentNames
        self._slots: list[Callable[..., Any]] = []

    def connect(self, slot: Callable[..., Any]) -> None:
        if slot not in self._slots:
            self._slots.append(slot)

    def emit(self, *values: Any) -> None:
        if len(values) != len(self.argumentNames):
            raise TypeError(f"This signal sends {self.argumentNames}, not {len(values)} values.")
        for slot in list(self._slots):
            slot(*values)
