"""One way to say how far a run is, and to stop it."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from threading import Event
from typing import Any

from .errors import Cancelled, InputError

ProgressCallback = Callable[[str, float, str], None]
"""Called with the stage's name, the fraction of the whole run (0 to 1) and a short message."""
REFINED = "refined"
"""The level of the preview that shows the refinement's end: the result itself, before it is judged."""


class CancelToken:
    """Set from anywhere (another thread, a signal handler); the running stage notices at its next report."""

    def __init__(self) -> None:
        self._event = Event()

    def cancel(self) -> None:
        self._event.set()

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()


class Watch:
    """Looks on while a field is refined, and may end that where it is.

    Attributes:
        on_level: gets each preview (a ``preview.Preview``); None: nobody looks.
        preview: called with a name and a function from the number of voxels on each axis to the field so far, on so
            many voxels of the whole grid and in these voxels; None before the alignment, and where nobody looks.
        stop: asked after every step whether to end with what is there; None: never.
        stopped_at: where it ended; empty if it did not.
    """

    def __init__(self, on_level: Callable[[Any], None] | None = None, stop: Callable[[], bool] | None = None) -> None:
        self.on_level = on_level
        self.preview: Callable[[str, Callable[[tuple[int, ...]], Any]], None] | None = None
        self.stop = stop
        self.stopped_at = ""


def check_listeners(progress: Any, cancel: Any, on_level: Any = None, stop: Any = None) -> None:
    """Raises InputError if a function cannot be called so or ``cancel`` is no token; None is none of them."""
    listeners = (
        ("progress", progress, "is called with what is done", ("stage", "fraction", "message")),
        ("on_level", on_level, "is called with each field on the way", ("preview",)),
        ("stop", stop, "tells whether to stop", ()),
    )
    for name, listener, what, given in listeners:
        if listener is not None and not callable(listener):
            raise InputError(f"{name} is a function that {what}, not {type(listener).__name__}.")
        if listener is not None and not _takes(listener, given):
            raise InputError(f"{name} is called with {', '.join(given) or 'nothing'}; give a function that takes that.")
    if cancel is not None and not hasattr(cancel, "cancelled"):
        raise InputError(f"cancel is a CancelToken, not {type(cancel).__name__}.")


def _takes(listener: Callable[..., Any], given: tuple[str, ...]) -> bool:
    try:
        signature = inspect.signature(listener)
    except (TypeError, ValueError):  # some that are written in C have none
        return True
    try:
        signature.bind(*given)
    except TypeError:
        return False
    return True


class Reporter:
    """Passes a stage's own fraction on as a fraction of the whole run, and raises when the run was cancelled.

    ``reporter(0.3, "level 2 of 3")`` reports; ``reporter.stage("refine", 0.4, 1.0)`` makes a reporter for a part.
    ``seconds`` collects wall time per stage, shared by all parts. What is done again, as where another field is tried,
    takes the fraction of the whole run no way back.
    """

    def __init__(
        self,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
        watch: Watch | None = None,
        *,
        name: str = "",
        start: float = 0.0,
        end: float = 1.0,
    ) -> None:
        self._progress, self._cancel, self.watch = progress, cancel, watch or Watch()
        self.name, self._start, self._end = name, start, end
        self.seconds: dict[str, float] = {}
        self._entered = 0.0
        self._furthest = [start]  # shared by all parts

    def __call__(self, fraction: float, message: str = "") -> None:
        """Report ``fraction`` (0 to 1) of this stage.

        Raises:
            Cancelled: if the token is set.
        """
        self.check()
        if self._progress is not None:
            whole = self._start + (self._end - self._start) * min(max(fraction, 0.0), 1.0)
            self._furthest[0] = max(self._furthest[0], whole)
            self._progress(self.name, self._furthest[0], message)

    def check(self) -> None:
        """Raise ``Cancelled`` if the token is set; cheap enough for inner loops."""
        if self._cancel is not None and self._cancel.cancelled:
            raise Cancelled("The registration was cancelled; nothing was changed.")

    def preview(self, name: str, field_on: Callable[[tuple[int, ...]], Any]) -> None:
        """Hand the field so far to whoever looks on; see ``Watch``. Costs nothing where nobody does."""
        if self.watch.preview is not None:
            self.watch.preview(name, field_on)

    def stopped(self, where: str) -> bool:
        """Whether to go no further with the field, asked at ``where``."""
        watch = self.watch
        if not watch.stopped_at and (watch.stop is None or not watch.stop()):
            return False
        watch.stopped_at = watch.stopped_at or where
        return True

    def stage(self, name: str, start: float, end: float) -> Reporter:
        """A reporter for the part of this one between ``start`` and ``end`` (0 to 1)."""
        span = self._end - self._start
        part = Reporter(
            self._progress,
            self._cancel,
            self.watch,
            name=name,
            start=self._start + span * start,
            end=self._start + span * end,
        )
        part.seconds, part._furthest = self.seconds, self._furthest
        return part

    def __enter__(self) -> Reporter:
        self._entered = time.perf_counter()
        self(0.0)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.seconds[self.name] = self.seconds.get(self.name, 0.0) + time.perf_counter() - self._entered


SILENT = Reporter()
"""Reports nothing and never cancels."""
