"""Trust on the unseen: ``python -m benchmarks robustness`` writes docs/robustness.md.

All pairs of the data folder that have a truth, as they are and made harder in known ways (``cases.py``), and generated
ones of kinds that no setting was chosen on (``generated``), as they are.
Every method starts from the same affine alignment, which is computed once. A result is harm where it is worse than that
alignment by more than 0.01 Dice or 0.3 mm (or pixels).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from DeepRegistrationLib.errors import InputError

from ..tables import processor, read_results
from .page import write

OURS = ("ours, fast", "ours, accurate")
PEERS = ("ConvexAdam, MIND", "SyN, Mattes 40-20-0", "elastix, B-spline", "greedy, NCC")
_COMMAND = "robustness"


def add_robustness(commands: argparse._SubParsersAction) -> None:
    """``robustness [data]``."""
    parser = commands.add_parser(_COMMAND, help="all cases made harder in known ways; goes on where it stopped")
    parser.add_argument(
        "data", type=Path, nargs="?", help="the data folder; without one only the generated cases are measured"
    )
    parser.add_argument("--output", type=Path, default=Path("docs"), help="folder of robustness.md and the picture")
    parser.add_argument("--results", type=Path, default=Path("runs/robustness.jsonl"))
    parser.add_argument("--affines", type=Path, default=Path("runs/robustness_affines.jsonl"))
    parser.add_argument("--methods", nargs="*", choices=OURS + PEERS, default=OURS[:1])
    parser.add_argument("--kinds", nargs="*", help="default: all")
    parser.add_argument("--changes", nargs="*", help="default: all; 'as it is' is the pair itself")
    parser.add_argument("--pairs", type=int, default=4, help="at most so many of a kind")
    parser.add_argument(
        "--cases",
        type=int,
        help="only so many, drawn at random and always the same, kinds in turn; unseen ones only if --kinds says so",
    )
    parser.add_argument("--seeds", type=int, default=1, help="so many random draws of each change")
    parser.add_argument("--quick", action="store_true", help="half the resolution of what is large")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--note", default="", help="a sentence for the page, as on what else the machine did")
    parser.add_argument("--page-only", action="store_true", help="measure nothing")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(options.threads)
    if not options.page_only:
        options.results.parent.mkdir(parents=True, exist_ok=True)
        done = {_key(r) for r in read_results(options.results)}
        affines = {r["case"]: r["matrix"] for r in read_results(options.affines)}
        for case_key, load in _drawn(list(_wanted(options)), options.cases):
            missing = [m for m in options.methods if (case_key, m) not in done]
            if not missing:
                continue
            case = load()
            if case_key not in affines:
                affines[case_key] = affine_of(case).tolist()
                _append(options.affines, {"case": case_key, "matrix": affines[case_key]})
            for method in missing:
                found = measure(case, np.asarray(affines[case_key]), method)
                record = {"case": case_key, "kind": case.kind, "name": case.name, "change": case.change, **found}
                _append(options.results, {**record, "method": method, "quick": options.quick})
                print(case_key, "|", method, "|", found.get("error") or found["after"], flush=True)
    write(read_results(options.results), options.output, processor(), options.note)


def _key(record: Mapping[str, Any]) -> tuple[str, str]:
    return record["case"], record["method"]


def _append(path: Path, record: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def _wanted(options: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """(key, how to make it) of every case that was asked for."""
    from .cases import CHANGES, base_cases, changed, halved
    from .generated import KINDS as UNSEEN

    plain = "as it is"
    changes = options.changes or (plain, *CHANGES)
    unknown = set(changes) - {plain, *CHANGES}
    if unknown:
        raise InputError(f"There is no change {', '.join(sorted(unknown))}; there are {plain}, {', '.join(CHANGES)}.")
    if options.data is not None and not options.data.is_dir():
        raise InputError(f"There is no folder {options.data}; give the data folder, or none for generated cases alone.")
    counts: dict[str, int] = {}
    for kind, name, load in base_cases(options.data):
        counts[kind] = counts.get(kind, 0) + 1
        if counts[kind] > options.pairs or (options.kinds and kind not in options.kinds):
            continue
        if kind in UNSEEN and options.cases and not options.kinds:  # or the draw of old would be another
            continue
        for change in (c for c in changes if c == plain or kind not in UNSEEN):
            for seed in range(1 if change == plain else options.seeds):

                def make(load: Any = load, change: str = change, seed: int = seed) -> Any:
                    case = load()
                    case = halved(case) if options.quick else case
                    return case if change == plain else changed(case, change, seed)

                suffix = " quick" if options.quick else ""
                yield f"{kind} | {name} | {change} {seed}{suffix}", make


def _drawn(cases: list[tuple[str, Any]], count: int | None) -> list[tuple[str, Any]]:
    """``count`` of ``cases``, the same each time: of every kind one in random order, then a second, and so on."""
    if count is None:
        return cases
    order = np.random.default_rng(0).permutation(len(cases))
    turns: dict[str, int] = {}
    ranked = []
    for number in order:
        kind = cases[number][0].split(" | ")[0]
        turns[kind] = turns.get(kind, 0) + 1
        ranked.append((turns[kind], int(number)))
    return [cases[number] for _, number in sorted(ranked, key=lambda pair: pair[0])[:count]]


def affine_of(case: Any) -> np.ndarray:
    """(ndim + 1, ndim + 1) LPS mm; where only a known field was applied, the images already lie as they should."""
    from DeepRegistrationLib.affine.align import align

    if case.truth is not None and not case.posed:
        return np.eye(case.fixed.ndim + 1)
    return align(case.fixed, case.moving)


def measure(case: Any, affine: np.ndarray, method: str) -> dict[str, Any]:
    """Scores before, after the affine stage and after ``method``; {"error": sentence} where it failed."""
    from DeepRegistrationLib import register
    from DeepRegistrationLib.geometry.transform import affine_to_sitk, resample
    from DeepRegistrationLib.quality.expected_error import measures
    from DeepRegistrationLib.quality.report import plain

    onto = affine_to_sitk(affine)
    found: dict[str, Any] = {"before": case.score(sitk.Transform(case.fixed.ndim, sitk.sitkIdentity))}
    found["affine"] = case.score(onto)
    found["voxel_mm"] = float(case.fixed.grid.spacing.mean())
    started, apart = time.perf_counter(), 0.0
    try:
        if method in OURS:
            fixed, moving = (replace(x, array=x.array.astype(np.float32)) for x in (case.fixed, case.moving))
            result = register(fixed, moving, refine=method.split(", ")[1], initial_transform=onto, device="cpu")
            whole: sitk.Transform = result.transform
            found["verdict"] = result.report.judge()[0]
            found |= plain({"points_mm": result.report.points_error_mm, "measured": measures(result.report)})
            found["step_mm"] = result.report.error_step_mm
            apart = time.perf_counter()
            still = register(fixed, moving, result="affine", affine="none", initial_transform=onto, device="cpu")
            apart = time.perf_counter() - apart  # it is not of the method
            found["measured_still"] = plain(measures(still.report))
            found["chosen"] = result.report.chosen
            found["guard_acted"] = len(result.report.hypotheses) > 1
        else:
            from ..peers import METHODS

            fixed = case.fixed.grid.to_sitk(case.fixed.array.astype(np.float32))
            moved = resample(case.moving, case.fixed.grid, onto, dtype=np.float32).to_sitk()
            whole = sitk.CompositeTransform([onto, METHODS[method](fixed, moved, True)])
    except Exception as error:  # a peer may fail in any way; the run goes on and the page says so
        return {**found, "error": f"{type(error).__name__}: {str(error)[:200]}"}
    return {**found, "after": case.score(whole), "seconds": time.perf_counter() - started - apart}
