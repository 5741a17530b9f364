"""Two lists of control points become pairs: by name where the names tell, else by their order."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import slicer

from DeepRegistrationLib.files.axes import RAS_TO_LPS_SIGNS

from ..errors import SceneInputError
from ..texts import tr as _
from .nodes import Node

MOST_NAMED = 3
"""So many points are named in a sentence; of more it says how many there are."""


@dataclass
class LandmarkPairs:
    """Points that belong together, (n, 3) LPS mm each; ``notes`` say what was left out and how they were paired."""

    names: list[str]
    fixed: np.ndarray
    moving: np.ndarray
    notes: list[str] = field(default_factory=list)


def pairsOf(fixedNode: Node | None, movingNode: Node | None) -> LandmarkPairs | None:
    """The pairs of two lists; None if neither is given.

    The first belongs to the first and so on, unless names contradict that: where points of one name are at different
    places of the lists, or one list is longer, points of the same name belong together, and the others to nobody. A
    pair that is not placed on both sides is left out.

    Raises:
        SceneInputError: if only one list is given, there are no pairs, or the lists are of different length without
            names that tell which point is missing.
    """
    if fixedNode is None and movingNode is None:
        return None
    if fixedNode is None or movingNode is None:
        raise SceneInputError(
            _("Landmarks come in pairs: choose a list of points for the fixed and for the moving volume.")
        )
    lists = [_points(node) for node in (fixedNode, movingNode)]
    for node, points in zip((fixedNode, movingNode), lists, strict=True):
        if all(position is None for _name, position in points):
            raise SceneInputError(
                _("{name} has no points; place them with the Markups module, or choose no landmarks.").format(
                    name=node.GetName()
                )
            )
    names, notes = _named(lists), []
    if names is None:
        matched = _inOrder(fixedNode, movingNode, lists)
    else:
        tables = [dict(points) for points in lists]
        matched = [(name, tables[0][name], tables[1][name]) for name in names]
        alone = [name for points in lists for name, _position in points if name not in names]
        if alone:
            notes.append(_("Landmarks that only one volume has do not count: {names}.").format(names=_several(alone)))
        notes.append(_("Landmarks were paired by their names."))
    unplaced = [name for name, fixed, moving in matched if fixed is None or moving is None]
    if unplaced:
        notes.append(_("Landmarks that are not placed do not count: {names}.").format(names=_several(unplaced)))
    kept = [match for match in matched if match[1] is not None and match[2] is not None]
    if not kept:
        raise SceneInputError(
            _("No landmark is placed in both {fixed} and {moving}; place the missing points, or choose none.").format(
                fixed=fixedNode.GetName(), moving=movingNode.GetName()
            )
        )
    sides = [np.array([match[side] for match in kept]) for side in (1, 2)]
    return LandmarkPairs([match[0] for match in kept], sides[0], sides[1], notes)


def writePairs(pairs: LandmarkPairs | None, folder: Path) -> list[str]:
    """Both sides into ``folder``, in the same order; the command line options for them."""
    arguments: list[str] = []
    if pairs is None:
        return arguments
    for side, positions in (("fixed", pairs.fixed), ("moving", pairs.moving)):
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("label", "x", "y", "z"))
        writer.writerows([name, *(repr(float(v)) for v in p)] for name, p in zip(pairs.names, positions, strict=True))
        (folder / f"{side}-points.csv").write_text(out.getvalue(), encoding="utf-8")
        arguments += [f"--{side}-points", f"{side}-points.csv"]
    return arguments


def writePoints(markupsNode: Node, folder: Path) -> str:
    """The placed points of a list into ``folder``; the file's name.

    Raises:
        SceneInputError: if two have one name, or a position is not a number.
    """
    placed = [(name, position) for name, position in _points(markupsNode) if position is not None]
    names = [name for name, _position in placed]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SceneInputError(
            _("Two points of {list} are called {name}; give each a name of its own.").format(
                list=markupsNode.GetName(), name=twice
            )
        )
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("label", "x", "y", "z"))
    writer.writerows([name, *(repr(float(v)) for v in position)] for name, position in placed)
    (folder / "points.csv").write_text(out.getvalue(), encoding="utf-8")
    return "points.csv"


def _points(markupsNode: Node) -> list[tuple[str, np.ndarray | None]]:
    """Name and position (LPS mm, in the world) of each control point; None where it is not placed."""
    found: list[tuple[str, np.ndarray | None]] = []
    for index in range(markupsNode.GetNumberOfControlPoints()):
        name = (markupsNode.GetNthControlPointLabel(index) or "").strip() or str(index + 1)
        if markupsNode.GetNthControlPointPositionStatus(index) != slicer.vtkMRMLMarkupsNode.PositionDefined:
            found.append((name, None))
            continue
        position = [0.0, 0.0, 0.0]
        markupsNode.GetNthControlPointPositionWorld(index, position)
        if not np.isfinite(position).all():
            raise SceneInputError(
                _("The point {point} of {name} has no valid position; place it again, or remove it.").format(
                    point=name, name=markupsNode.GetName()
                )
            )
        found.append((name, np.array(position) * RAS_TO_LPS_SIGNS))
    return found


def _named(lists: list[list[tuple[str, np.ndarray | None]]]) -> list[str] | None:
    """The names that both lists have, in the order of the first; None where the order of the points counts."""
    first, second = ([name for name, _position in points] for points in lists)
    if len(set(first)) < len(first) or len(set(second)) < len(second):
        return None
    shared = [name for name in first if name in set(second)]
    if len(first) == len(second) and all(first.index(name) == second.index(name) for name in shared):
        return None
    return shared or None


def _inOrder(fixedNode: Node, movingNode: Node, lists: list) -> list[tuple]:
    if len(lists[0]) != len(lists[1]):
        raise SceneInputError(
            _(
                "Landmarks belong together in pairs, the first with the first and so on, but {fixed} has {fixedCount} "
                "and {moving} has {movingCount}; make them the same number, or give pairs the same name."
            ).format(
                fixed=fixedNode.GetName(),
                fixedCount=len(lists[0]),
                moving=movingNode.GetName(),
                movingCount=len(lists[1]),
            )
        )
    return [(one[0], one[1], other[1]) for one, other in zip(*lists, strict=True)]


def _several(names: Sequence[str]) -> str:
    named = ", ".join(names[:MOST_NAMED])
    more = len(names) - MOST_NAMED
    return named if more <= 0 else _("{names} and {count} more").format(names=named, count=more)
