"""Gradient-guided dual branch and its baselines: MIND of images and of warped gradient maps (Eqs. 2 to 5).

The paper's loss is that alone. On generated pairs, whose answer is known, a plan may teach by it (``options``), each
term of the fused field and half of it of the gradient branch's:

* ``common``: weight of 1 - LCC between the two label maps shown in one contrast, drawn anew each step. What the network
  sees are two contrasts; that its field aligns them is judged where there is one.
* ``known``: weight of the end-point error of the known map, voxel by voxel and in means of 4 voxels along each axis.
* ``gradient_first``: the share of the run in which the gradient branch learns alone: edges are where they are in any
  contrast. The image branch and the fusion join then.
* ``paper_from``: the share of the run after which the paper's image and gradient terms join (0: from the beginning, 1:
  never); the smoothness of both fields counts all along.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.fields import warp
from DeepRegistrationLib.losses import objectives
from DeepRegistrationLib.networks import Prediction, RegistrationNetwork
from DeepRegistrationLib.networks.dual_branch import DualBranch
from DeepRegistrationLib.similarity.measures import lncc

from ..pairs.batch import Batch
from ..plan import TrainingPlan
from .known import label_weight, mean_length
from .turns import REGISTRATION, Context, Steps, Terms, Turn, keywords, registration_network, settings

OPTIONS = {"common": 0.0, "known": 0.0, "gradient_first": 0.0, "paper_from": 0.0}
CONTRASTS = 2
"""In which the label maps are shown at a time: one alone leaves some borders without contrast."""
COARSE = 4
"""Voxels along each axis that the coarse end-point error is averaged over."""


def steps(plan: TrainingPlan, ndim: int) -> Steps:
    given = keywords(objectives.dual_branch, plan.loss, "loss")
    settings(plan.options, OPTIONS, "options")
    options = {**OPTIONS, **plan.options}
    network = registration_network(plan, ndim)
    _check(options, network)

    def loss(context: Context, batch: Batch) -> Terms:
        if context.progress < options["gradient_first"]:
            alone = context.run(REGISTRATION, batch.fixed, batch.moving, images=False)
            prediction = Prediction(alone.displacement)
            return taught(prediction, batch, options) | smoothness(prediction, given)
        prediction = context.register(batch)
        terms = taught(prediction, batch, options)
        if context.progress >= options["paper_from"]:
            return terms | printed(prediction, batch, given)
        return terms | smoothness(prediction, given)

    turn = Turn(REGISTRATION, (REGISTRATION,), loss)
    needs = {"common": "labels", "known": "displacement"}
    needed = frozenset(need for name, need in needs.items() if options[name])
    return Steps({REGISTRATION: network}, lambda progress: (turn,), needed)


def _check(options: Mapping[str, float], network: RegistrationNetwork) -> None:
    for name in ("common", "known"):
        if options[name] < 0:
            raise InputError(f"options.{name} is a weight from 0 on, not {options[name]}.")
    for name in ("gradient_first", "paper_from"):
        if not 0 <= options[name] <= 1:
            raise InputError(f"options.{name} is a share of the run from 0 to 1, not {options[name]}.")
        if options[name] and not (options["common"] or options["known"]):
            raise InputError(
                f"Until options.{name} nothing would be compared; give options.common or options.known a weight."
            )
    if options["gradient_first"] and not isinstance(network, DualBranch):
        raise InputError("A network of one branch has no gradient branch to learn first; leave out gradient_first.")


def printed(prediction: Prediction, batch: Batch, given: Mapping[str, Any]) -> Terms:
    """The paper's terms; the baselines have one branch."""
    u, extras = prediction.displacement, prediction.extras
    warped = warp(batch.moving, u)
    if "gradient_displacement" not in extras:
        return objectives.dual_branch(warped, batch.fixed, u, **given)
    by_gradient = extras["gradient_displacement"]
    moved = warp(extras["moving_gradient"], by_gradient)
    both = (warped, batch.fixed, u, moved, extras["fixed_gradient"], by_gradient)
    return objectives.dual_branch(*both, **given)


def smoothness(prediction: Prediction, given: Mapping[str, Any]) -> Terms:
    """The paper's smoothness alone, with its weights."""
    weights = {name: given[name] for name in ("beta", "gamma") if name in given}
    by_gradient = prediction.extras.get("gradient_displacement")
    return objectives.dual_branch_smoothness(prediction.displacement, by_gradient, **weights)


def taught(prediction: Prediction, batch: Batch, options: Mapping[str, float]) -> Terms:
    """What is known of generated pairs: ``common`` and ``known`` as the module says; a weight of 0 leaves one out."""
    common, known = options["common"], options["known"]
    answers = {"": (1.0, prediction.displacement)}
    if "gradient_displacement" in prediction.extras:
        answers["gradient "] = (0.5, prediction.extras["gradient_displacement"])
    terms: Terms = {}
    if common:
        fixed, moving, seen = common_contrast(batch)
        for name, (share, u) in answers.items():
            terms[f"{name}common"] = common * share * (1 - lncc(warp(moving, u) * seen, fixed * seen))
    if known:
        for name, (share, u) in answers.items():
            terms[f"{name}known"] = known * share * known_error(u, batch)
    return terms


def common_contrast(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Both label maps with the same random intensities, slightly blurred: (N, CONTRASTS, *S) each, and what is seen.

    The numbers are PyTorch's own random ones, which a run seeds by its step.
    """
    assert batch.fixed_labels is not None
    assert batch.moving_labels is not None
    table = torch.rand(CONTRASTS, 256, device=batch.fixed.device)
    table[:, 0] = 0
    mean = F.avg_pool2d if batch.fixed.ndim == 4 else F.avg_pool3d

    def shown(labels: Tensor) -> Tensor:
        return mean(table[:, labels[:, 0].long()].movedim(0, 1), 3, 1, 1)

    seen = torch.ones_like(batch.fixed) if batch.weight is None else batch.weight
    return shown(batch.fixed_labels), shown(batch.moving_labels), seen


def known_error(u: Tensor, batch: Batch) -> Tensor:
    """Mean distance of ``u`` (N, ndim, *S) from the true map in voxels, plus half of that between coarse means."""
    assert batch.displacement is not None
    weight = label_weight(batch)
    error = u - batch.displacement
    mean = F.avg_pool2d if u.ndim == 4 else F.avg_pool3d
    return mean_length(error, weight) + 0.5 * mean_length(mean(error, COARSE), mean(weight, COARSE))
