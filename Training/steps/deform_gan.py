"""Deform-GAN: D, G and T take turns (Eqs. 4, 5 and 8). VoxelMorph-LG is T alone (``options.translate = false``)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from DeepRegistrationLib.fields import warp
from DeepRegistrationLib.losses import objectives
from DeepRegistrationLib.losses.adversarial import discriminator_loss, frozen
from DeepRegistrationLib.networks.deform_gan import Discriminator, Generator

from ..pairs.batch import Batch
from ..plan import TrainingPlan
from .turns import REGISTRATION, Context, Steps, Terms, Turn, fresh, keywords, registration_network, settings

OPTIONS = {"lambda_": 100.0, "mu": 5.0, "conditional": False, "translate": True}


def steps(plan: TrainingPlan, ndim: int) -> Steps:
    options = keywords(objectives.deform_gan_registration, plan.loss, "loss")
    settings(plan.options, OPTIONS, "options")
    game = {**OPTIONS, **plan.options}
    translate, conditional = bool(game["translate"]), bool(game["conditional"])
    shared = {key: options[key] for key in ("window", "form") if key in options}
    networks = {REGISTRATION: registration_network(plan, ndim)}
    if translate:
        networks["generator"] = fresh(Generator, plan.seed + 1, ndim)  # type: ignore[assignment]
        networks["discriminator"] = fresh(Discriminator, plan.seed + 2, ndim, conditional)  # type: ignore[assignment]

    @torch.no_grad()
    def warped_now(context: Context, batch: Batch) -> Tensor:
        return warp(batch.moving, context.register(batch).displacement)

    def judge(context: Context, batch: Batch) -> Terms:
        warped = warped_now(context, batch)
        with torch.no_grad():
            made = context.run("generator", warped).float()
        condition = warped if conditional else None
        real = context.run("discriminator", batch.fixed, condition)
        return {"discriminator": discriminator_loss(real, context.run("discriminator", made, condition))}

    def generate(context: Context, batch: Batch) -> Terms:
        warped = warped_now(context, batch)
        made = context.run("generator", warped).float()
        with frozen(context.networks["discriminator"]):
            logits = context.run("discriminator", made, warped if conditional else None)
            return objectives.deform_gan_translation(
                batch.fixed, warped, made, logits, lambda_=game["lambda_"], mu=game["mu"], **shared
            )

    def register(context: Context, batch: Batch) -> Terms:
        u = context.register(batch).displacement
        warped = warp(batch.moving, u)
        if not translate:
            return objectives.deform_gan_registration(batch.fixed, warped, u, **options)
        with frozen(context.networks["generator"]):
            made = context.run("generator", warped).float()
            return objectives.deform_gan_registration(batch.fixed, warped, u, made, **options)

    last = Turn(REGISTRATION, (REGISTRATION,), register)
    turns: Sequence[Turn] = (last,)
    if translate:
        turns = (Turn("D", ("discriminator",), judge), Turn("G", ("generator",), generate), last)
    # D halves its input five times; batch normalization needs two values a channel after that.
    smallest = 33 if translate and plan.batch == 1 else 16
    return Steps(dict(networks), lambda progress: turns, smallest=smallest, one_way=translate)
