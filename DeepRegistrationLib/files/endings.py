"""Which endings of a file's name can be written, for images and for transforms, so that it is known before the work."""

from __future__ import annotations

import os
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


def files_of(path: str | os.PathLike[str]) -> list[Path]:
    """The file itself and those that are written with it: some formats keep the voxels beside the header."""
    target = Path(path)
    lower = target.name.lower()
    ending = next((e for e in sorted(_COMPANIONS, key=len, reverse=True) if lower.endswith(e)), "")
    stem = target.name[: len(target.name) - len(ending)]
    return [target, *(target.with_name(stem + e) for e in _COMPANIONS.get(ending, ()))]
