"""What a model is worth on each kind of image, as measured: kept in its header, shown where it is chosen.

Free of PyTorch. ``benchmarks.networks.models measure --embed`` writes the rows that are read here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

WORTH_KEY = "worth"
"""In a header's ``scores``: ``{"engine": ..., "kinds": [row, ...]}``."""
WORTH = 0.005
"""Gain that a start must bring on average to be the default: less is within the spread, and a start costs seconds."""
HARM = 0.002
"""Gain below minus this is harm: no default does that on any kind. Less than this either way is no difference."""
EARLIER, EARLIER_WORTH = "start_gain", 0.01
"""In headers measured before that: one number over all kinds, and from where on it made a default."""
FIGURES = ("dice", "tre", "end_point")
LARGEST = 1e6
"""A figure, or a gain, beyond this was not measured."""


@dataclass(frozen=True)
class Worth:
    """Means over some real pairs of one kind.

    Attributes:
        images: the kind in words, "chest X-rays".
        contrasts: 1 where both images of a pair show one contrast, 2 where they do not, 0 for some of both.
        figure: "dice", or an error, the less the better: "tre" (mm) or "end_point" (voxels).
        pairs: how many.
        before, alone: of the images as they lie (aligned as a whole), and by the network without refinement.
        none, start: after the refinement, without a network and with its field as the start.
    """

    images: str
    contrasts: int
    figure: str
    pairs: int
    before: float
    alone: float
    none: float
    start: float

    @property
    def gain(self) -> float:
        """Of the network as a start, over refinement alone; see ``gain_over``."""
        return self.gain_over(self.none, self.start)

    @property
    def gain_alone(self) -> float:
        """Of the network without refinement, over refinement alone."""
        return self.gain_over(self.none, self.alone)

    def gain_over(self, reference: float, value: float) -> float:
        """In Dice, or a tenth of the share by which an error is less: 5 % of an error count as 0.005 of Dice."""
        if self.figure == "dice":
            return value - reference
        return (reference - value) / reference / 10 if reference else 0.0

    def words(self, reference: float, value: float) -> str:
        """ "Dice +0.012", or "27 % less error"."""
        if self.figure == "dice":
            return f"Dice {value - reference:+.3f}"
        share = round(100 * abs(reference - value) / reference) if reference else 0
        return f"{share} % {'less' if value < reference else 'more'} error"


def worths(scores: Mapping[str, Any]) -> list[Worth]:
    """The rows in a header's ``scores``; those that cannot be understood are left out: a header may be anybody's."""
    table = scores.get(WORTH_KEY)
    rows = table.get("kinds") if isinstance(table, Mapping) else None
    found = [_worth(row) for row in rows] if isinstance(rows, list) else []
    return [worth for worth in found if worth is not None]


def _worth(row: Any) -> Worth | None:
    try:
        numbers = [float(row[name]) for name in ("before", "alone", "none", "start")]
        worth = Worth(str(row["images"])[:80], int(row["contrasts"]), str(row["figure"]), int(row["pairs"]), *numbers)
    except (TypeError, KeyError, ValueError, OverflowError):
        return None
    if worth.figure not in FIGURES or not all(isfinite(number) and abs(number) < LARGEST for number in numbers):
        return None
    return worth if max(abs(worth.gain), abs(worth.gain_alone)) < LARGEST else None


def as_scores(rows: Sequence[Worth], engine: str) -> dict[str, Any]:
    """What ``worths`` reads back; ``engine``: of which refinement engine the figures are."""
    return {"engine": engine, "kinds": [asdict(row) for row in rows]}


def helps(scores: Mapping[str, Any], contrasts: int | None = None) -> bool:
    """Whether a model may be the default: a better start on average over the kinds measured, and harmful on none.

    Args:
        scores: of its header. One that was never measured counts as one that helps.
        contrasts: of the images at hand, see ``Worth``; None: not known, all kinds count.
    """
    rows = worths(scores)
    if not rows:
        gain = scores.get(EARLIER)
        return not isinstance(gain, int | float) or gain >= EARLIER_WORTH
    if contrasts is not None:
        rows = [row for row in rows if row.contrasts in (0, contrasts)]
        if not rows:
            return False
    gains = [row.gain for row in rows]
    return sum(gains) / len(gains) >= WORTH and min(gains) >= -HARM


def sentence(scores: Mapping[str, Any]) -> str:
    """For people: where a model helps as a start of the refinement, where not, where it harms; empty if unknown.

    Then where its field alone is better than a refinement without it.
    """
    rows = worths(scores)
    better = [f"{row.images} ({row.words(row.none, row.start)})" for row in rows if row.gain >= HARM]
    worse = [f"{row.images} ({row.words(row.none, row.start)})" for row in rows if row.gain <= -HARM]
    equal = [row.images for row in rows if abs(row.gain) < HARM]
    parts = [
        f"better than no network on {_listed(better)}" if better else "",
        f"no better than no network on {_listed(equal)}" if equal else "",
        f"worse than no network on {_listed(worse)}" if worse else "",
    ]
    text = "; ".join(part for part in parts if part)
    if not text:
        return ""
    alone = [f"{row.images} ({row.words(row.none, row.alone)})" for row in rows if row.gain_alone >= HARM]
    more = f" Its field alone, not refined, is better than refinement alone on {_listed(alone)}." if alone else ""
    return f"Measured as a start: {text}.{more}"


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
