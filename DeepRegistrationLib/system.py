"""What a process of this library asks of the system it runs on; without PyTorch, as some of it must come before."""

from __future__ import annotations

import ctypes
import os
import sys

SPINS = "10000"


def wait_briefly() -> None:
    """Let threads that wait for each other sleep soon; before PyTorch is loaded, and unless the user said otherwise.

    GNU's OpenMP lets them spin for a millisecond. Beside a program that keeps one of two cores busy, the demonstration
    then takes minutes instead of seconds: the thread that is waited for has no core. Alone, this costs nothing.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def keep_freed_memory() -> None:
    """Let glibc reuse large blocks: mapping and unmapping every temporary costs more than the arithmetic."""
    if not sys.platform.startswith("linux"):
        return
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-4, 0)  # M_MMAP_MAX; older ones refuse a large M_MMAP_THRESHOLD
        libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
    except (OSError, AttributeError):
        pass  # another C library: only slower
