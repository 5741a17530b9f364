"""The command ``batch``: many pairs from a list."""

from __future__ import annotations

import argparse
import json
import signal
from collections.abc import Callable
from typing import Any

from ..errors import RegistrationFailed
from . import batch


def add_batch(commands: Any, add_how: Callable[[argparse.ArgumentParser], Any]) -> None:
    """Add the parser of ``batch``; ``add_how`` adds the options that it shares with ``register``."""
    parser = commands.add_parser(
        "batch",
        help="register many pairs; a second run goes on where the first stopped",
        description="LIST is a .csv with the columns fixed and moving, or a .json list of such entries. " + EXTRA_HELP,
    )
    parser.add_argument("list", metavar="LIST")
    parser.add_argument("--output", metavar="DIR", required=True, help="a folder for each pair, and reports.csv")
    parser.add_argument("--outputs", default="transform,volume", help=f"of {','.join(batch.OUTPUTS)}")
    parser.add_argument("--workers", type=int, default=1, help="so many pairs at a time (default: %(default)s)")
    how = add_how(parser)
    names = [action.dest for action in how._group_actions]
    parser.add_argument("--progress", choices=("lines", "json", "none"), default="lines")
    parser.set_defaults(run=lambda options: run_batch(options, names), patience=10.0)


EXTRA_HELP = f"Each may also have name, {', '.join(batch.EXTRAS)}. Paths are relative to the list."


def run_batch(options: argparse.Namespace, shared: list[str]) -> None:
    """Register all pairs; fails in the end if one failed."""
    jobs = batch.read_jobs(options.list)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the workers are ended too
    outcomes = batch.run_batch(
        jobs,
        options.output,
        _shared(options, shared),
        [name.strip() for name in options.outputs.split(",") if name.strip()],
        options.workers,
        {"lines": _say_line, "json": _say_json, "none": None}[options.progress],
    )
    failed = [outcome.job.name for outcome in outcomes if outcome.status == "failed"]
    if failed:
        names = ", ".join(failed[:5]) + (", ..." if len(failed) > 5 else "")
        raise RegistrationFailed(
            f"{len(failed)} of {len(outcomes)} pairs failed ({names}); {batch.TABLE} in {options.output} says why."
        )


def _shared(options: argparse.Namespace, names: list[str]) -> list[str]:
    """The shared options as arguments of ``register``."""
    found: list[str] = []
    for name in names:
        value, option = getattr(options, name), f"--{name.replace('_', '-')}"
        if value is True:
            found.append(option)
        elif value is not None and value is not False:
            found += [option, str(value)]
    return found


def _words(outcome: batch.Outcome) -> str:
    return outcome.sentence or f"{outcome.status}, {outcome.report.get('verdict', '?')}"


def _say_line(done: int, count: int, outcome: batch.Outcome) -> None:
    print(f"[{done}/{count}] {outcome.job.name}: {_words(outcome)}", flush=True)


def _say_json(done: int, count: int, outcome: batch.Outcome) -> None:
    message = f"{outcome.job.name}: {_words(outcome)}"
    print(json.dumps({"stage": "batch", "fraction": round(done / count, 4), "message": message}), flush=True)
