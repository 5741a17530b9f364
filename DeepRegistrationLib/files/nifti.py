"""What a NIfTI header promises: how many bytes follow, and where the voxels lie, by each of its two accounts.

After the standard's ``nifti1.h`` and ``nifti2.h`` (NIfTI DFWG). ITK reads the voxels; it does not say when they are
fewer than promised, nor which account of the geometry it left out.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .axes import RAS_TO_LPS_MATRIX

ENDINGS = (".nii", ".nii.gz", ".hdr", ".img", ".img.gz")
FORMS = {1: "scanner", 2: "aligned to another image", 3: "Talairach", 4: "MNI 152", 5: "template"}
_MILLIMETERS = {1: 1000.0, 2: 1.0, 3: 0.001}
_CHUNK = 1 << 22


@dataclass(frozen=True)
class NiftiHeader:
    """The parts of a NIfTI-1 or NIfTI-2 header that matter here; matrices are (4, 4) voxel (i, j, k) to RAS mm."""

    size: tuple[int, ...]
    value_bytes: int
    first_byte: int
    voxel_mm: tuple[float, float, float]
    qform_code: int
    qform: np.ndarray
    sform_code: int
    sform: np.ndarray
    slope: float
    intercept: float

    @property
    def data_bytes(self) -> int:
        """Bytes of the voxels, not compressed."""
        total = self.value_bytes
        for n in self.size:
            total *= max(n, 0)
        return total


def read_nifti_header(path: Path) -> NiftiHeader | None:
    """The header of a ``.nii``, ``.nii.gz`` or ``.hdr`` file; None if it is no NIfTI (or too damaged to tell)."""
    try:
        with opened(path) as file:
            data = file.read(540)
        return _parse(data)
    except (OSError, EOFError, zlib.error, struct.error):
        return None


def missing_bytes(path: Path, expected: int) -> int:
    """How many of ``expected`` bytes the file lacks, unpacked if it is compressed; damage counts as the end."""
    if not _packed(path):
        return max(0, expected - path.stat().st_size)
    found = 0
    try:
        for chunk in _chunks(path):
            found += len(chunk)
    except (OSError, EOFError, zlib.error):
        found = min(found, expected - 1)
    return max(0, expected - found)


def _chunks(path: Path) -> Iterator[bytes]:
    with gzip.open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def opened(path: Path) -> Any:
    """The file's bytes, unpacked if it is compressed."""
    return gzip.open(path, "rb") if _packed(path) else path.open("rb")


def _parse(data: bytes) -> NiftiHeader | None:
    for order in "<>":
        kind = struct.unpack_from(order + "i", data)[0]
        if kind == 348 and data[344:348] in (b"n+1\0", b"ni1\0"):
            dim = struct.unpack_from(order + "8h", data, 40)
            bits, pixdim = struct.unpack_from(order + "h", data, 72)[0], struct.unpack_from(order + "8f", data, 76)
            first, *scale = struct.unpack_from(order + "3f", data, 108)
            units = data[123]
            codes = struct.unpack_from(order + "2h", data, 252)
            turn, rows = struct.unpack_from(order + "6f", data, 256), struct.unpack_from(order + "12f", data, 280)
        elif kind == 540 and data[4:8] in (b"n+2\0", b"ni2\0"):
            bits, dim = struct.unpack_from(order + "h", data, 14)[0], struct.unpack_from(order + "8q", data, 16)
            pixdim = struct.unpack_from(order + "8d", data, 104)
            first, *scale = struct.unpack_from(order + "q2d", data, 168)
            codes = struct.unpack_from(order + "2i", data, 344)
            turn, rows = struct.unpack_from(order + "6d", data, 352), struct.unpack_from(order + "12d", data, 400)
            units = struct.unpack_from(order + "i", data, 500)[0]
        else:
            continue
        if not 1 <= dim[0] <= 7:
            return None
        mm = _MILLIMETERS.get(units & 7, 1.0)
        sform = np.eye(4)
        sform[:3] = np.reshape(rows, (3, 4)) * mm
        size = tuple(int(n) for n in dim[1 : dim[0] + 1])
        voxel = tuple(abs(float(step)) * mm for step in pixdim[1:4])
        qform = _quaternion_matrix(turn, pixdim, mm)
        single = data[345:346] == b"+" if kind == 348 else data[5:6] == b"+"
        offset = int(first) if single and np.isfinite(first) else 0
        return NiftiHeader(size, bits // 8, offset, voxel, codes[0], qform, codes[1], sform, *scale)  # type: ignore[arg-type]
    return None


def clear_forms(path: Path) -> None:
    """Take both accounts of the geometry out of an unpacked ``.nii`` file, in place."""
    with path.open("r+b") as file:
        first = file.read(4)
        file.seek(252 if 348 in (int.from_bytes(first, "little"), int.from_bytes(first, "big")) else 344)
        file.write(bytes(4 if file.tell() == 252 else 8))


def _quaternion_matrix(turn: tuple[float, ...], pixdim: tuple[float, ...], mm: float) -> np.ndarray:
    b, c, d = turn[:3]
    a = max(0.0, 1 - b * b - c * c - d * d) ** 0.5
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    matrix = np.eye(4)
    flip = -1.0 if pixdim[0] < 0 else 1.0
    with np.errstate(invalid="ignore"):  # of no numbers; whoever compares looks for that
        matrix[:3, :3] = rotation * (np.array([pixdim[1], pixdim[2], flip * pixdim[3]]) * mm)
        matrix[:3, 3] = np.array(turn[3:6]) * mm
    return matrix


def geometry_warnings(header: NiftiHeader, found: np.ndarray, name: str) -> list[str]:
    """Sentences on what the header says and the reader did not follow.

    Args:
        header: of a 3-D file.
        found: (4, 4) voxel (i, j, k) to LPS mm, as ITK read it.
        name: of the image in the sentence.
    """
    sentences = []
    if header.slope == 0 and header.intercept != 0:
        sentences.append(
            f"The {name} has an intercept of {header.intercept:g} and a slope of 0; the intercept was added to its "
            "values, which other programs do not do."
        )
    if header.qform_code <= 0 and header.sform_code <= 0:
        return [
            *sentences,
            f"The {name} says nothing of its orientation (neither sform nor qform): left and right, and where it lies, "
            "are a guess; check them.",
        ]
    spacing = np.linalg.norm(found[:3, :3], axis=0)
    if not all(0 < step < np.inf for step in header.voxel_mm):
        said, taken = (" x ".join(f"{v:g}" for v in np.round(sizes, 4)) for sizes in (header.voxel_mm, spacing))
        return [
            *sentences,
            f"The {name} has voxels of {said} mm (pixdim), for which {taken} mm were taken; correct it.",
        ]
    ras = RAS_TO_LPS_MATRIX @ found
    off = {}
    for form, code, matrix in (("sform", header.sform_code, header.sform), ("qform", header.qform_code, header.qform)):
        if code > 0 and np.isfinite(matrix).all():
            off[form] = _largest_distance(matrix, ras, header.size)
    least = 0.1 * float(spacing.min())
    if off.get("sform", 0.0) > least:
        steps = np.linalg.norm(header.sform[:3, :3], axis=0)
        if not np.allclose(steps, spacing, rtol=1e-2):
            taken, left = (" x ".join(f"{v:g}" for v in np.round(sizes, 4)) for sizes in (spacing, steps))
            sentences.append(
                f"The {name} gives two voxel sizes: {taken} mm (pixdim), which was taken, and {left} mm (sform); "
                "check which is right."
            )
        else:
            sentences.append(
                f"The sform of the {name} (code {header.sform_code}, {FORMS.get(header.sform_code, 'unknown')}) was "
                f"not used but its qform; the two place it up to {off['sform']:.1f} mm apart, and other programs may "
                "take the sform."
            )
    elif off.get("qform", 0.0) > least:
        sentences.append(
            f"The qform of the {name} was not used but its sform; the two place it up to {off['qform']:.1f} mm apart, "
            "and other programs may take the qform."
        )
    return sentences


def _largest_distance(a: np.ndarray, b: np.ndarray, size: tuple[int, ...]) -> float:
    ends = [[0, n - 1] for n in (*size, 1, 1)[:3]]
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), -1).reshape(-1, 3)
    difference = corners @ (a - b)[:3, :3].T + (a - b)[:3, 3]
    return float(np.linalg.norm(difference, axis=1).max())


def squared_up(sform: np.ndarray, size: tuple[int, ...]) -> tuple[np.ndarray, float, float]:
    """The nearest matrix to a sheared ``sform`` with right angles, about the middle of the image.

    Returns:
        (4, 4) RAS mm; degrees by which the axes miss right angles; voxels by which it moves the farthest corner.
    """
    steps = np.linalg.norm(sform[:3, :3], axis=0)
    axes = sform[:3, :3] / steps
    left, _, right = np.linalg.svd(axes)
    straight = sform.copy()
    straight[:3, :3] = (left @ right) * steps
    middle = (np.array((*size, 1, 1)[:3]) - 1) / 2
    straight[:3, 3] = sform[:3, 3] + (sform - straight)[:3, :3] @ middle
    cosines = axes.T @ axes
    degrees = float(np.degrees(np.arcsin(min(1.0, np.abs(cosines - np.diag(np.diag(cosines))).max()))))
    return straight, degrees, _largest_distance(sform, straight, size) / float(steps.min())
