"""The table of docs/benchmarks.md that all kinds share: this library at "fast" beside the best peer on each.

A mean compares only pairs that both came through. Kinds weigh alike in the rows over all of them, however many pairs
they have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .peers import METHODS

Record = Mapping[str, Any]
FAST, BEFORE = "ours, fast", "before"
PEERS = tuple(m for m in METHODS if m != BEFORE and not m.startswith("ours"))
WANTED = {"dice": 0.01, "tre": 10.0}
"""What was asked over all kinds: Dice, and percent of the landmark error."""


@dataclass(frozen=True)
class Beside:
    """Means of one peer and of ours over the pairs that both came through; ``gain``: Dice, or percent of the error."""

    peer: float
    own: float
    pairs: int
    gain: float


@dataclass(frozen=True)
class Row:
    """One kind and what it is scored by; means over the pairs that a peer was run on."""

    kind: str
    measure: str
    pairs: int
    before: float
    affine: float | None
    own: float
    peers: Mapping[str, Beside]

    @property
    def best(self) -> str:
        """The peer over which we gain least, of those that came through half of the pairs or more."""
        most = max(b.pairs for b in self.peers.values())
        return min((m for m in self.peers if 2 * self.peers[m].pairs >= most), key=lambda m: self.peers[m].gain)

    @property
    def gain(self) -> float:
        return self.peers[self.best].gain


def measures(records: Sequence[Record]) -> list[str]:
    """What ``records`` are scored by, the main one first: landmarks, further ones, Dice."""
    found = {key for r in records for key in r if key == "dice" or key == "tre" or key.startswith("tre ")}
    return sorted(found, key=lambda key: (key == "dice", key))


def title(measure: str, kind: str = "") -> str:
    """In words."""
    if measure == "dice":
        return "Dice"
    unit = "px" if kind.endswith(", px)") else "mm"
    return f"Landmark error{measure.removeprefix('tre')} ({unit})"


def rows(records: Sequence[Record]) -> list[Row]:
    """One for each kind and measure that this library and a peer were run on; of each method the usual threads."""
    good = [r for r in records if "error" not in r]
    found = []
    for kind in dict.fromkeys(r["group"] for r in good):
        members = [r for r in good if r["group"] == kind]
        found += [row for row in (_row(kind, key, members) for key in measures(members)) if row is not None]
    return found


def _row(kind: str, measure: str, records: Sequence[Record]) -> Row | None:
    scores: dict[str, dict[str, float]] = {}
    for r in records:
        if measure in r:
            scores.setdefault(r["method"], {})[r["pair"]] = r[measure]
    own = scores.get(FAST, {})
    peers = {m: _beside(scores[m], own, measure) for m in PEERS if scores.get(m, {}).keys() & own.keys()}
    if not peers:
        return None
    pairs = [p for p in own if any(p in scores.get(m, {}) for m in PEERS)]
    start = [r for r in records if r["method"] == BEFORE and r["pair"] in pairs]
    lying = [r["unaligned"][measure] for r in start if "unaligned" in r]
    aligned = float(np.mean([r[measure] for r in start])) if start else float("nan")
    before, affine = (float(np.mean(lying)), aligned) if lying else (aligned, None)
    return Row(kind, measure, len(pairs), before, affine, float(np.mean([own[p] for p in pairs])), peers)


def _beside(peer: Mapping[str, float], own: Mapping[str, float], measure: str) -> Beside:
    both = sorted(peer.keys() & own.keys())
    theirs, ours = (float(np.mean([scores[p] for p in both])) for scores in (peer, own))
    gain = ours - theirs if measure == "dice" else 100 * (theirs - ours) / theirs
    return Beside(theirs, ours, len(both), gain)


def section(records: Sequence[Record]) -> list[str]:
    """Heading, table and what it says, as Markdown; nothing where no kind can be compared."""
    found = rows(records)
    if not found:
        return []
    peers = [m for m in PEERS if any(m in row.peers for row in found)]
    names = ["kind", "scored by", "pairs", "before", "affine", FAST, *peers, "best peer", "our gain"]
    lines = [
        "## Every kind",
        "",
        "Means. Affine: after the affine stage, where every method starts; empty where the pairs need none. In "
        "brackets: the pairs that a method came through, where these are fewer. The best peer is the one over which we "
        "gain least on the pairs that both came through; gain: difference of the Dice, or percent of that peer's "
        "landmark error.",
        "",
        "| " + " | ".join(names) + " |",
        "|" + " --- |" * len(names),
    ]
    lines += ["| " + " | ".join(_cells(row, peers)) + " |" for row in found]
    for key in WANTED:
        same = [row for row in found if _family(row) == key]
        if same:
            lines.append("| " + " | ".join(_total(key, same, peers)) + " |")
    return [*lines, "", *_said(found), ""]


def _family(row: Row) -> str:
    return row.measure.split()[0]


def _cells(row: Row, peers: Sequence[str]) -> list[str]:
    digits = 3 if row.measure == "dice" else 2
    cells = [row.kind, title(row.measure, row.kind), str(row.pairs), f"{row.before:.{digits}f}"]
    cells.append("" if row.affine is None else f"{row.affine:.{digits}f}")
    cells.append(f"{row.own:.{digits}f}")
    for name in peers:
        beside = row.peers.get(name)
        fewer = f" ({beside.pairs})" if beside and beside.pairs < row.pairs else ""
        cells.append(f"{beside.peer:.{digits}f}{fewer}" if beside else "")
    return [*cells, row.best, _gain_text(row.gain, row.measure)]


def _gain_text(gain: float, measure: str) -> str:
    return f"{gain:+.3f}" if measure.startswith("dice") else f"{gain:+.1f} %"


def _total(key: str, same: Sequence[Row], peers: Sequence[str]) -> list[str]:
    """All kinds of one measure: our mean gain over each peer, and over the best of each kind."""
    over = [[row.peers[name].gain for row in same if name in row.peers] for name in peers]
    cells = [_gain_text(float(np.mean(gains)), key) if gains else "" for gains in over]
    start = ["all kinds, our gain", {"dice": "Dice", "tre": "landmarks"}[key], str(sum(row.pairs for row in same))]
    return [*start, "", "", "", *cells, "the best of each kind", _gain_text(mean_gain(same), key)]


def mean_gain(same: Sequence[Row]) -> float:
    """Over kinds, each against its own best peer."""
    return float(np.mean([row.gain for row in same]))


def _said(found: Sequence[Row]) -> list[str]:
    """The two sentences that were asked for: no worse on every kind, better over all of them."""
    worse = [row for row in found if row.gain < 0]
    named = [f"{row.kind} ({_gain_text(row.gain, row.measure)} against {row.best})" for row in worse]
    text = f"Asked: no worse than the best peer on every kind. {len(found) - len(worse)} of {len(found)} rows are so"
    lines = [f"{text}; not so: {'; '.join(named)}." if named else f"{text}."]
    for key, wanted in WANTED.items():
        same = [row for row in found if _family(row) == key]
        if same:
            reached = _gain_text(mean_gain(same), key)
            asked = _gain_text(wanted, key)
            lines.append(f"Asked over all kinds: {asked}. Reached, each kind against its own best peer: {reached}.")
    return [" ".join(lines)]
