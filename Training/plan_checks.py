"""What a plan may say: checked before anything is read or computed. Each raises InputError with one sentence."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.models.header import Normalization
from DeepRegistrationLib.models.presets import Optimizer

from .limits import LARGEST_SIDE
from .synthesis.plan import check_deform

if TYPE_CHECKING:
    from .plan import DataPlan, Schedule

PAIRINGS = ("pairwise", "atlas", "intra")
PRECISIONS = ("float32", "bfloat16")
DECAYS = ("none", "cosine")
MOST_STEPS = 1_000_000_000
"""Years of training: more is a slip of the keyboard."""


def check_data(plan: DataPlan) -> None:
    """What ``[data]`` says."""
    _check_one_way(plan)
    for name in ("normalization", "moving_normalization"):
        _check_normalization(getattr(plan, name), f"data.{name}")
    if plan.pairing not in PAIRINGS:
        raise InputError(f"data.pairing is one of {', '.join(PAIRINGS)}, not {plan.pairing!r}.")
    if plan.pairing == "atlas" and not plan.atlas:
        raise InputError('The pairing "atlas" needs data.atlas, the image all others are registered to.')
    for name in ("shape", "spacing"):
        values_of = getattr(plan, name)
        if values_of is not None and (len(values_of) not in (2, 3) or any(n <= 0 for n in values_of)):
            raise InputError(f"data.{name} needs numbers above 0, 2 or 3 of them, not {list(values_of)}.")
    sides = [(f"data.{name}", getattr(plan, name)) for name in ("longest", "shortest")]
    for name, side in [*sides, *(("data.shape", n) for n in plan.shape or ())]:
        if side is not None and not 1 <= side <= LARGEST_SIDE:
            raise InputError(f"{name} must be from 1 to {LARGEST_SIDE} voxels, not {side}.")
    if plan.cache_gb < 0:
        raise InputError(f"data.cache_gb must not be negative, as {plan.cache_gb} is.")
    if plan.deform is not None:
        check_deform(plan.deform, "data.deform")
    if not 0 <= plan.validation < 1:
        raise InputError(f"data.validation is a share from 0 to below 1, not {plan.validation}.")


def _check_one_way(plan: DataPlan) -> None:
    if bool(plan.fixed_images) != bool(plan.moving_images):
        raise InputError("data.fixed_images and data.moving_images go together; give both, or none.")
    if plan.fixed_images and plan.pairing != "intra":
        raise InputError('data.fixed_images and data.moving_images are for data.pairing = "intra".')


def _check_normalization(normalization: Normalization | None, name: str) -> None:
    if normalization is None:
        return
    n = normalization
    if n.kind not in ("percentile", "range"):
        raise InputError(f'{name}.kind is "percentile" or "range", not {n.kind!r}.')
    if not n.low < n.high or (n.kind == "percentile" and not 0 <= n.low < n.high <= 100):
        raise InputError(f"{name} needs low below high (percentiles from 0 to 100), not {n.low} and {n.high}.")


def check_optimizer(optimizer: Optimizer) -> None:
    o = optimizer
    if o.learning_rate <= 0:
        raise InputError(f"optimizer.learning_rate must be above 0, not {o.learning_rate}.")
    if not all(0 <= beta < 1 for beta in o.betas):
        raise InputError(f"optimizer.betas must be two decays from 0 to below 1, not {list(o.betas)}.")
    for name in ("eps", "weight_decay", "halve_after", "epochs", "steps"):
        value = getattr(o, name)
        if value is not None and value < 0:
            raise InputError(f"optimizer.{name} must not be negative, as {value} is.")
    if o.batch < 1:
        raise InputError(f"optimizer.batch must be at least 1, not {o.batch}.")


def check_schedule(schedule: Schedule) -> None:
    for name, known in (("precision", PRECISIONS), ("decay", DECAYS)):
        if getattr(schedule, name) not in known:
            raise InputError(f"schedule.{name} is one of {', '.join(known)}, not {getattr(schedule, name)!r}.")
    for f in fields(schedule):
        value = getattr(schedule, f.name)
        if isinstance(value, int | float) and value < 0:
            raise InputError(f"schedule.{f.name} must not be negative, as {value} is.")
    if schedule.steps < 1 or (schedule.batch is not None and schedule.batch < 1):
        raise InputError("schedule.steps and schedule.batch must be at least 1.")
    check_steps(schedule.steps)
    if not 0 <= schedule.average < 1:
        raise InputError(f"schedule.average is a decay from 0 to below 1, not {schedule.average}.")


def check_steps(count: int, name: str = "schedule.steps") -> None:
    if not 1 <= count <= MOST_STEPS:
        raise InputError(f"{name} must be at least 1 and at most {MOST_STEPS}, not {count}.")
