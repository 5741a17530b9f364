"""Make the models in the box: train their plans, export them, keep those that are better than nothing, measure them.

    python -m benchmarks.networks.box train --threads 1   # all plans, most needed first; stopped, it goes on
    python -m benchmarks.networks.box export              # what has been trained so far, as bundles
    python -m benchmarks.networks.models measure runs/box/models/*.safetensors --embed
    python -m benchmarks.networks.box ship                # those that beat the identity into Resources/Models
    python -m benchmarks.networks.models measure Resources/Models/*.safetensors
    python -m benchmarks.networks.models write

A run that was stopped early is exported as it is: the best validated weights so far, and the steps they took.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch

from DeepRegistrationLib.models.bundle import load_model, save_bundle
from DeepRegistrationLib.models.header import NetworkGrid
from Training.plan import read_plan
from Training.runs import checkpoint
from Training.runs.export import export

from ..running import run_command
from .scores import difference, score_held_out

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / "runs" / "box"
BOX = ROOT / "Resources" / "Models"
MODELS = {
    "universal": "universal-lighter",
    "universal-2d": "universal-2d",
    "dual-branch-gated": "box-dual-branch-gated",
    "flownet-pme-mask": "box-flownet-pme-mask",
    "voxelmorph-2": "box-voxelmorph-2",
    "deform-gan-2": "box-deform-gan-2",
    "sar-net": "box-sar-net",
    "voxelmorph-lg": "box-voxelmorph-lg",
    "flownet-pe": "box-flownet-pe",
    "dual-branch-average": "box-dual-branch-average",
    "voxelmorph-1": "box-voxelmorph-1",
    "deform-gan-1": "box-deform-gan-1",
    "sar-noseg": "box-sar-noseg",
    "dual-branch-vm": "box-dual-branch-vm",
}
"""Bundle -> plan, in the order in which they are trained. The rows that papers only compare with come last.

The run of the 3-D universal model, hours long, lies in a folder of its own (``runs/universal``).
"""
FIRST = {
    "universal": ("universal", "universal-fine", "universal-light", "universal-light-fine"),
}
"""Bundle -> the plans that are run before its own, each with the weights of the one before."""
SHIPPED = (
    "universal",
    "universal-2d",
    "voxelmorph-2",
    "dual-branch-gated",
    "deform-gan-2",
    "sar-net",
    "flownet-pme-mask",
)
LONGEST = {"voxelmorph-2": 112, "voxelmorph-1": 112, "flownet-pme-mask": 256, "flownet-pe": 256}
"""Voxels along the longest side on which a network works where that is not the size of its plan: with finer images than
it learned from it was better on real pairs (VoxelMorph: one of brains; FlowNet: six of chests), among a few sizes."""
REPEATS = {"universal": [3, 1, 1]}
"""How often the heads are applied, finest first, where that is not as in the plan: of a few ways this one was best for
its time on real pairs (four of brains), and better than the plan's on 12 generated ones."""
LARGEST, TOTAL = 4e6, 15e6
"""Bytes."""


def _run(name: str) -> Path:
    return ROOT / "runs" / name if name == "universal" else RUNS / name


def train(options: argparse.Namespace) -> None:
    for name in options.models or MODELS:
        if name == "universal" and not options.models:
            continue
        print(name, flush=True)
        start: list[str] = []
        for number, plan in enumerate(FIRST.get(name, ()), 1):
            folder, bundle = RUNS / f"{name}-{number}", RUNS / f"{name}-{number}.safetensors"
            _train(plan, folder, options.threads, *start)
            export(read_plan(plan), folder, bundle)
            start = ["--start", str(bundle)]
        _train(MODELS[name], _run(name), options.threads, *start)


def _train(plan: str, folder: Path, threads: int, *more: str) -> None:
    command = [sys.executable, "-m", "Training", "train", plan, "--output", str(folder)]
    command += ["--device", "cpu", "--threads", str(threads), "--quiet", *more]
    subprocess.run(command, check=True)


def export_all(options: argparse.Namespace) -> None:
    (RUNS / "models").mkdir(parents=True, exist_ok=True)
    for name in options.models or MODELS:
        if not (_run(name) / checkpoint.NAME).exists():
            print(f"{name}: not trained")
            continue
        target = RUNS / "models" / f"{name}.safetensors"
        header = export(read_plan(MODELS[name]), _run(name), target)
        if name in LONGEST:
            header = replace(header, grid=NetworkGrid(longest=LONGEST[name]))
        if name in REPEATS:
            header = replace(header, arguments={**header.arguments, "repeats": REPEATS[name]})
        if name in LONGEST or name in REPEATS:
            save_bundle(target, load_model(target).network, header)
        print(f"{name}: {header.training['steps']} steps, {header.scores}")


def ship(options: argparse.Namespace) -> None:
    """Copy what beats the identity by the error of the field on held-out pairs, beyond chance, and is small enough."""
    torch.set_num_threads(options.threads)
    for name in [n for n in SHIPPED if n in (options.models or SHIPPED)]:
        path = RUNS / "models" / f"{name}.safetensors"
        if not path.exists():
            print(f"{name}: not there")
            continue
        gain, error = _gain(path, options.pairs)
        size = path.stat().st_size
        others = sum(p.stat().st_size for p in BOX.glob("*.safetensors") if p.name != path.name)
        good = gain > 2 * error and size <= LARGEST and others + size <= TOTAL
        if good:
            (BOX / path.name).write_bytes(path.read_bytes())
        print(f"{name}: {'' if good else 'NOT '}shipped: gain {gain:.3f} ± {error:.3f} voxels, {size / 1e6:.2f} MB")


def _gain(path: Path, pairs: int) -> tuple[float, float]:
    """How much smaller the error of the field is than that of the identity, and its standard error."""
    found = score_held_out(load_model(path), pairs)
    return difference(found["identity"], found["network"], "end_point")


def main() -> int:
    """Run a command; 2 and one sentence for bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.networks.box", description="Make the models in the box."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run in (("train", train), ("export", export_all), ("ship", ship)):
        command = commands.add_parser(name)
        command.add_argument("--threads", type=int, default=1)
        command.add_argument("--models", nargs="+", choices=list(MODELS), help="default: all")
        command.add_argument("--pairs", type=int, default=50, help="held-out pairs that decide")
        command.set_defaults(run=run)
    try:
        return run_command(parser)
    except subprocess.CalledProcessError as error:
        return error.returncode


if __name__ == "__main__":
    sys.exit(main())
