"""``evaluate``: how good networks are on pairs they were not trained on, network alone, by the papers' figures."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from DeepRegistrationLib.device import choose_device
from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.models.bundle import load_model
from DeepRegistrationLib.models.header import Header
from DeepRegistrationLib.networks import RegistrationNetwork

from ..limits import check_memory, check_pair_count, set_threads
from ..pairs.batch import Batch
from ..pairs.manifest import read_manifest
from ..pairs.real import RealSource
from ..pairs.synthetic import SyntheticSource
from ..plan import DataPlan, TrainingPlan, plan_again, read_plan, read_run_plan
from ..runs.export import trained
from ..runs.validation import predict_field
from . import tables
from .figures import measure


@dataclass(frozen=True)
class Evaluated:
    """A network to be judged.

    Attributes:
        name: of its row in tables.
        plan: by which it was trained, if that is known.
    """

    name: str
    network: RegistrationNetwork
    header: Header
    plan: TrainingPlan | None


@dataclass(frozen=True)
class Row:
    """One pair by one network: (before, after) by the names of ``score.MEASURES``; seconds of the network alone."""

    subject: str
    pair: str
    figures: dict[str, tuple[float, float]]
    seconds: float


@dataclass(frozen=True)
class Wanted:
    """On which pairs: of a manifest, of a plan, or (both None) the held-out pairs of each network's own plan.

    Attributes:
        pairs: how many at most.
        held_out: share of the patients where the manifest has no list of its own; None: as the network's plan says,
            else all of them.
        labels, mask_threshold: see ``DataPlan``; () and None: as the network's plan says.
    """

    manifest: Path | None = None
    plan: TrainingPlan | None = None
    pairs: int = 50
    held_out: float | None = None
    labels: tuple[int, ...] = field(default=())
    mask_threshold: float | None = None


def add_evaluate(commands: argparse._SubParsersAction) -> None:
    """``evaluate MODEL ... --output FOLDER``."""
    parser = commands.add_parser("evaluate", help="figures of networks alone on held-out pairs: CSV, table, box plot")
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL", help="a .safetensors file, or a run's folder")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--data", type=Path, metavar="MANIFEST.json", help="images to evaluate on")
    parser.add_argument("--plan", type=Path, metavar="PLAN.toml", help="evaluate on the held-out pairs of this plan")
    parser.add_argument("--pairs", type=int, default=50, help="at most so many (default 50)")
    parser.add_argument("--held-out", type=float, metavar="SHARE", help="of the patients, where no list is given")
    parser.add_argument("--labels", type=int, nargs="+", default=(), help="ids to score (default: the plan's, or all)")
    parser.add_argument("--mask-threshold", type=float, help="label maps become masks: 1 above it")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=int, help="of the CPU")

    def run(options: argparse.Namespace) -> None:
        set_threads(options.threads)
        check_pair_count(options.pairs)
        if min(options.labels, default=1) < 1:
            raise InputError(f"--labels are ids from 1 on, not {min(options.labels)}.")
        if not math.isfinite(options.mask_threshold or 0.0):
            raise InputError(f"--mask-threshold is a number, not {options.mask_threshold}.")
        plan = None if options.plan is None else read_plan(options.plan)
        wanted = Wanted(
            options.data, plan, options.pairs, options.held_out, tuple(options.labels), options.mask_threshold
        )
        subjects = named_apart([subject_of(path) for path in options.models])
        rows = evaluate(subjects, wanted, choose_device(options.device))
        print(tables.write(rows, options.output, units_of(subjects, wanted)))

    parser.set_defaults(run=run)


def subject_of(path: Path) -> Evaluated:
    """The network of a bundle (a path, or the name of one in the box) or of a run's folder (its best weights).

    Raises:
        InputError: if it is neither.
    """
    if path.is_dir():
        plan = read_run_plan(path)
        network, header = trained(plan, path)
        return Evaluated(path.name, network, header, plan)
    model = load_model(path)
    described = model.header.training.get("plan")
    return Evaluated(model.name, model.network, model.header, plan_again(described) if described else None)


def named_apart(subjects: Sequence[Evaluated]) -> list[Evaluated]:
    """The same with a number where two have one name."""
    names = [subject.name for subject in subjects]
    return [
        replace(s, name=f"{s.name} ({names[: k + 1].count(s.name)})") if names.count(s.name) > 1 else s
        for k, s in enumerate(subjects)
    ]


def evaluate(subjects: Sequence[Evaluated], wanted: Wanted, device: torch.device) -> list[Row]:
    """Figures of each network on each pair.

    Raises:
        InputError: if there are no such pairs, or a network cannot take them.
    """
    held = [(subject, held_out_pairs(subject, wanted, device)) for subject in subjects]  # bad input is found first
    rows = []
    for subject, pairs in held:
        network = subject.network.to(device)
        for pair in pairs:
            began = time.perf_counter()
            u = predict_field(network, pair, device, "float32")
            seconds = time.perf_counter() - began
            name = " <- ".join(Path(image).name for image in pair.names[0].split(" <- "))
            rows.append(Row(subject.name, name, measure(u, pair.to(torch.device("cpu"))), seconds))
    return rows


def held_out_pairs(subject: Evaluated, wanted: Wanted, device: torch.device) -> list[Batch]:
    """The pairs as this network wants them: its grid and its intensities.

    Raises:
        InputError: if there are none.
    """
    plan = wanted.plan or subject.plan
    if wanted.manifest is None and plan is None:
        raise InputError(f"The model {subject.name} does not say what it was trained on; give --data or --plan.")
    if wanted.manifest is None and plan is not None and plan.synthesis is not None:
        _check_dimensions(subject, len(plan.synthesis.shape))
        check_memory(plan.synthesis.shape, wanted.pairs, "--pairs")
        signed = subject.header.normalization.output[0] < 0
        return SyntheticSource(plan.synthesis, plan.seed, device, signed=signed).validation(wanted.pairs)
    data = data_plan(subject, wanted, plan)
    seed = plan.seed if plan is not None else 0
    folder = plan.folder if plan is not None and wanted.manifest is None else Path()
    everyone = data.validation == 0
    manifest = read_manifest(folder / data.manifest, data.validation, seed)
    if everyone and not manifest.validation:
        manifest = replace(manifest, validation=manifest.training)
    source = RealSource(data, manifest, seed)
    _check_dimensions(subject, source.ndim)
    pairs = source.validation(wanted.pairs)
    if not pairs:
        raise InputError(f"The manifest {data.manifest} gives no held-out pair; list more images, or --held-out more.")
    return pairs


def data_plan(subject: Evaluated, wanted: Wanted, plan: TrainingPlan | None) -> DataPlan:
    """What to read, on the network's grid and with its intensities."""
    known = plan.data if plan is not None else None
    if known is None:
        if wanted.manifest is None:
            raise InputError("The plan has no images; give --data.")
        known = DataPlan("", validation=0.0)
    grid = subject.header.grid
    data = replace(
        known,
        manifest=known.manifest if wanted.manifest is None else str(wanted.manifest.resolve()),
        moving_normalization=subject.header.moving_normalization,
        shape=grid.size,
        spacing=grid.spacing,
        orientation=grid.orientation,
        longest=grid.longest,
        shortest=grid.shortest,
        normalization=subject.header.normalization,
        labels=wanted.labels or known.labels,
        mask_threshold=known.mask_threshold if wanted.mask_threshold is None else wanted.mask_threshold,
        validation=known.validation if wanted.held_out is None else wanted.held_out,
    )
    if not 0 <= data.validation < 1:
        raise InputError(f"--held-out is a share from 0 (all of them) to below 1, not {data.validation}.")
    return data


def units_of(subjects: Sequence[Evaluated], wanted: Wanted) -> str:
    """Of distances: mm with real images, else voxels."""
    plans = [wanted.plan or subject.plan for subject in subjects]
    synthetic = wanted.manifest is None and all(plan is not None and plan.synthesis is not None for plan in plans)
    return "voxels" if synthetic else "mm"


def _check_dimensions(subject: Evaluated, ndim: int) -> None:
    if subject.header.dimensions != ndim:
        raise InputError(
            f"The model {subject.name} is for {subject.header.dimensions}-D images and these are {ndim}-D; "
            "choose another model."
        )
