"""Which files an input is made of, and their content as a number."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from .endings import files_of

_DATA_FILE = re.compile(rb"^\s*(?:ElementDataFile\s*=|data ?file\s*:)\s*([^\r\n%]+?)\s*$", re.MULTILINE | re.IGNORECASE)


def files_behind(path: Path) -> list[Path]:
    """The files that reading ``path`` reads: those of a folder, and the voxels beside a header."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    found = [file for file in files_of(path) if file.is_file()]
    if path.name.lower().endswith((".mhd", ".nhdr")) and found:
        with path.open("rb") as file:
            named = _DATA_FILE.search(file.read(1 << 16))
        other = path.parent / named[1].decode(errors="replace") if named else path
        if other not in found and other.is_file():
            found.append(other)
    return found


def content_hash(paths: Iterable[Path]) -> str:
    """SHA-256 of one file; of several, of their hashes."""
    hashes = []
    for path in paths:
        with path.open("rb") as file:
            hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()
