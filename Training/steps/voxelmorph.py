"""VoxelMorph: one network, similarity plus smoothness, without supervision (CVPR 2018, Eq. 6)."""

from __future__ import annotations

from DeepRegistrationLib.fields import warp
from DeepRegistrationLib.losses import objectives

from ..pairs.batch import Batch
from ..plan import TrainingPlan
from .turns import REGISTRATION, Context, Steps, Terms, Turn, keywords, registration_network, settings


def steps(plan: TrainingPlan, ndim: int) -> Steps:
    options = keywords(objectives.voxelmorph, plan.loss, "loss")
    settings(plan.options, (), "options")

    def loss(context: Context, batch: Batch) -> Terms:
        u = context.register(batch).displacement
        return objectives.voxelmorph(warp(batch.moving, u), batch.fixed, u, **options)

    turn = Turn(REGISTRATION, (REGISTRATION,), loss)
    return Steps({REGISTRATION: registration_network(plan, ndim)}, lambda progress: (turn,))
