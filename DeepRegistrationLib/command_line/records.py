"""The figures after TG-132 and what a signature stands for, of ``register`` and of ``evaluate``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, TypeAlias

import SimpleITK as sitk

from ..errors import InputError
from ..geometry.image import Image, read_image
from ..geometry.points import Pairs
from ..geometry.transform import read_transform, resample
from .outputs import REPORT_FILES, Output, check_folder, check_outputs

if TYPE_CHECKING:
    from ..quality.record import Record
    from ..result import Result

MOST_NOTE = 2000
LabelMaps: TypeAlias = tuple[Image, Image]


def registration_record(
    result: Result, options: argparse.Namespace, pairs: Pairs | None, drawn: LabelMaps | None
) -> Record:
    """Of a registration that was just made."""
    from ..quality import record, tg132

    known = tg132.Known(
        result.fixed.grid,
        result.moving.grid,
        result.inverse,
        None if pairs is None else (pairs.fixed, pairs.moving),
        () if drawn is None else (drawn,),
    )
    figures, structures = tg132.measure(result.transform, known)
    inputs = _inputs(options, "fixed", "moving", "initial_transform", *_GUIDES, "fixed_mask", "moving_mask")
    remarks = (record.GUIDED,) if pairs is not None or drawn is not None else ()
    return record.Record(figures, structures, record.identified(inputs), options.note, remarks)


_SIDES = ("fixed", "moving")
_GUIDES = ("fixed_points", "moving_points", "fixed_labels", "moving_labels")


def evaluation_record(
    transform: sitk.Transform,
    options: argparse.Namespace,
    images: list[Image | None],
    pairs: Pairs | None,
    labels: list[LabelMaps],
    chosen: list[int] | None,
) -> Record:
    """Of a transform that is scored with what is known."""
    from ..quality import record, tg132

    inverse = read_transform(options.inverse, "inverse transform") if options.inverse else None
    _check_dimension(transform, None if inverse is None else inverse.GetDimension(), "inverse transform")
    grids = [None if image is None else image.grid for image in images]
    points = None if pairs is None else (pairs.fixed, pairs.moving)
    known = tg132.Known(grids[0], grids[1], inverse, points, labels, chosen)
    figures, structures = tg132.measure(transform, known)
    inputs = evaluation_inputs(options)
    return record.Record(figures, structures, record.identified(inputs), options.note)


def check_evaluation(options: argparse.Namespace) -> None:
    """What ``evaluate`` will write, looked at before anything is read.

    Raises:
        InputError: if it cannot be written, would replace an input, or the note does not fit.
    """
    check_note(options)
    if options.report:
        folder = check_folder("--report", options.report)
        inputs = evaluation_inputs(options)
        outputs = [Output("--report", folder / name) for name in REPORT_FILES] if folder.is_dir() else []
        check_outputs(outputs, {f"the {what}": path for what, path in inputs.items()})


def evaluation_inputs(options: argparse.Namespace) -> dict[str, str | None]:
    """What ``evaluate`` reads: path by what it is."""
    found = _inputs(options, "transform", "inverse", "fixed", "moving", *_GUIDES)
    for number, pair in enumerate(options.more_labels, 2):
        found |= {f"{side} labels {number}": path for side, path in zip(_SIDES, pair, strict=True)}
    return found


def save_evaluation(
    options: argparse.Namespace,
    transform: sitk.Transform,
    images: list[Image | None],
    scores: dict[str, Any],
    record: Record,
) -> None:
    """The page and its numbers in the folder that was asked for; with pictures where both images were given."""
    from ..quality.report import overlay_png, plain
    from ..quality.report_page import write_page
    from ..quality.viewer import viewer_html

    rows = [(name.replace("_", " "), f"{value:.4g}") for name, value in scores.items() if not isinstance(value, dict)]
    picture, viewer = None, ""
    fixed, moving = images
    if fixed is not None and moving is not None:
        shown = fixed, resample(moving, fixed.grid), resample(moving, fixed.grid, transform)
        picture, viewer = overlay_png(*shown), viewer_html(*shown)
    values = plain(scores | record.as_dict())
    write_page(options.report, "Evaluation of a registration", "", rows, values, picture, viewer, record)


def print_figures(record: Record) -> None:
    """One figure a line."""
    from ..quality.tg132 import CITATION, in_words, said

    print(f"After {CITATION}:")
    for figure in record.figures:
        print(f"  {figure.name}: {said(figure)} ({in_words(figure)})")


def without_nan(values: dict[str, Any]) -> dict[str, Any]:
    """For JSON."""
    from ..quality.report import plain

    return dict(plain(values))


def evaluation_images(options: argparse.Namespace, transform: sitk.Transform) -> list[Image | None]:
    """The fixed and the moving image, where they were given.

    Raises:
        InputError: if one cannot be read, or is of another dimension than the transform.
    """
    images = [read_image(path, f"{s} image") if (path := getattr(options, s)) else None for s in _SIDES]
    for image in images:
        if image is not None:
            _check_dimension(transform, image.ndim, image.name)
    return images


def _check_dimension(transform: sitk.Transform, other: int | None, what: str) -> None:
    if other is not None and other != transform.GetDimension():
        raise InputError(f"The {what} is {other}-D and the transform {transform.GetDimension()}-D; give what fits.")


def _inputs(options: argparse.Namespace, *names: str) -> dict[str, str | None]:
    words = {"fixed": "fixed image", "moving": "moving image", "inverse": "inverse transform"}
    return {words.get(name, name.replace("_", " ")): getattr(options, name) for name in names}


def check_note(options: argparse.Namespace) -> None:
    """See that the note belongs to a report and fits into it.

    Raises:
        InputError: if not.
    """
    if options.note and not options.report:
        raise InputError("The note is for a report; add --report DIR.")
    if len(options.note) > MOST_NOTE:
        raise InputError(f"The note has {len(options.note)} characters; shorten it to {MOST_NOTE}.")
