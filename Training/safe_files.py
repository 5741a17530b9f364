"""Reading and writing the small files of a run: nothing odd is waited for, nothing good is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.files.writing import whole

LARGEST_TEXT = 256 << 20


def read_text(path: Path, name: str) -> str:
    """The text of a file; ``name`` is used in messages.

    Raises:
        FileNotFoundError: if it is not there, so that the caller can say what to do.
        InputError: if it is not a file (a pipe would be waited for), too large, or not UTF-8.
    """
    try:
        if not path.exists():
            raise FileNotFoundError(path)
        if not path.is_file():
            raise InputError(f"The {name} {path} is not a file; give the path of one.")
        if path.stat().st_size > LARGEST_TEXT:
            raise InputError(f"The {name} {path} is larger than {LARGEST_TEXT >> 20} MB; give another file.")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"The {name} {str(path)[:200]} cannot be read ({reason}).") from error


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a file beside ``path``, then put it in place: what was there stays if that fails.

    Raises:
        InputError: if the folder cannot be written to.
        NotWritten: if the disk is full or broken.
    """
    with whole(path) as partial:
        write(partial)


def keep_inputs(target: Path, inputs: Iterable[Path | None]) -> None:
    """Refuse to write onto a file that is read (by whatever name or link).

    Raises:
        InputError: if ``target`` is one of ``inputs``.
    """
    for path in inputs:
        if path is None:
            continue
        if _same(target, path):
            raise InputError(f"The output {target} is the input {path}; give the output another name.")


def _same(a: Path, b: Path) -> bool:
    """One file, also by another name of it; no name that can be one (links in a circle, NUL) is another's."""
    try:
        return a.resolve() == b.resolve() or (a.exists() and b.exists() and a.samefile(b))
    except (OSError, ValueError, RuntimeError):
        return False
