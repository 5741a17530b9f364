"""The page of the robustness benchmark: share of harm and the worst tenth beside the mean, by kind and by change."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from DeepRegistrationLib.settings import NETWORK_ALONE

from . import reliability, unseen
from .generated import KINDS as UNSEEN
from .harm import HARM_DICE, HARM_MM, harmed, loss, worst_tenth

Record = Mapping[str, Any]


def write(records: Sequence[Record], output: Path, machine: str, note: str = "") -> None:
    """robustness.md, and robustness.png where matplotlib is installed."""
    apart = [r for r in records if r["kind"] in UNSEEN]
    records = [r for r in records if r["kind"] not in UNSEEN]
    methods, unseen_methods = (list(dict.fromkeys(r["method"] for r in those)) for those in (records, apart))
    good = [r for r in records if "after" in r]
    lines = [
        "# Trust on the unseen",
        "",
        "Written by `python -m benchmarks robustness`; do not edit.",
        "",
        "Pairs as they are and made harder in known ways; every method starts from the same affine alignment. Loss: "
        "1 - Dice, or mm (pixels in 2-D). Harm: worse than the affine alignment by more than "
        f"{HARM_DICE} Dice or {HARM_MM} mm. Worst tenth: mean loss of the worst tenth of the cases.",
        "",
        f"Machine: {machine}. {len({r['case'] for r in records})} cases. {note}".rstrip(),
    ]
    if any(r.get("quick") for r in records):
        lines += ["", "Images of more than 100 voxels along an axis at half their resolution (`--quick`)."]
    for title, key in (("By kind of image", "kind"), ("By what was done to the pair", "change")):
        lines += ["", f"## {title}", "", *_table(good, methods, key)]
    lines += ["", "## Verdicts", "", *_verdicts(good, methods)]
    lines += _beside(good, methods)
    fits = reliability.fitted([r for r in good if r["method"] == methods[0]])
    lines += reliability.section(fits) if fits else []
    acted = [r for r in good if r.get("guard_acted")]
    if acted:
        lines += ["", "## Where other fields were tried", "", *_guard(acted)]
    lines += unseen.section(apart, unseen_methods)
    failed = [r for r in (*records, *apart) if "error" in r]
    if failed:
        lines += ["", "## Failed", "", *_failures(failed)]
    output.mkdir(parents=True, exist_ok=True)
    if _plot(good, methods, output / "robustness.png"):
        lines[6:6] = ["![Loss after the affine stage and after each method](robustness.png)", ""]
    if fits and reliability.plot(fits[0], output / "reliability.png"):
        place = lines.index("## The estimated error against the true one") + 1
        lines[place:place] = ["", "![True against estimated error](reliability.png)"]
    (output / "robustness.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _failures(records: Sequence[Record]) -> list[str]:
    """One line for each method and reason, without the places in memory and on disk that libraries put into theirs."""
    found: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        reason = re.sub(r"\(?0x[0-9a-f]+\)?|\s*\(T: [^)]*\)|\S*/\S+:\d+:\s*", "", " ".join(record["error"].split()))
        found.setdefault((record["method"], reason), []).append(record)
    lines = []
    for (method, reason), those in found.items():
        kinds = ", ".join(dict.fromkeys(r["kind"] for r in those))
        lines.append(f"* {method} on {len(those)} case{'s' if len(those) > 1 else ''} ({kinds}): {reason}")
    return lines


def _table(records: Sequence[Record], methods: Sequence[str], key: str) -> list[str]:
    lines = [
        f"| {key} | truth | method | cases | loss, affine | loss, mean | worst tenth, affine | worst tenth | harm % |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for value in [*dict.fromkeys(r[key] for r in records), "all"]:
        for truth in ("dice", "mm"):
            for method in methods:
                rows = [
                    r for r in records if value in (r[key], "all") and truth in r["after"] and r["method"] == method
                ]
                if rows:
                    before, after = ([loss(r, which) for r in rows] for which in ("affine", "after"))
                    harm = 100 * float(np.mean([harmed(r) for r in rows]))
                    lines.append(
                        f"| {value} | {'Dice' if truth == 'dice' else 'mm'} | {method} | {len(rows)} | "
                        f"{np.mean(before):.3f} | {np.mean(after):.3f} | {worst_tenth(before):.3f} | "
                        f"{worst_tenth(after):.3f} | {harm:.1f} |"
                    )
    return lines


def _beside(records: Sequence[Record], methods: Sequence[str]) -> list[str]:
    """The first method and each other one, on the cases that both came through."""
    lines: list[str] = []
    ours = {r["case"]: r for r in records if r["method"] == methods[0]}
    for method in methods[1:]:
        pairs = [(ours[r["case"]], r) for r in records if r["method"] == method and r["case"] in ours]
        lines += [
            "",
            f"## {methods[0]} beside {method}",
            "",
            f"On the {len(pairs)} cases that both came through.",
            "",
            f"| kind | truth | cases | loss, affine | {methods[0]} | {method} | better with {methods[0]} |",
            "|---|---|---|---|---|---|---|",
        ]
        for kind in [*dict.fromkeys(r["kind"] for _, r in pairs), "all"]:
            for truth in ("dice", "mm"):
                rows = [p for p in pairs if kind in (p[1]["kind"], "all") and truth in p[1]["after"]]
                if rows:
                    both = np.array([[loss(own, "affine"), loss(own), loss(other)] for own, other in rows])
                    means = " | ".join(f"{mean:.3f}" for mean in both.mean(0))
                    better = int((both[:, 1] < both[:, 2]).sum())
                    name = "Dice" if truth == "dice" else "mm"
                    lines.append(f"| {kind} | {name} | {len(rows)} | {means} | {better} |")
    return lines


def _verdicts(records: Sequence[Record], methods: Sequence[str]) -> list[str]:
    lines = ["| method | verdict | cases | harmed | better than the affine alignment |", "|---|---|---|---|---|"]
    for method in methods:
        for verdict in ("good", "check", "bad"):
            rows = [r for r in records if r["method"] == method and r.get("verdict") == verdict]
            if rows:
                better = sum(loss(r) < loss(r, "affine") for r in rows)
                lines.append(f"| {method} | {verdict} | {len(rows)} | {sum(map(harmed, rows))} | {better} |")
    return lines


def _guard(acted: Sequence[Record]) -> list[str]:
    """Where the harm guard of the engine acted, or a rival went on."""
    kept = sum(r["chosen"] == "affine" for r in acted)
    better = sum(loss(r) < loss(r, "affine") for r in acted)
    rivals = sum(r["chosen"].startswith(f"{NETWORK_ALONE}, ") for r in acted)
    return [
        f"The engine's harm guard acted on {len(acted)} results, or a field begun with the universal network's went on "
        f"({rivals}): {kept} are the affine alignment, {better} are better than it, {sum(map(harmed, acted))} harmed.",
        "",
        *(f"* {r['case']}: {r['chosen']}, loss {loss(r, 'affine'):.3f} -> {loss(r):.3f}" for r in acted),
    ]


def _plot(records: Sequence[Record], methods: Sequence[str], path: Path) -> bool:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, truth, name in zip(figure.subplots(1, 2), ("dice", "mm"), ("1 - Dice", "mm"), strict=True):
        rows = [r for r in records if truth in r["after"]]
        for method in methods:
            own = [r for r in rows if r["method"] == method]
            axes.scatter([loss(r, "affine") for r in own], [loss(r) for r in own], s=9, label=method, alpha=0.7)
        top = max([loss(r, which) for r in rows for which in ("affine", "after")], default=1.0)
        axes.plot([0, top], [0, top], color="0.6", linewidth=0.8)
        axes.set_xlabel(f"{name} after the affine stage")
        axes.set_ylabel(f"{name} at the end")
        if truth == "mm":  # from nothing to a start that failed
            axes.set_xscale("symlog", linthresh=1.0)
            axes.set_yscale("symlog", linthresh=1.0)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    return True
