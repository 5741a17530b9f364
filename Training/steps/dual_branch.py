"""Gradient-guided dual branch and its baselines: MIND of images and of warped gradient maps (Eqs. 2 to 5)."""

from __future__ import annotations

from DeepRegistrationLib.fields import warp
from DeepRegistrationLib.losses import objectives

from ..pairs.batch import Batch
from ..plan import TrainingPlan
from .turns import REGISTRATION, Context, Steps, Terms, Turn, keywords, registration_network, settings


def steps(plan: TrainingPlan, ndim: int) -> Steps:
    options = keywords(objectives.dual_branch, plan.loss, "loss")
    settings(plan.options, (), "options")

    def loss(context: Context, batch: Batch) -> Terms:
        prediction = context.register(batch)
        u, extras = prediction.displacement, prediction.extras
        warped = warp(batch.moving, u)
        if "gradient_displacement" not in extras:  # the baselines have one branch
            return objectives.dual_branch(warped, batch.fixed, u, **options)
        by_gradient = extras["gradient_displacement"]
        moved = warp(extras["moving_gradient"], by_gradient)
        return objectives.dual_branch(warped, batch.fixed, u, moved, extras["fixed_gradient"], by_gradient, **options)

    turn = Turn(REGISTRATION, (REGISTRATION,), loss)
    return Steps({REGISTRATION: registration_network(plan, ndim)}, lambda progress: (turn,))
