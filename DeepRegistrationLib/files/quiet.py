"""Libraries that print past Python (ITK, HDF5, GDCM) kept silent while they read what may be damaged."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import SimpleITK as sitk

READ_ERRORS = (RuntimeError, UnicodeDecodeError)
"""What SimpleITK raises of a damaged file; the second where ITK quotes bytes of it that are no text."""

_STDERR = 2
_lock = threading.Lock()
_inside = 0
_kept: int | None = None
_warned = True


def readable(text: str) -> str:
    """A text of a file for a sentence: bytes that were no UTF-8 become marks that can be printed."""
    return text.encode("utf-8", "replace").decode()


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Nothing that a library prints to standard error in this block is shown; the error it raises is enough.

    Threads may be inside at once: the first one in silences, the last one out restores.
    """
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _inside, _kept, _warned
    with _lock:
        _inside += 1
        if _inside > 1:
            return
        _warned = sitk.ProcessObject.GetGlobalWarningDisplay()
        sitk.ProcessObject.SetGlobalWarningDisplay(False)
        try:
            if sys.stderr is not None:
                sys.stderr.flush()
            _kept = os.dup(_STDERR)
        except (OSError, ValueError):
            _kept = None  # a program without a console has no standard error
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, _STDERR)
        os.close(nowhere)


def _leave() -> None:
    global _inside, _kept
    with _lock:
        _inside -= 1
        if _inside:
            return
        sitk.ProcessObject.SetGlobalWarningDisplay(_warned)
        if _kept is not None:
            os.dup2(_kept, _STDERR)
            os.close(_kept)
            _kept = None
