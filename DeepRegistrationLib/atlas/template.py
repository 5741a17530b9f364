"""A template of a cohort: the image whose shape and intensities are the mean of all, that leans to no subject.

Round by round every subject is registered to the template so far; the mean of the warped images, moved by the inverse
of the mean displacement, is the next one (Guimond 2000; Joshi 2004; Avants 2010). Rounds are batches: they go on where
they were ended, on any number of workers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from .. import fields
from ..cohorts.lists import Job, Subject
from ..cohorts.run import Outcome, Resources, run_batch
from ..errors import InputError, RegistrationFailed
from ..files.writing import check_named, together, write_text
from ..geometry.image import Grid, Image, PathLike, read_image
from ..geometry.transform import read_transform
from ..settings import Settings
from .intensities import in_unit_range, robust_mean, sharpened
from .shapes import MeanShape
from .subjects import check_subjects

TEMPLATE, JACOBIAN, SUMMARY = "template.nii.gz", "mean_jacobian.nii.gz", "template.json"
TEMPLATE_LABELS, SCORES = "template_labels.nii.gz", "leave_one_out.csv"
ROUNDS, SUBJECTS = "rounds", "subjects"
MOST_ROUNDS = 50
CONTENT = 0.05
"""Of the template's range: what is brighter shows something."""


@dataclass(frozen=True)
class Step:
    """One round: which, of how many, and how far the template still moved in it (mm)."""

    number: int
    count: int
    drift_mm: float


def build_template(
    subjects: Sequence[Subject],
    folder: PathLike,
    settings: Settings | None = None,
    rounds: int = 4,
    start: str | None = None,
    resources: Resources | None = None,
    *,
    weights: Mapping[str, str] | None = None,
    told: Callable[[int, int, Outcome], None] | None = None,
    noted: Callable[[Step], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> Image:
    """The template of ``subjects``, 0 to 1, and in ``folder`` all that belongs to it.

    ``template.nii.gz``; ``subjects/NAME`` with the maps between the template and each subject both ways, the warped
    image, the Jacobian and the report; ``mean_jacobian.nii.gz``: the geometric mean of the subjects' volume changes.

    Args:
        subjects: two or more, of one kind of image.
        folder: may hold an earlier run's results, which are used as far as they are made of the same.
        settings: of every registration but the first round's, which aligns whole images only.
        rounds: how often the template is made anew.
        start: name of the subject on whose grid and in whose pose the template lies; the first one if None.
        resources: who does the work.
        weights: hashes of the models that the method may take.
        told: called after every registration, as by ``run_batch``.
        noted: called after every round.
        note: called with a sentence about images that are copies, and once with what ``run_batch`` notes.

    Raises:
        InputError: if something given cannot be used.
        RegistrationFailed: if a subject could not be registered.
    """
    chosen = settings or Settings()
    if len(subjects) < 2:
        raise InputError("A template needs two subjects or more.")
    if not 1 <= rounds <= MOST_ROUNDS:
        raise InputError(f"--rounds is a number from 1 to {MOST_ROUNDS}, not {rounds}.")
    if chosen.refine == "none" or chosen.affine == "none":
        raise InputError("A template needs the affine stage and refinement; leave --affine and --refine as they are.")
    first = subjects[0] if start is None else next((s for s in subjects if s.name == start), None)
    if first is None:
        raise InputError(f"There is no subject called {start}; --start is one of {_some(subjects)}.")
    check_named(folder, "template's folder")
    target = Path(folder).absolute()
    check_subjects(subjects, first, note)
    template = in_unit_range(read_image(first.image, f"image of {first.name}"))
    path = _saved(template, target / ROUNDS / "0" / TEMPLATE)
    drifts: list[float] = []
    once = None if note is None else _once(note)
    register = partial(_register, subjects, resources=resources, weights=weights, told=told, note=once)
    for number in range(1, rounds + 1):
        rough = replace(chosen, refine="none") if number == 1 else chosen
        place = target / ROUNDS / str(number)
        transforms = register(path, place, rough, ("transform",))
        template, drift = _next(template, subjects, transforms)
        path = _saved(template, place / TEMPLATE)
        drifts.append(drift)
        if noted is not None:
            noted(Step(number, rounds, drift))
    if sum(subject.labels is not None for subject in subjects) > 1 and _is_there(template, target / TEMPLATE):
        path = target / TEMPLATE
    else:
        for name in (TEMPLATE_LABELS, SCORES):
            (target / name).unlink(missing_ok=True)  # of an earlier template
        path = _saved(template, target / TEMPLATE)
    outputs = ("transform", "inverse", "volume", "jacobian")
    register(path, target / SUBJECTS, chosen, outputs)
    with together():
        _mean_jacobian(template.grid, subjects, target).save(target / JACOBIAN)
        write_text(
            target / SUMMARY,
            json.dumps(
                {
                    "subjects": {s.name: _paths(s) for s in subjects},
                    "start": first.name,
                    "rounds": rounds,
                    "settings": chosen.as_dict(),
                    "drift_mm": drifts,
                },
                indent=2,
            ),
        )
    return template


def files_built(folder: Path) -> list[Path]:
    """What ``build_template`` wrote into ``folder``."""
    made = [file for place in (ROUNDS, SUBJECTS) for file in (folder / place).rglob("*") if file.is_file()]
    return [*(folder / name for name in (TEMPLATE, JACOBIAN, SUMMARY)), *made]


def _paths(subject: Subject) -> dict[str, str]:
    labels = "" if subject.labels is None else str(subject.labels.absolute())
    return {"image": str(subject.image.absolute()), "labels": labels}


def _once(note: Callable[[str], None]) -> Callable[[str], None]:
    """What the first round notes; of the others it follows."""
    said: list[str] = []

    def first(sentence: str) -> None:
        if not said:
            note(sentence)
        said.append(sentence)

    return first


def _some(subjects: Sequence[Subject]) -> str:
    return ", ".join(s.name for s in subjects[:5]) + (", ..." if len(subjects) > 5 else "")


def _saved(image: Image, path: Path) -> Path:
    """Written only where it is another one: what was registered to it stays good."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not _is_there(image, path):
        image.save(path)
    return path


def _is_there(image: Image, path: Path) -> bool:
    try:
        return np.array_equal(read_image(path).array, image.array)
    except InputError:
        return False


def _register(
    subjects: Sequence[Subject],
    template: Path,
    folder: Path,
    settings: Settings,
    outputs: tuple[str, ...],
    resources: Resources | None,
    weights: Mapping[str, str] | None,
    told: Callable[[int, int, Outcome], None] | None,
    note: Callable[[str], None] | None,
) -> list[Path]:
    """Everybody to the template; where each transform is."""
    jobs = [Job(s.name, template, s.image, {"moving_mask": s.mask} if s.mask else {}) for s in subjects]
    outcomes = run_batch(
        jobs, folder, settings, outputs, resources, told, weights=weights, list_path=str(folder), note=note
    )
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed:
        names = ", ".join(outcome.job.name for outcome in failed[:5])
        raise RegistrationFailed(
            f"{len(failed)} of {len(outcomes)} subjects could not be registered to the template ({names}): "
            f"{failed[0].sentence} Leave them out of the list, or mend them, and run again."
        )
    return [folder / s.name / "transform.h5" for s in subjects]


def _next(template: Image, subjects: Sequence[Subject], transforms: Sequence[Path]) -> tuple[Image, float]:
    """The template of the next round, and how far its shape moved (mm)."""
    grid = template.grid

    def seen() -> Iterable[tuple[Image, sitk.Transform]]:
        for subject, path in zip(subjects, transforms, strict=True):
            yield read_image(subject.image, f"image of {subject.name}"), read_transform(path)

    content = template.array > CONTENT
    shape = MeanShape(grid, content if content.sum() >= 10 * grid.ndim else np.ones(grid.shape, bool))
    for path in transforms:
        shape.add(read_transform(path))
    mean = torch.from_numpy(robust_mean(grid, seen))[None, None]
    moved = fields.warp(mean, shape.inverse())[0, 0].numpy()
    return sharpened(Image(moved, grid, "template")), shape.drift_mm()


def _mean_jacobian(grid: Grid, subjects: Sequence[Subject], folder: Path) -> Image:
    total = np.zeros(grid.shape)
    for subject in subjects:
        total += np.log(np.maximum(read_image(folder / SUBJECTS / subject.name / "jacobian.nii.gz").array, 1e-3))
    return Image(np.exp(total / len(subjects)).astype(np.float32), grid, "mean Jacobian")
