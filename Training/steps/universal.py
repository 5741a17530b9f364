"""The universal network: the known map first (end-point error on all levels), then overlap of labels (METHODS 6).

Values of ``loss``: ``end_point`` weight at first, ``end_point_after`` later on, ``dice`` and ``smoothness`` (diffusion
of the finest velocity) later on. ``options.end_point_share``: how much of the run comes first.
``options.unsupervised``: real pairs, of one kind of image, whose map nobody knows: VoxelMorph's objective (LCC with its
sign, smoothness 1), and the overlap of labels where both images have them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from DeepRegistrationLib import fields
from DeepRegistrationLib.losses.objectives import voxelmorph
from DeepRegistrationLib.losses.regularization import diffusion
from DeepRegistrationLib.networks import Prediction
from DeepRegistrationLib.networks.universal import SQUARINGS, UniversalNetwork

from ..pairs.batch import Batch
from ..plan import TrainingPlan
from .known import label_weight, mean_length
from .turns import REGISTRATION, Context, Steps, Terms, Turn, registration_network, settings

LOSS = {"end_point": 1.0, "end_point_after": 0.2, "dice": 1.0, "smoothness": 0.05}
OPTIONS = {"end_point_share": 0.25, "unsupervised": False}


def steps(plan: TrainingPlan, ndim: int) -> Steps:
    settings(plan.loss, LOSS, "loss")
    settings(plan.options, OPTIONS, "options")
    weights, options = {**LOSS, **plan.loss}, {**OPTIONS, **plan.options}
    share = options["end_point_share"]

    def unsupervised(context: Context, batch: Batch) -> Terms:
        u = context.register(batch).displacement
        terms = voxelmorph(fields.warp(batch.moving, u), batch.fixed, u, signed=True)
        if weights["dice"] and batch.fixed_labels is not None and batch.moving_labels is not None:
            terms["dice"] = weights["dice"] * label_loss(u, batch)
        return terms

    def loss(context: Context, batch: Batch) -> Terms:
        prediction = context.register(batch)
        early = context.progress < share
        terms: Terms = {}
        weight = weights["end_point" if early else "end_point_after"]
        if weight:
            terms["end point"] = weight * end_point_error(prediction, batch)
        if not early:
            assert prediction.velocity is not None
            terms["dice"] = weights["dice"] * label_loss(prediction.displacement, batch)
            terms["smoothness"] = weights["smoothness"] * diffusion(prediction.velocity)
        return terms

    network = registration_network(plan, ndim)
    assert isinstance(network, UniversalNetwork)
    turn = Turn(REGISTRATION, (REGISTRATION,), unsupervised if options["unsupervised"] else loss)
    needs: frozenset[str] = frozenset() if options["unsupervised"] else frozenset({"labels", "displacement"})
    return Steps({REGISTRATION: network}, lambda progress: (turn,), needs, network.divisor)


def end_point_error(prediction: Prediction, batch: Batch) -> Tensor:
    """Mean distance in voxels of the predicted from the true map: the finest level plus half of each coarser one."""
    assert batch.displacement is not None
    assert batch.fixed_labels is not None
    weight = label_weight(batch)
    total = batch.fixed.new_zeros(())
    velocities = prediction.extras["velocities"]
    for level, v in enumerate(velocities):
        last = level == len(velocities) - 1
        u = fields.exponentiate(v, SQUARINGS)
        size = u.shape[2:]
        voxel = batch.fixed.shape[2] / size[0]
        error = mean_length(u - fields.resize(batch.displacement, size), fields.resize_image(weight, size))
        total = total + (1.0 if last else 0.5) * voxel * error
    return total


def label_loss(u: Tensor, batch: Batch) -> Tensor:
    """1 - soft Dice of the labels at half resolution, where a label's share of a voxel is its probability."""
    assert batch.fixed_labels is not None
    assert batch.moving_labels is not None
    half = [max(1, s // 2) for s in u.shape[2:]]
    present = torch.unique(batch.fixed_labels)
    present = present[present > 0]
    fixed = fields.resize_image(_one_hot(batch.fixed_labels, present), half)
    moving = fields.resize_image(_one_hot(batch.moving_labels, present), half)
    seen = torch.ones_like(fixed[:, :1]) if batch.weight is None else fields.resize_image(batch.weight, half)
    warped = fields.warp(moving, fields.resize(u, half)) * seen
    axes = list(range(2, u.ndim))
    there = (fixed * seen).sum(axes)
    overlap = 2 * (warped * fixed).sum(axes) / (warped.sum(axes) + there).clamp_min(1e-5)
    # Each item counts its own labels, whichever the others of the batch have: then processes may share a batch.
    own = (there > 0).float()
    return 1 - ((overlap * own).sum(1) / own.sum(1).clamp_min(1)).mean()


def _one_hot(labels: Tensor, present: Tensor) -> Tensor:
    return (labels == present.view(1, -1, *[1] * (labels.ndim - 2))).float()
