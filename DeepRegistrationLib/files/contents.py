"""Which ending a file's contents ask for: a whole file under a wrong name is not read by ITK, nor said to be whole."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from ..errors import InputError

_GZIP = b"\x1f\x8b"
HDF5_MARK = b"\x89HDF\r\n\x1a\n"
_NIFTI = {344: b"n+1\0", 4: b"n+2\0"}
MGH_TYPES = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2", 10: ">u2"}
"""Of a FreeSurfer volume's voxels, by the number in its header."""
_MARKS = {
    b"#Insight Transform": ".tfm",
    b"NRRD0": ".nrrd",
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG\r\n": ".png",
    HDF5_MARK: ".h5",
}
_SAME = {
    ".nrrd": (".nrrd", ".nhdr"),
    ".mha": (".mha", ".mhd"),
    ".tfm": (".tfm", ".txt"),
    ".jpg": (".jpg", ".jpeg"),
    ".h5": (".h5", ".hdf5", ".hdf", ".mnc"),
}
_UNREAD_IN_CAPITALS = (".mha", ".tfm")
"""Formats that ITK does not read under an ending in capital letters."""


def unreadable(path: Path, name: str, why: str) -> InputError:
    """That ``path`` holds another format than its name says, or is not read under it; else the sentence ``why``."""
    ending = misnamed(path)
    if not ending:
        return InputError(why)
    what = "holds another format than its name says"
    if path.name.lower().endswith(ending):
        what = "has an ending that ITK reads in small letters only"
    return InputError(f"The {name} {path} {what}; rename it to end in {ending}, and try again.")


def misnamed(path: Path) -> str:
    """The ending that the file should have by its contents; "" where it has that, or where they tell nothing."""
    wanted = _ending_of(path)
    own = next((e for e in _SAME.get(wanted, (wanted,)) if path.name.lower().endswith(e)), None)
    if own is None:
        return wanted
    return own if wanted in _UNREAD_IN_CAPITALS and not path.name.endswith(own) else ""


def _ending_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError:
        return ""
    packed = start.startswith(_GZIP)
    if packed:
        try:
            start = zlib.decompressobj(31).decompress(start, 4096)
        except zlib.error:
            return ""
    if any(start.startswith(mark, at) for at, mark in _NIFTI.items()):
        return ".nii.gz" if packed else ".nii"
    if _is_mgh(start):
        return ".mgz" if packed else ".mgh"
    if packed:
        return ""
    marked = next((ending for mark, ending in _MARKS.items() if start.startswith(mark)), "")
    if marked:
        return marked
    return ".mha" if start.lstrip().startswith((b"ObjectType", b"NDims")) else ""


def _is_mgh(start: bytes) -> bool:
    if len(start) < 24:
        return False
    version, *size, frames, kind = struct.unpack_from(">6i", start)
    return version == 1 and all(0 < n < 1 << 16 for n in (*size, frames)) and kind in MGH_TYPES
