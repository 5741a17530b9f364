"""Fitting a network to a new kind of image on the pair at hand, as the SAR-Net paper does (section 2.3).

Only the last convolution moves, for 10 to 30 steps, until the cost changes by less than 1 %. It is a copy of its
weights that moves: the network stays as it was, so that two runs on one pair give the same answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..errors import RegistrationFailed
from ..networks import Prediction, RegistrationNetwork
from ..progress import SILENT, Reporter

Loss = Callable[[Prediction], Tensor]
"""The cost of a prediction for this pair: one number, differentiable. What is not known of a new image (its field; its
masks, if it has none) is left out."""


@dataclass(frozen=True)
class FineTuneSettings:
    """The paper's rule; its learning rate is not printed.

    ``tolerance`` is a relative change, averaged over ``average`` steps. A step that makes the cost more than
    ``setback`` times the best one is taken back, and the learning rate divided by 10: how large the last features are,
    and with them the right step, differs from network to network.
    """

    least_steps: int = 10
    most_steps: int = 30
    tolerance: float = 0.01
    average: int = 3
    learning_rate: float = 1e-3
    setback: float = 1.5


@dataclass(frozen=True)
class FineTuned:
    """The prediction after fine-tuning and the cost at each step (the first is that of the network as it is)."""

    prediction: Prediction
    costs: list[float]


FINE_TUNING_DEFAULTS = FineTuneSettings()


def fine_tune(
    network: RegistrationNetwork,
    fixed: Tensor,
    moving: Tensor,
    loss: Loss,
    settings: FineTuneSettings = FINE_TUNING_DEFAULTS,
    reporter: Reporter = SILENT,
) -> FineTuned:
    """Predict with the network's last convolution fitted to this pair; the best prediction seen is the one returned.

    Args:
        network: any network of this library; it is run in ``eval`` mode and left as it was.
        fixed, moving: (N, 1, *S), on the network's device and grid.

    Raises:
        RegistrationFailed: if the cost of the network as it is is not finite.
        Cancelled: if the reporter's token is set.
    """
    name = _name_of(network, network.last_convolution())
    moved = {f"{name}.{k}": p.detach().clone() for k, p in network.get_submodule(name).named_parameters()}
    for parameter in moved.values():
        parameter.requires_grad_(True)
    rate = settings.learning_rate
    optimizer = torch.optim.Adam(moved.values(), lr=rate)
    was_training, learned = network.training, [p for p in network.parameters() if p.requires_grad]
    costs: list[float] = []
    best: Prediction | None = None
    best_weights: list[Tensor] = []
    try:
        network.eval()  # batch statistics must not move
        for parameter in learned:
            parameter.requires_grad_(False)  # then the graph begins at the last convolution
        while True:
            with torch.enable_grad():
                prediction = functional_call(network, moved, (fixed, moving))
                cost = loss(prediction)
            value = float(cost.detach())
            if best is None and not torch.isfinite(cost):
                raise RegistrationFailed("The network cannot be fitted to this pair: its cost there is not a number.")
            if best is None or value < min(costs):
                best, best_weights = _detached(prediction), [p.detach().clone() for p in moved.values()]
            costs.append(value)
            reporter(min(1.0, len(costs) / settings.most_steps), f"fitting to this pair, cost {value:.4g}")
            if _settled(costs, settings):
                return FineTuned(best, costs)
            if not value <= settings.setback * abs(min(costs)):  # not a number is a setback, too
                rate /= 10
                with torch.no_grad():
                    for parameter, weights in zip(moved.values(), best_weights, strict=True):
                        parameter.copy_(weights)
                optimizer = torch.optim.Adam(moved.values(), lr=rate)
                continue
            optimizer.zero_grad()
            cost.backward()
            optimizer.step()
    finally:
        network.train(was_training)
        for parameter in learned:
            parameter.requires_grad_(True)


def _settled(costs: list[float], settings: FineTuneSettings) -> bool:
    steps = len(costs) - 1
    if steps >= settings.most_steps:
        return True
    if steps < max(settings.least_steps, settings.average):
        return False
    recent = costs[-settings.average - 1 :]
    changes = [abs(b - a) / max(abs(a), 1e-12) for a, b in pairwise(recent)]
    return sum(changes) / len(changes) < settings.tolerance


def _name_of(network: nn.Module, wanted: nn.Module) -> str:
    return next(name for name, module in network.named_modules() if module is wanted)


def _detached(prediction: Prediction) -> Prediction:
    velocity = None if prediction.velocity is None else prediction.velocity.detach()
    extras = {k: v.detach() if isinstance(v, Tensor) else v for k, v in prediction.extras.items()}
    return Prediction(prediction.displacement.detach(), velocity, extras)
