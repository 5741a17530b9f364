"""What was asked of the engine and what the results say: the first table of docs/benchmarks.md.

The targets are the project's own, set before the engine was written; nothing here is typed in but what was asked.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import kinds

Record = Mapping[str, Any]
FAST, ACCURATE = "ours, fast", "ours, accurate"
OWN = ("before", FAST, ACCURATE)
ONE_CONTRAST = (kinds.BRAIN, kinds.TWO_PIPELINES, kinds.HEART, kinds.HIPPOCAMPUS)
PLANE, ACROSS, TUMOR = kinds.CHEST, kinds.REMAPPED, kinds.TUMOR
LEAD = "OAS1_0001<-OAS1_0002"
HEAD_VOXELS = 160 * 192 * 224


@dataclass(frozen=True)
class Row:
    """One target: what was asked, what was reached, and from what that was read."""

    asked: str
    reached: str
    measured: str


@dataclass(frozen=True)
class _Against:
    """One of our results beside the peer that scored best on the same pair with as many threads."""

    gain: float
    share: float
    folds: float
    held_out: bool


def rows(records: Sequence[Record], scaling: Sequence[Record] = ()) -> list[Row]:
    """The targets that ``records`` (and those of the scaling run) can answer; the rest say what is missing."""
    good = [r for r in records if "error" not in r]
    usual = _usual(good)
    found = []
    for group in (*ONE_CONTRAST, PLANE):
        found.append(
            Row(
                f"1. accurate, {group}: Dice at least 0.01 above the best peer, no folds, in a third of its time",
                _beside(usual, group, ACCURATE, 0.01, share=1 / 3),
                "every pair of the group, against the best peer on that pair",
            )
        )
    found.append(Row(f"1. accurate, {LEAD}: Dice 0.85", _score(usual, LEAD, ACCURATE), "the table below"))
    for group in (*ONE_CONTRAST, PLANE):
        found.append(
            Row(
                f"2. fast, {group}: Dice at most 0.01 below the best peer",
                _beside(usual, group, FAST, -0.01),
                "every pair of the group, against the best peer on that pair",
            )
        )
    found.append(Row("2. fast: 8 s at 160x192x224 on two cores", _seconds(good, FAST), "wall, the registration alone"))
    for method in (FAST, ACCURATE):
        found.append(
            Row(
                f"3. {method[6:]}, {ACROSS}: Dice at least 0.02 above the best peer",
                _beside(usual, ACROSS, method, 0.02),
                "every pair of the group, against the best peer on that pair",
            )
        )
        found.append(
            Row(
                f"3. {method[6:]}, {TUMOR}: 1.7 mm, same contrast and across",
                "; ".join(f"{r['pair']} {r['tre']:.2f} mm" for r in usual if _is(r, TUMOR, method)) or "not measured",
                "mean landmark error",
            )
        )
    for method in (FAST, ACCURATE):
        asked = f"4. {method[6:]}: 1.5 GB at 160x192x224"
        found.append(Row(asked, _memory(good, method), "peak of the whole process, both images in it"))
    found.append(Row("4. a CT of 512x512x300 on a laptop of 16 GB", _large(scaling), "`python -m benchmarks scaling`"))
    own = [r for r in good if r["method"] in (FAST, ACCURATE)]
    found.append(
        Row(
            "5. inverse consistent to 0.1 voxel on average",
            _inverse(own),
            "heads: there, and back by the library's own inverse",
        )
    )
    found.append(
        Row(
            "5. transform and warped image agree with SimpleITK to 0.001 of the intensity range",
            "held by tests",
            "`Testing/Lib/geometry/test_transform.py`, `test_pipeline.py`",
        )
    )
    found.append(Row("6. on a GPU: fast 0.5 s, accurate 3 s", "not measured", "no GPU was at hand"))
    found.append(Row("7. cost linear in the voxels", _exponents(scaling), "exponent of seconds over voxels, log-log"))
    return found


def table(records: Sequence[Record], scaling: Sequence[Record] = ()) -> list[str]:
    """The rows as Markdown."""
    lines = ["| asked | reached | measured on |", "| --- | --- | --- |"]
    return lines + [f"| {r.asked} | {r.reached} | {r.measured} |" for r in rows(records, scaling)]


def usual_threads(records: Sequence[Record]) -> int:
    """The number of threads that most records have."""
    return Counter(r["threads"] for r in records).most_common(1)[0][0] if records else 1


def _usual(records: Sequence[Record]) -> list[Record]:
    """Those with the usual number of threads: a pair counts once."""
    threads = usual_threads(records)
    return [r for r in records if r["threads"] == threads]


def with_peers(records: Sequence[Record]) -> set[str]:
    """The pairs on which a peer was run: only these can be compared."""
    return {r["pair"] for r in records if r["method"] not in OWN}


def _is(record: Record, group: str, method: str) -> bool:
    return bool(record["group"] == group and record["method"] == method)


def _better(record: Record) -> float:
    """Larger is better: Dice, or the landmark error with its sign turned."""
    return float(record["dice"]) if "dice" in record else -float(record["tre"])


def _compared(records: Sequence[Record], group: str, method: str) -> list[_Against]:
    out = []
    for own in (r for r in records if _is(r, group, method)):
        peers = [
            r
            for r in records
            if r["pair"] == own["pair"] and r["method"] not in OWN and r.get("threads") == own.get("threads")
        ]
        if peers:
            best = max(peers, key=_better)
            unseen = kinds.held_out(own["pair"], own["group"])
            out.append(_Against(_better(own) - _better(best), own["wall"] / best["wall"], own["folds"], unseen))
    return out


def _beside(records: Sequence[Record], group: str, method: str, wanted: float, share: float | None = None) -> str:
    pairs = _compared(records, group, method)
    if not pairs:
        return "not measured"
    gains = [p.gain for p in pairs]
    met = sum(g >= wanted for g in gains)
    text = f"{np.mean(gains):+.3f} on average ({min(gains):+.3f} to {max(gains):+.3f}); {met} of {len(pairs)} pairs"
    text += _beside_the_best_on_average(records, group, method)
    unseen = [p.gain for p in pairs if p.held_out]
    if unseen and len(unseen) < len(pairs):
        text += f"; {np.mean(unseen):+.3f} on the {len(unseen)} at which no setting was chosen"
    elif not unseen:
        text += "; settings were chosen on these pairs"
    if share is not None:
        shares = [p.share for p in pairs]
        text += (
            f"; {np.mean(shares):.2f} of its time on average, a third or less on "
            f"{sum(s <= share for s in shares)}; folds at most {max(p.folds for p in pairs):.4f} %"
        )
    return text


def _beside_the_best_on_average(records: Sequence[Record], group: str, method: str) -> str:
    """The same against one peer for all pairs: that of the best mean, of those that ran on every pair."""
    members = [r for r in records if r["group"] == group and r["pair"] in with_peers(records)]
    scores: dict[str, dict[tuple[str, int], float]] = {}
    for r in members:
        scores.setdefault(r["method"], {})[r["pair"], r["threads"]] = _better(r)
    own = scores.get(method, {})
    peers = {name: s for name, s in scores.items() if name not in OWN and set(own) <= set(s)}
    if not peers:
        return ""
    best = max(peers, key=lambda name: np.mean([peers[name][k] for k in own]))
    return f"; {np.mean([own[k] - peers[best][k] for k in own]):+.3f} over {best}, the best on average"


def _score(records: Sequence[Record], pair: str, method: str) -> str:
    return next((f"{r['dice']:.4f}" for r in records if (r["pair"], r["method"]) == (pair, method)), "not measured")


def _heads(records: Sequence[Record], method: str) -> list[Record]:
    return [r for r in records if r["method"] == method and r.get("voxels") == HEAD_VOXELS]


def _seconds(records: Sequence[Record], method: str) -> str:
    parts = []
    for threads in sorted({r["threads"] for r in _heads(records, method)}):
        walls = [r["wall"] for r in _heads(records, method) if r["threads"] == threads]
        plural = "s" if threads > 1 else ""
        parts.append(
            f"{np.mean(walls):.1f} s ({min(walls):.1f} to {max(walls):.1f}) on {threads} thread{plural}, "
            f"{len(walls)} registration{'s' if len(walls) > 1 else ''}"
        )
    return "; ".join(parts) or "not measured"


def _memory(records: Sequence[Record], method: str) -> str:
    peaks = [r["peak_gb"] for r in _heads(records, method)]
    return f"{np.mean(peaks):.2f} GB on average, {max(peaks):.2f} at most" if peaks else "not measured"


def _large(scaling: Sequence[Record]) -> str:
    found = [r for r in scaling if r.get("kind") == "ct"]
    return "; ".join(f"{r['method'][6:]}: {r['wall']:.0f} s, {r['peak_gb']:.1f} GB" for r in found) or "not measured"


def _inverse(records: Sequence[Record]) -> str:
    heads = [r["own_inverse_mm"] for r in records if r.get("voxels") == HEAD_VOXELS and "own_inverse_mm" in r]
    if not heads:
        return "not measured"
    return f"{np.mean(heads):.3f} mm (voxels of 1 mm) on average, {max(heads):.3f} on the worst of {len(heads)}"


def _exponents(scaling: Sequence[Record]) -> str:
    parts = []
    for method in (FAST, ACCURATE):
        done = [r for r in scaling if r["method"] == method and r.get("kind") != "ct" and "error" not in r]
        if len(done) >= 3:
            parts.append(f"{method[6:]} {exponent(done, lambda r: r['wall']):.2f}")
    return ", ".join(parts) or "not measured"


def exponent(records: Sequence[Record], value: Callable[[Record], float]) -> float:
    """Slope of ``value`` over voxels in log-log axes, of the four largest."""
    last = sorted(records, key=lambda r: r["voxels"])[-4:]
    return float(np.polyfit([math.log(r["voxels"]) for r in last], [math.log(value(r)) for r in last], 1)[0])
