"""How each method learns: its networks, and the turns of one step. ``loop`` does the rest for all of them."""

from __future__ import annotations

from collections.abc import Callable

from DeepRegistrationLib.errors import InputError

from ..plan import TrainingPlan
from . import deform_gan, dual_branch, flownet_roi, sar_net, universal, voxelmorph
from .turns import Steps

_OF: dict[str, Callable[[TrainingPlan, int], Steps]] = {
    "universal": universal.steps,
    "voxelmorph-1": voxelmorph.steps,
    "voxelmorph-2": voxelmorph.steps,
    "dual-branch": dual_branch.steps,
    "deform-gan": deform_gan.steps,
    "sar-net": sar_net.steps,
    "flownet-roi": flownet_roi.steps,
}


def steps_of(plan: TrainingPlan, ndim: int) -> Steps:
    """The networks and turns of the plan's method.

    Raises:
        InputError: if the method cannot be trained, or a loss or option of the plan is not one of its.
    """
    if plan.method.name not in _OF:
        raise InputError(f"The method {plan.method.name} cannot be trained; choose one of {', '.join(_OF)}.")
    return _OF[plan.method.name](plan, ndim)
