"""FreeSurfer's volumes (``.mgz``, ``.mgh``), which SimpleITK's wheel does not read.

284 bytes of big-endian header, then voxels with the first index fastest; after FreeSurfer's ``mri.h`` and its wiki page
"MghFormat".
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..system import check_memory
from .axes import RAS_TO_LPS_MATRIX
from .contents import MGH_TYPES, unreadable

ENDINGS = (".mgz", ".mgh")
_HEADER = 284
_MOST_FRAMES = 1 << 20


def read_mgh(path: Path, name: str) -> sitk.Image:
    """The volume, in LPS mm.

    Raises:
        InputError: if the file is damaged, cut short, a warp or a time series, or larger than the memory.
    """
    try:
        with gzip.open(path, "rb") if path.name.lower().endswith(".mgz") else path.open("rb") as file:
            header = file.read(_HEADER)
            version, *size, frames, kind, _, good = struct.unpack(">7ih", header[:30])
            if version != 1 or kind not in MGH_TYPES:
                raise ValueError(f"version {version}, voxels of type {kind}")
            if min(size) < 1 or not 1 <= frames <= _MOST_FRAMES:
                raise ValueError(f"a size of {' x '.join(map(str, size))} voxels and {frames} frames")
            if frames != 1:
                raise InputError(f"The {name} {path} has {frames} frames; choose one time point.")
            numbers = _geometry(header, bool(good))
            dtype = np.dtype(MGH_TYPES[kind])
            wanted = math.prod(size) * dtype.itemsize
            check_memory(wanted, f"{name} {path}")
            data = file.read(wanted)
            if len(data) < wanted:
                raise ValueError(f"it is cut short: {wanted - len(data)} of {wanted} bytes are missing")
            file.read(1 << 20)  # to the end, where the checksum is looked at
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        if isinstance(error, InputError):
            raise
        why = f"The {name} {path} could not be read as a FreeSurfer volume ({error})."
        raise unreadable(path, name, why) from error
    voxels = np.frombuffer(data, dtype).reshape(size[::-1])
    # Columns of x, y, z (RAS) times spacing; the header's last three numbers are the center's RAS position.
    ijk_to_ras = np.eye(4)
    ijk_to_ras[:3, :3] = numbers[3:12].reshape(3, 3).T * numbers[:3]
    ijk_to_ras[:3, 3] = numbers[12:] - ijk_to_ras[:3, :3] @ (np.asarray(size) / 2)
    lps = RAS_TO_LPS_MATRIX @ ijk_to_ras
    image = sitk.GetImageFromArray(voxels.astype(dtype.newbyteorder("=")))
    image.SetSpacing(np.linalg.norm(lps[:3, :3], axis=0).tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / np.linalg.norm(lps[:3, :3], axis=0)).ravel().tolist())
    return image


def _geometry(header: bytes, good: bool) -> np.ndarray:
    """Spacing, direction cosines and center: 15 numbers; FreeSurfer's coronal default where none are given."""
    if not good:
        return np.array([1, 1, 1, -1, 0, 0, 0, 0, -1, 0, 1, 0, 0, 0, 0], dtype=np.float64)
    numbers = np.frombuffer(header, ">f4", 15, 30).astype(np.float64)
    cosines = numbers[3:12].reshape(3, 3)
    if not np.isfinite(numbers).all() or (numbers[:3] <= 0).any() or abs(np.linalg.det(cosines)) < 1e-3:
        raise ValueError("its geometry is no geometry: voxel sizes, axes or position are zero or no numbers")
    return numbers
