"""How much memory a process has taken."""

from __future__ import annotations

import sys
from pathlib import Path


def peak_gb() -> float:
    """The most that this process held at once, GB.

    Linux counts what the asking process held as ``ru_maxrss`` of those that it starts, too; ``VmHWM`` is of this one.
    """
    if sys.platform == "linux":
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        found = next((line for line in lines if line.startswith("VmHWM:")), "")
        if found:
            return float(found.split()[1]) / (1 << 20)
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "linux" else 1 << 30)
