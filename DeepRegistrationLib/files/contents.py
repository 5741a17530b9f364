"""Which ending a file's contents ask for: a whole file under a wrong name is not read by ITK, nor said to be whole."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

from ..errors import InputError

_GZIP = b"\x1f\x8b"
HDF5_MARK = b"\x89HDF\r\n\x1a\n"
_NIFTI = {344: b"n+1\0", 4: b"n+2\0"}
MGH_TYPES = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2", 10: ">u2"}
"""Of a FreeSurfer volume's voxels, by the number in its header."""
_MATLAB = re.compile(rb"[A-Za-z0-9]+_(?:double|float)_\d+_\d+\0")
"""ITK's .mat: the kind of transform is the name of its first variable, behind five numbers."""
_MARKS = {
    b"#Insight Transform": ".tfm",
    b"MNI Transform File": ".xfm",
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
_TRANSFORMS = (".tfm", ".xfm", ".mat")
_OF_ELASTIX = (b"(Transform ", b"// Transform", b"(NumberOfParameters")
_OF_FREESURFER = re.compile(rb"\s*(?:#[^\n]*\n)*\s*type\s*=\s*\d+[^\n]*\nnxforms")
_UNREAD_IN_CAPITALS = (".mha", ".tfm", ".mat")
"""Formats that ITK does not read under an ending in capital letters."""


def is_transform(start: bytes) -> bool:
    """Whether a file that begins so (64 KiB of it do) is a transform of ITK, MINC, elastix or FreeSurfer, no image."""
    if start.startswith(HDF5_MARK):
        return b"TransformGroup" in start
    is_text = is_of_elastix(start) or _OF_FREESURFER.match(start) is not None
    return is_text or _marked(start) in _TRANSFORMS


def is_of_elastix(start: bytes) -> bool:
    """Whether a file that begins so holds the parameters of elastix."""
    return start.lstrip().startswith(_OF_ELASTIX)


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
    return _marked(start) or (".mha" if start.lstrip().startswith((b"ObjectType", b"NDims")) else "")


def _marked(start: bytes) -> str:
    if _MATLAB.match(start, 20):
        return ".mat"
    return next((ending for mark, ending in _MARKS.items() if start.startswith(mark)), "")


def _is_mgh(start: bytes) -> bool:
    if len(start) < 24:
        return False
    version, *size, frames, kind = struct.unpack_from(">6i", start)
    return version == 1 and all(0 < n < 1 << 16 for n in (*size, frames)) and kind in MGH_TYPES
