"""The methods a user can choose, as the library lists them. The list is asked for in a process of its own."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..texts import tr as _
from .install import isTorchInstalled
from .job import Answer
from .models import listModels
from .process import LibraryProcess, Process, Ticker, newFolder
from .signals import Signal

LOGGER = logging.getLogger(__name__)
NO_NETWORK, UNIVERSAL, BEST = "none", "universal", "auto"
"""The library's names of refinement without a network, which is always there, and of the network for any two images;
our own name for the better of the two that can be used."""


@dataclass(frozen=True)
class Method:
    """One entry: what ``register`` calls it, what the user reads, what it is for, whether it can be used now."""

    name: str
    title: str
    purpose: str
    isAvailable: bool = True


WORTH = 0.01
"""As in the library's ``method_list``, which this process does not import."""


def resolve(name: str, isFlat: bool = False) -> str:
    """The library's name for ``name``, which may be ``BEST``; ``isFlat``: for 2-D images."""
    if name != BEST:
        return name
    headers = [model.header for model in listModels() if _helpsRefinement(model.header)]
    dimensions = 2 if isFlat else 3
    isHere = any(h.get("method") == UNIVERSAL and h.get("dimensions") == dimensions for h in headers)
    return UNIVERSAL if isHere else NO_NETWORK


def _helpsRefinement(header: dict) -> bool:
    """False where the model's own scores say that refinement gains too little by it."""
    gain = (header.get("scores") or {}).get("start_gain")
    return not isinstance(gain, (int, float)) or gain >= WORTH


def bestAvailable() -> Method:
    return Method(
        BEST,
        _("Best available"),
        _("Takes the best that is here: the universal network where it helps, else refinement alone."),
    )


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
        self.methods = [bestAvailable(), refinementAlone()]
        self.answer = Answer(makeProcess, ticker)
        self.answer.finished.connect(self._onAnswer)

    def find(self, name: str) -> Method | None:
        return next((method for method in self.methods if method.name == name), None)

    def refresh(self) -> None:
        """Ask the library; returns at once. Without PyTorch there is nobody to ask."""
        if isTorchInstalled() and not self.answer.isRunning:
            self.answer.ask(["methods", "--json"], newFolder())

    def stop(self) -> None:
        self.answer.stop()

    def _onAnswer(self, text: str) -> None:
        methods = parseMethods(text)
        if not methods:
            LOGGER.warning("The library listed no methods: %s", text)
            return
        self.methods = [bestAvailable(), *methods]
        self.changed.emit()


def parseMethods(text: str) -> list[Method]:
    """The library's JSON list, those that can be used first.

    Entries without a name are left out, and so is all that is not such a list; of those of one name the first counts.
    """
    try:
        entries: Any = json.loads(text)
    except ValueError:
        return []
    if not isinstance(entries, list):
        return []
    found = [
        Method(
            str(entry["name"]),
            str(entry.get("title") or entry["name"]),
            _sentence(str(entry.get("purpose") or "")),
            bool(entry.get("available", entry.get("weights", True) or not entry.get("network", False))),
        )
        for entry in entries
        if isinstance(entry, dict) and entry.get("name")
    ]
    unique = {method.name: method for method in reversed(found)}
    kept = [method for method in found if unique[method.name] is method]
    return sorted(kept, key=lambda method: not method.isAvailable)


def _sentence(text: str) -> str:
    """The library lists its purposes in lower case, without a full stop."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}" if text else ""
