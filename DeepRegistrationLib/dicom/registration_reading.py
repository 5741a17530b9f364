"""Spatial Registration and Deformable Spatial Registration objects (PS3.3 A.39), read as transforms fixed to moving."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..files.writing import PathLike, check_named
from .maps import GridMap, affine
from .optional import pydicom
from .registration_writing import DEFORMABLE_UID, LINEAR_UID

_UNDEFINED = 0xFFFFFFFF
"""Instead of a length: the value says itself where it ends."""


@dataclass(frozen=True, eq=False)
class Registration:
    """One registration object.

    Attributes:
        frame: UID of the registered frame of reference.
        sources: of each item, the UID of its frame of reference, and the map from the registered frame to it.
        head: pydicom's data set, with the patient.
        name: used in messages.
        moved: UIDs of the instances that it names as moved.
    """

    frame: str
    sources: tuple[tuple[str, sitk.Transform], ...]
    head: Any
    name: str
    moved: frozenset[str] = frozenset()

    def between(self, fixed: str | None = None, moving: str | None = None) -> sitk.Transform:
        """The transform from the fixed to the moving image's frame of reference (LPS mm).

        Args:
            fixed, moving: UIDs; if None, the registered frame, and the only other one.

        Raises:
            InputError: if the object does not lead from one to the other, or to several where none was named.
        """
        back = self._from_registered(moving, "moving image")
        if fixed is None or fixed == self.frame:
            return back
        found = [transform for frame, transform in self.sources if frame == fixed]
        if len(found) == 1 and found[0].IsLinear():
            return sitk.CompositeTransform([back, found[0].GetInverse()])
        raise InputError(
            f"The {self.name} leads from another frame of reference than the fixed image's; use the one that was made "
            "for it."
        )

    def _from_registered(self, frame: str | None, what: str) -> sitk.Transform:
        known = [one for one in self.sources if frame in (None, one[0])]
        if not known:
            raise InputError(
                f"The {self.name} does not lead to the frame of reference of the {what}; use the one that was made for "
                "it."
            )
        # A linear object lists the registered frame itself, too, as the identity.
        moved = [t for source, t in known if frame == source != self.frame or not _is_identity(t)]
        if len(moved) > 1:
            raise InputError(
                f"The {self.name} registers {len(moved)} images; give the moving image as its DICOM folder, so that "
                "its own is found."
            )
        return moved[0] if moved else known[0][1]


def read_registration(source: PathLike, name: str = "transform") -> Registration:
    """Read a registration object.

    Raises:
        InputError: if it is another DICOM object, lacks what it needs, leaves part of its grid undefined, or pydicom is
            missing.
    """
    check_named(source, name)
    package, path = pydicom(), Path(source)
    said = f"{name} {path}"
    try:
        data = package.dcmread(path)
        _check_whole(data)
        kind = str(data.get("SOPClassUID", ""))
        if kind not in (LINEAR_UID, DEFORMABLE_UID):
            what = package.uid.UID(kind).name or "an unknown kind"
            raise InputError(f"The {said} is a DICOM object of another kind ({what}); give a registration.")
        if kind == LINEAR_UID:
            items = list(data.RegistrationSequence)
            sources = tuple(_linear(item, str(data.FrameOfReferenceUID)) for item in items)
        else:
            items = list(data.DeformableRegistrationSequence)
            order = "<" if data.original_encoding[1] is not False else ">"
            sources = tuple(_deformable(item, order, said) for item in items)
        moving = [item for item, (_, found) in zip(items, sources, strict=True) if not _is_identity(found)]
        references = (one for item in moving for one in item.get("ReferencedImageSequence") or [])
        moved = frozenset(str(one.ReferencedSOPInstanceUID) for one in references)
        return Registration(str(data.FrameOfReferenceUID), sources, data, said, moved)
    except InputError:
        raise
    except np.linalg.LinAlgError as error:
        raise InputError(f"The {said} holds a matrix without an inverse; export it again.") from error
    except MemoryError:
        raise
    except Exception as error:  # of a file that is cut short or lacks something pydicom raises anything, often late
        raise InputError(
            f"The {said} is no whole DICOM registration: what it needs is missing or of a wrong size; export it again."
        ) from error


def _check_whole(data: Any) -> None:
    """Of a file that ends too early pydicom hands out what is left: of a registration, the identity, say."""
    for tag in list(data.keys()):
        value, length = data.get_item(tag).value, getattr(data.get_item(tag), "length", 0)
        if isinstance(value, bytes) and length != _UNDEFINED and len(value) < length:
            raise ValueError("cut short")


def _linear(item: Any, registered: str) -> tuple[str, sitk.Transform]:
    (registration,) = item.MatrixRegistrationSequence
    matrices = [_matrix(one) for one in registration.MatrixSequence]
    product, other = (reduce(np.matmul, order) for order in (matrices, matrices[::-1]))
    if not np.allclose(product, other, atol=1e-6):
        raise InputError(
            "The registration is a product of several matrices, whose order programs understand differently; export it "
            "with one matrix."
        )
    frame = str(item.get("FrameOfReferenceUID", "")) or registered
    return frame, affine(np.linalg.inv(product))


def _matrix(item: Any) -> np.ndarray:
    return np.array([float(v) for v in item.FrameOfReferenceTransformationMatrix]).reshape(4, 4)


def _only(item: Any, key: str) -> np.ndarray:
    sequence = item.get(key) or []
    return _matrix(sequence[0]) if len(sequence) else np.eye(4)


def _deformable(item: Any, order: str, said: str) -> tuple[str, sitk.Transform]:
    """p -> post (pre p + vector(p)); the grid's points lie in the registered frame, before any matrix."""
    before = _only(item, "PreDeformationMatrixRegistrationSequence")
    after = _only(item, "PostDeformationMatrixRegistrationSequence")
    whole = after @ before
    grids = item.get("DeformableRegistrationGridSequence") or []
    frame = str(item.SourceFrameOfReferenceUID)
    if not len(grids):
        return frame, affine(whole)
    (grid,) = grids
    rows, columns = (np.array([float(v) for v in grid.ImageOrientationPatient[k : k + 3]]) for k in (0, 3))
    shape = [int(n) for n in reversed(grid.GridDimensions)]
    vectors = np.frombuffer(grid.VectorGridData, f"{order}f4").reshape(*shape, 3)
    undefined = ~np.isfinite(vectors).all(-1)
    if undefined.any():
        raise InputError(
            f"The {said} leaves {100 * undefined.mean():.1f} % of its grid undefined, so it cannot be applied to a "
            "whole image; export it with a grid that is defined everywhere."
        )
    axes = np.stack([rows, columns, np.cross(rows, columns)], axis=1)
    if np.abs(axes.T @ axes - np.eye(3)).max() > 1e-3:
        raise ValueError("axes")
    # post (pre p + v) is post pre (p + pre^-1 v), which also holds where the grid ends.
    vectors = vectors.astype(np.float64) @ np.linalg.inv(before[:3, :3]).T
    position = np.array([float(v) for v in grid.ImagePositionPatient])
    spacing = np.array([float(v) for v in grid.GridResolution])
    field = GridMap(position, axes, spacing, vectors).to_sitk()
    if np.allclose(whole, np.eye(4), atol=1e-9):
        return frame, field
    return frame, sitk.CompositeTransform([affine(whole), field])


def _is_identity(transform: sitk.Transform) -> bool:
    if not transform.IsLinear():
        return False
    points = np.vstack([np.zeros(3), 100 * np.eye(3)])
    moved = np.array([transform.TransformPoint(p.tolist()) for p in points])
    return bool(np.abs(moved - points).max() < 1e-9)
