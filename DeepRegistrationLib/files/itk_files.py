"""Images and transforms written by SimpleITK, read back and compared: ITK reports no error when the disk is full."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import NotWritten
from . import nifti
from .quiet import READ_ERRORS, quiet_libraries
from .writing import PathLike, reserve, shown, whole

LOSSY = (".jpg", ".jpeg")
HDF5 = (".h5", ".hdf5", ".hdf")


def write_image_file(image: sitk.Image, path: PathLike, compress: bool = True) -> None:
    """Write ``image`` in the format of the path's extension, whole or not at all.

    Raises:
        InputError: if there can be no such file.
        NotWritten: if what lies on the disk is not what was to be written.
    """
    with whole(path) as partial:
        try:
            with quiet_libraries():
                sitk.WriteImage(image, str(partial), useCompression=compress)
                found = sitk.ReadImage(str(partial))
            ending = partial.name.lower()
            complete = _same_voxels(image, found, ending.endswith(LOSSY), zeroed=ending.endswith(nifti.ENDINGS))
        except READ_ERRORS as error:
            raise _cut_short(path, partial, sitk.GetArrayViewFromImage(image).nbytes) from error
        if not complete:
            raise _cut_short(path, partial, sitk.GetArrayViewFromImage(image).nbytes)


def write_transform_file(transform: sitk.Transform, path: PathLike) -> None:
    """Write any transform that ITK's transform files can hold, whole or not at all.

    Raises:
        InputError: if there can be no such file.
        NotWritten: if what lies on the disk is not what was to be written.
    """
    with whole(path) as partial:
        if partial.suffix.lower() in HDF5:
            reserve(partial, _bytes_of(transform))  # HDF5 without room for its file crashes at the end of the process
        try:
            with quiet_libraries():
                sitk.WriteTransform(sitk.Transform(transform), str(partial))
                complete = _same_transform(transform, sitk.ReadTransform(str(partial)))
        except READ_ERRORS as error:
            raise _cut_short(path, partial, _bytes_of(transform)) from error
        if not complete:
            raise _cut_short(path, partial, _bytes_of(transform))


def _cut_short(path: PathLike, partial: Path, size: int) -> NotWritten:
    """``size``: bytes that were to be written as ``partial``, of which a part may lie there."""
    return NotWritten(
        f"Cannot write {shown(path)} completely, most likely because the disk is full; "
        "what was there is unchanged, make room and try again.",
        shutil.disk_usage(partial.parent).free < size,
    )


def _same_voxels(
    wanted: sitk.Image, found: sitk.Image, lossy: bool = False, rounded: bool = False, zeroed: bool = False
) -> bool:
    """``zeroed``: ITK reads what is no number as 0 (see ``nifti_numbers``)."""
    a, b = (sitk.GetArrayViewFromImage(image) for image in (wanted, found))
    if wanted.GetNumberOfComponentsPerPixel() == 1 < found.GetNumberOfComponentsPerPixel():
        b = b[..., 0]  # gray comes back from a .bmp as color
    if a.size != b.size or lossy:  # sizes, not shapes: a 2-D image may come back as one slice
        return bool(a.size == b.size)
    a, b = a.ravel(), b.ravel()
    if np.array_equal(a, b):
        return True
    if a.dtype.kind not in "fc":
        return False
    if zeroed:
        a = np.where(np.isfinite(a), a, 0)
    return bool(np.allclose(a, b, rtol=1e-6 if rounded else 0, atol=1e-9 if rounded else 0, equal_nan=True))


def _same_transform(wanted: sitk.Transform, found: sitk.Transform) -> bool:
    parts = [_parts(transform) for transform in (wanted, found)]
    return len(parts[0]) == len(parts[1]) and all(_same_part(a, b) for a, b in zip(*parts, strict=True))


def _parts(transform: sitk.Transform) -> list[sitk.Transform]:
    known = sitk.Transform(transform).Downcast()
    if not isinstance(known, sitk.CompositeTransform):
        return [known]
    return [part for k in range(known.GetNumberOfTransforms()) for part in _parts(known.GetNthTransform(k))]


def _same_part(wanted: sitk.Transform, found: sitk.Transform) -> bool:
    if isinstance(wanted, sitk.DisplacementFieldTransform) and isinstance(found, sitk.DisplacementFieldTransform):
        # Not their parameters: millions of them as a tuple would take the memory.
        return _same_voxels(wanted.GetDisplacementField(), found.GetDisplacementField(), rounded=True)
    return wanted.GetName() == found.GetName() and all(
        np.allclose(a, b, rtol=1e-9, atol=1e-12)
        for a, b in (
            (wanted.GetParameters(), found.GetParameters()),
            (wanted.GetFixedParameters(), found.GetFixedParameters()),
        )
    )


def _bytes_of(transform: sitk.Transform) -> int:
    return sum(8 * part.GetNumberOfParameters() for part in _parts(transform))
