"""Transform files of ITK, ANTs, Slicer and DICOM read as their writers meant them, or refused with one sentence.

What each program writes was found by running it: SimpleITK 2.5 (ITK 5.4), ANTsPy 0.6, Slicer 5.13.
"""

from __future__ import annotations

import gzip
import mmap
import re
import struct
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..dicom.registration_reading import read_registration
from ..errors import InputError
from ..files.contents import HDF5_MARK, is_of_elastix, is_transform, unreadable
from ..files.endings import FIELD_FILES
from ..files.image_files import read_file
from ..files.quiet import READ_ERRORS, quiet_libraries

FARTHEST_MM = 1e6
"""Points and displacements beyond a kilometer are a damaged file, and their squares more than float32 holds."""

_CLASS = re.compile(rb"Transform[A-Za-z0-9]*_(?:double|float)_\d+_\d+")
_LETTERS = re.compile(rb"[A-Za-z0-9]*\Z")
_GRID, _INVERSE_GRID = b"DisplacementFieldTransform", b"InverseDisplacementFieldTransform"
_NIFTI_DIMENSION, _NIFTI_INTENT = slice(40, 42), slice(68, 70)
_DISPLACEMENTS, _VECTORS = 1006, 1007
_TO_GRID = "in Slicer's module Transforms convert it to a displacement grid, then save it as .h5"


def read_parts(path: Path, name: str) -> list[tuple[sitk.Transform, bool]]:
    """The transforms in a file, the last one applied first, and for each whether its inverse is meant.

    Raises:
        InputError: if it holds no transform, or one that cannot be read rightly.
    """
    lower = path.name.lower()
    _refuse_others(path, name)
    with path.open("rb") as file:
        start = file.read(132)
    if start[128:] == b"DICM":
        return [(read_registration(path, name).between(), False)]
    why = f"The {name} {path} could not be read; use a file that ITK, ANTs or Slicer wrote."
    if lower.endswith(FIELD_FILES) and (start.startswith(HDF5_MARK) or is_transform(start)):
        raise unreadable(path, name, why)
    with quiet_libraries():
        try:
            if lower.endswith(FIELD_FILES):
                return [_read_field(path, name)]
            if lower.endswith(".xfm"):
                return [(_read_xfm(path, name), False)]
            return _read_itk(path, name)
        except (*READ_ERRORS, OSError, EOFError, struct.error, zlib.error) as error:
            raise unreadable(path, name, why) from error


def _refuse_others(path: Path, name: str) -> None:
    """Transforms of other programs, each with a way to turn it into one that is read."""
    if path.is_dir():
        raise InputError(f"The {name} {path} is a folder; give the transform file in it.")
    lower = path.name.lower()
    with path.open("rb") as file:
        start = file.read(400)
    other = None
    if lower.endswith((".mgz", ".mgh", ".m3z", ".lta")):
        other = "FreeSurfer's; convert it with mri_warp_convert (--outitkwarp) or lta_convert (--outitk)"
    elif lower.endswith(".x5"):
        other = "X5; write it as ITK's .h5 or .nii.gz with nitransforms"
    elif is_of_elastix(start):
        other = "elastix's parameters; run transformix with -def all and give its deformationField"
    if other:
        raise InputError(f"The {name} {path} is {other}.")


def _read_itk(path: Path, name: str) -> list[tuple[sitk.Transform, bool]]:
    if path.stat().st_size == 0:
        raise InputError(f"The {name} {path} is empty; write it again.")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        is_hdf5 = data[:8] == HDF5_MARK
        spans = [(m.start() - len(_before(data, m.start())), m.end()) for m in _CLASS.finditer(data)]
        classes = [data[low:high].split(b"_")[0] for low, high in spans]
        if is_hdf5:
            _check_hdf5(data, bool(classes), path, name)
        composite = classes[:1] == [b"CompositeTransform"]
        if len(classes) > 1 and not composite:
            kinds = ", ".join(c.decode() for c in classes)
            raise InputError(
                f"The {name} {path} holds {len(classes)} transforms ({kinds}) and does not say how they follow each "
                "other; write them as one composite transform, or give them one at a time."
            )
        unknown = [c.decode() for c in classes if b"Kernel" in c or (c.startswith(b"Inverse") and c != _INVERSE_GRID)]
        if unknown:
            raise InputError(f"The {name} {path} holds a transform of Slicer ({unknown[0]}); {_TO_GRID}.")
        if _INVERSE_GRID not in classes:
            return [(sitk.ReadTransform(str(path)), False)]
        changed = bytearray(data)
    for low, high in reversed(spans):
        if bytes(changed[low:high]).startswith(_INVERSE_GRID):
            forward = bytes(changed[low:high]).replace(_INVERSE_GRID, _GRID)
            changed[low:high] = forward.ljust(high - low, b"\0") if is_hdf5 else forward
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"forward{path.suffix.lower()}"
        copy.write_bytes(changed)
        transform = sitk.ReadTransform(str(copy)).Downcast()
    if not composite:
        return [(transform, True)]
    parts = [transform.GetNthTransform(k).Downcast() for k in range(transform.GetNumberOfTransforms())]
    expected = [c.replace(_INVERSE_GRID, _GRID).decode() for c in classes[1:]]
    if expected != [part.GetName() for part in parts]:
        raise InputError(f"The {name} {path} holds the inverse of a grid among others; {_TO_GRID}.")
    return [(part, c == _INVERSE_GRID) for part, c in zip(parts, classes[1:], strict=True)]


def _before(data: mmap.mmap, position: int) -> bytes:
    found = _LETTERS.search(data[max(0, position - 64) : position])
    return found.group() if found else b""


def _check_hdf5(data: mmap.mmap, has_transform: bool, path: Path, name: str) -> None:
    """What HDF5 would complain about on the console, line after line."""
    offset = {0: 40, 1: 44, 2: 28, 3: 28}.get(data[8])  # where its superblock keeps the file's length
    if offset and struct.unpack("<Q", data[offset : offset + 8])[0] > len(data):
        raise InputError(f"The {name} {path} is cut short; write or copy it again.")
    if not has_transform:
        raise InputError(
            f"The {name} {path} is an HDF5 file without an ITK transform in it (X5, MINC or other data); "
            "write the transform as ITK's .h5 or as a displacement field."
        )


def _read_xfm(path: Path, name: str) -> sitk.Transform:
    """MINC's text: matrices in a row, the first applied first; ITK writes LPS where MINC means RAS."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if "%ITK-XFM" not in text:
        raise InputError(
            f"The {name} {path} is MINC's, in RAS and from source to target; write it as ITK's .tfm or .h5."
        )
    if set(re.findall(r"Transform_Type\s*=\s*(\w+)", text)) != {"Linear"} or "Invert_Flag" in text:
        raise InputError(f"The {name} {path} holds more than matrices, which .xfm keeps elsewhere; write it as .h5.")
    return sitk.ReadTransform(str(path))


def _read_field(path: Path, name: str) -> tuple[sitk.Transform, bool]:
    with _single_nifti(path) as (readable, is_scrambled):
        try:
            image, _ = read_file(readable, name)
        except InputError as error:  # of a copy that is gone by then
            raise InputError(str(error).replace(str(readable), str(path))) from error
    kinds = {image.GetMetaData(key) for key in image.GetMetaDataKeys() if key.startswith("NRRD_kinds")}
    is_unsigned = "unsigned" in image.GetPixelIDTypeAsString()
    if image.GetNumberOfComponentsPerPixel() != image.GetDimension():
        raise InputError(f"The {name} {path} is an image, not a displacement field; give a transform file.")
    if is_unsigned or any(kind.lower().startswith(("rgb", "hsv", "xyz")) for kind in kinds):
        raise InputError(f"The {name} {path} is a color image, not a displacement field; give a transform file.")
    key = "displacement field type"  # Slicer keeps the forward vectors of a grid that was inverted there
    inverted = image.HasMetaDataKey(key) and image.GetMetaData(key).strip() == "modeling"
    image = sitk.Cast(image, sitk.sitkVectorFloat64)
    if is_scrambled:
        image = -image
    return sitk.DisplacementFieldTransform(image), inverted


@contextmanager
def _single_nifti(path: Path) -> Iterator[tuple[Path, bool]]:
    """A path that ITK reads rightly, and whether its vectors are RAS still.

    Of a.nii.gz beside a.nii, NIfTI's library takes the voxels of the latter. Of two-dimensional displacements (intent
    1006) ITK turns two of every three numbers around, so they are read as plain vectors.
    """
    lower = path.name.lower()
    if not lower.endswith((".nii", ".nii.gz")):
        yield path, False
        return
    packed = lower.endswith(".gz")
    with gzip.open(path) if packed else path.open("rb") as file:
        header = file.read(348)
    order = "<" if header[:4] == struct.pack("<i", 348) else ">"
    numbers = [struct.unpack(order + "8h", header[40:56]), struct.unpack(order + "h", header[_NIFTI_INTENT])]
    flat = numbers[0][0] == 5 and numbers[0][5] == 2 and numbers[1][0] == _DISPLACEMENTS
    if not flat and not (packed and path.with_suffix("").exists()):
        yield path, False
        return
    data = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
    if flat:
        data[_NIFTI_INTENT] = struct.pack(order + "h", _VECTORS)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "field.nii"
        copy.write_bytes(data)
        yield copy, flat


def check_transform(transform: sitk.Transform, name: str) -> None:
    """Whether every number of it can be used and its matrices have inverses.

    Raises:
        InputError: otherwise.
    """
    for part in parts_of(transform):
        if isinstance(part, sitk.DisplacementFieldTransform):
            values = sitk.GetArrayViewFromImage(part.GetDisplacementField())
        else:
            values = np.asarray(part.GetParameters())
        ends = [values.min(initial=0), values.max(initial=0), *part.GetFixedParameters()]
        if not np.isfinite(ends).all():
            raise InputError(f"The {name} holds values that are no numbers (NaN or infinite); make it again.")
        if max(-ends[0], ends[1]) > FARTHEST_MM:
            raise InputError(f"The {name} moves points by more than {FARTHEST_MM:g} mm; check its units.")
        if part.IsLinear() and hasattr(part, "GetMatrix"):
            matrix = np.asarray(part.GetMatrix()).reshape(part.GetDimension(), -1)
            if abs(np.linalg.det(matrix)) <= 1e-6 * np.prod(np.linalg.norm(matrix, axis=0)):
                raise InputError(f"The {name} flattens space, so it has no inverse; use one that does not.")


def parts_of(transform: sitk.Transform) -> list[sitk.Transform]:
    """The transforms that a (nested) composite consists of, the last one applied first."""
    known = sitk.Transform(transform).Downcast()
    if not isinstance(known, sitk.CompositeTransform):
        return [known]
    return [part for k in range(known.GetNumberOfTransforms()) for part in parts_of(known.GetNthTransform(k))]
