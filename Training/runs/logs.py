"""What a run says: a line of JSON for every few steps, TensorBoard if it is installed, a bar on the terminal."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from DeepRegistrationLib.files.writing import write_text

LOG = "log.jsonl"


class Log:
    """Writes ``log.jsonl`` and TensorBoard's files into ``folder``; from ``step`` on, what was there is replaced."""

    def __init__(self, folder: Path, step: int = 0, tensorboard: bool = True) -> None:
        self.path = folder / LOG
        kept = [line for line in read_log(folder) if line["step"] <= step]
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))
        self._board: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                return
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, kind: str, values: dict[str, float]) -> None:
        """One line: ``{"step": ..., "kind": "train" or "validation", ...}``."""
        line = {"step": step, "kind": kind, **values}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def picture(self, step: int, picture: np.ndarray) -> None:
        """(rows, columns, 3) uint8, to TensorBoard."""
        if self._board is not None:
            self._board.add_image("pairs", picture, step, dataformats="HWC")

    def close(self) -> None:
        if self._board is not None:
            self._board.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; a last line cut off by a kill is left out."""
    path = folder / LOG
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            lines.append(line)
    return lines


class Bar:
    """``step 120/3000  loss 0.412  2.1 steps/s  23 min left`` on one line of a terminal, else a line a minute."""

    def __init__(self, total: int, start: int = 0, stream: TextIO | None = None) -> None:
        self.total, self.start = total, start
        self.stream = sys.stderr if stream is None else stream
        self.live = self.stream.isatty()
        self._began = time.monotonic()
        self._shown = 0.0

    def show(self, step: int, loss: float, note: str = "") -> None:
        now = time.monotonic()
        if step < self.total and now - self._shown < (0.2 if self.live else 60):
            return
        self._shown = now
        rate = (step - self.start) / max(now - self._began, 1e-9)
        left = (self.total - step) / max(rate, 1e-9)
        text = f"step {step}/{self.total}  loss {loss:.4f}  {rate:.2f} steps/s  {_time(left)} left  {note}"
        self.stream.write(f"\r{text:<100}" if self.live else text.rstrip() + "\n")
        self.stream.flush()

    def close(self) -> None:
        if self.live:
            self.stream.write("\n")


def _time(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{seconds / 60:.0f} min"
        if seconds < 6000
        else f"{seconds / 3600:.1f} h"
    )
