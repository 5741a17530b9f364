"""SAR-Net: two generators in a cycle, a discriminator for each image, masks and the applied field as guides.

G registers the floating onto the reference image and deploys; F goes the other way. ``options``: ``segmentation``,
``adversarial`` (false: one network alone, DIRNet), ``adversary`` and ``cycle`` (their weights; the paper: 1 and 10),
``smoothness`` (diffusion, added), ``region`` (the labels that are the mask; all if empty).

An image that is not warped at all is the best forgery where both images are of one kind, so judges that have become
strong teach the generators the identity, unless known fields or a small ``adversary`` hold against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from DeepRegistrationLib.fields import warp
from DeepRegistrationLib.losses import objectives
from DeepRegistrationLib.losses.adversarial import cycle_loss, discriminator_loss, frozen
from DeepRegistrationLib.losses.regularization import diffusion
from DeepRegistrationLib.losses.sar import content_loss, field_loss
from DeepRegistrationLib.networks.sar_net import DenseDiscriminator

from ..pairs.batch import Batch
from ..plan import TrainingPlan
from .frozen_encoder import perceptual_term
from .region import region_of
from .turns import REGISTRATION, Context, Steps, Terms, Turn, fresh, keywords, registration_network, settings

OPTIONS = {
    "segmentation": True, "adversarial": True, "adversary": 1.0, "cycle": 10.0, "smoothness": 0.0, "region": (),
    "perceptual": "",
}  # fmt: skip


def steps(plan: TrainingPlan, ndim: int) -> Steps:
    guides = keywords(objectives.sar_generator, plan.loss, "loss")
    settings(plan.options, OPTIONS, "options")
    options = {**OPTIONS, **plan.options}
    guides["perceptual"] = perceptual_term(options["perceptual"], ndim)
    networks: dict[str, Any] = {REGISTRATION: registration_network(plan, ndim)}
    if not options["adversarial"]:
        turn = Turn(REGISTRATION, (REGISTRATION,), lambda context, batch: _alone(context, batch, guides, options))
        return Steps(networks, lambda progress: (turn,))
    networks["back"] = registration_network(plan, ndim)
    networks["reference judge"] = fresh(DenseDiscriminator, plan.seed + 1, ndim)
    networks["floating judge"] = fresh(DenseDiscriminator, plan.seed + 2, ndim)

    def both_ways(context: Context, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Fields of G and F and the images they make."""
        forth = context.run(REGISTRATION, batch.fixed, batch.moving).displacement
        back = context.run("back", batch.moving, batch.fixed).displacement
        return forth, warp(batch.moving, forth), back, warp(batch.fixed, back)

    def generate(context: Context, batch: Batch) -> Terms:
        forth, as_fixed, back, as_moving = both_ways(context, batch)
        judges = context.networks["reference judge"], context.networks["floating judge"]
        masks = options["segmentation"] and batch.fixed_labels is not None and batch.moving_labels is not None
        one: dict[str, Any] = {}
        two: dict[str, Any] = {}
        if masks:
            assert batch.fixed_labels is not None
            assert batch.moving_labels is not None
            fixed_mask = region_of(batch.fixed_labels, options["region"])
            moving_mask = region_of(batch.moving_labels, options["region"])
            one = {"transformed_mask": warp(moving_mask, forth), "reference_mask": fixed_mask}
            two = {"transformed_mask": warp(fixed_mask, back), "reference_mask": moving_mask}
        if batch.displacement is not None:
            one |= {"recovered": forth, "applied": batch.displacement}
        with frozen(*judges):
            logits = context.run("reference judge", as_fixed), context.run("floating judge", as_moving)
            first = objectives.sar_generator(as_fixed, batch.fixed, logits[0], **one, **guides)
            second = objectives.sar_generator(as_moving, batch.moving, logits[1], **two, **guides)
        for terms in (first, second):
            terms["adversary"] = options["adversary"] * terms["adversary"]
        moving_again = warp(as_fixed, context.run("back", batch.moving, as_fixed).displacement)
        fixed_again = warp(as_moving, context.run(REGISTRATION, batch.fixed, as_moving).displacement)
        cycle = options["cycle"] * cycle_loss(batch.moving, moving_again, batch.fixed, fixed_again)
        terms = {**first, **{f"back {name}": term for name, term in second.items()}, "cycle": cycle}
        if options["smoothness"]:
            terms["smoothness"] = options["smoothness"] * (diffusion(forth) + diffusion(back))
        return terms

    def judge(context: Context, batch: Batch) -> Terms:
        with torch.no_grad():  # judges learn nothing about the generators
            _, as_fixed, _, as_moving = both_ways(context, batch)
        return {
            "reference judge": discriminator_loss(
                context.run("reference judge", batch.fixed), context.run("reference judge", as_fixed)
            ),
            "floating judge": discriminator_loss(
                context.run("floating judge", batch.moving), context.run("floating judge", as_moving)
            ),
        }

    turns: Sequence[Turn] = (
        Turn("judges", ("reference judge", "floating judge"), judge),
        Turn(REGISTRATION, (REGISTRATION, "back"), generate),
    )
    return Steps(networks, lambda progress: turns)


def _alone(context: Context, batch: Batch, guides: dict[str, Any], options: dict[str, Any]) -> Terms:
    u = context.register(batch).displacement
    terms = content_loss(warp(batch.moving, u), batch.fixed, guides["perceptual"])
    if batch.displacement is not None:
        terms["field"] = field_loss(u, batch.displacement, guides.get("largest", 20.0))
    if options["smoothness"]:
        terms["smoothness"] = options["smoothness"] * diffusion(u)
    return terms
