"""Measure trained models and write docs/models.md and a card for each.

    python -m benchmarks.networks.models measure Resources/Models/*.safetensors  # what is not in the cache yet
    python -m benchmarks.networks.models write --output docs                   # the page and the cards from the cache

``measure`` keeps what it finds in ``--results``, one JSON file for each bundle (by a hash of its weights and settings),
after every pair: stopped, it goes on where it was, and another model costs its own time alone. Parts: ``own`` (held-out
generated pairs of its own plan), ``real`` (real pairs that it fits), ``cost`` (seconds and memory), ``checks`` (the
universal model's: contrast, inverse, large motion). ``--most``, ``--only`` and ``--motions`` make it small,
``--minutes`` stops it before the next pair; the same command goes on. ``write`` leaves a table as it stands if it has
more rows than the cache: another machine measured it. ``--embed`` writes the scores into the bundle's
header, where the list of methods finds them, before the bundle is committed; ``--worth``, into the file beside it, what
it is worth on today's engine, and leaves the bundle as it is.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.models.bundle import Model, load_model, save_bundle
from DeepRegistrationLib.models.header import read_header, write_worth
from DeepRegistrationLib.models.worth import WORTH_KEY, as_scores, sentence

from ..running import run_command
from . import page, page_blocks, worth
from .checks import contrast, motions
from .cost import cost
from .real import cases, main_figure, measure, runs_of
from .scores import score_held_out, summary

PARTS = ("own", "real", "cost", "checks")
ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
RESULTS = ROOT / "runs" / "models"
SHARED_RUNS = ("before", "no start + fast", "no start + accurate")
"""Runs that no network takes part in: measured once for all models."""


class Cache:
    """A JSON object in a file, written after every entry."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def __setitem__(self, key: str, value: Any) -> None:
        self.values[key] = value
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".part")
        draft.write_text(json.dumps(self.values, indent=1), encoding="utf-8")
        draft.replace(self.path)

    def __contains__(self, key: str) -> bool:
        return key in self.values


def weights_of(model: Model) -> str:
    """A short name of the weights and of how they are used: it stays when the scores in the header change."""
    header = model.header
    used = [header.arguments, *(asdict(part) for part in (header.grid, header.normalization))]
    digest = hashlib.sha256(json.dumps(used, sort_keys=True).encode())
    for name, tensor in sorted(model.network.state_dict().items()):
        digest.update(name.encode() + tensor.detach().float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def cache_of(model: Model, folder: Path) -> Cache:
    return Cache(folder / f"{model.name}-{weights_of(model)}.json")


def of_this_engine(cache: Cache) -> None:
    """Forget what another engine gave: what hangs on the refinement is measured again."""
    if cache.values.get("engine") != worth.engine():
        cache.values = {k: v for k, v in cache.values.items() if k.count("|") != 2 and not k.startswith("case ")}
        cache["engine"] = worth.engine()


class OutOfTimeError(Exception):
    """The minutes given are over."""


def run_measure(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    options.end = time.monotonic() + 60 * options.minutes
    try:
        _measure_all(options)
    except OutOfTimeError:
        print(f"stopped after {options.minutes:g} minutes; the same command goes on", flush=True)


def _check_time(options: argparse.Namespace) -> None:
    if time.monotonic() > options.end:
        raise OutOfTimeError


def _measure_all(options: argparse.Namespace) -> None:
    for path in options.bundles:
        model = load_model(path)
        cache = cache_of(model, options.results)
        for each in (cache, Cache(options.results / "no-network.json")):
            of_this_engine(each)
        cache["model"] = {
            "name": model.name,
            "path": str(path),
            "bytes": path.stat().st_size,
            "parameters": sum(p.numel() for p in model.network.parameters()),
            "header": json.loads(model.header.to_json()),
            "box": (ROOT / "Resources" / "Models") in path.resolve().parents,
        }
        if "own" in options.parts:
            _own(model, cache, options.pairs)
        if "real" in options.parts:
            _real(model, path, cache, Cache(options.results / "no-network.json"), options)
        if "cost" in options.parts:
            for precision in ("bfloat16", "float32"):
                _check_time(options)
                if f"cost {precision}" not in cache:
                    cache[f"cost {precision}"] = cost(str(path), model.header.dimensions, precision, options.threads)
                    print(f"{model.name}: {precision}: {cache.values[f'cost {precision}']}", flush=True)
        if "checks" in options.parts and model.header.method == "universal" and model.header.dimensions == 3:
            _checks(model, path, cache, options)
        if options.embed or options.worth:
            _keep(model, path, cache, options.embed)


def _own(model: Model, cache: Cache, count: int) -> None:
    if len(cache.values.get("own", {}).get("network", [])) >= count:
        return
    cache["own"] = score_held_out(model, count)
    means = {name: summary(rows) for name, rows in cache.values["own"].items()}
    print(f"{model.name}: {count} held-out pairs: {means}", flush=True)


def _real(model: Model, path: Path, cache: Cache, shared: Cache, options: argparse.Namespace) -> None:
    runs = runs_of(model.header, options.accurate)
    if not options.data.is_dir():
        print(f"{model.name}: skipped real pairs: there is no folder {options.data}", flush=True)
        return
    for case in cases(model.header, options.data, options.most, options.only, options.half):
        shown = []
        for run in runs:
            key, place = f"{case[0]}|{case[1]}|{run}", shared if run in SHARED_RUNS else cache
            if key not in place:
                _check_time(options)
                place[key] = measure(case, run, path)
            cache[key] = place.values[key]
            name, value, _ = main_figure(place.values[key])
            shown.append(f"{run} {value:.3f}")
        print(f"{model.name}: {case[0]}: {case[1]}: {name}: {', '.join(shown)}", flush=True)


def _checks(model: Model, path: Path, cache: Cache, options: argparse.Namespace) -> None:
    if "contrast" not in cache and options.data.is_dir():
        cache["contrast"] = contrast(model, options.data, twice=True)
        print(f"{model.name}: {cache.values['contrast']}", flush=True)
    done = {key for key in cache.values if key.startswith("case ")}
    if len(done) < options.motions:
        for name, found in motions(path, options.motions, skip=done):
            cache[name] = found
            _check_time(options)
            print(f"{model.name}: {name}: {found}", flush=True)


def _keep(model: Model, path: Path, cache: Cache, embed: bool) -> None:
    """The measured scores in the header: means on the held-out pairs, and what it is worth on real ones.

    ``embed`` False: the latter alone, beside the bundle.
    """
    scores = {key: value for key, value in model.header.scores.items() if key != "start_gain"}  # of earlier versions
    rows = worth.worth_of(cache.values)
    if rows:
        scores[WORTH_KEY] = as_scores(rows, cache.values["engine"])
        if not embed:
            write_worth(path, scores[WORTH_KEY])
    if embed:
        if "own" in cache:
            own = cache.values["own"]
            scores |= {"held_out_pairs": len(own["network"]), "identity": summary(own["identity"])}
            scores["network"] = {k: v for k, v in summary(own["network"]).items() if k != "seconds"}
        save_bundle(path, model.network, replace(model.header, scores=scores))
    cache["model"] = {**cache.values["model"], "header": json.loads(read_header(path).to_json())}
    print(f"{model.name}: {sentence(scores)}", flush=True)


def run_write(options: argparse.Namespace) -> None:
    found = [Cache(path).values for path in sorted(options.results.glob("*.json")) if path.name != "no-network.json"]
    current = [values for values in found if "model" in values and _is_current(values, options.results)]
    if not current:
        raise InputError(f"There are no results in {options.results}; run the command measure first.")
    options.output.mkdir(parents=True, exist_ok=True)
    _renew(options.output / "models.md", page.page(current))
    boxed = [values for values in current if values["model"]["box"]]
    for values in boxed:
        _renew(options.cards / f"{values['model']['name']}.md", page.card(values))
    print(f"wrote {options.output / 'models.md'} and {len(boxed)} cards")


def _renew(path: Path, text: str) -> None:
    if path.exists():
        text, kept = page_blocks.renew(text, path.read_text(encoding="utf-8"))
        for section in kept:
            print(f"{path.name}: {section or 'first part'}: tables that say more than this cache stay as they are")
    path.write_text(text, encoding="utf-8")


def _is_current(values: dict[str, Any], results: Path) -> bool:
    """Whether the bundle is still there with these weights; what was measured of earlier ones is not shown."""
    path = Path(values["model"]["path"])
    return path.exists() and cache_of(load_model(path), results).path.exists() and (
        cache_of(load_model(path), results).values == values
    )  # fmt: skip


def main() -> int:
    """Run a command; 2 and one sentence for bad input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.networks.models", description="Measure trained models.")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("measure", help="measure bundles; goes on where it stopped")
    one.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE.safetensors")
    one.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    one.add_argument("--pairs", type=int, default=100, help="held-out generated pairs")
    one.add_argument("--most", type=int, default=20, help="real pairs a group")
    one.add_argument(
        "--only", nargs="+", default=(), metavar="GROUP", help="groups of real pairs: how their names begin"
    )
    one.add_argument("--half", action="store_true", help="large volumes at half resolution")
    one.add_argument("--accurate", action="store_true", help="the accurate refinement of real pairs, too")
    one.add_argument("--minutes", type=float, default=math.inf, help="stop before the next pair after that long")
    one.add_argument("--motions", type=int, default=12, help="cases of large motion")
    one.add_argument("--data", type=Path, default=DATA, help="the project's data folder")
    one.add_argument("--threads", type=int, default=2)
    one.add_argument("--embed", action="store_true", help="write the scores into the bundle's header")
    one.add_argument("--worth", action="store_true", help="write what it is worth into the file beside the bundle")
    one.set_defaults(run=run_measure)
    two = commands.add_parser("write", help="docs/models.md and the cards, from what was measured")
    two.add_argument("--output", type=Path, default=ROOT / "docs")
    two.add_argument("--cards", type=Path, default=ROOT / "Resources" / "Models", help="folder of the models' cards")
    two.set_defaults(run=run_write)
    for command in (one, two):
        command.add_argument("--results", type=Path, default=RESULTS, help="the cache")
    return run_command(parser)


if __name__ == "__main__":
    sys.exit(main())
