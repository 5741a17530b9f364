"""What a command will write, looked at before it computes anything: a wrong name must not cost a whole run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..files.dicom_folder import series_in
from ..files.endings import ANY, check_ending, files_of
from ..files.writing import PathLike, check_named, target_of

REPORT_FILES = ("report.json", "report.html", "overlay.png")


@dataclass(frozen=True)
class Output:
    """A file to be written: the option that asks for it, its path, what it is and which endings that can have."""

    option: str
    path: PathLike
    what: str = "This"
    endings: tuple[str, ...] = ANY


def check_outputs(outputs: Iterable[Output], inputs: Mapping[str, PathLike | None]) -> None:
    """See that every output can be written and that none replaces an input or another output.

    Args:
        outputs: in the order of the options.
        inputs: path by what it is ("the moving image"); None where it was not given.

    Raises:
        InputError: with the option and what to do.
    """
    taken: dict[str, str] = {}
    for output in outputs:
        check_ending(output.path, output.endings, output.what)
        target = target_of(output.path)
        for file in files_of(target):
            for name, given in inputs.items():
                if given is not None and any(_same(file, other) for other in files_of(given)):
                    raise InputError(f"{output.option} would overwrite an input ({name}); choose another name.")
                if given is not None and _is_slice_of(file, given):
                    raise InputError(f"{output.option} would overwrite a slice of {name}; choose another name.")
            place = os.path.normcase(file)
            if taken.setdefault(place, output.option) != output.option:
                raise InputError(f"{output.option} and {taken[place]} are the same file; give each a name of its own.")


def check_folder(option: str, path: PathLike) -> Path:
    """A folder that is there or can be made.

    Raises:
        InputError: if it cannot.
    """
    check_named(path, f"folder {option}")
    if "\0" in os.fspath(path):
        raise InputError(f"{option} cannot contain a NUL character; choose another folder.")
    try:
        target = Path(path).resolve()
        there = next(folder for folder in (target, *target.parents) if folder.exists())
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead in a circle, before Python 3.13
        why = getattr(error, "strerror", None) or "its links lead in a circle"
        raise InputError(f"{option} cannot be used as a folder ({why}); choose another one.") from error
    if not there.is_dir():
        raise InputError(f"{option} cannot be a folder, as {there} is a file; choose another one.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{option} cannot be made, as {there} is protected against writing; choose another folder.")
    return target


def _is_slice_of(file: Path, given: PathLike) -> bool:
    """Whether ``file`` is one of the DICOM slices in the folder ``given``, also by another name of it."""
    try:
        if not file.is_file() or not Path(given).is_dir():
            return False
    except (OSError, ValueError):
        return False
    return any(_same(file, each) for files in series_in(Path(given)) for each in files)


def _same(a: PathLike, b: PathLike) -> bool:
    """One file, also by another name of it (a link, a hard link)."""
    try:
        return Path(a).samefile(b)
    except (OSError, ValueError):
        return False
