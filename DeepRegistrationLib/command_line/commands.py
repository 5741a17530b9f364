"""What each command of the command line takes and does."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from ..cohorts.names import EXTRAS
from ..errors import InputError
from ..files.endings import PICTURE_FILES, image_endings
from ..files.image_files import check_not_the_same
from ..files.writing import together
from ..geometry.image import read_image
from ..geometry.points import Pairs, paired, read_points
from ..geometry.transform import read_transform
from ..inputs.label_maps import read_label_map
from ..models.methods import find_method
from ..progress import ProgressCallback
from ..settings import AUTO, DEFORMABLE
from ..system import keep_freed_memory
from .dicom_options import SeriesPair, read_series_pair, register_endings, save_transform_as
from .json_lines import JsonLines
from .options import settings_from
from .outputs import REPORT_FILES, Output, check_folder, check_outputs
from .progress_bar import ProgressBar
from .records import (
    LabelMaps,
    check_evaluation,
    check_note,
    evaluation_images,
    evaluation_record,
    print_figures,
    registration_record,
    save_evaluation,
    without_nan,
)

if TYPE_CHECKING:
    from ..result import Result

MOST_IDS = 100_000
OUTPUT_OPTIONS = ("transform", "inverse", "volume", "jacobian", "doubt")
Commands = Any  # argparse's own class for sub-parsers is private


def run_register(options: argparse.Namespace) -> None:
    """Register, then write what was asked for."""
    _check_register(options)
    series = read_series_pair(options)
    keep_freed_memory()
    pairs, labels = _pairs(options), _labels(options)
    progress = _progress(options.progress)
    try:
        result = _registered(options, pairs, labels, progress)
        with together():
            _save(result, options, pairs, labels, series)
    finally:
        if isinstance(progress, ProgressBar):
            progress.close()
    if options.progress == "json":
        JsonLines()("done", 1.0, "done", report=result.report.as_dict())
    elif options.progress == "bar":
        for name, value in result.report.lines():
            print(f"{name}: {value}")
    else:
        _say_doubts(result)


def _registered(
    options: argparse.Namespace, pairs: Pairs | None, labels: LabelMaps | None, progress: ProgressCallback | None
) -> Result:
    from ..pipeline import register

    result = register(
        options.fixed,
        options.moving,
        settings_from(options),
        fixed_mask=options.fixed_mask,
        moving_mask=options.moving_mask,
        initial_transform=options.initial_transform,
        landmarks=None if pairs is None else (pairs.fixed, pairs.moving),
        landmark_names=None if pairs is None else pairs.names,
        labels=labels,
        rigid_labels=options.rigid_labels,
        progress=progress,
        cancel=options.cancel,
        on_level=progress.preview if options.previews and isinstance(progress, JsonLines) else None,
        stop=options.stop,
    )
    if pairs is not None:
        result.report.warnings += pairs.notes
    return result


def _say_doubts(result: Result) -> None:
    """Who wants no progress still has to know what speaks against the result; the warnings are among the reasons."""
    verdict, reasons = result.report.judge()
    if verdict != "good":
        print(f"Verdict: {verdict}: {' '.join(reasons)}", file=sys.stderr)


def _save(
    result: Result,
    options: argparse.Namespace,
    pairs: Pairs | None,
    labels: LabelMaps | None,
    series: SeriesPair | None,
) -> None:
    compress = not options.no_compression
    if options.output_transform:
        save_transform_as(result.transform, options.output_transform, compress, series)
    if options.output_inverse:
        save_transform_as(result.inverse, options.output_inverse, compress, series and series[::-1])
    if options.output_volume:
        result.warped.save(options.output_volume, compress)
    if options.output_jacobian:
        result.jacobian.save(options.output_jacobian, compress)
    if options.output_doubt:
        result.doubt.on(result.warped.grid).save(options.output_doubt, compress)
    if options.report:
        from ..quality.report import save_report

        record = registration_record(result, options, pairs, labels)
        save_report(result.report, options.report, result.fixed, result.moving, result.warped, record=record)


def _check_register(options: argparse.Namespace) -> None:
    """What is wrong with the options is said before any image is read."""
    wanted = {n: getattr(options, f"output_{n}") for n in OUTPUT_OPTIONS}
    if not any(wanted.values()) and not options.report:
        raise InputError("Nothing would be kept; add --output-transform T.h5, or another output.")
    check_note(options)
    check_not_the_same(options.fixed, options.moving)
    settings_from(options)
    bundle = None if options.method == AUTO else find_method(options.method).bundle
    inputs = {"the fixed image": options.fixed, "the moving image": options.moving, "the model": bundle}
    for name in EXTRAS:
        inputs[f"the {name.replace('_', ' ')}"] = getattr(options, name)
    outputs = []
    for name, path in wanted.items():
        if path is not None:
            warp = name in ("transform", "inverse")
            linear = options.result != DEFORMABLE
            endings = register_endings(linear) if warp else _image_endings(path, options.fixed)
            outputs.append(Output(f"--output-{name}", path, "A transform" if warp else "A volume", endings))
    if options.report:
        folder = check_folder("--report", options.report)
        if folder.is_dir():
            outputs += [Output("--report", folder / name) for name in REPORT_FILES]
    check_outputs(outputs, inputs)


def _image_endings(path: str, fixed: str) -> tuple[str, ...]:
    """The fixed image is only read where it matters: a picture's name for a result that may be a volume."""
    flat = path.lower().endswith(PICTURE_FILES)
    if flat:
        grid = read_image(fixed, "fixed image").grid
        flat = grid.ndim == 2 or 1 in grid.shape
    return image_endings(flat)


def _both(options: argparse.Namespace, what: str, read: Any) -> Any:
    pair = [getattr(options, f"{side}_{what}") for side in ("fixed", "moving")]
    if all(path is None for path in pair):
        return None
    if any(path is None for path in pair):
        raise InputError(f"--fixed-{what} and --moving-{what} belong together; give both or none.")
    return tuple(read(path) for path in pair)


def _labels(options: argparse.Namespace) -> LabelMaps | None:
    """Read here, as the report measures them, too."""
    if _both(options, "labels", str) is None:
        return None
    return (
        read_label_map(options.fixed_labels, "fixed label map"),
        read_label_map(options.moving_labels, "moving label map"),
    )


def _layers(options: argparse.Namespace) -> list[LabelMaps]:
    """All pairs of label maps."""
    first = _labels(options)
    more = [
        (read_label_map(fixed, "fixed label map"), read_label_map(moving, "moving label map"))
        for fixed, moving in options.more_labels
    ]
    return more if first is None else [first, *more]


def _pairs(options: argparse.Namespace) -> Pairs | None:
    lists = _both(options, "points", read_points)
    return None if lists is None else paired(*lists)


def _progress(kind: str) -> ProgressCallback | None:
    return {"none": None, "json": JsonLines(), "bar": ProgressBar()}[kind]


def run_evaluate(options: argparse.Namespace) -> None:
    """Dice of label maps and distance of landmarks, before and after; folding of the transform; TG-132's figures."""
    from ..quality.scores import score_layers, score_points

    check_evaluation(options)
    transform = read_transform(options.transform)
    labels = _layers(options)
    pairs = _pairs(options)
    if not labels and pairs is None and not options.fixed:
        raise InputError(
            "Nothing to score; give --fixed-labels and --moving-labels, or --fixed-points and --moving-points; "
            "or the image --fixed for the field alone."
        )
    scores: dict[str, Any] = {}
    if labels:
        chosen = parse_labels(options.labels)
        scores |= score_layers(transform, labels, chosen)
        absent = [label for label in chosen or () if str(label) not in scores["dice"]]
        if absent:
            some = ", ".join(map(str, absent[:10])) + (" and others" if len(absent) > 10 else "")
            print(f"Not scored, as they are in neither label map: {some}.", file=sys.stderr)
    if pairs is not None:
        scores |= score_points(transform, pairs.fixed, pairs.moving)
        for note in pairs.notes:
            print(note, file=sys.stderr)
    images = evaluation_images(options, transform)
    record = evaluation_record(transform, options, images, pairs, labels, parse_labels(options.labels))
    if options.report:
        save_evaluation(options, transform, images, scores, record)
    if options.json:
        print(json.dumps(without_nan(scores | record.as_dict()), indent=2))
        return
    for name, value in scores.items():
        if isinstance(value, dict):
            print(f"{name}:")
            for label, pair in value.items():
                print(f"  {label:>6}  {pair['before']:.3f} -> {pair['after']:.3f}")
        else:
            print(f"{name}: {value:.4f}")
    print_figures(record)


def parse_labels(text: str | None) -> list[int] | None:
    """ "1-3,7" is [1, 2, 3, 7].

    Raises:
        InputError: if the text is not of that form.
    """
    if text is None:
        return None
    chosen: list[int] = []
    try:
        for part in text.split(","):
            first, dash, last = part.partition("-")
            low, high = int(first), int(last if dash else first)
            if low > high:
                raise ValueError(part)
            if len(chosen) + high - low >= MOST_IDS:
                raise InputError(f"The labels {text[:60]} are more than {MOST_IDS}; name those to be scored.")
            chosen.extend(range(low, high + 1))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"Labels are given as numbers and ranges such as 1-17,20-33, not {text[:60]!r}.") from error
    return chosen


def run_methods(options: argparse.Namespace) -> None:
    """The methods, one a line."""
    from ..models.methods import methods_as_json

    entries = methods_as_json()
    if options.json:
        print(json.dumps(entries, indent=2))
        return
    for entry in entries:
        weights = "" if not entry["network"] else " (trained)" if entry["weights"] else " (no trained weights here)"
        print(f"{entry['name']:16} {entry['title']}{weights}: {entry['purpose']}")
        for ndim, worth in entry.get("worth", {}).items():
            if worth:
                print(f"{'':16} {ndim}-D: {worth}")
