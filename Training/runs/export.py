"""From a finished (or running) run to a model bundle that the panel and the command line find."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.models.bundle import save_bundle
from DeepRegistrationLib.models.header import Header, NetworkGrid
from DeepRegistrationLib.models.methods import fresh_model
from DeepRegistrationLib.networks import RegistrationNetwork

from ..plan import RUN_PLAN, TrainingPlan, read_plan, read_run_plan
from ..safe_files import keep_inputs
from ..steps.turns import REGISTRATION, registration_network
from . import checkpoint as files
from .logs import LOG
from .train import with_data

LICENSE = "Apache-2.0"


def add_export(commands: argparse._SubParsersAction) -> None:
    """``export FOLDER OUT.safetensors``: the run's folder knows its plan and data.

    The older ``export PLAN.toml FOLDER OUT.safetensors --data MANIFEST.json`` refuses a run of any other plan.
    """
    parser = commands.add_parser("export", help="the best weights of a run as a model bundle")
    parser.add_argument("plan", type=Path, nargs="?", metavar="PLAN.toml", help="must be the run's; not needed")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the run was trained")
    parser.add_argument("output", type=Path, metavar="OUT.safetensors")
    parser.add_argument("--data", type=Path, metavar="MANIFEST.json", help="with a plan, as given to train; not needed")
    parser.add_argument("--last", action="store_true", help="the last weights instead of the best validated ones")
    parser.add_argument("--license", default=LICENSE, help=f"of the weights (default {LICENSE})")

    def run(options: argparse.Namespace) -> None:
        if options.data and options.plan is None:
            raise InputError("The run's folder knows its data; leave --data out, or give the plan, too.")
        plan = read_run_plan(options.folder) if options.plan is None else _plan_given(options)
        header = export(plan, options.folder, options.output, options.last, options.license, options.plan)
        print(f"wrote {options.output}: {header.method}, {header.training['steps']} steps, scores {header.scores}")

    parser.set_defaults(run=run)


def _plan_given(options: argparse.Namespace) -> TrainingPlan:
    plan = read_plan(options.plan)
    if options.data:
        plan = with_data(plan, options.data)
    if (options.folder / RUN_PLAN).exists():  # train --steps may have said another number than the plan
        steps = read_run_plan(options.folder).schedule.steps
        plan = replace(plan, schedule=replace(plan.schedule, steps=steps))
    return plan


def export(
    plan: TrainingPlan,
    folder: Path,
    target: Path,
    last: bool = False,
    license_: str = LICENSE,
    plan_file: Path | None = None,
) -> Header:
    """Write the bundle of a run; the best validated weights, else the averaged, else the last ones.

    Raises:
        InputError: if the folder holds no run of this plan, its weights are not finite, or the bundle cannot be
            written (never onto a file of the run or the plan).
    """
    read = [folder / name for name in (files.NAME, files.BEST, RUN_PLAN, LOG)]
    keep_inputs(target, [*read, plan_file, None if plan.data is None else plan.folder / plan.data.manifest])
    network, header = trained(plan, folder, last)
    header = replace(header, license=license_)
    save_bundle(target, network, header)
    return header


def trained(plan: TrainingPlan, folder: Path, last: bool = False) -> tuple[RegistrationNetwork, Header]:
    """The network of a run, ready to predict, and what its bundle says.

    Raises:
        InputError: if the folder holds no run of this plan.
    """
    if not (folder / files.NAME).exists():
        raise InputError(f"The folder {folder} holds no checkpoint; train first.")
    state = files.read_checkpoint(folder / files.NAME)
    if state.get("plan") != plan.hash():
        raise InputError(f"The folder {folder} holds a run of another plan than the one given; give that plan.")
    source = folder / files.NAME
    try:
        weights, scores, step = state["average"] or state["networks"][REGISTRATION], state["scores"], state["step"]
        if (folder / files.BEST).exists() and not last:
            source = folder / files.BEST
            best = files.read_checkpoint(source)
            weights, scores, step = best["weights"], best["scores"], best["step"]
        ndim = dimensions(plan, weights)
        network = registration_network(plan, ndim)
        network.load_state_dict(weights)
        header = replace(header_of(plan, network, ndim), scores=dict(scores))
        header.training.update(steps=int(step), seconds=round(float(state["seconds"])))
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise files.damaged(source) from error
    if state.get("data"):
        header.training["data_sha256"] = state["data"]
    if state.get("before"):
        header.training["before"] = state["before"]
    return network.eval(), header


def dimensions(plan: TrainingPlan, weights: dict[str, Any]) -> int:
    """2 or 3, by the convolution kernels."""
    return max(t.ndim for t in weights.values()) - 2


def header_of(plan: TrainingPlan, network: RegistrationNetwork, ndim: int) -> Header:
    """What the bundle says about where and on what the network works."""
    fresh = fresh_model(plan.method, ndim, variant=plan.variant, seed=plan.seed).header
    grid: NetworkGrid = fresh.grid
    normalization, moving_normalization = fresh.normalization, None
    data: dict[str, Any] = {"kind": "synthetic"}
    if plan.data is not None:
        data = {"kind": "images", "manifest": Path(plan.data.manifest).name, "pairing": plan.data.pairing}
        grid, normalization = plan.data.grid, plan.data.normalization
        moving_normalization = plan.data.moving_normalization
    elif plan.synthesis is not None and grid.longest is None:
        # What was learned is of generated bodies that fill a grid of this size.
        grid = NetworkGrid(longest=max(plan.synthesis.shape))
    return replace(
        fresh,
        arguments=network.arguments,
        grid=grid,
        normalization=normalization,
        moving_normalization=moving_normalization,
        training={"plan": plan.describe(), "plan_sha256": plan.hash(), "data": data},
        source="trained by python -m Training",
    )
