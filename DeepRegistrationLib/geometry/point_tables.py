"""Lists of points as tables: .csv with named columns, as programs export them, and Slicer's .fcsv."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass

import numpy as np

from ..errors import InputError

AXES = {"xyz": 1, "lps": 1, "ras": -1}  # the sign that turns the first two into LPS
NAME_COLUMNS = ("label", "name", "landmark", "point", "id")
EXPECTED = "x,y,z or l,p,s (mm in LPS), or r,a,s (mm in RAS)"

_SYSTEMS = {"LPS": 1, "1": 1, "RAS": -1, "0": -1}
_STATUS, _PLACED = 14, "2"  # a column of Slicer's that the header does not declare; 0: not placed, 3: missing


@dataclass(frozen=True)
class Table:
    """A table as it was read, to be written again.

    Attributes:
        lines: rows of cells; a text where the line is no point.
        columns: where the coordinates are.
        sign: of the first two coordinates, to make them LPS.
        delimiter: between the cells.
        decimal: the decimal sign.
        placed: for each row of cells, whether it is a point that has a place.
        ending: of the files it can be written to as it is.
    """

    lines: list[list[str] | str]
    columns: list[int]
    sign: int
    delimiter: str
    decimal: str
    placed: list[bool]
    ending: str = ".csv"

    @property
    def rows(self) -> list[list[str]]:
        return [line for line in self.lines if isinstance(line, list)]

    def positions(self) -> np.ndarray:
        """(n, ndim) LPS mm of those that have a place.

        Raises:
            InputError: if a coordinate is missing or no number.
        """
        found = []
        for number, (row, placed) in enumerate(zip(self.rows, self.placed, strict=True), start=1):
            if not placed:
                continue
            try:
                found.append([_number(row[c], self.decimal) for c in self.columns])
            except (IndexError, ValueError) as error:
                raise InputError(f"point {number} has no {len(self.columns)} coordinates that are numbers") from error
        signs = [self.sign, self.sign, 1][: len(self.columns)]
        return np.array(found, dtype=np.float64).reshape(-1, len(self.columns)) * signs

    def names(self, column: int | None) -> tuple[str, ...]:
        """One for each row of cells; empty where there is none."""
        return tuple(row[column].strip() if column is not None and column < len(row) else "" for row in self.rows)

    def format(self, positions: np.ndarray) -> str:
        """The table with (n, ndim) LPS mm in place of the positions it was read with."""
        signs = [self.sign, self.sign, 1][: len(self.columns)]
        moved, placed, out = iter(np.asarray(positions) * signs), iter(self.placed), io.StringIO()
        writer = csv.writer(out, delimiter=self.delimiter, lineterminator="\n")
        for line in self.lines:
            if isinstance(line, str):
                out.write(line + "\n")
                continue
            row = list(line)
            if next(placed):
                for column, value in zip(self.columns, next(moved), strict=True):
                    row[column] = f"{value:.6f}".replace(".", self.decimal)
            writer.writerow(row)
        return out.getvalue()


def parse_csv(text: str) -> tuple[Table, tuple[str, ...]]:
    """A table with a header that names the coordinates, or bare coordinates; and the points' names.

    Without a header there are two or three numbers a row, or a name or a running number before them.

    Raises:
        InputError: a part of a sentence, if it is another kind of table.
    """
    lines = [line for line in text.splitlines() if line.strip(' \t,;"')]
    delimiter = ""
    if lines and (declared := re.fullmatch(r'"?sep=(.)"?', lines[0].strip(), re.IGNORECASE)):  # Excel's
        delimiter = declared[1]
        lines = lines[1:]
    first = next((line for line in lines if not line.startswith("#")), "")
    delimiter = delimiter or max(",;\t", key=first.count)
    kept: list[list[str] | str] = []
    for line in lines:
        kept.append(line if line.startswith("#") else next(csv.reader([line], delimiter=delimiter)))
    rows = [line for line in kept if isinstance(line, list)]
    if not rows:
        raise InputError("there are no points in it")
    decimal = "," if delimiter != "," and any("," in c and _is_number(c, ",") for c in rows[-1]) else "."
    if sum(_is_number(cell, decimal) for cell in rows[0]) >= 2:
        columns, name, sign = _without_header(rows, decimal)
        placed = [True] * len(rows)
    else:
        header = [_plain(cell) for cell in rows[0]]
        kept[kept.index(rows[0])] = first
        columns, sign = _axes_in(header, first)
        name = next((header.index(word) for word in NAME_COLUMNS if word in header), None)
        defined = header.index("defined") if "defined" in header else None
        placed = [_is_placed(row, columns, defined) for row in rows[1:]]
    table = Table(kept, columns, sign, delimiter, decimal, placed)
    return table, table.names(name)


def _plain(cell: str) -> str:
    """A column's name without its unit: "X [mm]", "x_mm" and "x" are the same."""
    return re.sub(r"[\s_]*[\[(]?\bmm[\])]?$|_mm$", "", cell.strip().strip('"').lower()).strip()


def _axes_in(header: list[str], line: str) -> tuple[list[int], int]:
    found = [axes for axes in AXES if axes[0] in header and axes[1] in header]
    if len(found) != 1 or any(header.count(axis) > 1 for axis in found[0]):
        raise InputError(
            f'its columns "{line.strip()[:100]}" do not say which are the coordinates; name them {EXPECTED}'
        )
    return [header.index(axis) for axis in found[0] if axis in header], AXES[found[0]]


def _without_header(rows: list[list[str]], decimal: str) -> tuple[list[int], int | None, int]:
    width = len(rows[0])
    numbers = [_is_number(cell, decimal) for cell in rows[0]]
    if width in (2, 3) and all(numbers):
        return list(range(width)), None, 1
    counted = [row[0].strip() for row in rows]
    running = [[str(start + k) for k in range(len(rows))] for start in (0, 1)]
    if width in (3, 4) and all(numbers[1:]) and (not numbers[0] or (width == 4 and counted in running)):
        return list(range(1, width)), 0, 1
    raise InputError(f"it has {width} columns without names; name them in the first line, the coordinates {EXPECTED}")


def _is_placed(row: list[str], columns: list[int], defined: int | None) -> bool:
    if defined is not None and defined < len(row) and row[defined].strip().lower() in ("0", "false"):
        return False
    return any(c < len(row) and row[c].strip() for c in columns)


def parse_fcsv(text: str) -> tuple[Table, tuple[str, ...]]:
    """Slicer's old format: LPS unless it says otherwise; without a version it is Slicer 3's, the name first, RAS.

    Raises:
        InputError: a part of a sentence, if there are no points or their coordinates are voxels.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    said = {
        key.strip(): value.strip() for key, _, value in (line[1:].partition("=") for line in lines if line[0] == "#")
    }
    is_old = "Markups fiducial file version" not in said
    system = said.get("CoordinateSystem", "RAS" if is_old else "LPS")
    if system.upper() not in _SYSTEMS:
        raise InputError(f"its coordinate system is {system}, not LPS or RAS; save it again from Slicer as .mrk.json")
    usual = "label,x,y,z" if is_old else "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label"
    header = [cell.strip().lower() for cell in said.get("columns", usual).split(",")]
    columns, sign = _axes_in(header, said.get("columns", usual))
    kept: list[list[str] | str] = [line if line[0] == "#" else next(csv.reader([line])) for line in lines]
    rows = [line for line in kept if isinstance(line, list)]
    if not rows:
        raise InputError("there are no points in it")
    placed = [is_old or len(row) <= _STATUS or row[_STATUS].strip() == _PLACED for row in rows]
    name = header.index("label") if "label" in header else None
    table = Table(kept, columns, sign * _SYSTEMS[system.upper()], ",", ".", placed, ".fcsv")
    return table, table.names(name)


def _number(cell: str, decimal: str) -> float:
    return float(cell.replace(decimal, ".") if decimal != "." else cell)


def _is_number(cell: str, decimal: str) -> bool:
    try:
        _number(cell, decimal)
    except ValueError:
        return False
    return True
