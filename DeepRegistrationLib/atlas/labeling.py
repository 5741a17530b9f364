"""The labels of a template, how well labels travel through it, and the labels of somebody new."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..cohorts.finished import read_json
from ..cohorts.lists import Subject
from ..errors import InputError
from ..files.writing import check_named, shown, together, write_text
from ..geometry.image import Grid, Image, ImageSource, PathLike, read_image
from ..geometry.transform import read_transform, resample
from ..inputs.label_maps import read_label_map
from ..pipeline import register
from ..settings import Settings
from .fusion import Atlas, fuse, leave_one_out
from .intensities import in_unit_range
from .template import SCORES, SUBJECTS, SUMMARY, TEMPLATE, TEMPLATE_LABELS, files_built


def label_template(subjects: Sequence[Subject], folder: PathLike, weighting: str = "local") -> list[float]:
    """Write ``template_labels.nii.gz`` (by majority) and ``leave_one_out.csv`` beside a template that was built.

    Args:
        subjects: those of the template; the ones that have labels are used, two or more.
        folder: of ``build_template``.
        weighting: of the labels that all others give a subject; see ``fuse``.

    Returns:
        The mean Dice of each subject with labels.

    Raises:
        InputError: if there are fewer than two, or a label map cannot be used.
    """
    check_named(folder, "template's folder")
    target = Path(folder).absolute()
    labeled = [subject for subject in subjects if subject.labels]
    if len(labeled) < 2:
        raise InputError("Labels of a template need a column labels, with those of two subjects or more.")
    grid = read_image(target / TEMPLATE, "template").grid
    atlases = [_atlas(subject, target, grid) for subject in labeled]
    own = [
        (
            read_label_map(str(s.labels), f"label map of {s.name}"),
            read_transform(target / SUBJECTS / s.name / "inverse.h5"),
        )
        for s in labeled
    ]
    scores = leave_one_out(atlases, own, grid, weighting)
    rows = ["name,dice", *(f"{s.name},{score:.4f}" for s, score in zip(labeled, scores, strict=True))]
    with together():
        Image(_small(fuse(atlases)), grid, "template labels").save(target / TEMPLATE_LABELS)
        write_text(target / SCORES, "\n".join(rows) + "\n")
    return scores


def propagate(
    image: ImageSource, folder: PathLike, settings: Settings | None = None, weighting: str = "local"
) -> tuple[Image, Any]:
    """The labels that a template's subjects give an image, and the report of its registration to the template.

    Args:
        image: of the kind that the template was made of.
        folder: of ``build_template``, whose subjects have labels.
        weighting: see ``fuse``.

    Raises:
        InputError: if the folder holds no template with labels, or the image cannot be used with it.
    """
    check_named(folder, "template's folder")
    target = Path(folder).absolute()
    labeled = [
        Subject(name, Path(each["image"]), labels=Path(each["labels"]))
        for name, each in _subjects_of(target).items()
        if each["labels"]
    ]
    if not labeled:
        raise InputError(f"There is no template with labels in {folder}; make one with the command template.")
    given = read_image(image, "image")
    template = read_image(target / TEMPLATE, "template")
    if given.ndim != template.ndim:
        raise InputError(
            f"The image is {given.ndim}-D and the template in {shown(folder)} {template.ndim}-D; give an image of the "
            "kind that the template was made of."
        )
    result = register(template, given, settings)
    atlases = [_atlas(subject, target, template.grid) for subject in labeled]
    looks = resample(in_unit_range(given), template.grid, result.transform, fill=0.0, dtype=np.float32).array
    fused = Image(_small(fuse(atlases, looks, weighting)), template.grid, "labels")
    return resample(fused, given.grid, result.inverse, mode="nearest"), result.report


def files_of_template(folder: PathLike) -> dict[str, Path]:
    """What ``propagate`` reads or belongs to the template, by what it is: none may be written over."""
    target = Path(folder).absolute()
    own = [*files_built(target), target / TEMPLATE_LABELS, target / SCORES]
    files = {f"the template's {file.relative_to(target).as_posix()}": file for file in own}
    given = ((name, what, each[what]) for name, each in _subjects_of(target).items() for what in ("image", "labels"))
    return files | {f"the {what} of {name}": Path(path) for name, what, path in given if path}


def _subjects_of(target: Path) -> dict[str, dict[str, str]]:
    """Image and labels ("" for none) of each subject of the template in a folder; none where there is no template.

    Raises:
        InputError: if what the template says of itself cannot be understood.
    """
    found = read_json(target / SUMMARY).get("subjects") or {}
    whole = isinstance(found, dict) and all(
        isinstance(each, dict) and all(isinstance(each.get(what), str) for what in ("image", "labels"))
        for each in found.values()
    )
    if not whole:
        raise InputError(f"The file {shown(target / SUMMARY)} is damaged; run the command template again.")
    return found


def _atlas(subject: Subject, folder: Path, grid: Grid) -> Atlas:
    transform = read_transform(folder / SUBJECTS / subject.name / "transform.h5")
    return Atlas.of(read_image(subject.image, f"image of {subject.name}"), _labels(subject), transform, grid)


def _labels(subject: Subject) -> Image:
    return read_label_map(str(subject.labels), f"label map of {subject.name}")


def _small(labels: np.ndarray) -> np.ndarray:
    """In as few bytes as they need."""
    return labels.astype(np.min_scalar_type(int(labels.max())))
