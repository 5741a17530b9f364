"""10 000 seeded mutations of bundles, points, lists, plans, manifests, transforms and .mgh volumes."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.Campaign import materials
from Testing.Campaign.mutations import KINDS, OTHERS
from Testing.Campaign.outcomes import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="pipes, links and limits of POSIX")]
TRIED = {
    "bundle": 2000,
    "points": 2700,
    "list": 1500,
    "plan": 1500,
    "manifest": 500,
    "transform": 1500,
    "volume": 300,
}
PATIENCE = 60.0


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz") / "good"
    materials.make_good(folder)
    materials.make_run(folder)
    voxels = np.arange(4 * 5 * 6, dtype=">f4")
    (folder / "volume.mgh").write_bytes(struct.pack(">7i", 1, 4, 5, 6, 1, 3, 0).ljust(284, b"\0") + voxels.tobytes())
    return folder


def read_in_a_process(kind: str, first: int, last: int, folder: Path) -> tuple[list[dict[str, Any]], int]:
    """What ended otherwise than it may, and the number after the last one that was tried."""
    command = [sys.executable, "-m", "Testing.Campaign.mutations", kind, str(first), str(last), str(folder)]
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.DEVNULL, env=environment)
        at = first - 1
        while True:
            try:
                process.wait(PATIENCE)
                ended = f"ended with {process.returncode}"
                break
            except subprocess.TimeoutExpired:
                before, at = at, _last(folder / "said", "at", first - 1)
                if at == before:
                    process.kill()
                    process.wait()
                    ended = "hang"
                    break
    lines = [json.loads(line) for line in (folder / "said").read_text(encoding="utf-8").splitlines()]
    faults = [line for line in lines if "fault" in line]
    if any("tried" in line for line in lines):
        return faults, last
    at = _last(folder / "said", "at", first - 1)
    if kind not in OTHERS:
        faults.append({"number": at, "fault": ended})
    return faults, at + 1


def _last(path: Path, key: str, otherwise: int) -> int:
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if f'"{key}"' in line]
    return found[-1][key] if found else otherwise


@pytest.mark.parametrize("kind", KINDS)
def test_every_mutation_is_an_answer_or_a_sentence(kind, good, capsys):
    faults, at, ends = [], 0, 0
    while at < TRIED[kind]:
        found, at = read_in_a_process(kind, at, TRIED[kind], good)
        faults += found
        ends += at < TRIED[kind]
    with capsys.disabled():
        print(f"\n{kind}: {TRIED[kind]} tried, {len(faults)} faults, {ends} ended in other software")
        for fault in faults[:20]:
            print("   ", fault)
    assert not faults


def test_ten_thousand():
    assert sum(TRIED.values()) == 10_000
