"""Lists of points: .csv, Slicer's .fcsv and .mrk.json. Everything but the positions is kept on writing."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from ..files.axes import RAS_TO_LPS_SIGNS
from ..files.writing import check_named, write_text
from .image import PathLike
from .point_tables import Table, parse_csv, parse_fcsv
from .transform_files import FARTHEST_MM

POINT_FILES = (".csv", ".fcsv", ".mrk.json")
FEWEST_PAIRS = 3
"""Of landmarks, that an alignment can start from."""
_MOVED_POINT_BY_POINT = ("Fiducial", "Line", "Angle", "Curve", "ClosedCurve")


@dataclass(frozen=True, eq=False)
class Points:
    """Positions and the file's other content, so that it can be written again.

    Attributes:
        positions: (n, ndim) LPS mm of the points that have a place.
        content: what the file held.
        names: of all points of the file, also those without a place; empty where they have none.
        placed: for each point of the file, whether it has a place; as many are True as there are positions.
        name: what messages call them.
    """

    positions: np.ndarray
    content: Any = None
    names: tuple[str, ...] = ()
    placed: tuple[bool, ...] = ()
    name: str = field(default="points")

    def __post_init__(self) -> None:
        if not self.placed:
            object.__setattr__(self, "placed", (True,) * len(self.positions))
        if not self.names:
            object.__setattr__(self, "names", ("",) * len(self.placed))

    def moved(self, positions: np.ndarray) -> Points:
        """The same points at other positions (n, ndim) LPS mm."""
        return replace(self, positions=np.asarray(positions, dtype=np.float64))

    @property
    def notes(self) -> list[str]:
        """What the user should know: a sentence if some points have no place."""
        missing = [n or f"number {k + 1}" for k, n in enumerate(self.names) if not self.placed[k]]
        if not missing:
            return []
        which = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        return [f"{len(missing)} of the {len(self.placed)} {self.name} are not placed and do not count ({which})."]


class Pairs(NamedTuple):
    """Points that belong together: (n, ndim) LPS mm each, and sentences about what was left out or put in order.

    ``names`` are those of the pairs, empty where they have none.
    """

    fixed: np.ndarray
    moving: np.ndarray
    notes: list[str]
    names: tuple[str, ...] = ()


def is_point_file(path: PathLike) -> bool:
    return str(path).lower().endswith(POINT_FILES)


def read_points(path: PathLike, name: str = "points") -> Points:
    """Points from a file.

    A ``.csv`` holds one point a row in columns named x,y,z or l,p,s (LPS mm) or r,a,s (RAS mm), or nothing but numbers.

    Raises:
        InputError: if the file is missing, of another kind, holds no points or one that lies nowhere.
    """
    check_named(path, name)
    source = Path(path)
    if not source.exists():
        raise InputError(f"The {name} {source} do not exist; check the path.")
    if not source.is_file():  # of a pipe, reading would wait for ever
        raise InputError(f"The {name} {source} are not a file; give the path of one.")
    if not is_point_file(source):
        raise InputError(f"The {name} {source} are of an unknown kind; use {', '.join(POINT_FILES)}.")
    try:
        text = _text_of(source)
        if source.name.lower().endswith(".mrk.json"):
            content: Any = json.loads(text)
            positions, names, placed = _parse_markups(content)
        else:
            is_fcsv = source.name.lower().endswith(".fcsv") or text.startswith("# Markups fiducial file")
            content, names = (parse_fcsv if is_fcsv else parse_csv)(text)
            positions, placed = content.positions(), tuple(content.placed)
    except InputError as error:
        raise InputError(f"The {name} {source} could not be read: {error}.") from error
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        raise InputError(f"The {name} {source} could not be read as a list of points; check the file.") from error
    if not len(positions):
        raise InputError(f"The {name} {source} could not be read: none of its points is placed.")
    labels = [n for n, here in zip(names, placed, strict=True) if here]
    check_positions(positions, f"{name} {source}", labels)
    return Points(positions, content, names, placed, f"{name} of {source.name}")


def _text_of(source: Path) -> str:
    data = source.read_bytes()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # Excel's "Unicode text"
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")  # only names can be wrong then


def check_positions(positions: Any, name: str = "points", labels: list[str] | None = None) -> np.ndarray:
    """(n, ndim) float64, if all of them lie somewhere.

    Raises:
        InputError: if they are no such array, or one of them is NaN, infinite or a kilometer away.
    """
    try:
        if np.iscomplexobj(positions):
            raise TypeError("complex numbers")
        array = np.asarray(positions, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"The {name} must be numbers, one row of coordinates a point.") from error
    if array.ndim != 2 or array.shape[1] not in (2, 3):
        raise InputError(f"The {name} must have two or three coordinates a point, not the shape {array.shape}.")
    with np.errstate(invalid="ignore"):
        wrong = np.flatnonzero(~(np.abs(array) <= FARTHEST_MM).all(1))
    if len(wrong):
        k = int(wrong[0])
        label = f" ({labels[k]})" if labels and labels[k] else ""
        place = ", ".join(f"{value:g}" for value in array[k])
        raise InputError(f"The {name} have point {k + 1}{label} at ({place}) mm, which is no place; correct it.")
    return array


def check_pairs(fixed: Any, moving: Any, ndim: int) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks as two (n, ndim) float64 arrays in LPS mm.

    Raises:
        InputError: if they are not as many, have not ``ndim`` coordinates, or lie nowhere.
    """
    a, b = check_positions(fixed, "fixed landmarks"), check_positions(moving, "moving landmarks")
    if a.shape != b.shape or a.shape[1] != ndim or not len(a):
        raise InputError(
            f"The landmarks are {len(a)} and {len(b)} points of {a.shape[1]} and {b.shape[1]} coordinates where "
            f"{ndim}-D ones are needed; they must be pairs in the same order."
        )
    return a, b


def paired(fixed: Points, moving: Points) -> Pairs:
    """The points of two lists that belong together: by their names where these are the same, else row by row.

    Points that have no place in one of the lists are left out of both.

    Raises:
        InputError: if the lists do not fit each other, or no pair is left.
    """
    notes = [*fixed.notes, *moving.notes]
    a, b = fixed.names, moving.names
    partner = list(range(len(b)))
    if all(a) and len(set(a)) == len(a) and Counter(a) == Counter(b):
        partner = [b.index(name) for name in a]
        if partner != sorted(partner):
            notes.append("The moving points are in another order than the fixed ones; they were paired by their names.")
    elif len(a) != len(b):
        alone = [n for n in (*a, *b) if n and (a.count(n), b.count(n)) != (1, 1)]
        which = f" (such as {alone[0]})" if alone else ""
        raise InputError(
            f"There are {len(a)} fixed and {len(b)} moving points{which}; they must be pairs, with the same names or "
            "in the same order."
        )
    else:
        _check_rows(a, b)
    rows = [(k, m) for k, m in enumerate(partner) if fixed.placed[k] and moving.placed[m]]
    if not rows:
        raise InputError("No point is placed in both lists; place the same points in both images.")
    places = [np.cumsum(points.placed) - 1 for points in (fixed, moving)]
    return Pairs(
        fixed.positions[[places[0][k] for k, _ in rows]],
        moving.positions[[places[1][m] for _, m in rows]],
        notes,
        tuple(a[k] or b[m] for k, m in rows),
    )


def _check_rows(a: tuple[str, ...], b: tuple[str, ...]) -> None:
    """Names that are there once in both lists must be in the same row, or pairing by rows is wrong."""
    for row, name in enumerate(a):
        if name and a.count(name) == b.count(name) == 1 and b[row] != name:
            raise InputError(
                f"The point {name} is in row {row + 1} of the fixed and row {b.index(name) + 1} of the moving points, "
                "and other names differ; give all the same names in both lists."
            )


def write_points(points: Points, path: PathLike) -> None:
    """Write in the format of the extension, which must be the one the points were read from, or ``.csv``.

    Raises:
        InputError: if the extension does not fit, or the folder does not exist or is protected.
        NotWritten: if the disk is full.
    """
    check_named(path, "file to be written")
    target, lower = Path(path), str(path).lower()
    content = points.content
    if lower.endswith(".mrk.json") and isinstance(content, dict):
        text = _format_markups(points)
    elif isinstance(content, Table) and lower.endswith(content.ending):
        text = content.format(points.positions)
    elif lower.endswith(".csv"):
        text = _format_csv(points)
    else:
        raise InputError(f"The points cannot be written as {target.name}; use the input's extension or .csv.")
    write_text(target, text)


def _format_csv(points: Points) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    axes = "xyz"[: points.positions.shape[1]]
    names = [n for n, here in zip(points.names, points.placed, strict=True) if here]
    writer.writerow(["label", *axes] if any(names) else axes)
    for name, position in zip(names, points.positions, strict=True):
        cells = [f"{value:.6f}" for value in position]
        writer.writerow([name, *cells] if any(names) else cells)
    return out.getvalue()


def _parse_markups(content: dict[str, Any]) -> tuple[np.ndarray, tuple[str, ...], tuple[bool, ...]]:
    positions, names, placed = [], [], []
    for markup in content["markups"]:
        kind = markup.get("type", "Fiducial")
        if kind not in _MOVED_POINT_BY_POINT:
            raise InputError(
                f"it holds a {kind}, which is more than its points and does not stay one when it is deformed; "
                "place a point list in Slicer instead"
            )
        system = markup.get("coordinateSystem", "LPS")
        if system not in ("LPS", "RAS"):
            raise InputError(f"its coordinate system is {system}, not LPS or RAS")
        for point in markup["controlPoints"]:
            position = point.get("position")
            here = bool(position) and point.get("positionStatus", "defined") == "defined"
            names.append(str(point.get("label", "")))
            placed.append(here)
            if here:
                positions.append(np.asarray(position, dtype=np.float64) * (RAS_TO_LPS_SIGNS if system == "RAS" else 1))
    if not names:
        raise InputError("there are no points in it")
    return np.array(positions, dtype=np.float64).reshape(-1, 3), tuple(names), tuple(placed)


def _format_markups(points: Points) -> str:
    content, positions = json.loads(json.dumps(points.content)), iter(points.positions.tolist())
    placed = iter(points.placed)
    for markup in content["markups"]:
        was_ras = markup.get("coordinateSystem") == "RAS"
        markup["coordinateSystem"] = "LPS"
        for measurement in markup.get("measurements", []):  # lengths and angles of before; Slicer measures anew
            measurement.pop("value", None)
        for point in markup["controlPoints"]:
            if next(placed):
                point["position"] = next(positions)
            if was_ras and len(point.get("orientation") or []) == 9:
                point["orientation"][:6] = [-value for value in point["orientation"][:6]]
    return json.dumps(content, indent=2)
