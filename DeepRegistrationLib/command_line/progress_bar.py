"""How far a run is, for a person at a terminal, and for a log."""

from __future__ import annotations

import sys

_WIDTH = 30


class ProgressBar:
    """A progress callback: one line of a terminal that is drawn anew, else one plain line for each stage."""

    def __init__(self) -> None:
        self.is_terminal = sys.stderr.isatty()
        self._stage = ""

    def __call__(self, stage: str, fraction: float, message: str) -> None:
        if self.is_terminal:
            full = round(fraction * _WIDTH)
            bar = "#" * full + "." * (_WIDTH - full)
            print(f"\r[{bar}] {fraction:4.0%} {stage:8} {message:40.40}", end="", file=sys.stderr, flush=True)
        elif self._stage and stage != self._stage:  # the first stage may end in a sentence, which then stands alone
            print(f"{fraction:4.0%} {stage}", file=sys.stderr, flush=True)
        self._stage = stage

    def close(self) -> None:
        """The next thing that is printed gets a line of its own."""
        if self.is_terminal and self._stage:
            print("", file=sys.stderr)
