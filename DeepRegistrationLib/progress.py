"""One way to say how far a run is, and to stop it."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event
from typing import Any

from .errors import Cancelled, InputError

ProgressCallback = Callable[[str, float, str], None]
"""Called with the stage's name, the fraction of the whole run (0 to 1) and a short message."""


class CancelToken:
    """Set from anywhere (another thread, a signal handler); the running stage notices at its next report."""

    def __init__(self) -> None:
        self._event = Event()

    def cancel(self) -> None:
        self._event.set()

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()


def check_listeners(progress: Any, cancel: Any) -> None:
    """Raises InputError if ``progress`` cannot be called or ``cancel`` is no token; None is neither."""
    if progress is not None and not callable(progress):
        raise InputError(f"progress is a function that is called with what is done, not {type(progress).__name__}.")
    if cancel is not None and not hasattr(cancel, "cancelled"):
        raise InputError(f"cancel is a CancelToken, not {type(cancel).__name__}.")


class Reporter:
    """Passes a stage's own fraction on as a fraction of the whole run, and raises when the run was cancelled.

    ``reporter(0.3, "level 2 of 3")`` reports; ``reporter.stage("refine", 0.4, 1.0)`` makes a reporter for a part.
    ``seconds`` collects wall time per stage, shared by all parts.
    """

    def __init__(
        self,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
        *,
        name: str = "",
        start: float = 0.0,
        end: float = 1.0,
    ) -> None:
        self._progress, self._cancel = progress, cancel
        self.name, self._start, self._end = name, start, end
        self.seconds: dict[str, float] = {}
        self._entered = 0.0

    def __call__(self, fraction: float, message: str = "") -> None:
        """Report ``fraction`` (0 to 1) of this stage.

        Raises:
            Cancelled: if the token is set.
        """
        self.check()
        if self._progress is not None:
            whole = self._start + (self._end - self._start) * min(max(fraction, 0.0), 1.0)
            self._progress(self.name, whole, message)

    def check(self) -> None:
        """Raise ``Cancelled`` if the token is set; cheap enough for inner loops."""
        if self._cancel is not None and self._cancel.cancelled:
            raise Cancelled("The registration was cancelled; nothing was changed.")

    def stage(self, name: str, start: float, end: float) -> Reporter:
        """A reporter for the part of this one between ``start`` and ``end`` (0 to 1)."""
        span = self._end - self._start
        part = Reporter(
            self._progress, self._cancel, name=name, start=self._start + span * start, end=self._start + span * end
        )
        part.seconds = self.seconds
        return part

    def __enter__(self) -> Reporter:
        self._entered = time.perf_counter()
        self(0.0)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.seconds[self.name] = self.seconds.get(self.name, 0.0) + time.perf_counter() - self._entered


SILENT = Reporter()
"""Reports nothing and never cancels."""
