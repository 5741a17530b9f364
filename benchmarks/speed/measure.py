"""Alternating runs of all sides on every case: ``python -m benchmarks speed``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from DeepRegistrationLib.errors import InputError

from ..worker import environment, voxels_of
from .cases import Case, cases
from .page import write

ROOT = Path(__file__).resolve().parents[2]
BASE = "ea04eb5"
PEERS = {"demons, sigma 1.5": "SimpleITK", "greedy, NCC": "picsl_greedy", "SyN, Mattes 40-20-0": "ants"}
"""Peers that are timed, and the package that each needs."""
PEER_REPEATS = 3
"""Timed runs of a peer: they take far longer, and nothing but their seconds is told."""
NEW, OLD, PEER = "new", "old", "peer:"


def add_speed(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "speed", help="this library against an older commit of itself and peers, in alternating runs"
    )
    parser.add_argument("--base", default=BASE, metavar="COMMIT", help="the older commit (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each side (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="two small cases, to see that it runs")
    parser.add_argument("--large", action="store_true", help="also 512x512x300, which takes minutes")
    parser.add_argument("--pairs", type=Path, help="a pair list as of the command list: these, too")
    parser.add_argument("--peers", nargs="*", choices=PEERS, help="none: --peers alone (default: all installed)")
    parser.add_argument("--only", nargs="+", metavar="CASE", help="by name: demo, 64 (voxels an edge), a pair's name")
    parser.add_argument("--output", type=Path, default=Path("docs"), help="folder of speed.md")
    parser.add_argument("--results", type=Path, default=Path("runs/speed.jsonl"), help="one line a timed run")
    parser.set_defaults(run=run_speed)


def run_speed(options: argparse.Namespace) -> None:
    """Measure, then write the page.

    Raises:
        InputError: if there is no such commit, or too few runs are asked for.
    """
    if options.repeats < 1:
        raise InputError("At least one timed run is needed; give --repeats 5.")
    options.results.parent.mkdir(parents=True, exist_ok=True)
    found: list[dict[str, Any]] = []
    with older_tree(options.base) as old, tempfile.TemporaryDirectory() as folder:
        for case in cases(Path(folder), options.quick, options.large, options.pairs, options.only):
            peers = [p for p in peers_for(case) if options.peers is None or p in options.peers]
            sides = {NEW: ROOT, OLD: old} | {f"{PEER}{p}": ROOT for p in peers}
            for row in alternate(case, sides, options.repeats, options.threads, Path(folder)):
                found.append(row)
                with options.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({k: v for k, v in row.items() if k != "points"}) + "\n")
                print(f"{case.name}: {row['who']}: {row.get('error') or round(row['wall'], 2)}", flush=True)
    of_peers = min(options.repeats, PEER_REPEATS)
    runs = f"{options.repeats} timed runs of each side ({of_peers} of a peer)"
    about = f"{runs}, {options.threads} threads, {platform.machine()}"
    write(found, options.output / "speed.md", options.base, about)


@contextmanager
def older_tree(commit: str) -> Iterator[Path]:
    """The sources of a commit, for as long as the block lasts.

    Raises:
        InputError: if there is none.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tree"
        made = _git("worktree", "add", "--detach", str(path), commit)
        if made.returncode:
            raise InputError(f"There is no commit {commit} here; run this in a clone of the repository or give --base.")
        try:
            yield path
        finally:
            _git("worktree", "remove", "--force", str(path))


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, encoding="utf-8", check=False
        )
    except OSError as error:
        raise InputError("git is needed to get the older commit; install it.") from error


def peers_for(case: Case) -> list[str]:
    """Those that are installed; demons across contrasts only for their time, as histograms are matched."""
    return [name for name, package in PEERS.items() if find_spec(package) is not None and case.kind != "demo"]


def alternate(case: Case, sides: dict[str, Path], repeats: int, threads: int, folder: Path) -> Iterator[dict[str, Any]]:
    """One run of each side after the other, again and again; the first of each is not counted."""
    file = folder / "case.json"
    case.write(file)
    with ExitStack() as stack:
        running = {who: stack.enter_context(Side(who, tree, file, threads)) for who, tree in sides.items()}
        for number in range(repeats + 1):
            for who, side in running.items():
                if who.startswith(PEER) and number > PEER_REPEATS:
                    continue
                row = side.run()
                if number:
                    yield {
                        "case": case.name,
                        "kind": case.kind,
                        "voxels": voxels_of(case.fixed),
                        "repeat": number,
                        **row,
                    }


class Side:
    """A process of ``side.py`` on one case."""

    def __init__(self, who: str, tree: Path, case: Path, threads: int) -> None:
        self.who = who
        script = Path(__file__).with_name("side.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script), who, str(case)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            env={**environment(threads), "PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"},
            cwd=os.fspath(case.parent),
        )

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def run(self) -> dict[str, Any]:
        """One registration: its times, or {"who": ..., "error": sentence}."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except OSError:
            answer = ""
        if not answer:
            return {"who": self.who, "wall": float("nan"), "error": "the process ended"}
        row: dict[str, Any] = json.loads(answer)
        return row
