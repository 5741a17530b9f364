"""The pairs of a list: a table, JSON, Learn2Reg's JSON; or of images: all pairs of them, all to one.

Paths are relative to the list. JSON is a list of entries, or a Learn2Reg file whose ``registration_val``,
``registration_test`` or ``pairs`` is one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files.writing import check_named, is_text, shown
from ..geometry.image import PathLike
from . import tables
from .names import EXTRAS

OF_IMAGES = ("mask", "points", "labels")
LISTS = ("pairs", "registration_val", "registration_test")
IMAGE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".mgz", ".mgh", ".png", ".jpg", ".jpeg")
ALL_PAIRS, TO, BASELINE = "all", "to:", "baseline"
_PAIRS = "--pairs all, --pairs baseline, or --pairs to:NAME with the name of an image"
_OWN = re.compile(r"reports\.csv|index(-\d+)?\.html|dataset_description\.json|learn2reg", re.IGNORECASE)
_DEVICES = {"con", "prn", "aux", "nul", *(f"{n}{k}" for n in ("com", "lpt") for k in range(1, 10))}
_BAD = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
LONGEST_NAME = 150
"""Bytes: of a folder's name with room for what lies in it, on systems with paths of 260 characters, too."""


@dataclass(frozen=True)
class Job:
    """One pair; ``options`` are the extra files of ``EXTRAS`` that it has, ``files`` names of outputs of their own."""

    name: str
    fixed: Path
    moving: Path
    options: dict[str, Path] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def arguments(self) -> list[str]:
        """For the command ``register``."""
        found = [str(self.fixed), str(self.moving)]
        for name, path in self.options.items():
            found += [f"--{name.replace('_', '-')}", str(path)]
        return found


@dataclass(frozen=True)
class Subject:
    """One image of a list of images, and what belongs to it."""

    name: str
    image: Path
    mask: Path | None = None
    points: Path | None = None
    labels: Path | None = None
    subject: str = ""


def read_jobs(path: PathLike, pairs: str | None = None, note: Callable[[str], None] | None = None) -> list[Job]:
    """The pairs of a list.

    Args:
        path: the list.
        pairs: for a list of images (a column ``image``): "all", both ways; "to:NAME", all to that one; or "baseline",
            each to the first one of the same ``subject`` (a column, too).
        note: called with a sentence about what was left aside.

    Raises:
        InputError: if it cannot be read, is empty, or an entry cannot be used.
    """
    check_named(path, "list")
    source = Path(path)
    if pairs == "":
        raise InputError("--pairs is all, baseline, or to:NAME with the name of an image, not nothing.")
    if pairs:
        return _pairs_of_images(read_subjects(path, note), source, pairs, note)
    jobs = [*_jobs(_entries_and_note(source, ("name", "fixed", "moving", *EXTRAS), note), source)]
    if note is not None:
        _note_twice(jobs, source, note)
    return jobs


def read_subjects(path: PathLike, note: Callable[[str], None] | None = None) -> list[Subject]:
    """The images of a list with the column ``image``, two or more; arguments and errors as of ``read_jobs``."""
    check_named(path, "list")
    source = Path(path)
    found: list[Subject] = []
    names = Names(source, "images")
    for where, entry in _entries_and_note(source, ("name", "image", "subject", *OF_IMAGES), note):
        if not entry.get("image"):
            raise InputError(f"{where} of {source} needs image, the path of an image.")
        image = _path(source, entry["image"], where)
        extras = {what: _path(source, entry[what], where) for what in OF_IMAGES if entry.get(what)}
        found.append(
            Subject(
                names.take(entry.get("name") or fitting(stem(image))), image, **extras, subject=entry.get("subject", "")
            )
        )
    if len(found) < 2:
        raise InputError(f"The list {source} has one image; give two or more.")
    return found


def _entries_and_note(
    source: Path, known: tuple[str, ...], note: Callable[[str], None] | None
) -> list[tuple[str, dict[str, str]]]:
    entries, others = _entries(source, known)
    if others and note is not None:
        note(left_aside(source, "they say nothing about a registration", sorted(others)))
    return entries


def left_aside(source: Path, why: str, names: Sequence[str], most: int = 10) -> str:
    """A sentence that names what is not used, and says how many where they are ``most`` or more."""
    more = len(names) - most
    shown_names = ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
    return f"Left aside in {source}, as {why}: {shown_names}."


def _entries(source: Path, known: tuple[str, ...]) -> tuple[list[tuple[str, dict[str, str]]], set[str]]:
    """(where, cells by name) of each entry, and the names that mean nothing."""
    try:
        if source.exists() and not source.is_file():  # of a pipe, reading would wait for ever
            raise InputError(f"The list {source} is not a file; give a table, a .json file or a BIDS folder.")
        data = source.read_bytes()
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"The list {source} cannot be read: {getattr(error, 'strerror', error)}.") from error
    if data[:4] in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
        raise InputError(f"The list {source} is Excel's own format; save it there as CSV.")
    text = tables.decode(data)
    needed = "image" if "image" in known else "fixed and moving"
    if source.suffix.lower() == ".json":
        found, others = _json_entries(text, known, source)
    else:
        rows, names = tables.read_rows(text, known, str(source))
        found, others = [(f"Line {line}", row) for line, row in rows], set(names)
        for name in needed.split(" and ") if rows else ():
            if name not in rows[0][1]:
                if "image" in names:
                    raise InputError(f"The list {source} is one of images; add {_PAIRS}.")
                raise InputError(f"The list {source} has no column {name}; its first line names the columns.")
    if not found:
        what = "images" if needed == "image" else "pairs"
        raise InputError(f"The list {source} has no {what}; it needs entries with {needed}.")
    return found, others


def _json_entries(text: str, known: tuple[str, ...], source: Path) -> tuple[list[tuple[str, dict[str, str]]], set[str]]:
    try:
        entries: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"The list {source} is not valid JSON ({error}); see the command batch --help.") from error
    if isinstance(entries, dict):
        entries = next((entries[key] for key in LISTS if entries.get(key)), None)
    found: list[tuple[str, dict[str, str]]] = []
    others: set[str] = set()
    for number, entry in enumerate(entries if isinstance(entries, list) else (), 1):
        where = f"Entry {number}"
        if not isinstance(entry, dict):
            raise InputError(f"{where} of {source} needs fixed and moving, the paths of two images.")
        cells = {tables.column_name(str(key)): value for key, value in entry.items() if value is not None}
        if "image" in cells and "image" not in known and not {"fixed", "moving"} & {*cells}:
            raise InputError(f"The list {source} is one of images; add {_PAIRS}.")
        others |= set(tables.check_names([*cells], known, f"{where} of {source} has an entry"))
        wrong = next((key for key in known if not isinstance(cells.get(key, ""), str | int)), None)
        if wrong:
            raise InputError(f"{where} of {source} has a {wrong} that is not a text; give one path.")
        found.append((where, {key: str(value) for key, value in cells.items() if key in known}))
    return found, others


def _jobs(entries: Iterable[tuple[str, dict[str, str]]], source: Path) -> Iterable[Job]:
    names = Names(source)
    for where, entry in entries:
        if not entry.get("fixed") or not entry.get("moving"):
            raise InputError(f"{where} of {source} needs fixed and moving, the paths of two images.")
        fixed, moving = (_path(source, entry[side], where) for side in ("fixed", "moving"))
        name = names.take(entry.get("name") or fitting(f"{stem(fixed)}_{stem(moving)}"))
        options = {key: _path(source, entry[key], where) for key in EXTRAS if entry.get(key)}
        for what in ("points", "labels"):
            if (f"fixed_{what}" in options) != (f"moving_{what}" in options):
                raise InputError(f"{where} of {source} has {what} of one image; give those of both, or none.")
        yield Job(name, fixed, moving, options)


def _note_twice(jobs: Iterable[Job], source: Path, note: Callable[[str], None]) -> None:
    """Which pairs are made of the same files as one before; all are registered, as somebody may want two results."""
    first: dict[tuple[str, ...], str] = {}
    twice = []
    for job in jobs:
        files = tuple(os.path.normpath(text) for text in job.arguments())
        if first.setdefault(files, job.name) != job.name:
            twice.append(f"{job.name} as {first[files]}")
    if twice:
        more = f" and {len(twice) - 5} more" if len(twice) > 5 else ""
        note(f"Pairs of {source} are made of the same files: {', '.join(twice[:5])}{more}; each is registered.")


def _path(source: Path, text: str, where: str) -> Path:
    if "\0" in text or "\n" in text:
        raise InputError(f"{where} of {source} has a path with a line's end or NUL in it; correct it.")
    if not is_text(text):
        raise InputError(f"{where} of {source} has the path {shown(text)}, which is not UTF-8; rename the file.")
    return source.parent / text


class Names:
    """The names so far of pairs (or ``what``): each is a folder, so on some systems ``a`` and ``A`` would be one."""

    def __init__(self, source: Path, what: str = "pairs") -> None:
        self._source, self._what = source, what
        self._taken: dict[str, str] = {}

    def take(self, name: str) -> str:
        """The name, if it can be a folder of its own.

        Raises:
            InputError: otherwise.
        """
        bad = _BAD.search(name) or name.endswith((".", " ")) or name.startswith((".", " "))
        if bad or name.split(".")[0].lower() in _DEVICES or len(os.fsencode(name)) > LONGEST_NAME:
            raise InputError(
                f"The name {name[:80]!r} in {self._source} cannot be a folder's name; write another, of letters and "
                f"digits and {LONGEST_NAME} of them at most."
            )
        if _OWN.fullmatch(name):
            raise InputError(f"The name {name!r} in {self._source} is that of a file of batch; choose another one.")
        before = self._taken.get(name.casefold())
        if before is not None:
            also = "" if before == name else f" and {before}, which is the same folder on some systems"
            raise InputError(f"Two {self._what} of {self._source} are called {name}{also}; give each its own name.")
        self._taken[name.casefold()] = name
        return name


def _pairs_of_images(images: list[Subject], source: Path, pairs: str, note: Callable[[str], None] | None) -> list[Job]:
    """All ordered pairs of the images of a list, each with the one named after ``to:``, or its baseline."""
    if pairs == ALL_PAIRS:
        chosen = [(f, m) for f in images for m in images]
    elif pairs == BASELINE:
        chosen = _to_baselines(images, source, note)
    else:
        one = pairs.removeprefix(TO)
        wanted = [image for image in images if image.name == one]
        if not pairs.startswith(TO) or not wanted:
            some = ", ".join(image.name for image in images[:5])
            raise InputError(
                f"--pairs is all, baseline, or to:NAME with the name of an image ({some}, ...), not {pairs!r}."
            )
        chosen = [(f, m) for f in wanted for m in images]
    names = Names(source)
    return [
        Job(names.take(fitting(f"{f.name}_{m.name}")), f.image, m.image, _both(f, m)) for f, m in chosen if f is not m
    ]


def _to_baselines(
    images: list[Subject], source: Path, note: Callable[[str], None] | None
) -> list[tuple[Subject, Subject]]:
    """Later images of each subject to its first one in the list."""
    without = next((image.name for image in images if not image.subject), None)
    if without is not None:
        raise InputError(f"For --pairs baseline {source} needs a column subject; {without} has none.")
    counts = Counter(image.subject for image in images)
    if len(counts) == len(images):
        raise InputError(f"No subject in {source} has two images; choose --pairs all or --pairs to:NAME.")
    alone = [subject for subject, count in counts.items() if count == 1]
    if alone and note is not None:
        note(left_aside(source, "these subjects have one image, and a pair needs two", alone))
    first: dict[str, Subject] = {}
    return [(first.setdefault(image.subject, image), image) for image in images]


def _both(fixed: Subject, moving: Subject) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for what in OF_IMAGES:
        paths = [getattr(subject, what) for subject in (fixed, moving)]
        if what == "mask" or None not in paths:
            found |= {f"{side}_{what}": path for side, path in zip(("fixed", "moving"), paths, strict=True) if path}
    return found


def stem(path: Path) -> str:
    """A file's name without the ending of an image."""
    name = path.name
    ending = next((e for e in IMAGE_ENDINGS if name.lower().endswith(e)), path.suffix)
    return name[: len(name) - len(ending)] if ending else name


def fitting(name: str) -> str:
    """A name that nobody gave, made of those of files, as one that a folder can have: the same for the same files."""
    fit = _BAD.sub("_", name).strip(". ")
    whole = os.fsencode(fit)
    if len(whole) <= LONGEST_NAME:
        return fit
    ends = (part.decode(errors="ignore") for part in (whole[:70], whole[-60:]))
    return f"{'..'.join(ends)}-{hashlib.sha256(whole).hexdigest()[:8]}"
