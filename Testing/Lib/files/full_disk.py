"""Disks that are full: no file may grow beyond a size, or a real file system of a few hundred kilobytes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

needs_limit = pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot limit the size of files")


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """The kernel refuses to write beyond ``size`` bytes of any file, as it does when there is no room."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A file system of so many kilobytes; the test is skipped where it cannot be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root can mount")
    try:
        yield folder
    finally:
        # ITK leaves a file open where it could not write it, so the folder goes now and its memory with the process.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
