"""The commands of the benchmark; see the package's docstring."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import scaling, tables
from .attempts import add_attempts
from .cohorts.atlas import add_atlas
from .cohorts.kills import add_kills
from .cohorts.old import add_old
from .kinds import project_pairs
from .pairs import Pair, read_pairs, write_pairs
from .peers import METHODS, ONE_CONTRAST, VOLUMES_ONLY
from .robustness.measure import add_robustness
from .running import run_command
from .speed.measure import add_speed
from .worker import dimensions_of, engine_commit, environment

SCALING = Path("runs/scaling.jsonl")
"""Where the scaling run keeps what it measured; the report reads it there."""


def main() -> int:
    """Run a command; 2 and one sentence for bad input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure this library and its peers.")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="write the pair list of the project's data folder")
    listing.add_argument("data", type=Path)
    listing.add_argument("pairs", type=Path)
    listing.set_defaults(run=lambda o: write_pairs(project_pairs(o.data), o.pairs))
    run = commands.add_parser("run", help="measure; goes on where it stopped")
    run.add_argument("pairs", type=Path)
    run.add_argument("--output", type=Path, default=Path("docs"), help="folder of benchmarks.md and the plot")
    run.add_argument("--results", type=Path, default=Path("runs/benchmarks.jsonl"), help="one line a registration")
    run.add_argument("--methods", nargs="*", choices=METHODS, help="default: all")
    run.add_argument("--groups", nargs="*", help="default: all groups of the list")
    run.add_argument("--names", nargs="*", help="of the pairs; default: all")
    run.add_argument("--threads", type=int, default=2)
    run.add_argument("--limit", type=float, default=1800, help="seconds after which a registration is given up")
    run.set_defaults(run=run_all)
    again = commands.add_parser("report", help="only write the tables again")
    again.add_argument("--output", type=Path, default=Path("docs"))
    again.add_argument("--results", type=Path, default=Path("runs/benchmarks.jsonl"))
    for page in (run, again):
        page.add_argument("--note", default="", help="a sentence for the page about how it was run")
    again.set_defaults(run=_report)
    growing = commands.add_parser("scaling", help="seconds against voxels, on generated heads of growing size")
    growing.add_argument("--output", type=Path, default=Path("docs"))
    growing.add_argument("--results", type=Path, default=SCALING)
    growing.add_argument("--threads", type=int, default=2)
    growing.set_defaults(run=run_scaling)
    add_attempts(commands)
    add_robustness(commands)
    add_speed(commands)
    add_kills(commands)
    add_atlas(commands)
    add_old(commands)
    return run_command(parser)


def run_all(options: argparse.Namespace) -> None:
    """Every method on every pair, methods alternating, what is done already left out; then the tables."""
    pairs = [
        p
        for p in read_pairs(options.pairs)
        if (not options.groups or p.group in options.groups) and (not options.names or p.name in options.names)
    ]
    options.results.parent.mkdir(parents=True, exist_ok=True)
    done = {(r["pair"], r["method"], r["threads"]) for r in tables.read_results(options.results)}
    wanted = [
        (p, m)
        for p in pairs
        for m in options.methods or METHODS
        if (p.name, m, options.threads) not in done and _fits(m, p)
    ]
    for number, (pair, method) in enumerate(wanted, 1):
        result = run_one(method, pair, options.threads, options.limit)
        named = {"pair": pair.name, "group": pair.group, "method": method, "threads": options.threads}
        record = {**named, "engine": engine_commit(), **result}
        with options.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        shown = result.get("error") or f"{result['wall']:.1f} s, {tables.score_text(result)}"
        print(f"[{number}/{len(wanted)}] {pair.group}: {pair.name}: {method}: {shown}", flush=True)
    _report(options)


def _report(options: argparse.Namespace) -> None:
    tables.write(tables.read_results(options.results), options.output, tables.read_results(SCALING), options.note)


def _fits(method: str, pair: Pair) -> bool:
    flat = dimensions_of(pair.fixed) == 2
    return not (method in ONE_CONTRAST and pair.cross) and not (method in VOLUMES_ONLY and flat)


def run_one(method: str, pair: Pair, threads: int, limit: float) -> dict[str, Any]:
    """One registration in a process of its own; {"error": sentence} if that failed."""
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "pair.json", Path(folder) / "result.json"
        given.write_text(json.dumps(asdict(pair)), encoding="utf-8")
        command = [sys.executable, "-m", "benchmarks.worker", method, str(given), str(found)]
        try:
            run = subprocess.run(
                command,
                env=environment(threads),
                capture_output=True,
                text=True,
                timeout=limit,
                check=False,
                encoding="utf-8",
            )
        except subprocess.TimeoutExpired:
            return {"error": f"not done after {limit:.0f} s"}
        if run.returncode or not found.exists():
            last = (run.stderr.strip().splitlines() or ["no message"])[-1]
            return {"error": f"exit code {run.returncode}: {last[:200]}"}
        result: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))
        return result


def run_scaling(options: argparse.Namespace) -> None:
    """Register generated heads of growing size, and one as large as a CT; go on where it stopped; then the picture."""
    done = {(r["name"], r["method"]) for r in tables.read_results(options.results)}
    options.results.parent.mkdir(parents=True, exist_ok=True)
    for name, shape, kind in scaling.SIZES:
        methods = [m for m in ("ours, fast", "ours, accurate") if (name, m) not in done]
        if not methods:
            continue
        with tempfile.TemporaryDirectory() as folder:
            pair = scaling.make_pair(name, shape, kind, Path(folder))
            for method in methods:
                if kind == "ct":
                    result = scaling.measure_command(pair, method.split(", ")[1], options.threads, Path(folder))
                else:
                    result = run_one(method, pair, options.threads, 3600)
                record = {"name": name, "kind": kind, "method": method, "threads": options.threads, **result}
                with options.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")
                print(f"{method} at {shape}: {result.get('error') or round(result['wall'], 1)}", flush=True)
    tables.write_scaling(tables.read_results(options.results), options.output)


if __name__ == "__main__":
    sys.exit(main())
