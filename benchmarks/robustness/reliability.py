"""Whether the estimated error of a result tells its true one, on kinds of images that it was not fitted on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from DeepRegistrationLib.quality import expected_error
from DeepRegistrationLib.settings import AFFINE_ALONE

from .relation import Fit, can_fit

Record = Mapping[str, Any]
BINS = 5


def of_fields(records: Sequence[Record]) -> list[Record]:
    """Those whose result is a field."""
    return [r for r in records if r.get("chosen") != AFFINE_ALONE]


def of_matrices(records: Sequence[Record]) -> list[Record]:
    """For each the affine alignment as the result."""
    return [{**r, "after": r["affine"], "measured": r.get("measured_still")} for r in records]


def fitted(records: Sequence[Record]) -> tuple[Fit, Fit] | None:
    """Of the fields and of the affine alignments; None where too little was measured."""
    fields, matrices = of_fields(records), of_matrices(records)
    return (Fit(fields, True), Fit(matrices, False)) if can_fit(fields) and can_fit(matrices) else None


def section(fits: tuple[Fit, Fit]) -> list[str]:
    """Lines of the page."""
    from scipy.stats import spearmanr

    lines = [
        "",
        "## The estimated error against the true one",
        "",
        "What the report says of its error (`quality/expected_error.py`) is what errors results had that measured "
        "so: fitted on those below whose truth is in mm, landmarks or a known field. Here each is estimated by the "
        "relation fitted without its own kind of image; the bound's factor is what 9 of 10 of these stay below.",
    ]
    used = (expected_error.OF_A_FIELD, expected_error.OF_A_MATRIX)
    for what, sort, fit in zip(("Fields", "Affine alignments"), used, fits, strict=True):
        rank = spearmanr(fit.expected, fit.true).statistic
        shares = fit.covered()
        worst = ", ".join(f"{kind} {100 * share:.0f} %" for kind, share in shares.items() if share < 0.85)
        powers, shipped = (", ".join(f"{c:.2f}" for c in r.powers) for r in (fit.relation, sort))
        lines += [
            "",
            f"{what}: {len(fit.true)} results, rank correlation {rank:.2f}; "
            f"{100 * np.mean(fit.true <= fit.bounds):.0f} % below the bound"
            + (f" ({worst}, all other kinds 85 % and more)" if worst else ", of every kind 85 % and more")
            + f". Fitted on all: powers {powers}, factor {fit.relation.factor:.2f}; in use: {shipped}, "
            f"{sort.factor:.2f}." + (_of_points(fit) if what == "Fields" else ""),
            "",
            "| estimated, mm | cases | estimated, mean | true, mean | true, median | true, worst | bound, mean |",
            "|---|---|---|---|---|---|---|",
        ]
        for part in np.array_split(np.argsort(fit.expected, kind="stable"), BINS):
            guess, true, bound = (x[part] for x in (fit.expected, fit.true, fit.bounds))
            lines.append(
                f"| {guess.min():.2f} to {guess.max():.2f} | {len(part)} | {guess.mean():.2f} | {true.mean():.2f} | "
                f"{np.median(true):.2f} | {true.max():.2f} | {bound.mean():.2f} |"
            )
    return lines


def _of_points(fit: Fit) -> str:
    """How well points found again tell the error alone."""
    from scipy.stats import spearmanr

    points = [r.get("points_mm") for r in fit.records]
    if None in points:
        return ""
    return f" Points found again alone: rank correlation {spearmanr(np.array(points, float), fit.true).statistic:.2f}."


def plot(fit: Fit, path: Path) -> bool:
    """The reliability diagram; False without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(5.5, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    low, high = 0.03, 1.3 * max(fit.true.max(), fit.expected.max())
    expected, true = (np.maximum(x, 1.05 * low) for x in (fit.expected, fit.true))
    for verdict, color in (("good", "tab:green"), ("check", "tab:orange"), ("bad", "tab:red")):
        own = [n for n, r in enumerate(fit.records) if r.get("verdict") == verdict]
        axes.scatter(expected[own], true[own], s=14, color=color, label=f"{verdict} ({len(own)})")
    ends = np.array([low, high])
    axes.plot(ends, ends, color="0.5", linewidth=0.8, label="as estimated")
    axes.plot(ends, fit.relation.factor * ends, color="0.5", linewidth=0.8, linestyle="--", label="about the bound")
    for scale in (axes.set_xscale, axes.set_yscale):
        scale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_xlabel("estimated error, mm")
    axes.set_ylabel("true error, mm")
    axes.legend(title="verdict", fontsize=8)
    figure.savefig(path, dpi=110)
    return True
