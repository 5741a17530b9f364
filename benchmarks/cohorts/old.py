"""``batch`` of today against that of an earlier commit, in runs that follow each other: seconds of processor and wall.

python -m benchmarks cohort-old --old CHECKOUT --images DATA/hippocampus
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from .cluster import ROOT, timed
from .lists import called, write_list
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
                out = Path(folder) / "out"
                shutil.rmtree(out, ignore_errors=True)
                command = [sys.executable, "-m", "DeepRegistrationLib", "batch", str(path), "--output", str(out), *how]
                spent[who].append(timed(command, {"PYTHONPATH": str(checkout)}, checkout))
                print(who, spent[who][-1], flush=True)
    row = {"images": called(options.images), "pairs": options.pairs, "how": how, **spent}
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
    what = f"{row['pairs']} of {row['images']}, {len(row['old'])} runs each"
    return f"| {what} | `{' '.join(row['how'])}` | {' | '.join(cells)} |"
