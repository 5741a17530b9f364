"""Sections of docs/scale.md that commands write; each is between two comments with its name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from DeepRegistrationLib.errors import InputError


def replace_section(path: Path, name: str, lines: list[str]) -> None:
    """Put ``lines`` between ``<!-- name -->`` and ``<!-- end of name -->``.

    Raises:
        InputError: if the page has no such section.
    """
    text = path.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(text):
        raise InputError(f"{path} has no section {begin} ... {end}; add one.")
    path.write_text(pattern.sub(lambda _: "\n".join([begin, *lines, end]), text), encoding="utf-8")


def write_kills(found: dict[str, Any], path: Path) -> None:
    """How the disturbed runs compare, and the curve of memory."""
    calm, harmed, once = found["calm"], found["disturbed"], found["at once"]
    killed = harmed["killed"]
    lines = [
        f"{found['pairs']} pairs ({found['images']}), `{' '.join(found['how'])}`, two workers of one thread:",
        "",
        "| run | minutes | rows | missing | other bytes | done twice | half written |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        f"| undisturbed, {calm['pairs a second']:.2f} pairs a second | {calm['seconds'] / 60:.1f} | | | | | |",
        f"| {killed.get('workers', 0)} workers killed (one every {found['every']:.0f} s), the scheduler restarted "
        f"{_times(killed.get('scheduler', 0))}, the client killed {_times(killed.get('client', 0))}; "
        f"{killed['starts']} starts of the same command | {_cells(harmed)} |",
        f"| two clients of one cluster and three shards on one folder at once | {_cells(once)} |",
        "",
        "Memory of all processes in use (MB), undisturbed and disturbed:",
        "",
        "| part of the run | undisturbed: client, scheduler, workers and what they started | client | scheduler | "
        "workers and what they started |",
        "| --- | --- | --- | --- | --- |",
        *(_memory_row(k, calm["curve"], harmed["curve"]) for k in range(1, 6)),
    ]
    replace_section(path, "cohort-kills", lines)


def _times(count: int) -> str:
    return {0: "never", 1: "once"}.get(count, f"{count} times")


def _cells(part: dict[str, Any]) -> str:
    rows = ", ".join(f"{count} {state}" for state, count in part["rows"].items())
    counts = [str(len(part[key])) for key in ("missing", "other", "twice", "unfinished")]
    return " | ".join([f"{part['seconds'] / 60:.1f}", rows, *counts])


def _memory_row(fifth: int, calm: list[dict[str, float]], harmed: list[dict[str, float]]) -> str:
    def mean(points: list[dict[str, float]], name: str) -> str:
        part = [p.get(name, 0.0) for p in points[len(points) * (fifth - 1) // 5 : max(1, len(points) * fifth // 5)]]
        return f"{sum(part) / len(part) / 1e6:.0f}" if points else "not measured"

    cells = [mean(calm, "all"), *(mean(harmed, name) for name in ("client", "scheduler", "workers"))]
    return f"| fifth {fifth} | {' | '.join(cells)} |"
