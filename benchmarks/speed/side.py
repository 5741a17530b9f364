"""One side of the comparison: a process that registers one pair whenever it is told to, and says how long it took.

``python side.py WHO CASE.json``; PYTHONPATH says whose library it is, so nothing here is imported from this package
unless WHO is a peer. For each line on standard input one JSON line comes back. Importing and a first run are not timed.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from runpy import run_path
from typing import Any

INSIDE = {"mirror check": "measure_mirror", "error estimate": "measure_error", "doubt": "measure_doubt"}
"""Parts of a stage that have no time of their own in the report, and the functions of the pipeline they are."""
PARTS_OF = {"mirror check": "affine", "error estimate": "output", "doubt": "output"}
SAMPLES = 6
"""Points on each axis where two results are compared."""


def main(arguments: list[str]) -> int:
    """Serve until the input ends."""
    who, case_file = arguments
    case = json.loads(Path(case_file).read_text(encoding="utf-8"))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is none of our answers
    peak_gb = run_path(str(Path(__file__).parents[1] / "memory.py"))["peak_gb"]
    run = peer(who, case) if who.startswith("peer:") else ours(case)
    for _line in sys.stdin:
        started, used = time.perf_counter(), _cpu()
        try:
            found = run()
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {error}"[:200]}
        spent = {"wall": time.perf_counter() - started, "cpu": _cpu() - used}
        print(json.dumps({"who": who, **spent, "peak_gb": peak_gb(), **found}), file=answers, flush=True)
    return 0


def ours(case: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """The library on the path, whole ``register`` of images in memory."""
    from DeepRegistrationLib import pipeline, read_image

    fixed, moving = read_image(case["fixed"], "fixed image"), read_image(case["moving"], "moving image")
    spent: dict[str, float] = {}
    places = [pipeline]
    with suppress(ImportError):  # an older commit has other modules
        places.append(import_module("DeepRegistrationLib.quality.measurements"))
    for name, function in INSIDE.items():
        for place in places:
            if hasattr(place, function):
                setattr(place, function, _timed(getattr(place, function), name, spent))
                break

    def run() -> dict[str, Any]:
        spent.clear()
        result = pipeline.register(fixed, moving, **case["settings"])
        stages = {**result.report.seconds}
        for name, seconds in spent.items():
            stages[name] = seconds
            stages[PARTS_OF[name]] -= seconds
        similarity = result.report.similarity_after
        return {"stages": stages, "similarity": similarity, "points": moved(result.transform, fixed.to_sitk())}

    return run


def peer(who: str, case: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """A peer's own call, on images of one grid."""
    import SimpleITK as sitk

    from benchmarks.peers import METHODS

    images = [sitk.ReadImage(case[side], sitk.sitkFloat32) for side in ("fixed", "moving")]
    images[1] = sitk.Resample(images[1], images[0])
    method = METHODS[who.removeprefix("peer:")]
    return lambda: {"points": moved(method(images[0], images[1], case["cross"]), images[0])}


def moved(transform: Any, fixed: Any) -> list[list[float]]:
    """Where the transform brings points of the fixed image's inner half, LPS mm."""
    steps = [(i + 0.5) / SAMPLES * 0.5 + 0.25 for i in range(SAMPLES)]
    size = fixed.GetSize()
    indices: list[list[float]] = [[]]
    for n in size:
        indices = [[*before, step * (n - 1)] for before in indices for step in steps]
    return [list(transform.TransformPoint(fixed.TransformContinuousIndexToPhysicalPoint(i))) for i in indices]


def _timed(function: Callable[..., Any], name: str, spent: dict[str, float]) -> Callable[..., Any]:
    def timed(*arguments: Any, **named: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            spent[name] = spent.get(name, 0.0) + time.perf_counter() - started

    return timed


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
