"""The methods a user can choose, as the library lists them. The worker that stays is asked, and is
warm then for the first registration."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from DeepRegistrationLib.settings import AUTO, NO_NETWORK

from ..texts import tr as _
from .install import isTorchInstalled
from .process import Process, Ticker, newFolder
from .signals import Signal
from .staying import StayingProcess
from .worker_run import Answer

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class MethodEntry:
    """One entry: what ``register`` calls it, what the user reads, what it is for, for which images it can be used.

    Attributes:
        dimensions: those that it is made for; empty is not known.
        trained: those that it has weights for; None is not known, and taken for all.
        hasNetwork: whether there is something to fine-tune.
        takes: of "auto": the name of the method that it stands for, for each dimension; empty is not known.
        takesFor: of "auto": the same for images that are compared by each similarity, where that makes a difference.
        worth: what its network was measured to be worth, in words, for each dimension.
    """

    name: str
    title: str
    purpose: str
    dimensions: tuple[int, ...] = ()
    trained: tuple[int, ...] | None = None
    hasNetwork: bool = True
    takes: Mapping[int, str] = field(default_factory=dict)
    takesFor: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    worth: Mapping[int, str] = field(default_factory=dict)

    @property
    def isAvailable(self) -> bool:
        """Whether it can be used for some images."""
        return self.trained is None or bool(self.trained)

    def problem(self, dimensions: int | None = None) -> str:
        """Why it cannot be used for images of so many dimensions (None: for any), and what to do; empty if it can."""
        if self.trained is None or dimensions in self.trained or (dimensions is None and self.trained):
            return ""
        if dimensions is not None and self.dimensions and dimensions not in self.dimensions:
            return _("{title} has no network for {dimensions}-D images; choose another method.").format(
                title=self.title, dimensions=dimensions
            )
        if not self.trained:
            return _(
                "There are no weights for {title} here; import its model under Models, train it (docs/training.md), "
                "or choose another method and fine-tune that."
            ).format(title=self.title)
        return _(
            "{title} has weights for {others}-D images only and these are {dimensions}-D; import a model for them "
            "under Models, train one (docs/training.md), or choose another method and fine-tune that."
        ).format(title=self.title, others=self.trained[0], dimensions=dimensions)

    def worthFor(self, dimensions: int | None) -> str:
        """What it was measured to be worth on images of so many dimensions; empty if that is not known."""
        if dimensions is not None:
            return self.worth.get(dimensions, "")
        return " ".join(f"{n}-D: {text}" for n, text in sorted(self.worth.items()) if text)

    def titleFor(self, dimensions: int | None) -> str:
        """The title, with what it lacks."""
        if not self.problem(dimensions):
            return self.title
        if not self.trained:
            return _("{title} (no weights yet)").format(title=self.title)
        return _("{title} ({others}-D only)").format(title=self.title, others=self.trained[0])


def bestAvailable(
    takes: Mapping[int, str] | None = None, takesFor: Mapping[str, Mapping[int, str]] | None = None
) -> MethodEntry:
    return MethodEntry(
        AUTO,
        _("Best available"),
        _("Takes the best that is here: a network where it helps, else refinement alone."),
        takes=takes or {},
        takesFor=takesFor or {},
    )


def refinementAlone() -> MethodEntry:
    return MethodEntry(
        NO_NETWORK,
        _("Refinement alone"),
        _("For any two images; needs no trained network."),
        hasNetwork=False,
    )


class MethodCatalog:
    """``methods`` holds what is known; ``changed()`` is sent when the library has answered."""

    def __init__(self, makeProcess: Callable[[], Process] = StayingProcess, ticker: Ticker | None = None) -> None:
        self.changed = Signal()
        self.methods = [bestAvailable(), refinementAlone()]
        self.answer = Answer(makeProcess, ticker)
        self.answer.finished.connect(self._onAnswer)

    def find(self, name: str) -> MethodEntry | None:
        return next((method for method in self.methods if method.name == name), None)

    def taken(self, name: str, dimensions: int | None, similarity: str = AUTO) -> MethodEntry | None:
        """The method that runs when ``name`` is chosen and images are compared so; None if that is not known."""
        method = self.find(name)
        if method is None or method.name != AUTO:
            return method
        return self.find(method.takesFor.get(similarity, method.takes).get(dimensions or 3, ""))

    def hasNetwork(self, name: str, dimensions: int | None, similarity: str = AUTO) -> bool:
        """Whether a network runs when ``name`` is chosen."""
        method = self.taken(name, dimensions, similarity)
        return method.hasNetwork if method is not None else name not in (AUTO, NO_NETWORK)

    def refresh(self) -> None:
        """Ask the library; returns at once. Without PyTorch there is nobody to ask."""
        if isTorchInstalled() and not self.answer.isRunning:
            self.answer.ask(["methods", "--json"], newFolder())

    def stop(self) -> None:
        self.answer.end()

    def _onAnswer(self, text: str) -> None:
        methods = parseMethods(text)
        if not methods:
            LOGGER.warning("The library listed no methods: %s", text)
            return
        best = next((method for method in methods if method.name == AUTO), bestAvailable())
        self.methods = [best, *(method for method in methods if method is not best)]
        self.changed.emit()


def parseMethods(text: str) -> list[MethodEntry]:
    """The library's JSON list, those that can be used first.

    Entries without a name are left out, and so is all that is not such a list.
    """
    try:
        entries: Any = json.loads(text)
    except ValueError:
        return []
    if not isinstance(entries, list):
        return []
    found = [_method(entry) for entry in entries if isinstance(entry, dict) and entry.get("name")]
    return sorted(found, key=lambda method: not method.isAvailable)


def _method(entry: dict[str, Any]) -> MethodEntry:
    name = str(entry["name"])
    if name == AUTO:  # ours in words; which method it is now is the library's
        takesFor = entry.get("takes_for")
        known = takesFor.items() if isinstance(takesFor, dict) else ()
        return bestAvailable(_byDimension(entry.get("takes")), {str(s): _byDimension(takes) for s, takes in known})
    trained = entry.get("trained")
    if not isinstance(trained, list):
        trained = None if entry.get("available", True) else []
    return MethodEntry(
        name,
        str(entry.get("title") or name),
        _sentence(str(entry.get("purpose") or "")),
        dimensions=tuple(entry.get("dimensions") or ()),
        trained=None if trained is None else tuple(trained),
        hasNetwork=bool(entry.get("network", name != NO_NETWORK)),
        worth=_byDimension(entry.get("worth")),
    )


def _byDimension(table: Any) -> dict[int, str]:
    """What the library lists for images of each number of dimensions."""
    entries = table.items() if isinstance(table, dict) else ()
    return {int(n): str(text) for n, text in entries if str(n).isdigit()}


def _sentence(text: str) -> str:
    """The library lists its purposes in lower case, without a full stop."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}" if text else ""
