"""Reading image files through SimpleITK: what it would take for whole, right or its own is looked at first.

ITK reads a file that was cut short as if zeros followed, makes zeros of NaN in NIfTI files, takes ``a.nii`` for
``a.nii.gz`` where both are there, allocates whatever a header declares, and says nothing of the geometry that it left
out.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..system import check_memory
from . import mgz, nifti
from .axes import RAS_TO_LPS_MATRIX
from .contents import HDF5_MARK, is_transform, unreadable
from .dicom_folder import read_dicom_folder
from .nifti_numbers import with_not_numbers
from .quiet import READ_ERRORS, quiet_libraries
from .writing import PathLike, check_named, is_text, shown

_IMAGES_IN_HDF5 = (b"ITKImage", b"minc-2.0")
_MOST_SHEAR = 1.0
"""Voxels by which the nearest right-angled grid may miss a sheared one at the corners."""


def check_not_the_same(fixed: PathLike, moving: PathLike) -> None:
    """Raises InputError if both are one file."""
    if Path(fixed).exists() and Path(moving).exists() and Path(fixed).samefile(moving):
        raise InputError("The fixed and the moving image are the same file; choose two different images.")


def read_file(source: PathLike, name: str) -> tuple[sitk.Image, list[str]]:
    """Any image file, or a folder with one DICOM series, and sentences on its geometry that the user should read.

    All components of the voxels are kept.

    Raises:
        InputError: if there is no such file, it is no image, damaged, cut short, or larger than the memory.
    """
    path = existing_file(source, name)
    ending = path.name.lower()
    if path.is_dir():
        return read_dicom_folder(path, name)
    if ending.endswith(mgz.ENDINGS):
        return mgz.read_mgh(path, name), []
    _refuse_foreign(path, name)
    if ending.endswith(nifti.ENDINGS):
        return _read_nifti(path, name)
    if _is_cut(path):
        raise _cut_short(path, name)
    return _execute(path, name), []


def header_size(source: PathLike, name: str) -> tuple[int, ...]:
    """Voxels along each axis, x first, without reading them; () where the header alone does not tell.

    Raises:
        InputError: if there is no such file.
    """
    path = existing_file(source, name)
    if path.is_dir() or path.name.lower().endswith(mgz.ENDINGS):
        return ()
    reader = sitk.ImageFileReader()
    with alone(path) as single, quiet_libraries():
        reader.SetFileName(str(single))
        try:
            reader.ReadImageInformation()
        except READ_ERRORS:
            return ()
        return tuple(reader.GetSize())


def existing_file(source: PathLike, name: str) -> Path:
    """``source`` if it is a file (or folder) that can be read.

    Raises:
        InputError: if it is not.
    """
    check_named(source, name)
    path = Path(source)
    if not is_text(path):
        raise InputError(f"The {name} {shown(path)} has a name that is not UTF-8, which cannot be read; rename it.")
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"The {name} {shown(path)} does not exist; check the path.") from None
    except (OSError, ValueError) as error:
        code = getattr(error, "errno", None)
        why = {errno.ENAMETOOLONG: "its name is too long", errno.ELOOP: "it is a link that leads to itself"}.get(
            code or 0, "it cannot be reached" if code else "its name holds a character no name can have"
        )
        raise InputError(f"The {name} {shown(path)} cannot be opened: {why}; check the path.") from None
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise InputError(f"The {name} {shown(path)} is a pipe or a device, not a file; give the path of a file.")
    if not os.access(path, os.R_OK):
        raise InputError(f"The {name} {shown(path)} is protected against reading; check its permissions.")
    return path


@contextmanager
def alone(path: Path) -> Iterator[Path]:
    """A path under which ITK reads ``path`` itself: of ``a.nii.gz`` beside ``a.nii`` it would read the second."""
    if not path.name.lower().endswith(".nii.gz") or not os.path.lexists(path.with_name(path.name[:-3])):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "alone.nii.gz"
        try:
            copy.symlink_to(path.resolve())
        except OSError:  # Windows allows links to some users only
            shutil.copyfile(path, copy)
        yield copy


def _cut_short(path: Path, name: str, missing: int | None = None) -> InputError:
    how = "it ends too early" if missing is None else f"{missing} bytes of its voxels are missing or damaged"
    return InputError(f"The {name} {path} is not whole: {how}; copy or download it again.")


def _execute(path: Path, name: str) -> sitk.Image:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    with quiet_libraries():
        try:
            reader.ReadImageInformation()
            values = reader.GetNumberOfComponents()
            for n in reader.GetSize():
                values *= n
            check_memory(values * _value_bytes(reader.GetPixelID()), f"{name} {path}")
            return reader.Execute()
        except READ_ERRORS as error:
            raise _unreadable(path, name) from error


def _unreadable(path: Path, name: str) -> InputError:
    return unreadable(
        path,
        name,
        f"The {name} {path} could not be read as an image; it may be damaged or of a format ITK does not know.",
    )


def _value_bytes(pixel: int) -> int:
    kind = sitk.GetPixelIDValueAsString(pixel)
    return next((int(bits) // 8 for bits in ("64", "32", "16", "8") if bits in kind), 4)


def _read_nifti(path: Path, name: str) -> tuple[sitk.Image, list[str]]:
    header = nifti.read_nifti_header(path) if ".img" not in path.name.lower() else None
    voxels = next((p for p in _voxel_files(path) if p.is_file()), None)
    first_byte = header.first_byte if header is not None and voxels == path else 0
    if header is not None:
        check_memory(header.data_bytes, f"{name} {path}")
        if voxels is not None:
            missing = nifti.missing_bytes(voxels, header.data_bytes + first_byte)
            if missing:
                raise _cut_short(path, name, missing)
    try:
        with alone(path) as single:
            image = _execute(single, name)
    except InputError as error:
        if header is None or header.sform_code <= 0 or not path.name.lower().endswith((".nii", ".nii.gz")):
            raise _unreadable(path, name) from error
        image, warnings = _read_sheared(path, header, name)
        return with_not_numbers(image, path, path, first_byte), warnings
    if header is not None and voxels is not None:
        image = with_not_numbers(image, path, voxels, first_byte)
    if header is None or image.GetDimension() != 3:
        return image, []
    found = np.eye(4)
    found[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    found[:3, 3] = image.GetOrigin()
    return image, nifti.geometry_warnings(header, found, name)


def _voxel_files(path: Path) -> list[Path]:
    if path.name.lower().endswith(".hdr"):
        return [path.with_suffix(".img"), path.with_name(path.stem + ".img.gz")]
    return [path]


def _read_sheared(path: Path, header: nifti.NiftiHeader, name: str) -> tuple[sitk.Image, list[str]]:
    """ITK refuses an sform whose axes are not at right angles; a little of that is the writer's rounding."""
    sform = header.sform
    if not np.isfinite(sform).all() or abs(np.linalg.det(sform[:3, :3])) < 1e-12:
        raise InputError(f"The {name} {path} has an sform that is no geometry; give it a right one first.")
    straight, degrees, voxels = nifti.squared_up(sform, header.size)
    if degrees < 1e-3:
        raise _unreadable(path, name)
    if voxels > _MOST_SHEAR:
        raise InputError(
            f"The {name} {path} has axes that are {degrees:.1f} degrees off right angles (its sform is sheared), which "
            "images here cannot be; resample it onto a grid of right angles first."
        )
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.nii"
        with nifti.opened(path) as source, plain.open("wb") as target:
            shutil.copyfileobj(source, target)
        nifti.clear_forms(plain)
        image = _execute(plain, name)
    lps = RAS_TO_LPS_MATRIX @ straight
    steps = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(steps.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / steps).ravel().tolist())
    return image, [
        f"The axes of the {name} are {degrees:.2f} degrees off right angles (its sform is sheared); the nearest grid "
        f"of right angles was taken, which moves voxels by up to {voxels:.2f} of their size."
    ]


def _refuse_foreign(path: Path, name: str) -> None:
    with path.open("rb") as file:
        start = file.read(1 << 16)
    if not start:
        raise InputError(f"The {name} {path} is empty; copy or download it again.")
    if is_transform(start):
        raise InputError(f"The {name} {path} is a transform, not an image; give an image file.")
    if start.startswith(HDF5_MARK) and not any(mark in start for mark in _IMAGES_IN_HDF5):
        raise InputError(f"The {name} {path} is an HDF5 file that holds no image; give an image file.")


def _is_cut(path: Path) -> bool:
    """Whether the file ends before the end that its format tells; only formats in which ITK does not notice."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(4096)
        file.seek(max(0, size - 4096))
        end = file.read()
    if start.startswith(b"\xff\xd8\xff"):  # JPEG
        return b"\xff\xd9" not in end
    if start.startswith(b"BM") and len(start) > 6:
        return size < int(struct.unpack_from("<I", start, 2)[0])
    if start[:4] in (b"II*\0", b"MM\0*"):
        return _is_tiff_cut(path, "<" if start.startswith(b"II") else ">")
    suffix = path.suffix.lower()
    if suffix not in (".vtk", ".gipl") or (suffix == ".vtk" and b"\nBINARY" not in start):
        return False
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    with quiet_libraries():
        try:
            reader.ReadImageInformation()
        except READ_ERRORS:
            return False
    needed = reader.GetNumberOfComponents() * _value_bytes(reader.GetPixelID())
    for n in reader.GetSize():
        needed *= n
    return size < needed + (256 if suffix == ".gipl" else _vtk_header(start))


def _vtk_header(start: bytes) -> int:
    for mark in (b"\nLOOKUP_TABLE", b"\nVECTORS", b"\nSCALARS"):
        at = start.find(mark)
        if at >= 0:
            return start.find(b"\n", at + 1) + 1
    return 0


def _is_tiff_cut(path: Path, order: str) -> bool:
    """Follows the chain of pages, of which a cut file lacks the last ones without a word."""
    size, seen = path.stat().st_size, set()
    with path.open("rb") as file:
        file.seek(4)
        try:
            (at,) = struct.unpack(order + "I", file.read(4))
            while at:
                if at >= size:
                    return True
                if at in seen:
                    return False
                seen.add(at)
                file.seek(at)
                (entries,) = struct.unpack(order + "H", file.read(2))
                file.seek(12 * entries, os.SEEK_CUR)
                (at,) = struct.unpack(order + "I", file.read(4))
        except struct.error:
            return True
    return False
