"""How fast each trainer is, and how much of its time goes to getting the pairs."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from .plan import TrainingPlan
from .run import Run
from .train import source_of


@dataclass(frozen=True)
class Speed:
    """Steps a second, and the share of the time spent on getting pairs when that is not done meanwhile."""

    steps_per_second: float
    data_share: float


def speed(plan: TrainingPlan, device: torch.device, steps: int = 12, warm_up: int = 3) -> Speed:
    """Time some steps of a plan from its beginning.

    On the CPU with one thread it is processor time that counts, so that other work on the machine does not.
    """
    on_cpu = device.type == "cpu" and torch.get_num_threads() == 1

    def clock() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.process_time() if on_cpu else time.perf_counter()

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
    return Speed(steps / max(fetching + working, 1e-9), fetching / max(fetching + working, 1e-9))
