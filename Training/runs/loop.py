"""The one training loop: every method, one process or several, stopped and resumed at any step."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import torch
import torch.distributed as dist

from DeepRegistrationLib.errors import InputError

from ..limits import check_memory
from ..pairs.batch import Batch, Source
from ..plan import RUN_PLAN, TrainingPlan, write_plan
from ..safe_files import keep_inputs
from ..synthesis.contact_sheet import write_png
from . import checkpoint as files
from .logs import LOG, Bar, Log
from .pictures import picture_of
from .run import Run
from .validation import validate


def train(
    plan: TrainingPlan,
    source: Source,
    folder: Path,
    device: torch.device,
    *,
    start_from: Path | None = None,
    tensorboard: bool = True,
    quiet: bool = False,
) -> Run:
    """Train, or go on where the checkpoint in ``folder`` stands; ``folder`` gets log, checkpoints and pictures.

    ``start_from``: a bundle whose weights a new run starts with (growing image sizes, another kind of data).

    Raises:
        InputError: the data do not fit the method, or the folder holds another run.
        TrainingFailed: the loss is not finite.
        NotWritten: a checkpoint cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The run cannot be kept in {folder} ({error.strerror}); choose another folder.") from error
    if plan.data is not None:
        manifest = plan.folder / plan.data.manifest
        for name in (RUN_PLAN, LOG, files.NAME, files.BEST):
            keep_inputs(folder / name, [manifest, start_from])
    check_size(plan, source, device)
    run = Run(plan, source, device)
    last = folder / files.NAME
    if last.exists():
        run.restore(files.read_checkpoint(last), folder)
    elif start_from is not None:
        run.start_from(start_from)
    main = run.rank == 0
    if main:
        write_plan(plan, folder)
    held = source.validation(plan.schedule.validation_pairs) if main and plan.schedule.validate_every else []
    with ExitStack() as stack:
        log = Log(folder, run.progress.step, tensorboard) if main else None
        bar = Bar(plan.schedule.steps, run.progress.step) if main and not quiet else None
        for opened in (log, bar):
            if opened is not None:
                stack.callback(opened.close)
        try:
            _steps(run, folder, held, log, bar)
        except KeyboardInterrupt:
            if main and run.between_steps:
                files.write_checkpoint(last, run.state())
            raise
    return run


def check_size(plan: TrainingPlan, source: Source, device: torch.device) -> None:
    """Refuse a batch or a validation beyond memory before anything is allocated.

    Raises:
        InputError: if they do not fit.
    """
    shape = source.shape
    check_memory(shape, plan.batch, "schedule.batch", device)
    if plan.schedule.validate_every:
        check_memory(shape, plan.schedule.validation_pairs, "schedule.validation_pairs")


def _steps(run: Run, folder: Path, held: Sequence[Batch], log: Log | None, bar: Bar | None) -> None:
    schedule, progress = run.plan.schedule, run.progress
    if log is not None and held and progress.step == 0:
        _validate(run, folder, held, log)
    waited = worked = 0.0
    saved, processor = progress.step, time.process_time()
    for batch, waiting in ahead(run):
        began = time.monotonic()
        values = run.update(batch)
        step = progress.step
        worked += time.monotonic() - began
        waited += waiting
        progress.seconds += waiting + time.monotonic() - began
        if bar is not None:
            bar.show(step, values["loss"], f"Dice {progress.scores['dice']:.3f}" if "dice" in progress.scores else "")
        if log is not None and _due(step, schedule.log_every, schedule.steps):
            share = waited / max(waited + worked, 1e-9)
            now = time.process_time()
            more = {"learning_rate": run.learning_rate(step - 1), "waiting": share, "processor": now - processor}
            log.write(step, "train", {**values, **more})
            waited, worked, processor = 0.0, 0.0, now
        if log is not None and held and _due(step, schedule.validate_every, schedule.steps):
            _validate(run, folder, held, log)
        if log is not None and schedule.pictures_every and _due(step, schedule.pictures_every, schedule.steps):
            _draw(run, folder, (list(held) or [batch])[:4], log)
        if run.rank == 0 and _due(step, schedule.checkpoint_every, schedule.steps):
            files.write_checkpoint(folder / files.NAME, run.state())
            saved = step
        if _stop_early(run):
            break
    if run.rank == 0 and saved != progress.step:
        files.write_checkpoint(folder / files.NAME, run.state())


def _due(step: int, every: int, end: int) -> bool:
    return bool(every) and (step % every == 0 or step == end)


def ahead(run: Run) -> Generator[tuple[Batch, float], None, None]:
    """The batches from the current step on and the seconds waited for each; reading goes on meanwhile."""
    first, end = run.progress.step, run.plan.schedule.steps
    with ThreadPoolExecutor(1) as pool:
        coming: Future[Batch] | None = None
        for step in range(first, end):
            began = time.monotonic()
            batch = run.fetch(step) if coming is None else coming.result()
            waited = time.monotonic() - began
            coming = pool.submit(run.fetch, step + 1) if run.source.reads and step + 1 < end else None
            yield batch, waited


def _validate(run: Run, folder: Path, held: Sequence[Batch], log: Log) -> None:
    progress = run.progress
    scores = validate(run.averaged(), held, run.device, run.plan.schedule.precision)
    progress.scores = scores
    log.write(progress.step, "validation", scores)
    if scores["score"] > progress.best:
        progress.best, progress.without_better = scores["score"], 0
        best = {"step": progress.step, "scores": scores, "weights": run.averaged().state_dict()}
        files.write_checkpoint(folder / files.BEST, best)
    else:
        progress.without_better += 1


def _stop_early(run: Run) -> bool:
    """Whether validation has not become better for long; all processes agree on it."""
    patience = run.plan.schedule.patience
    if not patience or not _due(run.progress.step, run.plan.schedule.validate_every, run.plan.schedule.steps):
        return False
    stop = torch.tensor(float(run.progress.without_better >= patience), device=run.device)
    if run.processes > 1:
        dist.broadcast(stop, 0)
    return bool(stop)


def _draw(run: Run, folder: Path, pairs: Sequence[Batch], log: Log) -> None:
    picture = picture_of(run.averaged(), pairs, run.device, run.plan.schedule.precision)
    target = folder / "pictures" / f"{run.progress.step:07d}.png"
    target.parent.mkdir(exist_ok=True)
    write_png(picture, target)
    log.picture(run.progress.step, picture)
