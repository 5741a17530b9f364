"""FlowNet with ROI masks: the ROI network first, then both (Eqs. 3 to 7); or supervised by known fields.

``options``: ``eta`` weight of the ROI network's loss, ``overlap`` the overlap term ("M") of the masks that the ROI
network finds (of the label maps where there is none), ``supervised``, ``roi_share`` of the run in which the ROI network
learns alone, ``roi_slow_after`` the share after which its learning rate is ``roi_slow`` times the plan's (supervised:
1e-7 in place of 1e-4 after 4 of 10 epochs), ``region`` the labels that are the mask (all if empty).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from DeepRegistrationLib import fields
from DeepRegistrationLib.losses.labels import hnn_loss
from DeepRegistrationLib.losses.multiscale import multiscale_loss
from DeepRegistrationLib.networks.blocks import pad_to_multiple
from DeepRegistrationLib.networks.flownet_roi import FlowNetROI, FlowNetSimple

from ..pairs.batch import Batch
from ..plan import TrainingPlan
from .region import region_of
from .turns import REGISTRATION, Context, Steps, Terms, Turn, keywords, registration_network, settings

OPTIONS = {
    "eta": 1.0, "overlap": False, "supervised": False, "roi_share": 0.2, "region": (), "roi_slow_after": 1.0,
    "roi_slow": 1e-3,
}  # fmt: skip


def steps(plan: TrainingPlan, ndim: int) -> Steps:
    weights = keywords(multiscale_loss, plan.loss, "loss")
    settings(plan.options, OPTIONS, "options")
    options = {**OPTIONS, **plan.options}
    network = registration_network(plan, ndim)
    assert isinstance(network, FlowNetROI)
    roi = network.hnn is not None

    def region(logits: tuple[Tensor, list[Tensor]], labels: Tensor) -> Tensor:
        return hnn_loss(logits[1], logits[0], region_of(labels, options["region"]))

    def find_region(context: Context, batch: Batch) -> Terms:
        assert batch.fixed_labels is not None
        hnn = context.networks[REGISTRATION].hnn
        low = context.precision == "bfloat16"
        with torch.autocast(batch.fixed.device.type, torch.bfloat16, enabled=low):
            fused, sides = hnn(batch.fixed)  # type: ignore[operator]
        return {"region": options["eta"] * region((fused, sides), batch.fixed_labels)}

    def register(context: Context, batch: Batch) -> Terms:
        prediction = context.register(batch)
        flows, extras = prediction.extras["flows"], prediction.extras
        fixed, moving = (pad_to_multiple(x, FlowNetSimple.divisor) for x in (batch.fixed, batch.moving))
        terms: Terms
        if options["supervised"]:
            assert batch.displacement is not None
            truth = pad_to_multiple(batch.displacement, FlowNetSimple.divisor)
            terms = {"end point": torch.stack([_end_point(flow, truth) for flow in flows]).mean()}
        else:
            masks: dict[str, Any] = {}
            if options["overlap"] and roi:  # as printed: what the network finds, not what was outlined
                for name in ("fixed_mask", "moving_mask"):
                    masks[name] = pad_to_multiple(extras[name], FlowNetSimple.divisor)
            elif options["overlap"]:
                assert batch.fixed_labels is not None
                assert batch.moving_labels is not None
                for name, labels in (("fixed_mask", batch.fixed_labels), ("moving_mask", batch.moving_labels)):
                    masks[name] = pad_to_multiple(region_of(labels, options["region"]), FlowNetSimple.divisor)
            terms = multiscale_loss(fixed, moving, flows, **masks, **weights)
        if roi and batch.fixed_labels is not None and batch.moving_labels is not None:
            both = region(extras["fixed_logits"], batch.fixed_labels)
            both = both + region(extras["moving_logits"], batch.moving_labels)
            terms["region"] = options["eta"] * both / 2
        return terms

    first, then = Turn("region", (REGISTRATION,), find_region), Turn(REGISTRATION, (REGISTRATION,), register)
    needs = {"labels"} if roi or options["overlap"] else set()
    return Steps(
        {REGISTRATION: network},
        lambda progress: (first,) if roi and progress < options["roi_share"] else (then,),
        frozenset(needs | ({"displacement"} if options["supervised"] else set())),
        slowed=("hnn.", options["roi_slow_after"], options["roi_slow"]) if roi else None,
    )


def _end_point(flow: Tensor, truth: Tensor) -> Tensor:
    """Mean distance at a flow's own scale, in its pixels."""
    error = flow - fields.resize(truth, flow.shape[2:])
    return (error.square().sum(1) + 1e-4).sqrt().mean()
