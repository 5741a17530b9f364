"""Results to Markdown and pictures."""

from __future__ import annotations

import json
import platform
from collections import defaultdict
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from . import every_kind, targets
from .peers import METHODS, SETTINGS

PACKAGES = ("torch", "SimpleITK", "antspyx", "itk-elastix", "convexAdam", "picsl-greedy")


def read_results(path: Path) -> list[dict[str, Any]]:
    """The lines of a results file; an unfinished last line is left out."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records


def score_text(result: dict[str, Any]) -> str:
    """The score of one registration in words."""
    parts = [f"Dice {result['dice']:.3f}"] if "dice" in result else []
    parts += [f"{k.upper()[:3]}{k[3:]} {result[k]:.2f}" for k in every_kind.measures([result]) if k != "dice"]
    return ", ".join(parts)


def write(records: list[dict[str, Any]], folder: Path, scaling: Sequence[dict[str, Any]] = (), note: str = "") -> None:
    """``benchmarks.md`` and ``benchmarks.png`` in ``folder``; ``note``: a sentence about how it was run."""
    most = targets.usual_threads(records)
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        threads = record["threads"]
        plural = "s" if threads > 1 else ""
        groups[record["group"] + ("" if threads == most else f", {threads} thread{plural}")].append(record)
    text = ["# Benchmarks", "", "Written by `python -m benchmarks run`; do not edit.", "", *_machine(records, most), ""]
    text += [note, ""] if note else []
    text += every_kind.section([r for r in records if r["threads"] == most])
    text += ["## What was asked", "", *targets.table(records, scaling), ""]
    for group, members in groups.items():
        against = [r for r in members if r["pair"] in targets.with_peers(members)]
        text += [f"## {group}", "", *_table(against or members), "", *_failures(members)]
        if 0 < len(against) < len(members):
            own = [r for r in members if r["method"] in (targets.FAST, targets.ACCURATE)]
            text += ["This library alone, on every pair of the group:", "", *_table(own), ""]
        groups[group] = against or members
    if (folder / "scaling.png").exists():
        text += [
            "## Cost against size",
            "",
            "Generated heads, written by `python -m benchmarks scaling`.",
            "",
            "![Seconds and memory against voxels](scaling.png)",
            "",
        ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmarks.md").write_text("\n".join(text), encoding="utf-8")
    _plot(groups, folder / "benchmarks.png")


def _machine(records: list[dict[str, Any]], threads: int) -> list[str]:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    plural = "s" if threads > 1 else ""
    methods = {r["method"] for r in records}
    return [
        f"Machine: {processor()}, {threads} thread{plural} for every method where a heading says no other number. "
        f"{platform.system()}, "
        f"Python {platform.python_version()}, {', '.join(found)}.",
        "",
        "Each registration is a process of its own and starts from the same images in memory, on one grid, after the "
        "same affine stage where one is needed; only the registration call is timed. Every process lets glibc keep "
        "freed memory, as this library's own command does. Mean ± standard deviation over "
        "the pairs. Folds: share of voxels with a Jacobian determinant of 0 or less. Inverse: what is left after going "
        "forward and back through a numerical inverse of the field.",
        "",
        "The peers run at their defaults or one common setting:",
        "",
        *[f"* {method}: {words}" for method, words in SETTINGS.items() if method in methods],
        "",
        "Read with care: where the table of what was asked says so, this library's settings were chosen on the pairs; "
        "demons ran at two settings, the other peers were not tuned at all. Where a row has one or two pairs, "
        "differences of 0.01 are ties. All kinds of the data folder were looked at while the engine was made.",
        *_engines(records),
    ]


def _engines(records: list[dict[str, Any]]) -> list[str]:
    """Which commit of this library made which groups, where that is known."""
    groups: dict[str, list[str]] = {}
    for r in records:
        if r.get("engine") and r["method"] == targets.FAST and r["group"] not in groups.setdefault(r["engine"], []):
            groups[r["engine"]].append(r["group"])
    parts = [f"{commit}: {'; '.join(names)}" for commit, names in groups.items()]
    return ["", f"This library at the commits {'. '.join(parts)}."] if parts else []


def processor() -> str:
    """The name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _table(records: list[dict[str, Any]]) -> list[str]:
    found = every_kind.measures(records)
    names = ["method", "pairs", *(every_kind.title(key, records[0]["group"]) for key in found)]
    names += ["folds %", "SD log J", "inverse mm", "wall s", "CPU s", "peak GB"]
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    for method in METHODS:
        done = [r for r in records if r["method"] == method and "error" not in r]
        if not done:
            continue
        columns = [
            *(_spread(done, key, 3) for key in found),
            *(_spread(done, k, d) for k, d in (("folds", 4), ("sdlogj", 3), ("inverse_mm", 3))),
        ]
        cost = [_spread(done, k, d) for k, d in (("wall", 1), ("cpu", 1), ("peak_gb", 2))]
        lines.append(f"| {method} | {len(done)} | " + " | ".join([*columns, *cost]) + " |")
    return lines


def _spread(records: list[dict[str, Any]], key: str, digits: int) -> str:
    values = [r[key] for r in records if key in r]
    if not values:
        return ""
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


def _failures(records: list[dict[str, Any]]) -> list[str]:
    failed = [f"* {r['method']} on {r['pair']}: {r['error']}" for r in records if "error" in r]
    return ["Failed:", "", *failed, ""] if failed else []


def _plot(groups: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Score against seconds, a panel for each group: of the pairs that all methods of the panel ran on."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not groups:
        return
    columns = min(4, len(groups))
    rows = -(-len(groups) // columns)
    figure = Figure(figsize=(5 * columns, 3.8 * rows), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels[len(groups) :]:
        panel.axis("off")
    for panel, (group, records) in zip(panels, groups.items(), strict=False):
        what = next(iter(every_kind.measures(records)), "dice")
        ran: dict[str, set[str]] = {}
        for r in records:
            if what in r and r["method"] != "before":
                ran.setdefault(r["method"], set()).add(r["pair"])
        shared = set.intersection(*ran.values()) if ran else set()
        at: dict[str, tuple[float, float]] = {}
        for method in (m for m in METHODS if m in ran and shared):
            done = [r for r in records if r["method"] == method and r["pair"] in shared and what in r]
            at[method] = float(np.mean([r["wall"] for r in done])), float(np.mean([r[what] for r in done]))
        middle = np.sqrt(min(x for x, _ in at.values()) * max(x for x, _ in at.values())) if at else 0.0
        for method, (x, y) in at.items():
            ours = method.startswith("ours")
            panel.scatter(x, y, marker="*" if ours else "o", s=90 if ours else 35)
            left = x > middle  # a name on the other side would leave the panel
            offset = -4 if left else 4, -11 if method == "ours, fast" else 4  # the two of this library lie close
            panel.annotate(
                method, (x, y), fontsize=7, xytext=offset, textcoords="offset points", ha="right" if left else "left"
            )
        panel.set_xscale("log")
        panel.set_xlabel("seconds")
        panel.set_ylabel(every_kind.title(what, group))
        panel.set_title(f"{group}: {len(shared)} pair{'s' * (len(shared) != 1)}", fontsize=10)
        panel.margins(0.25)
        low, high = panel.get_xlim()
        ticks = [t for t in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if low <= t <= high]
        panel.set_xticks(ticks, [f"{t:g}" for t in ticks])
        panel.minorticks_off()
    canvas.print_png(str(path))


def write_scaling(records: list[dict[str, Any]], folder: Path) -> None:
    """``scaling.png``: seconds and peak memory against voxels, with the slope of a line in log-log axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for panel, key, label in zip(
        figure.subplots(1, 2), ("wall", "peak_gb"), ("seconds", "peak memory, GB"), strict=True
    ):
        for method in dict.fromkeys(r["method"] for r in records):
            heads = [r for r in records if r["method"] == method and r["kind"] == "head" and "error" not in r]
            if not heads:
                continue
            x, y = np.array(sorted((r["voxels"], r[key]) for r in heads)).T
            slope = targets.exponent(heads, lambda r, key=key: r[key]) if len(heads) > 1 else float("nan")
            panel.loglog(x, y, "o-", label=f"{method} (exponent {slope:.2f})")
        panel.set_xlabel("voxels")
        panel.set_ylabel(label)
        panel.legend(fontsize=8)
        panel.grid(alpha=0.3, which="both")
    folder.mkdir(parents=True, exist_ok=True)
    canvas.print_png(str(folder / "scaling.png"))
