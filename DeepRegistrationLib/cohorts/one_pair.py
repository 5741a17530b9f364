"""One pair from files to files, inside a process that stays warm; loads PyTorch."""

from __future__ import annotations

import functools
import os
import platform
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import SimpleITK as sitk
import torch

from .. import __version__
from ..errors import InputError
from ..files.image_files import check_not_the_same
from ..files.writing import together
from ..geometry.points import read_points
from ..pipeline import register
from ..quality.report import save_report
from ..quality.thumbnail import thumbnail_png
from ..result import Result
from ..settings import Settings
from ..system import keep_freed_memory
from .finished import REPORT, Hashes, Task, files_behind, mark_done, read_json, signature, write_json
from .kept_images import KeptImages
from .learn2reg import save_displacement
from .names import HALFWAY_OUTPUTS

_kept = KeptImages()


@functools.cache
def _begin() -> None:
    keep_freed_memory()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def register_pair(task: Task, hashes: Hashes) -> dict[str, Any]:
    """Register, write everything at once, ``done.json`` last; returns the report.

    Raises:
        InputError: if the pair cannot be used, or a file was replaced meanwhile.
    """
    _begin()
    started = time.time()
    inputs = {what: hashes.of(path) for what, path in task.inputs.items()}
    check_not_the_same(task.inputs["fixed"], task.inputs["moving"])
    both = [(side, inputs[side]) for side in ("fixed", "moving")]
    begun = time.perf_counter()
    fixed, moving = (_kept.of(i["path"], f"{side} image", i["signature"]) for side, i in both)
    reading = time.perf_counter() - begun
    result = register(
        fixed,
        moving,
        Settings.of(task.settings),
        fixed_mask=task.inputs.get("fixed_mask"),
        moving_mask=task.inputs.get("moving_mask"),
        initial_transform=task.inputs.get("initial_transform"),
        landmarks=_both(task, "points"),
        labels=_both(task, "labels"),
    )
    result.report.seconds["read"] += reading
    for what, path in task.inputs.items():
        if signature(files_behind(Path(path))) != inputs[what]["signature"]:
            raise InputError(f"The file {path} was changed while the pair was registered; run again.")
    return _save(task, result, inputs, started)


def _both(task: Task, what: str) -> Any:
    paths = [task.inputs.get(f"{side}_{what}") for side in ("fixed", "moving")]
    if None in paths:
        return None
    return tuple(read_points(str(path)).positions if what == "points" else path for path in paths)


def _save(task: Task, result: Result, inputs: dict[str, Any], started: float) -> dict[str, Any]:
    folder = Path(task.folder)
    makers: dict[str, Any] = {
        "transform": lambda: result.transform,
        "volume": lambda: result.warped,
        "inverse": lambda: result.inverse,
        "jacobian": lambda: result.jacobian,
        "doubt": lambda: result.doubt.on(result.warped.grid),
        "halfway_fixed": lambda: result.halfway.fixed,
        "halfway_moving": lambda: result.halfway.moving,
        "halfway_to_fixed": lambda: result.halfway.to_fixed,
        "halfway_to_moving": lambda: result.halfway.to_moving,
    }
    images = result.fixed, result.moving
    without = _without_a_half(task, result)
    task = replace(task, outputs={name: path for name, path in task.outputs.items() if name not in without})
    with together():
        for name, path in task.outputs.items():
            if name == "displacement":
                save_displacement(result.transform, *images, path)
            else:
                makers[name]().save(path)
        picture = thumbnail_png(*images, result.warped)
        save_report(result.report, folder, *images, result.warped, picture=picture)
        report = result.report.as_dict() | {"provenance": _provenance(task, inputs, started)}
        write_json(folder / REPORT, report)
    for path in without.values():
        Path(path).unlink(missing_ok=True)  # of an earlier run
    mark_done(task, inputs, [*without])
    return read_json(folder / REPORT)


def _without_a_half(task: Task, result: Result) -> dict[str, str]:
    """The outputs that lie halfway, with a warning, where the transform has no half; else none. The rest is kept."""
    asked = {name: path for name, path in task.outputs.items() if name in HALFWAY_OUTPUTS}
    if asked:
        try:
            _ = result.halfway
        except InputError as error:
            result.report.warnings.append(str(error))
            return asked
    return {}


def _provenance(task: Task, inputs: dict[str, Any], started: float) -> dict[str, Any]:
    arguments = [task.inputs["fixed"], task.inputs["moving"]]
    for name, path in task.inputs.items():
        if name not in ("fixed", "moving"):
            arguments += [f"--{name.replace('_', '-')}", path]
    for name, path in task.outputs.items():
        if name == "displacement" or name in HALFWAY_OUTPUTS:  # batch's alone
            continue
        arguments += [f"--output-{name}", path]
    return {
        "command": ["register", *arguments, *Settings.of(task.settings).arguments()],
        "settings": task.settings,
        "inputs": {what: {"path": i["path"], "sha256": i["sha256"]} for what, i in inputs.items()},
        "weights": task.weights,
        "versions": {
            "SlicerDeepRegistration": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "SimpleITK": sitk.Version_VersionString(),
        },
        "host": socket.gethostname(),
        "threads": torch.get_num_threads(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
