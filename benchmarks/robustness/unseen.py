"""The section on kinds that no setting was chosen on: every case by itself, since there are few of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .harm import HARM_MM, loss

Record = Mapping[str, Any]
VOXELS = 0.5
"""Harm where that is less than ``HARM_MM``, as where pixels are of micrometers."""


def harmed(record: Record) -> bool:
    """Whether the result is worse than the affine alignment by more than 0.3 mm or half a voxel, the lesser."""
    return loss(record) > loss(record, "affine") + min(HARM_MM, VOXELS * record["voxel_mm"])


def section(records: Sequence[Record], methods: Sequence[str]) -> list[str]:
    """Lines of the page; none without records."""
    cases: dict[str, dict[str, Record]] = {}
    for record in records:
        if "before" in record:
            cases.setdefault(record["case"], {})[record["method"]] = record
    methods = [m for m in methods if any(m in found for found in cases.values())]
    if not cases:
        return []
    lines = [
        "",
        "## Kinds that no setting was chosen on",
        "",
        "Generated from a seed with a known truth (`benchmarks/robustness/generated`), so that anyone can measure them "
        "without data; as they are, and in none of the tables above. Mean error in mm over the body; in brackets times "
        f"the affine alignment's. Harm (!): worse than it by more than {HARM_MM} mm or half a voxel, the lesser.",
        "",
        f"| kind | seed | before | affine | {' | '.join(methods)} | verdict |",
        f"|---|---|---|---|{'---|' * len(methods)}---|",
    ]
    for found in cases.values():
        first = next(iter(found.values()))
        verdict = next((r["verdict"] for r in found.values() if "verdict" in r), "")
        cells = [_cell(found.get(method)) for method in methods]
        start = " | ".join(_mm(loss(first, which)) for which in ("before", "affine"))
        lines.append(f"| {_name(first)} | {first['name']} | {start} | {' | '.join(cells)} | {verdict} |")
    return [*lines, "", *_summary(cases, methods)]


def _name(record: Record) -> str:
    return str(record["kind"]).removeprefix("generated ")


def _mm(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _cell(record: Record | None) -> str:
    if record is None:
        return ""
    if "after" not in record:
        return "failed"
    share = loss(record) / max(loss(record, "affine"), 1e-9)
    return f"{_mm(loss(record))} ({share:.2f}){' !' if harmed(record) else ''}"


def _summary(cases: Mapping[str, Mapping[str, Record]], methods: Sequence[str]) -> list[str]:
    lines = []
    for method in methods:
        own = [found[method] for found in cases.values() if "after" in found.get(method, {})]
        if own:
            share = np.exp(np.mean([np.log(loss(r) / max(loss(r, "affine"), 1e-9)) for r in own]))
            lines.append(
                f"* {method}: {len(own)} cases, {share:.2f} times the affine alignment's error (geometric mean), "
                f"{sum(map(harmed, own))} harmed."
            )
    return lines
