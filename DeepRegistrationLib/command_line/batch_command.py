"""The commands ``batch``, many pairs from a list, and ``collect``, the table and pages of what is done."""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..cohorts import bids, lists
from ..cohorts.ledger import TABLE, collect
from ..cohorts.run import Outcome, Resources, run_batch
from ..errors import InputError, RegistrationFailed
from ..settings import AUTO, Settings
from .options import settings_from
from .outputs import check_folder

_UNITS = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}


def resources_from(options: argparse.Namespace) -> Resources:
    """What was typed of ``add_where``.

    Raises:
        InputError: if a value cannot be used.
    """
    return Resources(options.workers, options.threads, parse_size(options.memory), options.scheduler)


def run_command(options: argparse.Namespace) -> None:
    """Register all pairs; fails in the end if one failed."""
    settings = settings_from(options)
    resources = resources_from(options)
    shard = parse_shard(options.shard)
    weights = weights_for(settings)
    check_folder("--output", options.output)
    note = partial(print, file=sys.stderr)
    if Path(options.list).is_dir():
        jobs = bids.read_folder(options.list, options.pairs, options.suffix, note)
        bids.describe(Path(options.output))
    else:
        jobs = lists.read_jobs(options.list, options.pairs, note)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the workers are ended too
    outcomes = run_batch(
        jobs,
        options.output,
        settings,
        [name.strip() for name in options.outputs.split(",") if name.strip()],
        resources,
        TOLD[options.progress],
        weights=weights,
        shard=shard,
        list_path=str(Path(options.list).resolve()),
        note=note,
    )
    failed = [outcome.job.name for outcome in outcomes if outcome.status == "failed"]
    if failed:
        names = ", ".join(failed[:5]) + (", ..." if len(failed) > 5 else "")
        raise RegistrationFailed(
            f"{len(failed)} of {len(outcomes)} pairs failed ({names}); {TABLE} in {options.output} says why."
        )


def run_collect(options: argparse.Namespace) -> None:
    """The table and the pages; how many pairs are in which state."""
    rows = collect(Path(options.folder))
    states = [row["status"] for row in rows]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    print(f"{len(rows)} pairs ({counts}); see {Path(options.folder) / 'index.html'}")


def parse_size(text: str) -> int:
    """ "4GB" in bytes; "" is 0.

    Raises:
        InputError: if it is no amount.
    """
    if not text:
        return 0
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", text.strip().lower())
    size = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    if size < 100_000_000:
        raise InputError(f"--memory is an amount such as 4GB, and at least 100MB, not {text!r}.")
    return size


def parse_shard(text: str) -> tuple[int, int]:
    """ "2/5" as numbers.

    Raises:
        InputError: if it is not of that form.
    """
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise InputError(f"--shard is I/N with I from 1 to N, such as 2/5, not {text!r}.")
    return int(found[1]), int(found[2])


def weights_for(settings: Settings) -> dict[str, str]:
    """Hash of each model that the method may take; a method or variant that is not there is refused here."""
    from ..cohorts.finished import content_hash
    from ..models.methods import bundles_of, chosen_method, find_method, methods

    if settings.method == AUTO:  # the images may be of either
        taken = [chosen_method(settings, ndim) for ndim in (2, 3)]
        return {b.path.name: content_hash([b.path]) for m in taken if m.network is not None for b in bundles_of(m)}
    chosen = find_method(settings.method)
    if settings.variant is not None:
        chosen.variant(settings.variant)
    if chosen.network is None:
        return {}
    if chosen.bundle is not None:
        return {chosen.bundle.name: content_hash([chosen.bundle])}
    trained = next((m.trained for m in methods() if m.name == chosen.name), ())
    if not trained and not settings.untrained:
        raise InputError(f"The method {chosen.name} has no trained weights here; add --untrained, or choose another.")
    return {bundle.path.name: content_hash([bundle.path]) for bundle in bundles_of(chosen)}


def _words(outcome: Outcome) -> str:
    return outcome.sentence or f"{outcome.status}, {outcome.report.get('verdict', '?')}"


def _say_line(done: int, count: int, outcome: Outcome) -> None:
    print(f"[{done}/{count}] {outcome.job.name}: {_words(outcome)}", flush=True)


def _say_json(done: int, count: int, outcome: Outcome) -> None:
    message = f"{outcome.job.name}: {_words(outcome)}"
    print(json.dumps({"stage": "batch", "fraction": round(done / count, 4), "message": message}), flush=True)


def _say_doubts(_done: int, _count: int, outcome: Outcome) -> None:
    if outcome.sentence or outcome.report.get("verdict") != "good":
        print(f"{outcome.job.name}: {_words(outcome)}", file=sys.stderr, flush=True)


TOLD: dict[str, Callable[[int, int, Outcome], None]] = {"lines": _say_line, "json": _say_json, "none": _say_doubts}
"""By the name of a kind of progress, what is told of each pair."""
