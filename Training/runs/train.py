"""``train``: a plan, a folder, and the run goes on until it is done; started again, it goes on where it stopped."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist

from DeepRegistrationLib.device import choose_device
from DeepRegistrationLib.errors import InputError

from ..limits import set_threads
from ..pairs.batch import Source
from ..pairs.manifest import read_manifest
from ..pairs.real import RealSource
from ..pairs.synthetic import SyntheticSource
from ..plan import TrainingPlan, read_plan
from ..plan_checks import check_steps
from .loop import train as run_training
from .run import Run


def add_train(commands: argparse._SubParsersAction) -> None:
    """``train PLAN.toml --output FOLDER``; ``torchrun -m Training train ...`` for several processes."""
    parser = commands.add_parser("train", help="train a method by a plan; the same command resumes it")
    parser.add_argument("plan", type=Path, metavar="PLAN.toml", help="a file, or the name of a plan that comes along")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--data", type=Path, metavar="MANIFEST.json", help="instead of the plan's data.manifest")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--steps", type=int, help="instead of the plan's")
    parser.add_argument("--start", type=Path, metavar="MODEL.safetensors", help="weights a new run starts with")
    parser.add_argument("--threads", type=int, help="of the CPU")
    parser.add_argument("--quiet", action="store_true")
    parser.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> None:
    plan = read_plan(options.plan)
    if options.steps is not None:
        check_steps(options.steps, "--steps")
        plan = replace(plan, schedule=replace(plan.schedule, steps=options.steps))
    if options.data:
        plan = with_data(plan, options.data)
    set_threads(options.threads)
    run = start(plan, options.output, options.device, start_from=options.start, quiet=options.quiet)
    if run.rank == 0 and not options.quiet:
        shown = "  ".join(f"{name} {value:.4g}" for name, value in run.progress.scores.items())
        print(f"{run.progress.step} steps in {run.progress.seconds:.0f} s  {shown}")


def with_data(plan: TrainingPlan, manifest: Path) -> TrainingPlan:
    """The plan on other data.

    Raises:
        InputError: if it is a plan for synthetic data alone.
    """
    if plan.data is None:
        raise InputError("This plan makes its own data; --data is for plans with a [data] table.")
    return replace(plan, data=replace(plan.data, manifest=str(manifest.resolve())))


def start(
    plan: TrainingPlan,
    folder: Path,
    device: str = "auto",
    *,
    start_from: Path | None = None,
    tensorboard: bool = True,
    quiet: bool = False,
) -> Run:
    """Train by a plan; under torchrun, with the other processes.

    Raises:
        InputError: the plan or its data cannot be used (before training starts).
        TrainingFailed: the run could not go on.
    """
    chosen = choose_device(device)
    several = _of_torchrun("WORLD_SIZE", 1) > 1 and not dist.is_initialized()
    if several:
        if chosen.type == "cuda":
            chosen = torch.device("cuda", _of_torchrun("LOCAL_RANK", 0))
            torch.cuda.set_device(chosen)
        try:
            dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
        except (ValueError, RuntimeError) as error:
            raise InputError(
                f"The processes of this run do not find each other ({str(error).splitlines()[0]}); start it "
                "by torchrun, or unset WORLD_SIZE."
            ) from error
    try:
        source = source_of(plan, chosen)
        return run_training(plan, source, folder, chosen, start_from=start_from, tensorboard=tensorboard, quiet=quiet)
    finally:
        if several:
            dist.destroy_process_group()


def _of_torchrun(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or len(text) > 6:
        raise InputError(
            f"The environment variable {name} must be a whole number as torchrun sets it, not {text[:40]!r}."
        )
    return int(text)


def source_of(plan: TrainingPlan, device: torch.device) -> Source:
    """Where the plan's pairs come from.

    Raises:
        InputError: if its data cannot be used.
    """
    real = None
    if plan.data is not None:
        manifest = read_manifest(plan.folder / plan.data.manifest, plan.data.validation, plan.seed)
        real = RealSource(plan.data, manifest, plan.seed)
        real.check()
    if plan.synthesis is None:
        assert real is not None
        return real
    given = real.label_maps() if real is not None and plan.synthesis.families.get("given") else []
    signed = plan.method.normalization.output[0] < 0
    return SyntheticSource(plan.synthesis, plan.seed, device, given, signed)
