"""Who works on a pair: two runs on one folder never take the same one, and one that died holds nothing."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import IO

LOCK = ".in-work"
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EOPNOTSUPP)


class Claim:
    """A lock of the system on a file in the pair's folder; it ends with the process that holds it, however that ends.

    Where a file system has no locks every claim is granted: use shards there.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK
        self._file: IO[bytes] | None = None

    def take(self) -> bool:
        """Whether the pair is ours now; raises OSError where the folder cannot be written."""
        while True:
            file = self._path.open("ab")
            try:
                taken = _lock(file)
                current = taken and _is_at(file, self._path)
            except BaseException:
                file.close()
                raise
            if current:
                self._file = file
                return True
            file.close()
            if not taken:
                return False
            # else: the one before removed the file between our opening and locking it

    def release(self) -> None:
        """The file may stay where it cannot be removed: nobody holds it."""
        if self._file is not None:
            with suppress(OSError):
                if os.name != "nt":  # there an open file stays
                    self._path.unlink()
            self._file.close()
            self._file = None
            with suppress(OSError):
                if os.name == "nt":
                    self._path.unlink()


def _lock(file: IO[bytes]) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _WITHOUT_LOCKS:
            return True
        if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            return False
        raise
    return True


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
