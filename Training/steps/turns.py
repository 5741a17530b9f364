"""What the methods share: a step is one or several turns; a turn updates some networks by one loss."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.models.methods import fresh_model
from DeepRegistrationLib.networks import Prediction, RegistrationNetwork, build_network

from ..pairs.batch import Batch
from ..plan import TrainingPlan
from ..setting_types import check_known

Terms = dict[str, Tensor]
REGISTRATION = "registration"
"""The network that is validated, averaged and exported."""


@dataclass(frozen=True)
class Context:
    """What a loss may use.

    Attributes:
        networks: all networks of the method, by name.
        progress: share of the run that is done, 0 to 1.
        precision: of convolutions, "float32" or "bfloat16".
    """

    networks: Mapping[str, nn.Module]
    progress: float = 0.0
    precision: str = "float32"

    def run(self, name: str, *inputs: Any, **options: Any) -> Any:
        """The network's output, its convolutions in the plan's precision; losses stay outside, in float32."""
        device = inputs[0].device.type
        low = self.precision == "bfloat16"
        with torch.autocast(device, torch.bfloat16) if low else nullcontext():
            return self.networks[name](*inputs, **options)

    def register(self, batch: Batch, name: str = REGISTRATION) -> Prediction:
        return self.run(name, batch.fixed, batch.moving)


Loss = Callable[[Context, Batch], Terms]


@dataclass(frozen=True)
class Turn:
    """``loss`` is minimized by the networks that it ``trains``; the others stay as they are."""

    name: str
    trains: tuple[str, ...]
    loss: Loss


@dataclass(frozen=True)
class Steps:
    """A method's networks and, for a given progress, its turns.

    Attributes:
        networks: by name; ``REGISTRATION`` is the one that deploys.
        turns: progress (0 to 1) -> turns of a step.
        needs: what batches must have beyond the images: "labels", "displacement".
        divisor: voxels along each axis must be a multiple of it.
        smallest: fewest voxels along each axis.
        slowed: parameters of the registration network (by the beginning of their names) that from a share of the run on
            learn at a part of the plan's rate.
        one_way: the fixed images are of one kind and the moving ones of another, never the other way round.
    """

    networks: dict[str, nn.Module]
    turns: Callable[[float], Sequence[Turn]]
    needs: frozenset[str] = field(default_factory=frozenset)
    divisor: int = 1
    smallest: int = 8
    slowed: tuple[str, float, float] | None = None
    one_way: bool = False


def registration_network(plan: TrainingPlan, ndim: int) -> RegistrationNetwork:
    """The variant's network with fresh weights by the plan's seed and the plan's arguments.

    Raises:
        InputError: if the network does not take these arguments.
    """
    model = fresh_model(plan.method, ndim, variant=plan.variant, seed=plan.seed)
    if not plan.network:
        return model.network.train()
    known = set(inspect.signature(type(model.network).__init__).parameters) - {"self", "ndim"}
    check_known("network", plan.network, known)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        return build_network(model.header.network, {**model.network.arguments, **plan.network}).train()


def fresh(kind: type[nn.Module], seed: int, *arguments: Any, **options: Any) -> nn.Module:
    """A helper network whose weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(*arguments, **options).train()


def keywords(
    function: Callable[..., Any], table: Mapping[str, Any], name: str, more: Iterable[str] = ()
) -> dict[str, Any]:
    """The table as keyword arguments of ``function``; ``more`` are allowed beside, and left out.

    Raises:
        InputError: a key the function does not take.
    """
    parameters = inspect.signature(function).parameters.values()
    known = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    settings(table, [*known, *more], name)
    return {key: value for key, value in table.items() if key in known}


def settings(table: Mapping[str, Any], known: Iterable[str], name: str) -> None:
    """Refuse keys that are not ``known``."""
    known = sorted(known)
    for key in table:
        if key not in known:
            raise InputError(f"{name}.{key} is not a setting here; choose from {', '.join(known) or 'none'}.")
