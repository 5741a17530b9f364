"""How fast each trainer is, and how much of its time goes to getting the pairs."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, replace

import torch

from ..plan import TrainingPlan
from .loop import ahead
from .run import Run
from .train import source_of


@dataclass(frozen=True)
class Speed:
    """How fast a plan is.

    Attributes:
        steps_per_second: of pairs and networks one after the other.
        data_share: share of that time in which pairs were made or read.
        waiting: share of the wall time in which the training loop, which gets pairs ahead, had to wait for one.
    """

    steps_per_second: float
    data_share: float
    waiting: float


def speed(plan: TrainingPlan, device: torch.device, steps: int = 12, warm_up: int = 3) -> Speed:
    """Time some steps of a plan from its beginning.

    On the CPU with one thread it is processor time that counts, so that other work on the machine does not.
    """
    on_cpu = device.type == "cpu" and torch.get_num_threads() == 1

    def clock() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.process_time() if on_cpu else time.perf_counter()

    plan = replace(plan, schedule=replace(plan.schedule, steps=2 * (steps + warm_up)))
    run = Run(plan, source_of(plan, device), device)
    fetching = working = 0.0
    for step in range(steps + warm_up):
        began = clock()
        batch = run.fetch(step)
        between = clock()
        run.update(batch)
        if step >= warm_up:
            fetching += between - began
            working += clock() - between
    waited = busy = 0.0
    with closing(ahead(run)) as batches:
        for number, (batch, waiting) in enumerate(batches):
            began = time.perf_counter()
            run.update(batch)
            if number >= warm_up:
                waited += waiting
                busy += waiting + time.perf_counter() - began
    together = max(fetching + working, 1e-9)
    return Speed(steps / together, fetching / together, waited / max(busy, 1e-9))
