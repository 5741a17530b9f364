"""What ``evaluate`` and ``learn`` write: a CSV of all pairs, a Markdown table, box plots."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.files.writing import write_text

from ..safe_files import replace_file
from .figures import MEASURES, Measure

if TYPE_CHECKING:
    from .evaluate import Row

PAIRS, TABLE, PLOT = "pairs.csv", "summary.md", "boxes.png"


def write(rows: Sequence[Row], folder: Path, units: str = "mm") -> str:
    """``pairs.csv``, ``summary.md`` and ``boxes.png`` in ``folder``; the table, to be printed.

    Raises:
        InputError: if the folder cannot be written.
    """
    table = markdown(rows, units)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / PAIRS, csv_of(rows))
        write_text(folder / TABLE, table)
        replace_file(folder / PLOT, lambda partial: boxes(rows, partial, units))
    except OSError as error:
        raise InputError(f"The results cannot be written to {folder} ({error.strerror}).") from error
    return table


def measures_of(rows: Sequence[Row]) -> list[Measure]:
    """Those for which there is a figure."""
    return [m for m in MEASURES if any(m.name in row.figures for row in rows)]


def values(rows: Sequence[Row], name: str, after: bool) -> np.ndarray:
    """The figures of all rows that have one."""
    found = np.array([row.figures[name][after] for row in rows if name in row.figures])
    return found[np.isfinite(found)] if found.size else found


def csv_of(rows: Sequence[Row]) -> str:
    """A line a pair and network; ``..._before`` without registration."""
    shown = measures_of(rows)
    names = [n for m in shown for n in (f"{m.name}_before", m.name)]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["model", "pair", *names, "seconds"])
    for row in rows:
        figures = [f"{v:.6g}" for m in shown for v in row.figures.get(m.name, (math.nan, math.nan))]
        writer.writerow([row.subject, row.pair, *figures, f"{row.seconds:.4f}"])
    return out.getvalue()


def markdown(rows: Sequence[Row], units: str = "mm") -> str:
    """Mean ± standard deviation over the pairs, before -> after, a row a network."""
    shown = measures_of(rows)
    titles = ["model", "pairs", *[title(m, units) for m in shown], "seconds"]
    lines = [f"| {' | '.join(titles)} |", f"| {' | '.join('---' for _ in titles)} |"]
    for name, own in by_subject(rows).items():
        cells = [name, str(len(own)), *[change(own, m) for m in shown]]
        lines.append(f"| {' | '.join(cells)} | {np.mean([row.seconds for row in own]):.2f} |")
    return "\n".join([*lines, ""])


def change(rows: Sequence[Row], m: Measure) -> str:
    """``0.605 ± 0.135 → 0.712 ± 0.061`` (before, after); after alone for what is 0 before."""
    before, after = (values(rows, m.name, late) for late in (False, True))
    if not after.size:
        return ""
    text = f"{after.mean():.{m.digits}f} ± {after.std():.{m.digits}f}"
    return text if not before.any() else f"{before.mean():.{m.digits}f} ± {before.std():.{m.digits}f} → {text}"


def by_subject(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.subject, []).append(row)
    return found


def title(m: Measure, units: str) -> str:
    return f"{m.title} ({units})" if m.name in ("hd95", "asd", "mad", "landmarks") else m.title


def pyplot() -> Any:
    """matplotlib without a window.

    Raises:
        InputError: if it is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise InputError("Plots need matplotlib; install it with pip install matplotlib.") from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def boxes(rows: Sequence[Row], path: Path, units: str = "mm") -> None:
    """A panel a measure; in it, for each network, gray before and blue after; dots are pairs."""
    plt = pyplot()
    shown, groups = measures_of(rows), by_subject(rows)
    columns = min(4, len(shown))
    lines = -(-len(shown) // columns)
    size = (columns * (1.6 + 0.9 * len(groups)), 2.9 * lines)
    figure, axes = plt.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    for axis, m in zip(axes.flat, shown, strict=False):
        for place, own in enumerate(groups.values()):
            for after, color in ((False, "0.6"), (True, "tab:blue")):
                found = values(own, m.name, after)
                if found.size and (after or found.any()):
                    at = place + (0.19 if after else -0.19)
                    _box(axis, found, at, color)
        axis.set_xticks(range(len(groups)), groups, fontsize=8, rotation=20 if len(groups) > 2 else 0)
        axis.set_title(f"{title(m, units)} ({'higher' if m.more else 'lower'} is better)", fontsize=8)
        axis.tick_params(axis="y", labelsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _box(axis: Any, found: np.ndarray, at: float, color: str) -> None:
    axis.boxplot(
        found, positions=[at], widths=0.32, showfliers=False, manage_ticks=False,
        boxprops={"color": color}, whiskerprops={"color": color}, capprops={"color": color},
        medianprops={"color": color, "linewidth": 2},
    )  # fmt: skip
    spread = np.linspace(-0.08, 0.08, len(found)) if len(found) > 1 else np.zeros(1)
    axis.plot(at + spread, found, ".", color=color, markersize=3, alpha=0.7)
