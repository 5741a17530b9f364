"""Learn2Reg's manifests: which images there are, of whom, and which are held out."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import Grid

from ..safe_files import read_text


@dataclass(frozen=True)
class Case:
    """One image and what belongs to it.

    Attributes:
        image, label: files.
        patient: images of one patient never lie on both sides of a split.
        name: as the manifest writes it.
        landmarks: file of points (LPS mm), in the same order in every image.
    """

    image: Path
    label: Path | None
    patient: str
    name: str
    landmarks: Path | None = None


@dataclass(frozen=True)
class Manifest:
    """Cases to train on and to validate with; pairs (fixed, moving) where the manifest lists some.

    ``fields``: by the names of a pair, the file of its displacement field (LPS mm, on the fixed image; or any other
    transform that SimpleITK reads): what supervised training learns from.
    """

    training: tuple[Case, ...]
    validation: tuple[Case, ...]
    training_pairs: tuple[tuple[Case, Case], ...]
    validation_pairs: tuple[tuple[Case, Case], ...]
    name: str
    modality: str
    fields: Mapping[tuple[str, str], Path] = field(default_factory=dict)

    def fingerprint(self) -> str:
        """Of the files' contents and of which are held out; places and names of folders do not matter."""
        digest = hashlib.sha256()
        for part in ("training", "validation"):
            for case in getattr(self, part):
                digest.update(f"{part} {case.name} {case.patient}\n".encode())
                for path in (case.image, case.label, case.landmarks):
                    digest.update(b"-" if path is None else _content(path))
        for part in ("training_pairs", "validation_pairs"):
            for fixed, moving in getattr(self, part):
                digest.update(f"{part} {fixed.name} {moving.name}\n".encode())
                digest.update(_content(fixed.image) + _content(moving.image))
        for (fixed_name, moving_name), path in sorted(self.fields.items()):
            digest.update(f"field {fixed_name} {moving_name}\n".encode() + _content(path))
        return digest.hexdigest()


WHOLE = 64 << 20
"""Bytes of a file that are all looked at; of a larger one, 64 pieces of a megabyte."""


def _content(path: Path) -> bytes:
    digest, size = hashlib.sha256(), path.stat().st_size
    digest.update(str(size).encode())
    with path.open("rb") as file:
        for piece in range(64):
            if size > WHOLE:
                file.seek(piece * (size - (1 << 20)) // 63)
            digest.update(file.read(1 << 20))
    return digest.digest()


def read_manifest(path: Path, held_out: float = 0.2, seed: int = 0) -> Manifest:
    """Read a manifest and check that what it names is there and fits together.

    Known keys: ``training`` and ``validation`` (or ``test``), lists of files or of tables {"image", "label",
    "patient", "landmarks"}; ``training_paired_images`` and ``registration_val``, lists of {"fixed", "moving",
    "displacement"}; ``name``; ``modality``. Without a validation list ``held_out`` of the patients are held out, drawn
    by ``seed``.

    Raises:
        InputError: the manifest or a file is missing or unreadable, dimensions differ, or a label map does not lie on
            its image.
    """
    try:
        table = json.loads(read_text(path, "manifest"))
    except FileNotFoundError as error:
        raise InputError(f"The manifest {path} does not exist; check data.manifest in the plan.") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"The manifest {path} is not JSON ({error}).") from error
    if not isinstance(table, Mapping) or not isinstance(table.get("training"), list):
        raise InputError(f'The manifest {path} needs "training", a list of images.')
    root = path.resolve().parent
    training = [_case(entry, root) for entry in table["training"]]
    listed = _list(table, "validation", path) or _list(table, "test", path)
    validation = [_case(entry, root) for entry in listed]
    known = {case.name: case for case in [*training, *validation]}
    paired, held = _list(table, "training_paired_images", path), _list(table, "registration_val", path)
    training_pairs = _pairs(paired, known, root)
    validation_pairs = _pairs(held, known, root)
    if not validation and held_out > 0:
        kept = {case.patient for pair in validation_pairs for case in pair} or _draw(training, held_out, seed)
        validation = [case for case in training if case.patient in kept]
        training = [case for case in training if case.patient not in kept]
        training_pairs = [pair for pair in training_pairs if not {c.patient for c in pair} & kept]
    if not training:
        raise InputError(f"The manifest {path} leaves no image to train on; list more, or hold out fewer.")
    both = {case.patient for case in training} & {case.patient for case in validation}
    if both:
        raise InputError(
            f"The manifest {path} has images of patient {sorted(both)[0]} in training and in validation; keep each "
            'patient on one side (give "patient" if the names mislead).'
        )
    cases = [*training, *validation, *(c for pair in [*training_pairs, *validation_pairs] for c in pair)]
    _check({case.name: case for case in cases})
    return Manifest(
        tuple(training),
        tuple(validation),
        tuple(training_pairs),
        tuple(validation_pairs),
        str(table.get("name", path.stem)),
        _modality(table.get("modality")),
        _fields([*paired, *held], root),
    )


def _list(table: Mapping[str, Any], key: str, path: Path) -> list[Any]:
    entries = table.get(key) or []
    if not isinstance(entries, list):
        raise InputError(f'In the manifest {path} "{key}" must be a list, not {entries!r:.60}.')
    return entries


def _path(root: Path, value: Any, what: str) -> Path:
    """A file that an entry names, which must be there."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise InputError(f"A {what} of the manifest must be the path of a file, not {value!r:.60}.")
    try:
        there = (root / value).is_file()
    except OSError as error:
        raise InputError(f"The {what} {value:.60}... of the manifest is no path ({error.strerror}).") from error
    if not there:
        raise InputError(f"The manifest names the {what} {root / value}, which does not exist.")
    return root / value


def _fields(entries: list[Any], root: Path) -> dict[tuple[str, str], Path]:
    found = {}
    for entry in entries:
        if "displacement" in entry:
            path = _path(root, entry["displacement"], "displacement field")
            found[entry["fixed"], entry["moving"]] = path
    return found


def _modality(value: Any) -> str:
    return ", ".join(map(str, value.values())) if isinstance(value, Mapping) else str(value or "")


def _case(entry: Any, root: Path) -> Case:
    if isinstance(entry, str):
        entry = {"image": entry}
    if not isinstance(entry, Mapping) or not isinstance(entry.get("image"), str):
        raise InputError(f'An entry of the manifest has no "image": {entry!r:.80}.')
    name = entry["image"]
    image = _path(root, name, "image")
    label = entry.get("label")
    if label is None and "/imagesTr/" in f"/{name}":
        beside = name.replace("imagesTr", "labelsTr")  # where Learn2Reg keeps them
        label = beside if (root / beside).exists() else None
    points = entry.get("landmarks")
    return Case(
        image,
        None if label is None else _path(root, label, "label map"),
        str(entry.get("patient", _patient(name))),
        name,
        None if points is None else _path(root, points, "file of landmarks"),
    )


def _patient(name: str) -> str:
    """Learn2Reg names files TASK_patient_modality; other names are a patient each."""
    stem = Path(name).name.split(".")[0]
    match = re.fullmatch(r"(.+_\d{4})_\d{4}", stem)
    return match.group(1) if match else stem


def _pairs(entries: Any, known: dict[str, Case], root: Path) -> list[tuple[Case, Case]]:
    pairs = []
    for entry in entries:
        if not isinstance(entry, Mapping) or not all(isinstance(entry.get(side), str) for side in ("fixed", "moving")):
            raise InputError(f'A pair of the manifest needs "fixed" and "moving", two paths: {entry!r:.80}.')
        fixed, moving = (known.get(entry[side]) or _case(entry[side], root) for side in ("fixed", "moving"))
        pairs.append((fixed, moving))
    return pairs


def _draw(cases: list[Case], share: float, seed: int) -> set[str]:
    patients = sorted({case.patient for case in cases})
    count = min(len(patients) - 1, max(1, round(share * len(patients))))
    return set(np.random.default_rng(seed).permutation(patients)[:count].tolist())


def _check(cases: Mapping[str, Case]) -> None:
    """Headers only: a wrong file should cost seconds, not hours."""
    dimensions = {}
    for case in cases.values():
        grid = _header(case.image, "image")
        if grid is None:
            continue
        dimensions[grid.ndim] = case.name
        if case.label is None:
            continue
        label = _header(case.label, "label map")
        if label is not None and not label.same_as(grid, tolerance=0.01):
            raise InputError(
                f"The label map {case.label} does not lie on its image {case.image} (other size, spacing or place)."
            )
    if len(dimensions) > 1:
        raise InputError(
            f"Images of a manifest must all be 2-D or all 3-D; compare {' and '.join(dimensions.values())}."
        )


def _header(path: Path, name: str) -> Grid | None:
    if path.name.lower().endswith((".mgz", ".mgh")):
        return None
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(f"The {name} {path} could not be read as an image.") from error
    n = reader.GetDimension()
    matrix = np.eye(n + 1)
    directions = np.asarray(reader.GetDirection()).reshape(n, n) * np.asarray(reader.GetSpacing())
    matrix[:n, :n], matrix[:n, n] = directions[:, ::-1], reader.GetOrigin()
    if n == 2 and path.suffix.lower() in {".png", ".jpg", ".jpeg"}:
        matrix = np.eye(3)  # a picture's resolution tag is not a geometry
    return Grid(tuple(reversed(reader.GetSize())), matrix)
