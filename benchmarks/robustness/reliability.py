"""Whether the estimated error of a result tells its true one: predicted against true, where the truth is in mm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Record = Mapping[str, Any]
BINS = 5


def predicted(records: Sequence[Record]) -> list[tuple[float, float, str]]:
    """(estimated, true, verdict) of each record that has both, in mm (pixels of 2-D images without a spacing)."""
    return [
        (float(r["estimated_mm"]), float(r["after"]["mm"]), str(r.get("verdict", "")))
        for r in records
        if "mm" in r.get("after", {}) and r.get("estimated_mm") is not None
    ]


def section(records: Sequence[Record]) -> list[str]:
    """Lines of the page; none where nothing was predicted."""
    from scipy.stats import spearmanr

    pairs = predicted(records)
    if len(pairs) < BINS:
        return []
    guess, truth = (np.array([p[i] for p in pairs]) for i in (0, 1))
    low = 100 * float(np.mean(truth > 2 * guess + 1))
    lines = [
        "",
        "## The estimated error against the true one",
        "",
        "The report's error estimate looks for points again, whatever was optimized; it is of the whole anatomy, the "
        f"truth of landmarks or of a known field. {len(pairs)} results with a truth in mm; rank correlation "
        f"{spearmanr(guess, truth).statistic:.2f}; in {low:.0f} % the truth is more than twice the estimate and 1 mm "
        "above. A fifth of the results per row, by estimate:",
        "",
        "| estimated, mm | cases | estimated, mean | true, mean | true, median | true, worst |",
        "|---|---|---|---|---|---|",
    ]
    for part in np.array_split(np.argsort(guess, kind="stable"), BINS):
        g, t = guess[part], truth[part]
        lines.append(
            f"| {g.min():.2f} to {g.max():.2f} | {len(part)} | {g.mean():.2f} | {t.mean():.2f} | {np.median(t):.2f} | "
            f"{t.max():.2f} |"
        )
    return lines


def plot(records: Sequence[Record], path: Path) -> bool:
    """The reliability diagram; False without matplotlib or without anything predicted."""
    pairs = predicted(records)
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    if len(pairs) < BINS:
        return False
    figure = Figure(figsize=(5.5, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for verdict, color in (("good", "tab:green"), ("check", "tab:orange"), ("bad", "tab:red")):
        own = [p for p in pairs if p[2] == verdict]
        axes.scatter([p[0] for p in own], [p[1] for p in own], s=14, color=color, label=f"{verdict} ({len(own)})")
    top = 1.1 * max(max(p[:2]) for p in pairs)
    axes.plot([0, top], [0, top], color="0.6", linewidth=0.8)
    for scale in (axes.set_xscale, axes.set_yscale):
        scale("symlog", linthresh=1.0)
    axes.set_xlim(-0.05, top)
    axes.set_ylim(-0.05, top)
    axes.set_xlabel("estimated error, mm")
    axes.set_ylabel("true error, mm")
    axes.legend(title="verdict", fontsize=8)
    figure.savefig(path, dpi=110)
    return True
