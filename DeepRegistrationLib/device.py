"""Where to compute, and how much fits there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from .errors import InputError


def choose_device(name: str = "auto") -> torch.device:
    """ "auto" is the GPU if PyTorch can use one, else the CPU.

    Raises:
        InputError: if the device asked for is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"There is no device named {name}; use auto, cpu or cuda.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError("PyTorch finds no usable NVIDIA GPU here; use the device auto or cpu.")
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"The device {name} is not supported; use auto, cpu or cuda.")
    return device


def available_bytes(device: torch.device) -> int:
    """Memory that can still be used on ``device``; 4 GB where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
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


def _windows_available_bytes() -> int:
    import ctypes

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
