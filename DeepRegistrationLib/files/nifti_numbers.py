"""Values of a NIfTI file that are not numbers: ITK's reader (niftilib) makes zeros of them without a word."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from . import nifti

_FLOATS = {16: "f4", 64: "f8"}
_PIECE = 1 << 24


def with_not_numbers(image: sitk.Image, header_file: Path, voxel_file: Path, first_byte: int) -> sitk.Image:
    """The image with NaN where the file has NaN or infinity; itself if it has none.

    Args:
        image: what ITK read.
        header_file: the ``.nii``, ``.nii.gz`` or ``.hdr`` file.
        voxel_file: the same, or the ``.img`` beside a ``.hdr``.
        first_byte: of the voxels in ``voxel_file``, unpacked.
    """
    with nifti.opened(header_file) as file:
        kind = _kind(file.read(72))
    count = image.GetNumberOfPixels() * image.GetNumberOfComponentsPerPixel()
    if kind is None:
        return image
    found = _not_numbers(voxel_file, kind, first_byte, count)
    if not found.size:
        return image
    is_vector = image.GetNumberOfComponentsPerPixel() > 1
    array = sitk.GetArrayFromImage(image)
    if is_vector:  # a file has one whole image a component
        component, voxel = np.divmod(found, image.GetNumberOfPixels())
        found = voxel * image.GetNumberOfComponentsPerPixel() + component
    array.reshape(-1)[found] = np.nan
    mended = sitk.GetImageFromArray(array, isVector=is_vector)
    mended.CopyInformation(image)
    return mended


def _kind(header: bytes) -> str | None:
    """The numpy type of floating-point voxels; None for others, which are all numbers."""
    for order in "<>":
        if struct.unpack_from(order + "i", header)[0] == 348:  # NIfTI-2, of 540, is not read by ITK
            kind = _FLOATS.get(struct.unpack_from(order + "h", header, 70)[0])
            return None if kind is None else order + kind
    return None


def _not_numbers(path: Path, kind: str, first_byte: int, count: int) -> np.ndarray:
    """Which of ``count`` values are not finite, as places in the order of the file."""
    size = np.dtype(kind).itemsize
    found = [np.zeros(0, np.int64)]
    with nifti.opened(path) as file:
        file.seek(first_byte)
        for start in range(0, count, _PIECE // size):
            values = np.frombuffer(file.read(min(_PIECE // size, count - start) * size), kind)
            found.append(np.nonzero(~np.isfinite(values))[0] + start)
    return np.concatenate(found)
