"""A long list through a cluster whose processes are killed: the same results as undisturbed, nothing lost or twice.

python -m benchmarks cohort-kills --pairs 1000 --images DATA/hippocampus
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from DeepRegistrationLib.cohorts.ledger import rows_of
from DeepRegistrationLib.errors import InputError

from .cluster import Cluster, batch, end, resident
from .lists import called, write_list
from .page import write_kills
from .results import contents, done_twice, unfinished

LOOKS_EVERY = 2.0
MOST_STARTS = 12
"""Of one client: more means that it does not get on."""


@dataclass
class Curve:
    """Seconds since the start, pairs done, and bytes of memory by whose they are."""

    start: float = field(default_factory=time.monotonic)
    points: list[dict[str, float]] = field(default_factory=list)

    def note(self, done: int, **held: int) -> None:
        self.points.append({"seconds": time.monotonic() - self.start, "done": done, **held})


def add_kills(commands: Any) -> None:
    parser = commands.add_parser("cohort-kills", help="many small pairs while workers, scheduler and client are killed")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--images", type=Path, help="folder of images (default: generated balls of 12 voxels)")
    parser.add_argument("--pattern", default="*_img.nii.gz")
    parser.add_argument("--every", type=float, default=30.0, help="seconds from one killed worker to the next")
    parser.add_argument("--folder", type=Path, help="where the results go, and stay (default: nowhere)")
    parser.add_argument("--results", type=Path, default=Path("runs/cohort-kills.json"))
    parser.add_argument("--output", type=Path, default=Path("docs/scale.md"), help="page whose section is written anew")
    parser.add_argument("how", nargs="*", help="after --: further options of batch, such as --method none")
    parser.set_defaults(run=run_kills)


def run_kills(options: argparse.Namespace) -> None:
    """Undisturbed, then disturbed, then five at once on one folder; then the page."""
    how = ["--device", "cpu", "--threads", "1", *(options.how or ["--method", "none", "--affine", "none"])]
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        path = write_list(folder, options.pairs, options.images, options.pattern)
        found = {"pairs": options.pairs, "images": called(options.images), "how": how}
        found["every"] = options.every
        found["calm"] = _calm(path, folder / "calm", how)
        wanted = contents(folder / "calm")
        print(f"undisturbed: {json.dumps(_short(found['calm']))}", flush=True)
        for name, harmed in (("disturbed", disturbed), ("at once", at_once)):
            out = folder / name.replace(" ", "-")
            found[name] = harmed(path, out, how, options) | compared(out, wanted)
            print(f"{name}: {json.dumps(_short(found[name]))}", flush=True)
            options.results.parent.mkdir(parents=True, exist_ok=True)
            options.results.write_text(json.dumps(found, indent=1), encoding="utf-8")
    write_kills(found, options.output)
    wrong = {key: found[name][key] for name in ("disturbed", "at once") for key in WRONG if found[name][key]}
    if wrong:
        raise InputError(f"Not the same as undisturbed: {wrong}.")


WRONG = ("missing", "other", "twice", "unfinished", "not done")
"""What has to be empty or 0."""


def _short(part: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key != "curve"}


def compared(folder: Path, wanted: dict[str, str]) -> dict[str, Any]:
    """How the results of a folder differ from those of the undisturbed run."""
    found = contents(folder)
    last = {row["name"]: row["status"] for row in sorted(rows_of(folder), key=lambda row: row["time"])}
    return {
        "missing": sorted({*wanted} - {*found}),
        "other": sorted(name for name in found if found[name] != wanted.get(name)),
        "twice": done_twice(folder),
        "unfinished": unfinished(folder),
        "not done": sorted(name for name in wanted if last.get(name) not in ("done", "skipped")),
    }


def _calm(path: Path, out: Path, how: list[str]) -> dict[str, Any]:
    curve = Curve()
    client = batch(path, out, "--workers", "2", *how)
    while client.poll() is None:
        curve.note(len([*rows_of(out)]), all=resident(client.pid))
        time.sleep(LOOKS_EVERY)
    if client.returncode:
        raise InputError(f"The undisturbed run failed; see {out.with_suffix('.txt')}.")
    times = sorted(row["time"] for row in rows_of(out) if row["status"] == "done")
    rate = (len(times) - 1) / max(times[-1] - times[0], 1e-9)
    return {"seconds": time.monotonic() - curve.start, "pairs a second": rate, "curve": curve.points}


def disturbed(path: Path, out: Path, how: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Kill a worker every some seconds, restart the scheduler at a third, kill the client at two thirds."""
    curve, counts = Curve(), Counter[str]()
    cluster = Cluster(out.with_name("cluster"), 2)
    client: subprocess.Popen[bytes] | None = None
    steps: list[tuple[float, str, Callable[[], None]]] = [
        (1 / 3, "scheduler", cluster.restart_scheduler),
        (2 / 3, "client", lambda: end(client) if client else None),
    ]
    next_kill = time.monotonic() + options.every
    try:
        while client is None or client.poll() != 0:
            if client is None or client.poll() is not None:
                counts["starts"] += 1
                if counts["starts"] > MOST_STARTS:
                    break
                client = batch(path, out, "--scheduler", str(cluster.file), *how)
            done = len(contents_made(out))
            curve.note(done, client=resident(client.pid), **cluster.memory())
            if steps and done >= steps[0][0] * options.pairs:
                _, name, harm = steps.pop(0)
                harm()
                counts[name] += 1
            if time.monotonic() >= next_kill:
                counts["workers"] += cluster.kill_a_worker(counts["workers"])
                next_kill = time.monotonic() + options.every
            time.sleep(LOOKS_EVERY / 4)
    finally:
        cluster.stop()
        if client is not None and client.poll() is None:
            end(client)
    states = Counter(row["status"] for row in rows_of(out))
    return {"seconds": time.monotonic() - curve.start, "killed": counts, "rows": states, "curve": curve.points}


def contents_made(folder: Path) -> list[Path]:
    """Pairs whose results are there."""
    return [*folder.glob("*/done.json")]


def at_once(path: Path, out: Path, how: list[str], _options: argparse.Namespace) -> dict[str, Any]:
    """Two clients of one cluster and three shards without one, all on the same folder."""
    start = time.monotonic()
    cluster = Cluster(out.with_name("cluster-at-once"), 2)
    try:
        clients = [batch(path, out, "--scheduler", str(cluster.file), *how) for _ in range(2)]
        clients += [batch(path, out, "--shard", f"{k}/3", *how) for k in (1, 2, 3)]
        codes = [client.wait() for client in clients]
    finally:
        cluster.stop()
    states = Counter(row["status"] for row in rows_of(out))
    return {"seconds": time.monotonic() - start, "codes": codes, "rows": states}
