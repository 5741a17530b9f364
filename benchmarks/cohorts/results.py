"""What a batch left in its folder, so that two runs can be compared."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from DeepRegistrationLib.cohorts.ledger import rows_of

SEED_DECIDES = ("warped.nii.gz", "overlay.png")
"""Byte for byte; of ``transform.h5`` the numbers are compared, as HDF5 notes when it was written."""
TIMES = ("seconds", "provenance", "stages", "memory")


def contents(folder: Path) -> dict[str, str]:
    """Hash of all that the seed decides of each pair, by its name."""
    found = {}
    for report in sorted(folder.glob("*/report.json")):
        digest = hashlib.sha256()
        for name in SEED_DECIDES:
            digest.update((report.parent / name).read_bytes())
        transform = sitk.ReadTransform(str(report.parent / "transform.h5"))
        digest.update(np.asarray([*transform.GetFixedParameters(), *transform.GetParameters()]).tobytes())
        digest.update(json.dumps(_without_times(json.loads(report.read_text(encoding="utf-8")))).encode())
        found[report.parent.name] = digest.hexdigest()
    return found


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_times(v) for k, v in sorted(value.items()) if not any(word in k for word in TIMES)}
    return value


def done_twice(folder: Path) -> list[str]:
    """Pairs that two runs say to have registered."""
    counts = Counter(row["name"] for row in rows_of(folder) if row["status"] == "done")
    return sorted(name for name, count in counts.items() if count > 1)


def unfinished(folder: Path) -> list[str]:
    """What a killed process left half written, and locks that are still held by a file."""
    return sorted(str(path.relative_to(folder)) for path in folder.glob("**/.partial-*"))
