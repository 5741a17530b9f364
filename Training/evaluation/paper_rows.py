"""``rows``: rows of the papers' tables at a size that minutes of one core can train, in the papers' tables."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from DeepRegistrationLib.files.writing import write_text

from .figures import MEASURES
from .learn import Learned, add_list_options, device_of, learn, read_list, run_name
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
    add_list_options(parser, LIST, Path("runs/rows"), 100, f"gets {PAGE}, which names what of the list was not run")

    def run(options: argparse.Namespace) -> None:
        device = device_of(options)
        done: list[Learned] = []
        left = read_list(options.list)
        for entry in read_list(options.list, options.only):
            done.append(learn(entry, Path(), options.runs, options.pairs, device))
            left.remove(entry)
            write_rows(done, left, options.output)  # in case that the rest is interrupted
        print(f"wrote {options.output / PAGE}")

    parser.set_defaults(run=run)


def write_rows(done: Sequence[Learned], left: Sequence[Mapping[str, Any]], output: Path) -> None:
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
