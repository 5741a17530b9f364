"""``rows``: rows of the papers' tables at a size that minutes of one core can train, in the papers' tables."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from DeepRegistrationLib.device import choose_device
from DeepRegistrationLib.files.writing import write_text

from ..limits import check_pairs, set_threads
from .figures import MEASURES
from .learn import Learned, learn, read_list, run_name
from .tables import change

LIST = Path(__file__).resolve().parents[1] / "paper_rows.toml"
PAGE = "paper_rows.md"
SHOWN = ("dice", "jaccard", "hd95", "mad", "end_point", "folds")
ABOUT = """# Rows of the papers' tables, at the size of minutes

Written by `python -m Training rows`; do not edit.

Trained on generated images by the plans of the box, shortened where it says so, one seed, one core; judged on held-out
generated pairs, the network alone: mean ± standard deviation over the pairs, before → after. The order of two rows that
differ by less than their spread over seeds means nothing, and one seed does not tell that spread. Distances in voxels.
What of the papers' tables is not done is listed, with the reason, in [deviations.md](deviations.md)."""


def add_rows(commands: argparse._SubParsersAction) -> None:
    """``rows [LIST.toml] --output docs``."""
    parser = commands.add_parser("rows", help="train rows of the papers' tables at a small size and write the tables")
    parser.add_argument("list", type=Path, nargs="?", default=LIST, metavar="LIST.toml")
    parser.add_argument("--runs", type=Path, default=Path("runs/rows"), help="where runs are kept, and found if done")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help=f"gets {PAGE}")
    parser.add_argument("--only", nargs="+", metavar="ROW", help="of the list; the page names the others as not run")
    parser.add_argument("--pairs", type=int, default=100, help="held-out pairs a run (default 100)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=int, help="of the CPU")

    def run(options: argparse.Namespace) -> None:
        set_threads(options.threads)
        check_pairs(options.pairs)
        device = choose_device(options.device)
        done: list[Learned] = []
        left = read_list(options.list)
        for entry in read_list(options.list, options.only):
            done.append(learn(entry, Path(), options.runs, options.pairs, device))
            left.remove(entry)
            write_page(done, left, options.output)  # in case that the rest is interrupted
        print(f"wrote {options.output / PAGE}")

    parser.set_defaults(run=run)


def write_page(done: Sequence[Learned], left: Sequence[Mapping[str, Any]], output: Path) -> None:
    """``paper_rows.md`` in ``output``: a section for each ``data`` of the list, a row a run; ``left`` was not run."""
    output.mkdir(parents=True, exist_ok=True)
    sections = dict.fromkeys(run.data for run in done)
    text = [ABOUT, ""]
    for section in sections:
        text += [f"## {section}", "", *_table([run for run in done if run.data == section]), ""]
    if left:
        text += ["## Rows of the list that were not run", ""]
        text += [
            f"- {entry.get('title', run_name(entry))} (`{run_name(entry)}`): {entry.get('data', '')}" for entry in left
        ]
        text += [""]
    write_text(output / PAGE, "\n".join(text))


def _table(runs: Sequence[Learned]) -> list[str]:
    shown = [m for m in MEASURES if m.name in SHOWN and any(m.name in row.figures for run in runs for row in run.rows)]
    titles = ["row", *[m.title for m in shown], "steps", "minutes"]
    lines = [f"| {' | '.join(titles)} |", f"| {' | '.join('---' for _ in titles)} |"]
    for run in runs:
        cells = [run.title, *[change(run.rows, m) for m in shown], str(run.steps), f"{run.seconds / 60:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines
