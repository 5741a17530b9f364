"""docs/models.md and the models' cards, from what ``models measure`` kept. No figure is typed by hand."""

from __future__ import annotations

import math
import os
import platform
from collections import defaultdict
from typing import Any

import numpy as np

from DeepRegistrationLib.models.worth import WORTH_KEY, helps, sentence, worths

from ..tables import processor
from .checks import MOTIONS, RIGHT
from .page_blocks import tidy
from .papers import PAPERS, Claim, Paper
from .real import RUNS, main_figure
from .scores import difference, summary

Values = dict[str, Any]


def page(models: list[Values]) -> str:
    """The whole of docs/models.md."""
    text = ["# Models", "", "Written by `python -m benchmarks.networks.models write`; do not edit.", "", _machine(), ""]
    text += ["## In the box", "", *_box([m for m in models if m["model"]["box"]]), ""]
    text += [*_worth(models), ""]
    for paper in PAPERS:
        members = [m for m in models if _header(m)["method"] in paper.methods]
        if members:
            text += [f"## {paper.title}", "", *_paper(paper, members)]
        else:
            text += [f"## {paper.title}", "", "No model of it has been trained and measured here yet.", ""]
    return tidy(text)


def _header(model: Values) -> Values:
    header: Values = model["model"]["header"]
    return header


def _machine() -> str:
    return (
        f"Machine: {processor()}, {os.cpu_count()} cores, {platform.system()}, shared with other work: seconds are the "
        "best of several runs, and the CPU seconds beside them are the better measure. All models were trained on "
        "generated images alone (`Training/synthesis`), on the CPU, in minutes to hours; what they reach is what that "
        "buys, not what their papers' networks reach after days on a GPU. Each was trained once: the errors beside "
        "differences are over pairs, and another run of the same plan could turn a small difference round. Tables are "
        "renewed one by one: seconds in two sections may be of two machines of this name, of which some compute faster "
        "in bfloat16 and some do not."
    )


def _box(models: list[Values]) -> list[str]:
    if not models:
        return ["No weights are in the box: the default is refinement alone."]
    lines = ["| model | method | variant | dimensions | weights | MB | steps | minutes |", "|" + " --- |" * 8]
    for m in models:
        h, t = _header(m), _header(m)["training"]
        count = _parameters(m)
        lines.append(
            f"| [{m['model']['name']}](../Resources/Models/{m['model']['name']}.md) | {h['method']} | {h['variant']} | "
            f"{h['dimensions']} | {count} | {m['model']['bytes'] / 1e6:.2f} | "
            f"{sum(run.get('steps', 0) for run in _runs(t))} | {_minutes(_runs(t)):.0f} |"
        )
    total = sum(m["model"]["bytes"] for m in models) / 1e6
    return [*lines, "", f"Together {total:.1f} MB, float16, Apache-2.0."]


def _worth(models: list[Values]) -> list[str]:
    """What the headers say, and what "auto" takes because of that."""
    lines = ["## What they are worth", ""]
    lines.append(
        "Gain over refinement alone (fast) on real pairs, as the models' headers or the files beside them hold it and "
        "the panel shows it: Dice, or the share by which an error is less. Figures of another engine (a hash of its "
        "code) are old: `measure --worth` renews them."
    )
    lines += ["", "| model | images | pairs | as a start | alone | engine |", "|" + " --- |" * 6]
    for m in models:
        scores = _header(m)["scores"]
        for row in worths(scores):
            start, alone = (row.words(row.none, value) for value in (row.start, row.alone))
            name = m["model"]["name"]
            lines.append(f"| {name} | {row.images} | {row.pairs} | {start} | {alone} | {scores[WORTH_KEY]['engine']} |")
    lines.append("")
    for ndim in (2, 3):
        of = [
            m
            for m in models
            if m["model"]["box"] and (_header(m)["method"], _header(m)["dimensions"]) == ("universal", ndim)
        ]
        for kind, contrasts in (("any images", None), ("images of one contrast", 1), ("images of two contrasts", 2)):
            takes = next((m["model"]["name"] for m in of if helps(_header(m)["scores"], contrasts)), "refinement alone")
            lines.append(f'* "auto" for {ndim}-D {kind}: {takes}.')
    return lines


def _runs(training: Values) -> list[Values]:
    """All that the weights went through, one run after the other."""
    return [*training.get("before", []), training]


def _minutes(runs: list[Values]) -> float:
    return sum(run.get("seconds", 0) for run in runs) / 60


def _parameters(m: Values) -> str:
    return f"{m['model'].get('parameters', 0):,}".replace(",", " ")


def _paper(paper: Paper, models: list[Values]) -> list[str]:
    text: list[str] = [paper.about, ""] if paper.about else []
    with_own = [m for m in models if "own" in m]
    for members in _same_protocol(with_own).values():
        members.sort(key=lambda m: paper.rank(_row(m)))
        count, dims = len(members[0]["own"]["network"]), _header(members[0])["dimensions"]
        text += [f"Network alone, {count} held-out generated pairs of its own protocol, {dims}-D:", ""]
        text += [*_own_table(paper, members), ""]
    for claim in paper.claims:
        text += [_verdict(claim, with_own), ""]
    real = _real_table(models)
    engines = sorted({m["engine"] for m in models if "engine" in m})
    by = f" (engine {', '.join(engines)})" if engines else ""
    text += (
        [f"Real pairs{by}:", "", *real, ""] if real else ["Real pairs: none that fit it with labels here, skipped.", ""]
    )
    text += [*_cost_table(models), ""]
    for m in models:
        text += _checks(m)
    return text


def _row(m: Values) -> str:
    variant = _header(m)["variant"]
    return str(_header(m)["method"] if variant in (None, "default", "lncc") else variant)


def _same_protocol(models: list[Values]) -> dict[str, list[Values]]:
    """Models by the data of their plans: only those of one list saw the same pairs."""
    groups: dict[str, list[Values]] = defaultdict(list)
    for m in models:
        plan = _header(m)["training"]["plan"]
        groups[str((plan["synthesis"], plan.get("seed", 0), len(m["own"]["network"])))].append(m)
    return groups


def _own_table(paper: Paper, models: list[Values]) -> list[str]:
    titles = [COLUMNS[key][0] for key in paper.columns]
    lines = ["| | " + " | ".join(titles) + " | steps |", "|" + " --- |" * (len(titles) + 2)]
    rows = [("before", models[0]["own"]["identity"], "")]
    rows += [(paper.titles.get(_row(m), _row(m)), m["own"]["network"], _header(m)["training"]["steps"]) for m in models]
    for title, found, steps in rows:
        cells = []
        for key in paper.columns:
            values = np.array([r[key] for r in found if key in r and not math.isnan(r[key])])
            digits = COLUMNS[key][1]
            if key == "seconds":
                cells.append(f"{np.median(values):.{digits}f}" if len(values) else "")
                continue
            cells.append(f"{values.mean():.{digits}f} ± {values.std():.{digits}f}" if len(values) else "")
        lines.append(f"| {title} | " + " | ".join(cells) + f" | {steps} |")
    return lines


COLUMNS = {
    "dice": ("Dice", 3, True),
    "jaccard": ("Jaccard", 3, True),
    "hd95": ("HD95, voxels", 2, False),
    "asd": ("ASD, voxels", 2, False),
    "mad": ("MAD, voxels", 2, False),
    "end_point": ("error of the field, voxels", 2, False),
    "rmse": ("RMSE %", 2, False),
    "folds": ("folds %", 3, False),
    "seconds": ("seconds", 3, False),
}
"""Title, digits, and whether more is better."""


def _verdict(claim: Claim, models: list[Values]) -> str:
    """What our figures say about an order that the paper reports."""
    by_row = {_row(m): m for m in models}
    title, _, more = COLUMNS[claim.metric]
    if claim.better not in by_row or claim.worse not in by_row:
        missing = " and ".join(r for r in (claim.better, claim.worse) if r not in by_row)
        return f"* The paper: {claim.text}. Not compared here: {missing} was not trained."
    one, two = by_row[claim.better], by_row[claim.worse]
    mean, error = difference(one["own"]["network"], two["own"]["network"], claim.metric)
    gain = mean if more else -mean
    figures = f"{title} {mean:+.3f} ± {error:.3f} (mean paired difference and its standard error)"
    if math.isnan(error) or abs(gain) < 2 * error:
        agrees = "which agrees" if claim.or_equal else "its order is NOT repeated"
        return f"* The paper: {claim.text}. Here: no difference beyond chance, {figures}: {agrees}."
    word = "the same order" if gain > 0 else "the opposite order: the paper's is NOT repeated"
    return f"* The paper: {claim.text}. Here: {word}, {figures}."


def _real_groups(m: Values) -> dict[str, dict[str, dict[str, Any]]]:
    """group -> pair -> run -> scores."""
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
    for key, value in m.items():
        if key.count("|") == 2:
            group, pair, run = key.split("|")
            found[group][pair][run] = value
    return found


def _real_table(models: list[Values]) -> list[str]:
    groups = [(m, group, _measured_pairs(pairs)) for m in models for group, pairs in _real_groups(m).items()]
    groups = [(m, group, whole) for m, group, whole in groups if whole]
    # A mean over some of the pairs does not stand beside means over all of them.
    runs = [run for run in ("before", *RUNS) if any(all(run in p for p in whole) for _, _, whole in groups)]
    lines = []
    for m, group, whole in groups:
        what, _, _ = main_figure(whole[0]["before"])
        cells = []
        for run in runs:
            found = [p[run] for p in whole if run in p]
            cell = f"{np.mean([main_figure(f)[1] for f in found]):.3f}" if len(found) == len(whole) else "-"
            folds = [f["folds"] for f in found if "folds" in f]
            if folds and run == "network alone":
                cell += f", folds {np.mean(folds):.3f} %"
            cells.append(cell)
        title = {"dice": "Dice", "tre": "landmark error, mm", "end_point": "error of the field, pixels"}[what]
        lines.append(f"| {m['model']['name']} | {group} | {len(whole)} | {title} | " + " | ".join(cells) + " |")
    head = "| model | images | pairs | figure | " + " | ".join(runs) + " |"
    return [head, "|" + " --- |" * (4 + len(runs)), *lines] if lines else []


def _measured_pairs(pairs: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The pairs of a group that were gone through, refinement and all where that was done at all."""
    refined = [p for p in pairs.values() if "network + fast" in p]
    return refined or [p for p in pairs.values() if "network alone" in p]


def _cost_table(models: list[Values]) -> list[str]:
    lines = []
    for m in models:
        for precision in ("bfloat16", "float32"):
            c = m.get(f"cost {precision}")
            if not c or "error" in c:
                continue
            shape = " x ".join(map(str, c["shape"]))
            lines.append(
                f"| {m['model']['name']} | {shape} | {precision} | {c['wall']:.2f} | {c['cpu']:.2f} | "
                f"{c['peak_gb']:.2f} | {c['threads']} |"
            )
    head = [
        "| model | image | precision | seconds | CPU seconds | peak GB of the process | threads |",
        "|" + " --- |" * 7,
    ]
    return [*head, *lines] if lines else []


def _checks(m: Values) -> list[str]:
    text: list[str] = []
    found = m.get("contrast")
    if found and "skipped" not in found:
        text += [
            f"{m['model']['name']}, one brain pair (`OAS1_0001` ← `OAS1_0002`, 31 labels), network alone:",
            "",
            "| " + " | ".join(found) + " |",
            "|" + " --- |" * len(found),
            "| " + " | ".join(f"{v:.3f}" for v in found.values()) + " |",
            "",
        ]
    cases = [v for k, v in m.items() if k.startswith("case ")]
    if cases:
        text += [
            f"Large motion: {len(cases)} generated heads (T1 and T2) moved by a known field, affine stage and fast "
            f"refinement; share that ends with less than {RIGHT:g} voxels of mean error:",
            "",
            "| motion | cases | mean error before | no start | network start |",
            "|" + " --- |" * 5,
        ]
        for kind in [*MOTIONS, "all"]:
            some = [c for c in cases if kind in ("all", c["kind"])]
            if some:
                shares = [np.mean([c[r] < RIGHT for c in some]) for r in ("no start", "network start")]
                means = [np.mean([c[r] for c in some]) for r in ("before", "no start", "network start")]
                text.append(
                    f"| {kind} | {len(some)} | {means[0]:.1f} | {100 * shares[0]:.0f} % ({means[1]:.2f}) | "
                    f"{100 * shares[1]:.0f} % ({means[2]:.2f}) |"
                )
        text.append("")
    return text


def _contrasts(synthesis: Values) -> str:
    """Whose contrasts a network has seen, after what its images show."""
    one = synthesis.get("same_contrast") == 1
    if synthesis.get("modalities") is not None:
        return ", all of one contrast" if one else ", all fixed images of one contrast and all moving ones of another"
    return ", both images of a pair of one random contrast" if one else ", random contrasts"


def card(m: Values) -> str:
    """The model card of a bundle."""
    h, t = _header(m), _header(m)["training"]
    plan = t.get("plan", {})
    synthesis = plan.get("synthesis") or {}
    shape = " x ".join(map(str, synthesis.get("shape", ())))
    families = ", ".join(f"{k} {v:g}" for k, v in (synthesis.get("families") or {}).items())
    lines = [
        f"# {m['model']['name']}",
        "",
        "Written by `python -m benchmarks.networks.models write`; do not edit.",
        "",
        f"* Method: {h['method']}, variant {h['variant']}, {h['dimensions']}-D; {h['network']} with "
        f"{_parameters(m)} weights, float16, {m['model']['bytes'] / 1e6:.2f} MB.",
        f"* Data: generated pairs of {shape} voxels ({families}){_contrasts(synthesis)}; no image of anybody.",
        f"* Plan: preset {plan.get('preset')}, {t.get('steps')} steps of {(plan.get('schedule') or {}).get('batch')} "
        f"pairs, seed {plan.get('seed')}; sha256 of the plan {t.get('plan_sha256')}.",
        f"* Trained in {_minutes([t]):.0f} minutes of wall time on {processor()}, one thread, shared with other work.",
        f"* License of the weights: {h['license']}.",
        "",
    ]
    if t.get("before"):
        parts = [
            f"{run.get('steps')} steps in {_minutes([run]):.0f} minutes (plan {str(run.get('plan_sha256'))[:12]})"
            for run in t["before"]
        ]
        lines.insert(-2, f"* The weights came from earlier runs: {', then '.join(parts)}.")
    if "own" in m:
        before, after = summary(m["own"]["identity"]), summary(m["own"]["network"])
        lines += [
            f"On {len(m['own']['network'])} held-out generated pairs, network alone:",
            "",
            "| | before | network |",
        ]
        lines += ["| --- | --- | --- |"]
        for key, (title, digits, _) in COLUMNS.items():
            if key in after:
                first = f"{before[key]:.{digits}f}" if key in before else ""
                lines.append(f"| {title} | {first} | {after[key]:.{digits}f} |")
        lines.append("")
    real = _real_table([m])
    lines += ["On real pairs:", "", *real, ""] if real else []
    said = sentence(h["scores"]) if real else ""
    lines += [f"{said} (engine {h['scores'][WORTH_KEY]['engine']})", ""] if said else []
    grid = h["grid"]
    where = f"{grid['longest']} voxels along the longest side" if grid.get("longest") else "its own grid"
    lines += [
        "## Limits",
        "",
        f"It looks at images on {where} and sees no finer detail; the refinement after it works on the image's own "
        "voxels. It has never seen a real image, was trained for minutes to hours on a CPU, and is meant as the start "
        "of the refinement. Look at the result before you use it; it is not a medical device.",
    ]
    return tidy(lines)
