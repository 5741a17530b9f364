"""What a result was made of, by content: whether it can stay is asked of the files, not of their names or times."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .. import __version__
from ..files.hashes import content_hash, files_behind
from ..files.writing import write_text

DONE, REPORT = "done.json", "report.json"

Signature = list[list[Any]]
"""Size, times and number of each file of an input: where all are the same, so is the content."""


@dataclass(frozen=True)
class Task:
    """One pair to be done by any worker on any machine that sees the same folders.

    Attributes:
        name: of the pair.
        folder: where its results go.
        inputs: paths by what they are ("fixed", "moving" and ``lists.EXTRAS``).
        outputs: path by what it is ("transform", "volume", ...).
        settings: of ``Settings``, by name.
        weights: hashes of the models that the method may take.
        alone: whether it has the machine for itself, after its worker died.
    """

    name: str
    folder: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    settings: dict[str, Any]
    weights: dict[str, str] = field(default_factory=dict)
    alone: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain values; not copies, which would take longer than writing them down."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def recipe(self) -> dict[str, Any]:
        """All but the inputs that decides what comes out."""
        return recipe_of(self.settings, self.weights) | {"inputs": sorted(self.inputs)}


def recipe_of(settings: Mapping[str, Any], weights: Mapping[str, str]) -> dict[str, Any]:
    """What all pairs of a run have in common."""
    return {"version": __version__, "settings": settings, "weights": weights}


def signature(paths: Iterable[Path]) -> Signature:
    """Changes whenever one of the files was written or replaced; the time of the last change cannot be set."""
    stats = [(path.name, path.stat()) for path in paths]
    return [[name, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino] for name, s in stats]


class Hashes:
    """Of inputs, each read once while it stays the same: in a cohort one image is in many pairs."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Signature, str]] = {}

    def of(self, path: str) -> dict[str, Any]:
        """Path, hash and signature; raises OSError where it cannot be read."""
        files = files_behind(Path(path))
        now = signature(files)
        known = self._known.get(path)
        if known is None or known[0] != now:
            if len(self._known) > 100_000:
                self._known.clear()
            known = self._known[path] = (now, content_hash(files))
        return {"path": path, "sha256": known[1], "signature": now}


def made_output(path: Path) -> dict[str, Any]:
    """Size, time and hash of an output."""
    stat = path.stat()
    return {"sha256": content_hash([path]), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def finished_report(task: Task, hashes: Hashes) -> dict[str, Any]:
    """The report of a result that is there, whole, and made of the same as ``task`` asks for; else nothing."""
    folder = Path(task.folder)
    done, report = read_json(folder / DONE), read_json(folder / REPORT)
    if not report or done.get("recipe") != task.recipe():
        return {}
    outputs, inputs, without = done.get("outputs"), done.get("inputs"), done.get("without", [])
    if not isinstance(outputs, Mapping) or not isinstance(inputs, Mapping) or {*inputs} != {*task.inputs}:
        return {}
    if not isinstance(without, list):
        return {}
    try:
        wanted = {name: path for name, path in task.outputs.items() if name not in without}
        whole = all(_is_whole(Path(path), outputs.get(name)) for name, path in wanted.items())
        same = whole and all(_is_same(path, inputs[name], hashes) for name, path in task.inputs.items())
    except OSError:
        return {}
    return report if same else {}


def mark_done(task: Task, inputs: Mapping[str, Any], without: Sequence[str] = ()) -> None:
    """Written last: all outputs of ``task`` are there, whole, and made of ``inputs`` (of ``Hashes.of``).

    Args:
        without: names of outputs that there are none of, whoever asks; the report says why.
    """
    outputs = {name: made_output(Path(path)) for name, path in task.outputs.items()}
    done = {"recipe": task.recipe(), "inputs": dict(inputs), "outputs": outputs, "without": [*without]}
    write_json(Path(task.folder) / DONE, done)


def _is_whole(path: Path, made: Any) -> bool:
    if not isinstance(made, Mapping):
        return False
    stat = path.stat()
    if stat.st_size != made.get("size"):
        return False
    return stat.st_mtime_ns == made.get("mtime_ns") or content_hash([path]) == made.get("sha256")


def _is_same(path: str, used: Any, hashes: Hashes) -> bool:
    if not isinstance(used, Mapping):
        return False
    if path == used.get("path") and signature(files_behind(Path(path))) == used.get("signature"):
        return True
    return bool(hashes.of(path)["sha256"] == used.get("sha256"))


def read_json(path: Path) -> dict[str, Any]:
    """An object of a file; empty where there is none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    write_text(path, json.dumps(value, indent=2))
