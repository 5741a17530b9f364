"""What a process of this library asks of the system it runs on; without PyTorch, as some of it must come before."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from contextlib import suppress
from pathlib import Path

from .errors import InputError

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


def give_memory_back() -> None:
    """What was freed goes back to the system: with it all that is left there of an image."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):  # another C library does so by itself, or does not
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def resident_memory() -> int:
    """Bytes of main memory that this process holds now (on macOS: held at most so far); 0 where nothing tells."""
    try:
        if sys.platform == "win32":
            return _windows_resident_bytes()
        if sys.platform == "linux":
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE")
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    except (OSError, ValueError, AttributeError, ImportError, IndexError):
        return 0


def check_memory(needed: int, what: str) -> None:
    """Refuse what could never be held, before any of it is allocated.

    Args:
        needed: bytes.
        what: that needs them, as in "The ... says".

    Raises:
        InputError: if more is needed than is free.
    """
    free = free_memory()
    if needed > free:
        raise InputError(
            f"The {what} says that it holds {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB of memory are free; it may "
            "be damaged, or has to be cropped or resampled first."
        )


def free_memory() -> int:
    """Bytes of main memory that can still be used; 4 GB where the system does not tell."""
    try:
        if sys.platform == "win32":
            return _windows_available_bytes()
        if sys.platform == "linux":
            with Path("/proc/meminfo").open(encoding="ascii") as file:
                lines = dict(line.split(":", 1) for line in file)
            return int(lines["MemAvailable"].split()[0]) * 1024
        # macOS does not tell what is free; half of what is built in is a careful guess.
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (OSError, KeyError, ValueError):
        return 4 << 30


def total_memory() -> int:
    """Bytes of main memory, free or not; 8 GB where the system does not tell."""
    try:
        if sys.platform == "win32":
            kilobytes = ctypes.c_ulonglong()
            ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(kilobytes))
            return kilobytes.value * 1024 or 8 << 30
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError, AttributeError):
        return 8 << 30


def _windows_resident_bytes() -> int:
    class Counters(ctypes.Structure):
        _fields_ = [
            ("cb", ctypes.c_ulong),
            ("PageFaultCount", ctypes.c_ulong),
            *[(f"size{n}", ctypes.c_size_t) for n in range(8)],
        ]

    counters = Counters()
    counters.cb = ctypes.sizeof(counters)
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined]
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    kernel.K32GetProcessMemoryInfo(ctypes.c_void_p(kernel.GetCurrentProcess()), ctypes.byref(counters), counters.cb)
    return int(counters.size1)  # WorkingSetSize


def _windows_available_bytes() -> int:
    class MemoryStatus(ctypes.Structure):
        _fields_ = [
            ("dwLength", ctypes.c_ulong),
            ("dwMemoryLoad", ctypes.c_ulong),
            *[
                (name, ctypes.c_ulonglong)
                for name in ("total", "available", "page", "page_free", "virtual", "virtual_free", "extended")
            ],
        ]

    status = MemoryStatus()
    status.dwLength = ctypes.sizeof(status)
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined]
    return int(status.available)
