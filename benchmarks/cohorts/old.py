"""``batch`` of today against that of an earlier commit, in runs that follow each other: seconds of processor and wall.

python -m benchmarks cohort-old --old CHECKOUT --images DATA/hippocampus
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from DeepRegistrationLib.errors import InputError

from .cluster import ROOT, environment
from .lists import write_list
from .page import replace_section


def add_old(commands: Any) -> None:
    parser = commands.add_parser("cohort-old", help="batch --workers 2 against that of an earlier commit")
    parser.add_argument("--old", type=Path, required=True, help="a checkout of the earlier commit")
    parser.add_argument("--images", type=Path, help="folder of images (default: generated balls of 12 voxels)")
    parser.add_argument("--pattern", default="*_img.nii.gz")
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("docs/scale.md"), help="page whose section is written anew")
    parser.add_argument("--results", type=Path, default=Path("runs/cohort-old.jsonl"), help="one line a comparison")
    parser.add_argument("how", nargs="*", help="after --: further options of batch, such as --refine none")
    parser.set_defaults(run=run_old)


def run_old(options: argparse.Namespace) -> None:
    """Alternate, then add a row to the page's table of all comparisons so far."""
    how = ["--device", "cpu", "--method", "none", "--workers", "2", *options.how]
    spent: dict[str, list[tuple[float, float]]] = {"old": [], "new": []}
    with tempfile.TemporaryDirectory() as folder:
        path = write_list(Path(folder), options.pairs, options.images, options.pattern)
        for _ in range(options.repeats):
            for who, checkout in (("old", options.old), ("new", ROOT)):
                spent[who].append(_timed(checkout, path, Path(folder) / "out", how))
                print(who, spent[who][-1], flush=True)
    row = {"images": str(options.images and options.images.name), "pairs": options.pairs, "how": how, **spent}
    options.results.parent.mkdir(parents=True, exist_ok=True)
    with options.results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    rows = [json.loads(line) for line in options.results.read_text(encoding="utf-8").splitlines()]
    replace_section(options.output, "cohort-old", [*HEADER, *map(_cells, rows)])


HEADER = (
    "| pairs | settings | processor time a pair, old / new, s | ratio | wall a pair, old / new, s | ratio |",
    "| --- | --- | --- | --- | --- | --- |",
)


def _cells(row: dict[str, Any]) -> str:
    cells = []
    for k in (1, 0):
        old, new = (median(run[k] for run in row[who]) / row["pairs"] for who in ("old", "new"))
        ratios = [a[k] / b[k] for a, b in zip(row["old"], row["new"], strict=True)]
        cells += [f"{old:.1f} / {new:.1f}", f"**{median(ratios):.1f}** ({min(ratios):.1f} to {max(ratios):.1f})"]
    what = "generated, 12 voxels wide" if row["images"] == "None" else row["images"]
    return f"| {row['pairs']} of {what}, {len(row['old'])} runs each | `{' '.join(row['how'])}` | {' | '.join(cells)} |"


def _timed(checkout: Path, path: Path, out: Path, how: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of a whole run, with all that it started.

    Raises:
        InputError: if it failed.
    """
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "DeepRegistrationLib", "batch", str(path), "--output", str(out), *how]
    start = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, cwd=checkout, env=environment() | {"PYTHONPATH": str(checkout)}, stdout=said, stderr=said
        )
        _, status, used = os.wait4(process.pid, 0)
        said.seek(0)
        if status:
            raise InputError(f"batch of {checkout} failed: {said.read()[-500:].decode(errors='replace')}")
    return time.monotonic() - start, used.ru_utime + used.ru_stime
