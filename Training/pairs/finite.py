"""Whether a file's voxels are numbers."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import Image

_FLOATS = {16: "f4", 64: "f8"}


def check_numbers_of(image: Image, path: Path, name: str) -> None:
    """Refuse NaN and infinity in an image that was read from ``path``.

    ITK's reader of NIfTI makes zeros of them without a word, so that such a file's bytes are looked at, too.

    Raises:
        InputError: if there are some.
    """
    if not np.isfinite(image.array).all() or _bad_nifti(path):
        raise InputError(f"The {name} {path} has values that are not numbers (NaN or infinite); mend it first.")


def _bad_nifti(path: Path) -> bool:
    """Whether a ``.nii`` or ``.nii.gz`` of floats holds any."""
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return False
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            header = file.read(352)
            order = next((o for o in "<>" if struct.unpack_from(f"{o}i", header)[0] == 348), "")
            kind = _FLOATS.get(struct.unpack_from(f"{order or '<'}h", header, 70)[0], "")
            if not order or not kind:
                return False
            file.seek(max(352, int(struct.unpack_from(f"{order}f", header, 108)[0])))
            size = np.dtype(kind).itemsize
            while piece := file.read(1 << 24):
                values = np.frombuffer(piece[: len(piece) // size * size], order + kind)
                if not np.isfinite(values).all():
                    return True
    except (OSError, EOFError, ValueError, OverflowError, struct.error, zlib.error):
        return False  # what cannot be read is said by the reader
    return False
