"""The commands ``sequence``, frames onto one fixed image, and ``motion``, the curves of maps that are there."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import SimpleITK as sitk

from ..cohorts.finished import DONE, REPORT
from ..cohorts.others import alone_in
from ..errors import InputError
from ..files.endings import FIELD_FILES
from ..files.writing import write_text
from ..geometry.image import Image, read_image
from ..geometry.points import read_points
from ..geometry.transform import read_transform
from ..inputs.guides import check_near, labels_inside
from ..inputs.label_maps import read_label_map
from ..progress import ProgressCallback
from ..settings import DEFORMABLE, SMOOTH_IN_TIME, Settings
from .frames_done import FOLDER, FramesDone
from .json_lines import JsonLines
from .options import settings_from
from .outputs import Output, check_folder, check_outputs
from .records import without_nan

if TYPE_CHECKING:
    from ..motion.frames import FrameDone
    from ..result import Result

CURVES, REPORTS, SMOOTHED = "motion.csv", "sequence.json", "smooth"


def run_sequence(options: argparse.Namespace) -> None:
    """Register, smooth, measure."""
    settings = settings_from(options)
    folder, labels, points = _checked(options)
    if options.smooth_in_time and settings.result != DEFORMABLE:
        raise InputError("Smoothing over time is for deformable results; leave --smooth-in-time out.")
    with alone_in(folder, "sequence"):
        _sequence(options, settings, folder, labels, points)


def _sequence(
    options: argparse.Namespace, settings: Settings, folder: Path, labels: Image | None, points: dict[str, Any]
) -> None:
    from ..motion.frames import register_frames

    names = [Path(f).name for f in options.frames]

    def outputs(index: int) -> dict[str, Path]:
        files = {"transform": folder / _name("transform", index, settings.is_linear)}
        return files | ({"volume": folder / f"volume_{index:03d}.nrrd"} if options.volumes else {})

    frames = FramesDone(folder, options.fixed, options.frames, settings, outputs)

    def say(index: int, verdict: str, more: str = "") -> None:
        if options.progress == "lines":
            print(f"{names[index]}: {verdict}{more}", flush=True)
        elif options.progress == "none" and verdict != "good":
            print(f"{names[index]}: {verdict}{more}", file=sys.stderr, flush=True)

    def known(index: int, begins_at_neighbor: bool) -> FrameDone | None:
        found = frames.known(index, begins_at_neighbor)
        if found is not None:
            say(index, str(found.report["verdict"]), ", made before")
        return found

    def done(index: int, result: Result) -> None:
        frames.save(index, result)
        say(index, result.report.judge()[0])

    found = register_frames(
        options.fixed,
        options.frames,
        settings,
        neighbors=not options.independent,
        cyclic=options.cyclic,
        known=known,
        done=done,
        progress=_told(options),
        cancel=options.cancel,
    )
    loop = {"closure_mm": found.closure_mm, "max_closure_mm": found.max_closure_mm}
    document = json.dumps(without_nan({"frames": dict(enumerate(found.reports)), **loop}), indent=2)
    write_text(folder / REPORTS, document)
    _finish(options, folder, found.transforms, labels, points, names)
    if options.progress == "lines" and options.cyclic and len(names) > 2 and not options.independent:
        print(f"the loop closes to {found.closure_mm:.2f} mm on average, {found.max_closure_mm:.2f} mm at most")


def run_motion(options: argparse.Namespace) -> None:
    """Smooth and measure what is there."""
    folder, labels, points = _checked(options)
    transforms = [read_transform(path, f"transform {number}") for number, path in enumerate(options.frames, 1)]
    with alone_in(folder, "motion"):
        _finish(options, folder, transforms, labels, points, [Path(f).name for f in options.frames])


def _finish(
    options: argparse.Namespace,
    folder: Path,
    transforms: Sequence[sitk.Transform],
    labels: Image | None,
    points: dict[str, Any],
    names: list[str],
) -> None:
    from ..motion.curves import measure_motion
    from ..motion.frames import content_on
    from ..motion.over_time import smooth_over_time

    grid, content = content_on(options.fixed)
    if any(t.GetDimension() != grid.ndim for t in transforms):
        raise InputError(f"The fixed image is {grid.ndim}-D and a transform is not; give those of this image.")
    if options.smooth_in_time:
        transforms = smooth_over_time(transforms, grid, content, options.smooth_in_time, options.cyclic)
        for index, transform in enumerate(transforms):
            transform.save(folder / _name(SMOOTHED, index, False))
    curves = measure_motion(transforms, grid, content[0, 0].numpy(), names, labels, points)
    write_text(folder / CURVES, curves.as_csv())


def _checked(options: argparse.Namespace) -> tuple[Path, Image | None, dict[str, Any]]:
    """The output folder, the label map and the points."""
    low, high = SMOOTH_IN_TIME.low, SMOOTH_IN_TIME.high
    if not low <= options.smooth_in_time <= high:
        raise InputError(f"--smooth-in-time is a number of frames from {low:g} to {high:g}.")
    if len(options.frames) > 1000:
        raise InputError("These are more than 1000 frames; register a part of them at a time.")
    folder = check_folder("--output", options.output)
    every = range(len(options.frames))
    names = [CURVES, *(_name(SMOOTHED, index, False) for index in every)]
    if options.command == "sequence":
        names += [REPORTS, *(f"volume_{index:03d}.nrrd" for index in every)]
        made = [f"{FOLDER}/{index:03d}" for index in every]
        names += [f"{where}/{name}" for where in made for name in (DONE, REPORT) if (folder / where).is_dir()]
        names += [_name("transform", index, linear) for index in every for linear in (True, False)]
    inputs = {"the fixed image": options.fixed, "the labels": options.labels, "the points": options.points}
    inputs |= {f"frame {number}": path for number, path in enumerate(options.frames, 1)}
    if folder.is_dir():
        check_outputs([Output("--output", folder / name) for name in names], inputs)
    return folder, *_guides(options)


def _guides(options: argparse.Namespace) -> tuple[Image | None, dict[str, Any]]:
    """The label map and the points, seen to be those of the fixed image."""
    if options.labels is None and options.points is None:
        return None, {}
    grid = read_image(options.fixed, "fixed image").grid
    labels = None if options.labels is None else read_label_map(options.labels, "label map")
    if labels is not None:
        if labels.ndim != grid.ndim:
            raise InputError(f"The fixed image is {grid.ndim}-D and --labels is not; give a label map of this image.")
        labels_inside(labels, grid, "fixed")
    if options.points is None:
        return labels, {}
    read = read_points(options.points)
    placed = [name for name, there in zip(read.names, read.placed, strict=True) if there]
    titles = [name or f"point {number}" for number, name in enumerate(placed, 1)]
    twice = next((t for t in titles if titles.count(t) > 1), None)
    if twice is not None:
        raise InputError(f"Two points are called {twice[:60]!r}; give each a name of its own.")
    if read.positions.shape[1] != grid.ndim:
        raise InputError(f"The fixed image is {grid.ndim}-D and --points are not; give points in this image.")
    check_near(read.positions, grid, "fixed")
    return labels, dict(zip(titles, read.positions, strict=True))


def _name(kind: str, index: int, is_linear: bool | int) -> str:
    return f"{kind}_{index:03d}{'.h5' if is_linear else FIELD_FILES[0]}"


def _told(options: argparse.Namespace) -> Callable[[int], ProgressCallback] | None:
    if options.progress != "json":
        return None
    lines, count = JsonLines(), len(options.frames) + 1

    def frame(index: int) -> ProgressCallback:
        return lambda stage, fraction, message: lines(stage, (index + fraction) / count, message, frame=index)

    return frame
