"""``fit``: one command from a folder of images to a better model for just these; refused if it is not better."""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from DeepRegistrationLib import __version__
from DeepRegistrationLib.device import choose_device
from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import read_image
from DeepRegistrationLib.models.bundle import Model, list_bundles, load_model, save_bundle
from DeepRegistrationLib.models.catalog import ALL, UNIVERSAL
from DeepRegistrationLib.models.header import BOX, ENDING
from DeepRegistrationLib.models.methods import COHORT, find_method, fresh_model, taken_bundle
from DeepRegistrationLib.models.worth import WORTH_KEY, as_scores

from ..limits import set_threads
from ..pairs.cohort import FEWEST_IMAGES, find_images, prepare
from ..pairs.manifest import read_manifest
from ..plan import RUN_PLAN, TrainingPlan, plan_of, read_run_plan
from ..plan_checks import check_steps
from ..safe_files import keep_inputs
from .checkpoint import TrainingFailed
from .export import trained
from .judge import judge
from .run import Run
from .train import source_of, start

FOR_TRAINING = 0.75
"""Share of the time; the rest is for aligning the images and for judging."""
LONGEST_RUN = 7 * 24 * 60.0
RATE = 3e-4
"""Learning rate: of weights that have learned already."""


@dataclass(frozen=True)
class Wish:
    """What ``fit`` was asked for; see its command."""

    folder: Path
    output: Path
    start: str | None = None
    images: str | None = None
    labels: str | None = None
    minutes: float = 60.0
    steps: int | None = None
    run: Path | None = None
    device: str = "auto"
    quiet: bool = False

    @property
    def place(self) -> Path:
        return self.run or self.output.with_name(f"{self.output.stem}-run")

    def tell(self, text: str) -> None:
        if not self.quiet:
            print(text, flush=True)


def add_fit(commands: argparse._SubParsersAction) -> None:
    """``fit FOLDER MODEL.safetensors``."""
    parser = commands.add_parser("fit", help="from a folder of images to a better model for just these")
    parser.add_argument("folder", type=Path, help=f"{FEWEST_IMAGES} images or more, with label maps or without")
    parser.add_argument("output", type=Path, metavar=f"MODEL{ENDING}")
    parser.add_argument("--start", metavar="MODEL", help="weights to begin with (default: the universal network's)")
    parser.add_argument("--images", metavar="PATTERN", help="one *, the name of the case (default: every image)")
    parser.add_argument("--labels", metavar="PATTERN", help="one *, the name of the case (default: CASE_seg and such)")
    parser.add_argument("--minutes", type=float, default=60.0, help="about how long all of it takes (default 60)")
    parser.add_argument("--steps", type=int, help="of training, in place of as many as the time allows")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="what it works with (default: beside the model)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=int, help="of the CPU")
    parser.add_argument("--quiet", action="store_true")

    def run(o: argparse.Namespace) -> None:
        set_threads(o.threads)
        wish = Wish(o.folder, o.output, o.start, o.images, o.labels, o.minutes, o.steps, o.work, o.device, o.quiet)
        print(fit(wish))

    parser.set_defaults(run=run)


def fit(wish: Wish) -> str:
    """Train on the folder and write the model if it is better; the figures in words.

    The weights begin as those of a model that is here and learn on pairs of these images, aligned as a whole; a fifth
    of the images, never learned from, judges. Stopped, the same command goes on.

    Raises:
        InputError: the folder, the names or the start cannot be used.
        TrainingFailed: the new weights are not better, so that nothing is written.
    """
    began = time.monotonic()
    _check(wish)
    found = find_images(wish.folder, wish.images, wish.labels)
    keep_inputs(wish.output, [path for each in found for path in (each.image, each.label) if path is not None])
    old, path = _start(wish, read_image(found[0].image, "image").ndim)
    divisor = math.lcm(16, getattr(old.network, "divisor", 1))
    manifest = prepare(found, old.header.grid, divisor, wish.place / "images", wish.tell)
    plan = _plan(wish, old, manifest, began)
    start(plan, wish.place / "training", wish.device, start_from=path, quiet=wish.quiet)
    network, header = trained(plan, wish.place / "training")
    cohort = {"images": len(found), "from": old.name}
    header = replace(
        header,
        grid=old.header.grid,
        normalization=old.header.normalization,
        modality=f"images such as those of {wish.output.stem}",
        training={**header.training, COHORT: cohort},
    )
    draft = wish.place / f"{wish.output.stem}{ENDING}"
    save_bundle(draft, network, header)
    held = read_manifest(manifest).validation
    verdict = judge(load_model(draft), draft, old, held, f"{wish.output.stem} images", wish.tell)
    if not verdict.better:
        raise TrainingFailed(
            f"The new weights are not better on held-out pairs than those they began with ({verdict.text}), so no "
            "model was written; give more images, more --minutes or another --start."
        )
    scores = {**header.scores, "folds": verdict.folds[0]}
    if verdict.worth is not None:
        scores[WORTH_KEY] = as_scores([verdict.worth], f"version {__version__}")
    save_bundle(wish.output, network, replace(header, scores=scores))
    return f"wrote {wish.output}: {verdict.text}; import it in the panel under Models"


def _check(wish: Wish) -> None:
    name = wish.output.stem
    if wish.output.suffix != ENDING:
        raise InputError(f"A model's file ends in {ENDING}, not {wish.output.name}.")
    if name in {method.name for method in ALL} or (BOX / f"{name}{ENDING}").exists():
        raise InputError(f"The name {name} is that of a method or model that comes along; choose another one.")
    if not 0 < wish.minutes <= LONGEST_RUN:
        raise InputError(f"--minutes is a number above 0, up to {LONGEST_RUN:g}, not {wish.minutes:g}.")
    if wish.steps is not None:
        check_steps(wish.steps, "--steps")
    if not wish.output.resolve().parent.is_dir():
        raise InputError(f"The folder of {wish.output} does not exist; make it first.")
    choose_device(wish.device)


def _start(wish: Wish, ndim: int) -> tuple[Model, Path]:
    """The model to begin with, and its file."""
    if wish.start is None:
        bundle = taken_bundle(UNIVERSAL, ndim)
        if bundle is None:
            raise InputError(f"There are no weights of {UNIVERSAL.title} for {ndim}-D images here; give --start MODEL.")
        path = bundle.path
    else:
        path = next((b.path for b in list_bundles() if b.name == wish.start), Path(wish.start))
    model = load_model(path)
    if model.header.dimensions != ndim:
        raise InputError(
            f"The model {model.name} is for {model.header.dimensions}-D images and these are {ndim}-D; give another "
            "--start."
        )
    if model.header.method not in LOSSES:
        raise InputError(
            f"The model {model.name} learns by more than pairs of images; begin with one of {', '.join(LOSSES)}."
        )
    return model, path


LOSSES = {
    "universal": {"options": {"unsupervised": True}},
    "voxelmorph-1": {"loss": {"signed": True}},
    "voxelmorph-2": {"loss": {"signed": True}},
}
"""What a method that began on generated pairs learns real ones by."""


def _plan(wish: Wish, old: Model, manifest: Path, began: float) -> TrainingPlan:
    """The plan of an earlier run of this command, else one whose steps take what is left of the time."""
    if (wish.place / "training" / RUN_PLAN).exists():
        return read_run_plan(wish.place / "training")
    header = old.header
    normal = header.normalization
    table = {
        "method": header.method,
        **({"variant": header.variant} if header.variant else {}),
        "network": _changed(old),
        "data": {
            "manifest": str(manifest.resolve()),
            "normalization": {**vars(normal), "output": list(normal.output)},
        },
        "optimizer": {"learning_rate": RATE},
        "schedule": {"batch": 1, "warm_up": 10, "decay": "cosine", "clip": 1.0, "average": 0.95, "validation_pairs": 8},
        **LOSSES[header.method],
    }
    plan = plan_of(table)
    steps = wish.steps or _steps_in_time(wish, plan, began)
    every = max(10, steps // 8)
    schedule = replace(plan.schedule, steps=steps, validate_every=every, checkpoint_every=every, log_every=every)
    return replace(plan, schedule=schedule)


def _changed(old: Model) -> dict[str, Any]:
    """The arguments of its network that are not those of its method's."""
    header = old.header
    usual = fresh_model(find_method(header.method), header.dimensions, variant=header.variant).header.arguments
    return {key: value for key, value in header.arguments.items() if value != usual.get(key)}


def _steps_in_time(wish: Wish, plan: TrainingPlan, began: float) -> int:
    """As many as fit into what is left of the time; found by two steps that are forgotten."""
    device = choose_device(wish.device)
    run = Run(plan, source_of(plan, device), device)
    run.update(run.fetch(0))  # loads everything
    timed = time.monotonic()
    for step in (1, 2):
        run.update(run.fetch(step))
    seconds = (time.monotonic() - timed) / 2
    left = FOR_TRAINING * 60 * wish.minutes - (time.monotonic() - began)
    steps = max(20, min(20_000, int(left / (1.15 * seconds))))  # validations take their share
    wish.tell(f"{steps} steps of {seconds:.2f} s")
    return steps
