"""docs/speed.md: ratios with their spread, seconds by stage, and cost over voxels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

STAGES = ("read", "affine", "mirror check", "prepare", "network", "refine", "output", "error estimate", "doubt")
Row = dict[str, Any]


def write(rows: list[Row], path: Path, base: str, about: str) -> None:
    """The page from all timed runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(row["case"] for row in rows))
    text = [
        "# Speed",
        "",
        f"This library against its commit {base} (old) and against peers, in alternating runs on one machine; "
        "whole `register` of images in memory, in a process that has run once already. Medians; ratios are of runs "
        "that followed each other, with the smallest and the largest. "
        f"{about}. Made by `python -m benchmarks speed`.",
        "",
        "## Old and new",
        "",
        "| pair | voxels | new (s) | old (s) | new / old | memory new / old (GB) | results apart (mm) |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(_compared(name, rows) for name in names),
        "",
        "## Where the seconds go",
        "",
        f"| pair | side | {' | '.join(STAGES)} | rest | whole |",
        f"| --- | --- | {' | '.join('---' for _ in STAGES)} | --- | --- |",
        *(_stages(name, who, rows) for name in names for who in ("new", "old")),
        "",
        "## Cost over voxels",
        "",
        *_curve(rows),
    ]
    path.write_text("\n".join(text) + "\n", encoding="utf-8")


def ratios(new: Sequence[float], old: Sequence[float]) -> tuple[float, float, float]:
    """Median, smallest and largest ratio of runs that followed each other."""
    found = [a / b for a, b in zip(new, old, strict=False) if b > 0]
    return (median(found), min(found), max(found)) if found else (float("nan"),) * 3


def _of(rows: list[Row], name: str, who: str) -> list[Row]:
    return [row for row in rows if row["case"] == name and row["who"] == who and "error" not in row]


def _compared(name: str, rows: list[Row]) -> str:
    new, old = _of(rows, name, "new"), _of(rows, name, "old")
    if not new or not old:
        return f"| {name} | | {_failure(rows, name)} | | | | |"
    middle, low, high = ratios([r["wall"] for r in new], [r["wall"] for r in old])
    apart = "not kept"  # of runs that were read again
    if "points" in new[-1] and "points" in old[-1]:
        far = np.linalg.norm(np.asarray(new[-1]["points"]) - np.asarray(old[-1]["points"]), axis=1).mean()
        apart = f"{far:.3f}"
    walls = " | ".join(f"{median(r['wall'] for r in side):.2f}" for side in (new, old))
    memory = " / ".join(f"{side[-1]['peak_gb']:.2f}" for side in (new, old))
    ratio = f"**{middle:.2f}** ({low:.2f} to {high:.2f})"
    return f"| {name} | {new[0]['voxels']} | {walls} | {ratio} | {memory} | {apart} |"


def _failure(rows: list[Row], name: str) -> str:
    return next((row["error"] for row in rows if row["case"] == name and "error" in row), "not measured")


def _stages(name: str, who: str, rows: list[Row]) -> str:
    runs = _of(rows, name, who)
    if not runs:
        return f"| {name} | {who} |" + " |" * (len(STAGES) + 2)
    seconds = {stage: median(run["stages"].get(stage, 0.0) for run in runs) for stage in STAGES}
    whole = median(run["wall"] for run in runs)
    cells = [*seconds.values(), max(0.0, whole - sum(seconds.values())), whole]
    return f"| {name} | {who} | {' | '.join(f'{cell:.2f}' for cell in cells)} |"


def _curve(rows: list[Row]) -> list[str]:
    rows = [row for row in rows if row["kind"] != "demo"]
    sides = list(dict.fromkeys(row["who"] for row in rows))
    sizes = sorted({(row["voxels"], row["case"]) for row in rows})
    titles = [side.removeprefix("peer:") for side in sides]
    lines = [f"| voxels | pair | {' | '.join(f'{title} (s)' for title in titles)} |", "| --- " * (len(sides) + 2) + "|"]
    for voxels, name in sizes:
        found = [_of(rows, name, side) for side in sides]
        cells = [f"{median(run['wall'] for run in runs):.2f}" if runs else "failed" for runs in found]
        lines.append(f"| {voxels} | {name} | {' | '.join(cells)} |")
    return lines
