"""200 registrations in one process: memory, open files and threads stay as they are."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from DeepRegistrationLib import InputError, register
from DeepRegistrationLib.geometry.image import Grid
from DeepRegistrationLib.quality.report import save_report
from Testing.Campaign.materials import FLAT, SHAPE, make_good
from Testing.Lib.test_pipeline import pair

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]
RUNS, WARM = 200, 60
MORE = 24 << 20
"""Bytes; what 140 runs that each kept their images would take is ten times as much."""


def state() -> tuple[int, int, int]:
    """Resident bytes, open files, threads."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    threads = len(list(Path("/proc/self/task").iterdir()))
    return pages * os.sysconf("SC_PAGE_SIZE"), len([*Path("/proc/self/fd").iterdir()]), threads


def one(number: int, good: Path, out: Path) -> None:
    """Files or arrays, 2-D or 3-D, refined or not, with masks, labels and points; every tenth is refused."""
    flat = "2d" if number % 2 else ""
    paths = [str(good / f"{side}{flat}.nii.gz") for side in ("fixed", "moving")]
    more = {}
    if number % 3 == 1:
        more = {"fixed_mask": str(good / f"fixed_mask{flat}.nii.gz")}
    if number % 5 == 2:
        more = {"labels": tuple(str(good / f"{side}_labels{flat}.nii.gz") for side in ("fixed", "moving"))}
    if number % 10 == 9:
        with pytest.raises(InputError):
            register(str(good / "nowhere.nii"), paths[1])
        return
    images = pair(Grid.from_shape(FLAT if flat else SHAPE, 1.5), 1.0) if number % 4 == 3 else paths
    result = register(*images, method="none", device="cpu", **more)
    result.transform.save(out / "T.h5")
    result.inverse.save(out / "I.nii.gz")
    result.warped.save(out / "W.nii.gz")
    save_report(result.report, out, result.fixed, result.moving, result.warped)
    assert np.isfinite(result.warped.array).all()


def test_two_hundred_registrations_leave_nothing_behind(tmp_path, capsys):
    make_good(tmp_path / "good")
    (tmp_path / "out").mkdir()
    seen = []
    for number in range(RUNS):
        one(number, tmp_path / "good", tmp_path / "out")
        if number >= WARM and number % 20 == 0:
            seen.append(state())
    seen.append(state())
    with capsys.disabled():
        for memory, files, threads in seen:
            print(f"\n{memory / 2**20:.0f} MB, {files} files, {threads} threads", end="")
    first, last = seen[0], seen[-1]
    assert last[0] - first[0] < MORE
    assert last[1:] == first[1:]
