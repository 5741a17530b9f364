"""Files that appear whole or not at all: written beside their place, then moved there, so that a failure harms nothing.

Without torch and SimpleITK; ``itk_files.py`` writes images and transforms this way and looks at what was written.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from ..errors import InputError, NotWritten

PathLike = str | os.PathLike[str]
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
FULL = (*NO_ROOM, errno.EFBIG, errno.EIO)
_PREFIX = ".partial-"

_unfinished: set[Path] = set()
_waiting: ContextVar[list[tuple[Path, Path]] | None] = ContextVar("_waiting", default=None)


@contextmanager
def whole(path: PathLike) -> Iterator[Path]:
    """A path of the same name in a new folder beside ``path``; what was written there is moved at the end.

    Files that belong to it (the voxels of a ``.mhd``) are moved with it. If the block raises, ``path`` stays as it was.

    Raises:
        InputError: if the folder does not exist or cannot be written to, or ``path`` is no file.
        NotWritten: if the disk is full or fails.
    """
    target = target_of(path)
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=target.parent))
    except OSError as error:
        raise not_written(path, error) from error
    _unfinished.add(folder)
    try:
        yield folder / target.name
        waiting = _waiting.get()
        if waiting is not None:
            waiting.append((folder, target))
            return
        _move(folder, target)
    except OSError as error:
        _drop(folder)
        raise not_written(path, error) from error
    except BaseException:
        _drop(folder)
        raise


@contextmanager
def together() -> Iterator[None]:
    """All files that are written inside by ``whole`` appear at the end of the block; if it raises, none does."""
    if _waiting.get() is not None:  # already inside: the outer one ends it
        yield
        return
    waiting: list[tuple[Path, Path]] = []
    mark = _waiting.set(waiting)
    try:
        yield
        for folder, target in waiting:
            try:
                _move(folder, target)
            except OSError as error:
                raise not_written(target, error) from error
    finally:
        _waiting.reset(mark)
        for folder, _ in waiting:
            _drop(folder)


def write_text(path: PathLike, text: str) -> None:
    """A UTF-8 file, whole or not at all; raises as ``whole`` does."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: PathLike, data: bytes) -> None:
    """A file, whole or not at all; raises as ``whole`` does."""
    with whole(path) as partial:
        partial.write_bytes(data)


def reserve(path: Path, size: int) -> None:
    """See that ``size`` bytes fit where ``path`` will be, by taking them for a moment.

    Raises:
        OSError: if they do not.
    """
    if not hasattr(os, "posix_fallocate"):  # macOS, Windows
        return
    trial = path.with_name("room")
    try:
        with trial.open("wb") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, max(size, 1))
            except OSError as error:
                if error.errno in FULL:
                    raise
    finally:
        trial.unlink(missing_ok=True)


def remove_unfinished() -> None:
    """Before this process is ended at once: nothing half-written stays."""
    for folder in list(_unfinished):
        _drop(folder)


def target_of(path: PathLike) -> Path:
    """Where ``path`` really lies (a link is followed), if a file can be put there.

    Raises:
        InputError: if it cannot.
    """
    check_named(path, "file to be written")
    if "\0" in os.fspath(path):
        raise InputError("A file's name cannot contain a NUL character; choose another name.")
    if not is_text(path):
        raise InputError(f"Cannot write {shown(path)}: its name is not UTF-8; choose another name or folder.")
    target = Path(os.path.realpath(path))
    try:
        kind = target.stat().st_mode
    except FileNotFoundError:
        kind = None
    except NotADirectoryError:
        raise _no_folder(target) from None
    except OSError as error:
        raise not_written(path, error) from error
    if not target.parent.is_dir():
        raise _no_folder(target)
    if kind is not None and not stat.S_ISREG(kind):
        what = "a folder" if stat.S_ISDIR(kind) else "no ordinary file"
        raise InputError(f"Cannot write {shown(path)}: it is {what}; choose another name.")
    if kind is not None and not os.access(target, os.W_OK):
        raise InputError(f"Cannot write {shown(path)}: it is protected against writing; choose another name.")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise InputError(f"Cannot write {shown(path)}: its folder is protected against writing; choose another folder.")
    return target


def not_written(path: PathLike, error: OSError) -> InputError | NotWritten:
    """The sentence for an ``OSError`` while writing: the disk's fault, or the name's."""
    why = error.strerror or str(error)
    if error.errno in FULL:
        sentence = f"Cannot write {shown(path)}: {why}; what was there is unchanged, make room and try again."
        return NotWritten(sentence, error.errno in NO_ROOM)
    return InputError(f"Cannot write {shown(path)}: {why}; choose another name or folder.")


def check_named(path: PathLike, what: str) -> None:
    """Refuse the empty text, which ``pathlib`` takes for the current folder; it is a variable that was not set.

    Raises:
        InputError: if it is one.
    """
    if path == "":
        raise InputError(f"The path of the {what} is empty, which names nothing; give one, or leave it out.")


def is_text(path: PathLike) -> bool:
    """Whether a name is UTF-8; one of other bytes would end the process inside of SimpleITK."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def shown(path: PathLike) -> str:
    """A path for a sentence: on one line, in characters that can be printed; of a very long one, the ends."""
    text = " ".join(str(path).replace("\0", "?").encode("utf-8", "replace").decode().splitlines())
    return text if len(text) <= 300 else f"{text[:100]}...{text[-60:]}"


def _no_folder(target: Path) -> InputError:
    return InputError(
        f"Cannot write {shown(target.name)}: the folder {shown(target.parent)} does not exist; create it first."
    )


def _move(folder: Path, target: Path) -> None:
    """The named file last: where there are several, it is the one that points to the others."""
    if target.exists():
        shutil.copymode(target, folder / target.name)
    others = sorted(path for path in folder.iterdir() if path.name != target.name)
    for path in (*others, folder / target.name):
        path.replace(target.parent / path.name)
    _drop(folder)


def _drop(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _unfinished.discard(folder)
