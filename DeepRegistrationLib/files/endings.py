"""Which endings of a file's name can be written, for images and for transforms, so that it is known before the work."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..errors import InputError
from .writing import check_named

VOLUME_FILES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".img", ".img.gz")
PICTURE_FILES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
"""For images of one slice; they lose the geometry."""
TRANSFORM_FILES = (".h5", ".hdf5", ".tfm", ".txt")
MATRIX_FILES = (".mat",)
"""For linear transforms alone: what ITK writes there of any other cannot be read again."""
FIELD_FILES = (".nrrd", ".nhdr", ".nii.gz", ".nii", ".mha", ".mhd")
ANY = ("",)

_UNWRITTEN_IN_CAPITALS = tuple(e for e in VOLUME_FILES + TRANSFORM_FILES + MATRIX_FILES if e not in (".nrrd", ".nhdr"))
"""ITK writes no others of these; of a picture's ending it writes .png and .PNG, but not .Png."""

_COMPANIONS = {
    ".mhd": (".raw", ".zraw"),
    ".nhdr": (".raw", ".raw.gz"),
    ".hdr": (".img", ".img.gz"),
    ".img": (".hdr",),
    ".img.gz": (".hdr",),
}


def image_endings(flat: bool) -> tuple[str, ...]:
    """For an image; ``flat`` if it has one slice."""
    return VOLUME_FILES + PICTURE_FILES if flat else VOLUME_FILES


def transform_endings(linear: bool) -> tuple[str, ...]:
    """For a transform, as itself or as a displacement field; ``linear`` if it is nothing but a matrix."""
    return TRANSFORM_FILES + (MATRIX_FILES if linear else ()) + FIELD_FILES


def check_ending(path: str | os.PathLike[str], allowed: tuple[str, ...], what: str) -> None:
    """Refuse a name that ``what`` ("A transform") cannot be written to.

    Raises:
        InputError: with the endings that can be.
    """
    check_named(path, "file to be written")
    name = Path(path).name or str(path)
    if not name.lower().endswith(allowed):
        known = " ".join(allowed)
        raise InputError(
            f"{what} cannot be written as {name[:80]}: the format is unknown or cannot hold it; "
            f"use a name ending in one of {known}."
        )
    ending = _longest_of(_UNWRITTEN_IN_CAPITALS + PICTURE_FILES, name)
    stem, given = name[: len(name) - len(ending)], name[len(name) - len(ending) :]
    if given != ending and not (ending in PICTURE_FILES and given.isupper()):
        raise InputError(
            f"{what} cannot be written as {name[:80]}: ITK writes {ending} in small letters only; "
            f"name it {stem[:80]}{ending}."
        )


def files_of(path: str | os.PathLike[str]) -> list[Path]:
    """The file itself and those that are written with it: some formats keep the voxels beside the header."""
    target = Path(path)
    ending = _longest_of(_COMPANIONS, target.name)
    stem = target.name[: len(target.name) - len(ending)]
    return [target, *(target.with_name(stem + e) for e in _COMPANIONS.get(ending, ()))]


def _longest_of(endings: Iterable[str], name: str) -> str:
    """Of ``endings`` the longest that ``name`` has, in letters of any size; "" if none."""
    return max((e for e in endings if name.lower().endswith(e)), key=len, default="")
