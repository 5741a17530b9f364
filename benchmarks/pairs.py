"""Pairs of images with something to score them by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from DeepRegistrationLib.errors import InputError


@dataclass(frozen=True)
class Pair:
    """One registration to be done.

    Attributes:
        name, group: of the pair, and of the pairs it is averaged with.
        fixed, moving: images.
        fixed_labels, moving_labels: label maps to score Dice with; ``labels`` counts (all but 0 if empty).
        fixed_points, moving_points: landmarks, LPS mm; pixels where the images are pictures.
        more_points: further landmarks that count by themselves: (of fixed, of moving) by what they are called.
        affine: whether the images still need the affine stage (before every method, and in its time).
        cross: whether the two differ in contrast: peers then use their measure for that.
        remap: change the fixed image's contrast into a pseudo-T2 first.
    """

    name: str
    group: str
    fixed: str
    moving: str
    fixed_labels: str = ""
    moving_labels: str = ""
    labels: tuple[int, ...] = ()
    fixed_points: str = ""
    moving_points: str = ""
    affine: bool = False
    cross: bool = False
    remap: bool = False
    more_points: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def points(self) -> dict[str, tuple[str, str]]:
        """Files of landmarks in fixed and moving by what they are called; "" are the pair's own."""
        own = {"": (self.fixed_points, self.moving_points)} if self.fixed_points else {}
        return {**own, **self.more_points}

    def files(self) -> list[str]:
        """All that it needs."""
        maps = [self.fixed_labels, self.moving_labels] if self.fixed_labels else []
        return [self.fixed, self.moving, *maps, *(path for both in self.points().values() for path in both)]


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a list; ``training``-style keys of Learn2Reg are read as well.

    Raises:
        InputError: if the list is missing or not of that form.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        entries = content if isinstance(content, list) else content.get("pairs") or content["registration_val"]
        return [_pair(entry, path) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"The pair list {path} cannot be used ({error}); see python -m benchmarks --help.") from error


def _pair(entry: dict[str, Any], origin: Path) -> Pair:
    def found(path: str) -> str:
        full = (origin.parent / path).resolve()
        if not full.exists():
            raise InputError(f"The pair list {origin.name} names {path}, which does not exist.")
        return str(full)

    values = dict(entry)
    for key in ("fixed", "moving", "fixed_labels", "moving_labels", "fixed_points", "moving_points"):
        if values.get(key):
            values[key] = found(values[key])
    more = values.get("more_points", {})
    values["more_points"] = {name: (found(a), found(b)) for name, (a, b) in more.items()}
    values["labels"] = tuple(values.get("labels", ()))
    values.setdefault("group", origin.stem)
    values.setdefault("name", f"{Path(values['fixed']).name} <- {Path(values['moving']).name}")
    return Pair(**values)


def write_pairs(pairs: list[Pair], path: Path) -> None:
    """The list, with absolute paths and nothing that is empty."""
    entries = [{k: v for k, v in asdict(pair).items() if v} for pair in pairs]
    path.write_text(json.dumps({"name": path.stem, "pairs": entries}, indent=1), encoding="utf-8")
