"""Tables as people have them: commas, semicolons or tabs, any of Excel's encodings, empty rows."""

from __future__ import annotations

import csv
import io
import re
from difflib import get_close_matches

from ..errors import InputError
from ..settings import NAMES, option

DELIMITERS = ",;\t|"


def decode(data: bytes) -> str:
    """Text in UTF-8 or UTF-16, with or without a mark at its beginning, else in Windows' Latin-1."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    start = data[:200]
    if start.count(0) * 3 > len(start):  # UTF-16 without its mark: every second byte is 0
        return data.decode("utf-16-le" if start[1::2].count(0) > start[::2].count(0) else "utf-16-be", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def read_rows(text: str, known: tuple[str, ...], origin: str) -> tuple[list[tuple[int, dict[str, str]]], list[str]]:
    """The rows that are not empty, each with its line, as cells by column; and the columns that mean nothing here.

    Case, spaces and ``-`` in a column's name do not matter.

    Raises:
        InputError: if a column is named twice or nearly like a known one, or a row has more cells than the header.
    """
    text = text.lstrip("\ufeff")
    first = next((line for line in text.splitlines() if line.strip()), "")
    declared = re.fullmatch(r'\s*"?sep=(.)"?\s*', first, re.IGNORECASE)  # Excel's own
    if declared:
        text = text.split(first, 1)[1]
        first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = declared[1] if declared else max(DELIMITERS, key=first.count)
    rows: list[tuple[int, list[str]]] = []
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append((reader.line_num + bool(declared), [cell.strip() for cell in row]))
    except csv.Error as error:
        raise InputError(f"The list {origin} is not a table ({error}); save it as CSV with commas.") from error
    if not rows:
        return [], []
    header = [column_name(cell) for cell in rows[0][1]]
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice:
        raise InputError(f"The list {origin} has two columns {twice}; leave one.")
    others = check_names(header, known, f"The list {origin} has a column")
    found = []
    for line, row in rows[1:]:
        if any(row[len(header) :]) or any(c for c, name in zip(row, header, strict=False) if not name):
            raise InputError(
                f"Line {line} of {origin} has {len(row)} cells and the first line {sum(map(bool, header))}; put a path "
                "with separators in quotes."
            )
        found.append((line, dict(zip(header, row, strict=False))))
    return found, others


def column_name(name: str) -> str:
    """A column's name: "Fixed-Mask" is fixed_mask."""
    return re.sub(r"[\s\-]+", "_", name.strip().lower())


def check_names(names: list[str], known: tuple[str, ...], where: str) -> list[str]:
    """Those that are not known; one that seems to be meant is refused, as without it the result would be another.

    Raises:
        InputError: with the name that it should have, or, of a setting, where to give it.
    """
    others = [name for name in names if name and name not in known]
    for name in others:
        if name in NAMES:
            raise InputError(
                f"{where} {name!r}, and settings hold for all pairs: give {option(name)} to the command, or rename the "
                "column if it is not meant."
            )
        parts = set(name.split("_"))
        near = get_close_matches(name, known, 1, 0.75)
        if near or parts & {"fixed", "moving", "mask", "points", "landmarks", "labels", "label", "transform"}:
            hint = f"did you mean {near[0]}?" if near else f"those that mean something are {', '.join(known)}."
            raise InputError(f"{where} {name!r} that is not known; {hint} Rename or remove it.")
    return others
