"""What a signature under a report stands for: the inputs by their content, the time, a note, and the figures."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..files.hashes import content_hash, files_behind
from .tg132 import CITATION, Figure

GUIDED = (
    "The landmarks or structures drew the field, so that what is measured with them is no independent test; "
    "measure with others by the command evaluate."
)


@dataclass(frozen=True)
class Record:
    """Of one result.

    Attributes:
        figures: after TG-132.
        structures: for each label its own figures.
        inputs: what an input is ("fixed image"): (file's name, SHA-256 of its content).
        note: the user's own words.
        remarks: sentences on how the figures are to be read.
        made: time of the report, UTC.
    """

    figures: tuple[Figure, ...] = ()
    structures: dict[str, dict[str, float]] = field(default_factory=dict)
    inputs: dict[str, tuple[str, str]] = field(default_factory=dict)
    note: str = ""
    remarks: tuple[str, ...] = ()
    made: str = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "tg132": {
                "source": CITATION,
                "figures": [figure.as_dict() for figure in self.figures],
                "structures": self.structures,
                "remarks": list(self.remarks),
            },
            "inputs": {what: {"name": name, "sha256": sha} for what, (name, sha) in self.inputs.items()},
            "note": self.note,
            "made": self.made,
        }


def identified(inputs: dict[str, str | None]) -> dict[str, tuple[str, str]]:
    """Name and hash of each input that is given (path by what it is)."""
    return {
        what: (Path(path).resolve().name, content_hash(files_behind(Path(path))))
        for what, path in inputs.items()
        if path
    }
