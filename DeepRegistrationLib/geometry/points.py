"""Lists of points: .csv (LPS mm), Slicer's .fcsv and .mrk.json. Everything but the positions is kept on writing."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from .image import PathLike

POINT_FILES = (".csv", ".fcsv", ".mrk.json")
_FLIP = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Points:
    """Positions (n, ndim) in LPS mm and the file's other content, so that it can be written again."""

    positions: np.ndarray
    content: Any = None

    def moved(self, positions: np.ndarray) -> Points:
        """The same points at other positions (n, ndim) LPS mm."""
        return replace(self, positions=np.asarray(positions, dtype=np.float64))


def is_point_file(path: PathLike) -> bool:
    return str(path).lower().endswith(POINT_FILES)


def read_points(path: PathLike, name: str = "points") -> Points:
    """Points from a file.

    A ``.csv`` holds one point a row, its coordinates in columns named x, y(, z), else in the last columns, LPS mm.

    Raises:
        InputError: if the file is missing, of another kind or holds no points.
    """
    source = Path(path)
    if not source.exists():
        raise InputError(f"The {name} {source} do not exist; check the path.")
    try:
        text = source.read_text(encoding="utf-8-sig")
        lower = source.name.lower()
        if lower.endswith(".mrk.json"):
            return _parse_markups(json.loads(text))
        if lower.endswith(".fcsv"):
            return _parse_fcsv(text)
        if lower.endswith(".csv"):
            return _parse_csv(text)
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise InputError(f"The {name} {source} could not be read as a list of points; check the file.") from error
    raise InputError(f"The {name} {source} are of an unknown kind; use {', '.join(POINT_FILES)}.")


def write_points(points: Points, path: PathLike) -> None:
    """Write in the format of the extension, which must be the one the points were read from, or ``.csv``.

    Raises:
        InputError: if the extension does not fit.
    """
    target, lower = Path(path), str(path).lower()
    kind = type(points.content)
    if lower.endswith(".mrk.json") and kind is dict:
        text = _format_markups(points)
    elif lower.endswith(".fcsv") and kind is list:
        text = _format_fcsv(points)
    elif lower.endswith(".csv"):
        text = _format_csv(points)
    else:
        raise InputError(f"The points cannot be written as {target.name}; use the input's extension or .csv.")
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"Cannot write {target}: {error.strerror}.") from error


@dataclass(frozen=True)
class _Table:
    header: list[str] | None
    rows: list[list[str]]
    columns: list[int]


def _parse_csv(text: str) -> Points:
    rows = [row for row in csv.reader(io.StringIO(text)) if row and not row[0].startswith("#")]
    header = None if _is_number(rows[0][-1]) else rows.pop(0)
    names = [cell.strip().lower() for cell in header or []]
    if "x" in names and "y" in names:
        columns = [names.index(axis) for axis in "xyz" if axis in names]
    else:
        numeric = [c for c, cell in enumerate(rows[0]) if _is_number(cell)]
        columns = numeric[-3:]
        if len(columns) < 2:
            raise ValueError("no coordinates")
    return Points(np.array([[float(row[c]) for c in columns] for row in rows]), _Table(header, rows, columns))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _format_csv(points: Points) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    table = points.content
    if isinstance(table, _Table):
        if table.header:
            writer.writerow(table.header)
        for row, position in zip(table.rows, points.positions, strict=True):
            row = list(row)
            for column, value in zip(table.columns, position, strict=True):
                row[column] = f"{value:.6f}"
            writer.writerow(row)
    else:
        writer.writerow("xyz"[: points.positions.shape[1]])
        writer.writerows([[f"{value:.6f}" for value in position] for position in points.positions])
    return out.getvalue()


def _parse_fcsv(text: str) -> Points:
    lines = text.splitlines()
    system = next((line.split("=")[1].strip() for line in lines if line.startswith("# CoordinateSystem")), "0")
    rows = [line.split(",") for line in lines if line and not line.startswith("#")]
    positions = np.array([[float(cell) for cell in row[1:4]] for row in rows])
    if not rows:
        raise ValueError("no points")
    return Points(positions * (_FLIP if system in ("0", "RAS") else 1), lines)


def _format_fcsv(points: Points) -> str:
    positions, out = iter(points.positions), []
    for line in points.content:
        if line.startswith("# CoordinateSystem"):
            line = "# CoordinateSystem = LPS"
        elif line and not line.startswith("#"):
            cells = line.split(",")
            cells[1:4] = [f"{value:.6f}" for value in next(positions)]
            line = ",".join(cells)
        out.append(line)
    if not any(line.startswith("# CoordinateSystem") for line in out):
        out.insert(0, "# CoordinateSystem = LPS")
    return "\n".join(out) + "\n"


def _parse_markups(content: dict[str, Any]) -> Points:
    positions = [p["position"] for m in content["markups"] for p in m["controlPoints"]]
    if not positions:
        raise ValueError("no points")
    systems = [m.get("coordinateSystem", "LPS") for m in content["markups"] for _ in m["controlPoints"]]
    signs = np.array([_FLIP if system == "RAS" else np.ones(3) for system in systems])
    return Points(np.array(positions, dtype=np.float64) * signs, content)


def _format_markups(points: Points) -> str:
    content, positions = json.loads(json.dumps(points.content)), iter(points.positions.tolist())
    for markup in content["markups"]:
        markup["coordinateSystem"] = "LPS"
        for point in markup["controlPoints"]:
            point["position"] = next(positions)
    return json.dumps(content, indent=2)
