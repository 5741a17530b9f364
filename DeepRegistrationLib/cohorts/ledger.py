"""The rows of all runs on one folder, and the table made of them.

Every run appends to a file of its own, one line a pair, so that runs on other machines disturb nothing and a lost one
loses nothing. ``collect`` makes the table and the pages.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError, RegistrationFailed
from ..files.writing import not_written, shown, write_text
from .finished import read_json, write_json
from .names import TABLE
from .others import Presence
from .page import write_pages
from .work import ROW_MEASURES, Row

OWN = ".batch"
NOT_YET = "not done"


class Ledger:
    """Of one run; made before anything is computed, so that a folder that cannot be written is said at once."""

    def __init__(self, folder: Path, list_path: str, names: Sequence[str], recipe: Mapping[str, Any]) -> None:
        self.folder = folder
        own = folder / OWN
        self._presence: Presence | None = None
        try:
            for part in ("rows", "lists"):
                (own / part).mkdir(parents=True, exist_ok=True)
            key = hashlib.sha256(list_path.encode(errors="surrogatepass")).hexdigest()[:16]
            run = f"{time.time_ns()}-{socket.gethostname()}-{os.getpid()}"
            self._presence = Presence(own / "running", run, recipe, key)
            self._presence.check_alone(own / "lists", names)
            write_json(own / "lists" / f"{key}.json", {"list": list_path, "time": time.time(), "names": [*names]})
            self._path = own / "rows" / f"{run}.jsonl"
            self._path.touch()
        except BaseException as error:
            self._leave()
            if isinstance(error, InputError) or not isinstance(error, OSError | ValueError):
                raise
            why = getattr(error, "strerror", None) or "its name holds a character no name can have"  # ValueError: NUL
            raise InputError(f"The folder {shown(folder)} cannot be written: {why}; choose another one.") from error

    def append(self, row: Row) -> None:
        """One line, at once on its way to the disk.

        Raises:
            RegistrationFailed: if the folder is gone.
            NotWritten: if the disk is full.
        """
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except FileNotFoundError:
            raise RegistrationFailed(
                f"The folder {shown(self.folder)} was removed or moved during the work; run the same command again."
            ) from None
        except OSError as error:
            raise not_written(self._path, error) from error

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *failed: object) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._presence is not None:
            self._presence.leave()


def collect(folder: Path) -> list[Row]:
    """The newest row of every pair of the lists that were run here, in their order; and the table and pages of them.

    Raises:
        InputError: if no batch was run there.
    """
    lists = [read_json(path) for path in sorted((folder / OWN / "lists").glob("*.json"))]
    lists = sorted((found for found in lists if found.get("names")), key=lambda found: found["time"])
    if not lists:
        raise InputError(f"There are no results of batch in {folder}; give the folder that was its --output.")
    newest: dict[str, Row] = {}
    for row in rows_of(folder):
        before = newest.get(row["name"])
        if before is None or before["time"] <= row["time"]:
            newest[row["name"]] = row
    names = dict.fromkeys(name for found in lists for name in found["names"])
    rows = [newest.get(name) or _waiting(name) for name in names]
    write_text(folder / TABLE, _table(rows))
    write_pages(rows, folder)
    return rows


def rows_of(folder: Path) -> Iterator[Row]:
    """All that any run on ``folder`` said of any pair."""
    for path in sorted((folder / OWN / "rows").glob("*.jsonl")):
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    row: Any = json.loads(line)
                except ValueError:
                    continue  # the last line of a run that was killed
                if isinstance(row, dict) and {"name", "time", "status"} <= {*row}:
                    yield row


def _waiting(name: str) -> Row:
    return {"name": name, "status": NOT_YET, "sentence": "", "fixed": "", "moving": "", "report": {}, "time": 0.0}


def _table(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["name", "fixed", "moving", "status", "verdict", "reasons", *ROW_MEASURES])
    for row in rows:
        report = row["report"]
        reasons = row["sentence"] or " ".join(report.get("reasons") or [])
        cells = [row["name"], row["fixed"], row["moving"], row["status"], report.get("verdict", ""), reasons]
        writer.writerow([*cells, *("" if report.get(name) is None else report[name] for name in ROW_MEASURES)])
    return text.getvalue()
