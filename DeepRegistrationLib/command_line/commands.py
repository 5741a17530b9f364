"""What each command of the command line takes and does."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..geometry.image import read_image
from ..geometry.points import is_point_file, read_points, write_points
from ..geometry.transform import map_points_inverse, read_transform, resample
from ..progress import CancelToken, ProgressCallback
from ..system import keep_freed_memory
from .batch_command import add_batch

OUTPUTS = ("transform", "inverse", "volume", "jacobian", "doubt")
Commands = Any  # argparse's own class for sub-parsers is private


def add_commands(commands: Commands) -> None:
    """Add every command's parser; each sets ``run``, a function of the parsed options."""
    _add_register(commands)
    add_batch(commands, _add_how)
    _add_apply(commands)
    _add_evaluate(commands)
    _add_methods(commands)


def _add_register(commands: Commands) -> None:
    parser = commands.add_parser("register", help="align a moving image to a fixed image")
    parser.add_argument("fixed", metavar="FIXED", help="the image that stays")
    parser.add_argument("moving", metavar="MOVING", help="the image that is aligned to it")
    out = parser.add_argument_group("results (paths)")
    out.add_argument("--output-transform", metavar="T.h5", help="fixed to moving; .h5 .tfm .nrrd .nii.gz .mha")
    out.add_argument("--output-inverse", metavar="I.h5", help="moving to fixed")
    out.add_argument("--output-volume", metavar="W.nii.gz", help="the moving image on the fixed grid")
    out.add_argument("--output-jacobian", metavar="J.nii.gz", help="local volume change")
    out.add_argument("--output-doubt", metavar="D.nii.gz", help="where not to trust the result, 0 to 1")
    out.add_argument("--no-compression", action="store_true", help="larger files, written faster (.nrrd, .mha)")
    out.add_argument("--report", metavar="DIR", help="report.html, report.json and overlay.png")
    how = _add_how(parser)
    how.add_argument("--initial-transform", metavar="T0.h5", help="taken instead of the affine stage")
    how.add_argument("--fixed-mask", metavar="F")
    how.add_argument("--moving-mask", metavar="M")
    how.add_argument("--fixed-points", metavar="P", help="landmarks that the field is drawn to join")
    how.add_argument("--moving-points", metavar="P")
    how.add_argument("--fixed-labels", metavar="L", help="label maps that the field is drawn to join")
    how.add_argument("--moving-labels", metavar="L")
    parser.add_argument("--progress", choices=("bar", "json", "none"), default="bar")
    parser.set_defaults(run=run_register)


def _add_how(parser: argparse.ArgumentParser) -> Any:
    """The options that are the same for one pair and for many; returns their group."""
    how = parser.add_argument_group("how")
    how.add_argument(
        "--method", default="none", help="see the command methods, or a bundle's path (default: %(default)s)"
    )
    how.add_argument("--variant", help="of the method; the command methods --json lists them")
    how.add_argument("--fine-tune", action="store_true", help="fit the network's last layer to this pair first")
    how.add_argument("--refine", choices=("none", "fast", "accurate"), default="fast")
    how.add_argument("--affine", choices=("auto", "none"), default="auto")
    how.add_argument("--similarity", choices=("auto", "lncc", "mind", "ssd", "gradient"), default="auto")
    how.add_argument("--smoothness", type=float, default=1.0, help="1 is usual, more is stiffer")
    how.add_argument("--device", default="auto", help="auto, cpu or cuda")
    how.add_argument("--seed", type=int, default=0)
    return how


def run_register(options: argparse.Namespace) -> None:
    """Register, then write what was asked for."""
    from ..pipeline import register

    _check_outputs(options)
    if Path(options.fixed).exists() and Path(options.moving).exists() and Path(options.fixed).samefile(options.moving):
        raise InputError("The fixed and the moving image are the same file; choose two different images.")
    keep_freed_memory()
    cancel = CancelToken()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: cancel.cancel())
    result = register(
        options.fixed,
        options.moving,
        method=options.method,
        variant=options.variant,
        fine_tune=options.fine_tune,
        refine=options.refine,
        affine=options.affine,
        similarity=options.similarity,
        smoothness=options.smoothness,
        device=options.device,
        fixed_mask=options.fixed_mask,
        moving_mask=options.moving_mask,
        initial_transform=options.initial_transform,
        landmarks=_both(options, "points", lambda path: read_points(path).positions),
        labels=_both(options, "labels", str),
        seed=options.seed,
        progress=_progress(options.progress),
        cancel=cancel,
    )
    compress = not options.no_compression
    if options.output_transform:
        result.transform.save(options.output_transform, compress)
    if options.output_inverse:
        result.inverse.save(options.output_inverse, compress)
    if options.output_volume:
        result.warped.save(options.output_volume, compress)
    if options.output_jacobian:
        result.jacobian.save(options.output_jacobian, compress)
    if options.output_doubt:
        result.doubt.on(result.warped.grid).save(options.output_doubt, compress)
    if options.report:
        from ..quality.report import save_report

        fixed, moving = read_image(options.fixed, "fixed image"), read_image(options.moving, "moving image")
        save_report(result.report, options.report, fixed, moving, result.warped)
    if options.progress == "json":
        done = {"stage": "done", "fraction": 1.0, "message": "done", "report": result.report.as_dict()}
        print(json.dumps(done), flush=True)
    elif options.progress == "bar":
        print("", file=sys.stderr)
        for name, value in result.report.lines():
            print(f"{name}: {value}")


def _check_outputs(options: argparse.Namespace) -> None:
    """A wrong output path must not cost the user a whole run."""
    wanted = {n: getattr(options, f"output_{n}") for n in OUTPUTS}
    if not any(wanted.values()) and not options.report:
        raise InputError("Nothing would be kept; add --output-transform T.h5, or another output.")
    inputs = [Path(p).resolve() for p in (options.fixed, options.moving)]
    for name, path in wanted.items():
        if path is None:
            continue
        target = Path(path)
        if target.resolve() in inputs:
            raise InputError(f"--output-{name} would overwrite an input image; choose another name.")
        if not target.parent.is_dir():
            raise InputError(f"The folder {target.parent} of --output-{name} does not exist; create it first.")


def _both(options: argparse.Namespace, what: str, read: Any) -> Any:
    pair = [getattr(options, f"{side}_{what}") for side in ("fixed", "moving")]
    if all(path is None for path in pair):
        return None
    if any(path is None for path in pair):
        raise InputError(f"--fixed-{what} and --moving-{what} belong together; give both or none.")
    return tuple(read(path) for path in pair)


def _progress(kind: str) -> ProgressCallback | None:
    if kind == "none":
        return None

    def as_json(stage: str, fraction: float, message: str) -> None:
        print(json.dumps({"stage": stage, "fraction": round(fraction, 4), "message": message}), flush=True)

    return as_json if kind == "json" else show_bar


def show_bar(stage: str, fraction: float, message: str) -> None:
    """A progress callback that draws one line on stderr."""
    full = round(fraction * 30)
    print(f"\r[{'#' * full}{'.' * (30 - full)}] {fraction:4.0%} {stage:8} {message:40.40}", end="", file=sys.stderr)


def _add_apply(commands: Commands) -> None:
    parser = commands.add_parser(
        "apply",
        help="carry an image, a label map or points from the moving to the fixed side",
        description="Carry data of the moving image to the fixed image. With an inverse transform (register's "
        "--output-inverse) and the moving image as reference, the other way round.",
    )
    parser.add_argument("transform", metavar="T.h5")
    parser.add_argument(
        "input", metavar="INPUT", help="an image, a label map, or points (.csv .fcsv .mrk.json, LPS mm)"
    )
    parser.add_argument("--reference", metavar="FIXED", help="the image whose grid the result gets (not for points)")
    parser.add_argument("--output", metavar="OUT", required=True)
    parser.add_argument("--interpolation", choices=("linear", "nearest"), help="nearest for label maps")
    parser.set_defaults(run=run_apply)


def run_apply(options: argparse.Namespace) -> None:
    """Warp an image, or move points."""
    transform = read_transform(options.transform)
    if is_point_file(options.input):
        points = read_points(options.input)
        if points.positions.shape[1] != transform.GetDimension():
            raise InputError(
                f"The points have {points.positions.shape[1]} coordinates and the transform is "
                f"{transform.GetDimension()}-D; use the points of that image."
            )
        write_points(points.moved(map_points_inverse(transform, points.positions)), options.output)
        return
    if not options.reference:
        raise InputError("Images need --reference FIXED, the image whose grid the result gets.")
    image, reference = read_image(options.input, "input"), read_image(options.reference, "reference")
    if not image.ndim == reference.ndim == transform.GetDimension():
        raise InputError(
            f"The input is {image.ndim}-D, the reference {reference.ndim}-D and the transform "
            f"{transform.GetDimension()}-D; all three must be alike."
        )
    resample(image, reference.grid, transform, options.interpolation or "linear").save(options.output)


def _add_evaluate(commands: Commands) -> None:
    parser = commands.add_parser("evaluate", help="score a transform with label maps or landmarks")
    parser.add_argument("--transform", metavar="T.h5", required=True)
    parser.add_argument("--fixed-labels", metavar="L")
    parser.add_argument("--moving-labels", metavar="L")
    parser.add_argument("--labels", metavar="1-17,20-33", help="only these labels (default: all but 0)")
    parser.add_argument("--fixed-points", metavar="P", help="LPS mm, the same order in both files")
    parser.add_argument("--moving-points", metavar="P")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run_evaluate)


def run_evaluate(options: argparse.Namespace) -> None:
    """Dice of label maps and distance of landmarks, before and after; folding of the transform."""
    from ..quality.scores import score_labels, score_points

    transform = read_transform(options.transform)
    labels = _both(options, "labels", lambda path: read_image(path, "label map"))
    points = _both(options, "points", lambda path: read_points(path).positions)
    if labels is None and points is None:
        raise InputError(
            "Nothing to score; give --fixed-labels and --moving-labels, or --fixed-points and --moving-points."
        )
    scores: dict[str, Any] = {}
    if labels is not None:
        scores |= score_labels(transform, labels[0], labels[1], parse_labels(options.labels))
    if points is not None:
        scores |= score_points(transform, points[0], points[1])
    if options.json:
        print(json.dumps(scores, indent=2))
        return
    for name, value in scores.items():
        if isinstance(value, dict):
            print(f"{name}:")
            for label, pair in value.items():
                print(f"  {label:>6}  {pair['before']:.3f} -> {pair['after']:.3f}")
        else:
            print(f"{name}: {value:.4f}")


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
            first, _, last = part.partition("-")
            chosen.extend(range(int(first), int(last or first) + 1))
    except ValueError as error:
        raise InputError(f"Labels are given as numbers and ranges such as 1-17,20-33, not {text!r}.") from error
    return chosen


def _add_methods(commands: Commands) -> None:
    parser = commands.add_parser("methods", help="list what --method can be")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run_methods)


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
