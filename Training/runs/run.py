"""One run in memory: networks, optimizers, running average, and the update that every method shares."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.losses.objectives import total
from DeepRegistrationLib.models.bundle import load_model
from DeepRegistrationLib.networks import RegistrationNetwork

from ..pairs.batch import Batch, Source
from ..plan import TrainingPlan
from ..steps import steps_of
from ..steps.turns import REGISTRATION, Context, Steps, Turn
from .checkpoint import NAME, Average, TrainingFailed, damaged


@dataclass
class Progress:
    """How far a run is and how it does."""

    step: int = 0
    best: float = -math.inf
    without_better: int = 0
    seconds: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)


class Run:
    """A method being trained: its networks, optimizers and average; what a checkpoint holds."""

    def __init__(self, plan: TrainingPlan, source: Source, device: torch.device) -> None:
        self.plan, self.source, self.device = plan, source, device
        self.data = source.fingerprint()
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.processes = dist.get_world_size() if dist.is_initialized() else 1
        if plan.batch % self.processes:
            raise InputError(f"A batch of {plan.batch} cannot be shared by {self.processes} processes; change one.")
        self.steps: Steps = steps_of(plan, source.ndim)
        self._check_pairs()
        self._check(source.batch([0], 1.0))
        format_ = torch.channels_last if source.ndim == 2 else torch.channels_last_3d
        for network in self.steps.networks.values():
            network.to(device=device, memory_format=format_)  # type: ignore[call-overload]
        self.optimizers = {name: self._optimizer(name) for name in self.steps.networks}
        decay = plan.schedule.average
        self.average = Average(self.registration, decay) if decay else None
        self.progress = Progress()
        self.before: list[dict[str, Any]] = []
        """The runs that the weights went through before this one, each with its plan's hash, steps and seconds."""
        self.between_steps = True
        """False while an update is half done: such a state must not be saved."""
        self._modules: dict[str, nn.Module] = {}

    @property
    def registration(self) -> RegistrationNetwork:
        network = self.steps.networks[REGISTRATION]
        assert isinstance(network, RegistrationNetwork)
        return network

    def _check(self, first: Batch) -> None:
        """What the method needs, the data have; found out before hours are spent."""
        if "labels" in self.steps.needs and (first.fixed_labels is None or first.moving_labels is None):
            raise InputError(f"{self.plan.method.title} learns from label maps; the data of the plan have none.")
        if "displacement" in self.steps.needs and first.displacement is None:
            raise InputError(
                f"{self.plan.method.title} ({self.plan.variant}) learns from known fields; give the plan [synthesis], "
                "data.deform, or a manifest whose pairs name displacement fields (python -m Training fields makes one)."
            )
        shape = first.fixed.shape[2:]
        if min(shape) < self.steps.smallest:
            raise InputError(
                f"{self.plan.method.title} with batches of {self.plan.batch} trains on at least {self.steps.smallest} "
                f"voxels along each axis, not {tuple(shape)}; make the images or the batch larger."
            )
        if any(n % self.steps.divisor for n in shape):
            raise InputError(
                f"{self.plan.method.title} trains on multiples of {self.steps.divisor} voxels, not {tuple(shape)}."
            )

    def _check_pairs(self) -> None:
        if self.steps.one_way and self.source.both_ways:
            raise InputError(
                f"{self.plan.method.title} translates one kind of image into the other and must be trained one way; "
                "give data.fixed_images and data.moving_images, or list the pairs in the manifest."
            )
        bare = self.source.without_labels()
        if "labels" in self.steps.needs and bare:
            raise InputError(
                f"{self.plan.method.title} learns from label maps, and the image {bare} has none; give it "
                "one, or leave it out."
            )

    def _optimizer(self, name: str) -> torch.optim.Adam:
        o, slowed, network = self.plan.optimizer, self.steps.slowed, self.steps.networks[name]
        groups: list[dict[str, Any]] = [{"params": list(network.parameters())}]
        if slowed is not None and slowed[1] < 1 and name == REGISTRATION:
            named = list(network.named_parameters())
            groups = [{"params": [p for n, p in named if n.startswith(slowed[0]) is slow]} for slow in (False, True)]
        return torch.optim.Adam(groups, o.learning_rate, o.betas, o.eps, o.weight_decay)

    def learning_rate(self, step: int) -> float:
        """Of update ``step`` (from 0): warm-up, decay, halving."""
        schedule, optimizer = self.plan.schedule, self.plan.optimizer
        rate = optimizer.learning_rate
        if schedule.warm_up:
            rate *= min(1.0, (step + 1) / schedule.warm_up)
        if schedule.decay == "cosine":
            rate *= 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / schedule.steps))
        if optimizer.halve_after and optimizer.epochs:
            rate *= 0.5 if step >= schedule.steps * optimizer.halve_after / optimizer.epochs else 1.0
        return rate

    def _slower(self, done: float) -> float:
        """Of the parameters that are ``slowed``."""
        assert self.steps.slowed is not None
        _, after, factor = self.steps.slowed
        return factor if done >= after else 1.0

    def items(self, step: int) -> list[int]:
        """This process's share of the items of a step."""
        first = step * self.plan.batch
        return list(range(first + self.rank, first + self.plan.batch, self.processes))

    def fetch(self, step: int) -> Batch:
        schedule = self.plan.schedule
        share = schedule.fade_in * schedule.steps
        fade = 1.0 if step >= share else 0.25 + 0.75 * step / share
        return self.source.batch(self.items(step), fade).to(self.device)

    def update(self, batch: Batch) -> dict[str, float]:
        """One step on ``batch``; the weighted terms of all turns, and "loss", that of the registration network."""
        step, values = self.progress.step, {}
        self.between_steps = False
        torch.manual_seed((self.plan.seed << 32) + step)
        rate = self.learning_rate(step)
        done = step / self.plan.schedule.steps
        for turn, module in self._modules_of(self.steps.turns(done)):
            optimizers = [self.optimizers[name] for name in turn.trains]
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
                for number, group in enumerate(optimizer.param_groups):
                    group["lr"] = rate * (self._slower(done) if number else 1.0)
            loss, terms = module(batch, done)
            if not bool(torch.isfinite(loss)):
                raise TrainingFailed(
                    f"The loss is not a number any more at step {step}; lower the learning rate and start again "
                    "from the last checkpoint."
                )
            loss.backward()
            for name, optimizer in zip(turn.trains, optimizers, strict=True):
                if self.plan.schedule.clip:
                    nn.utils.clip_grad_norm_(self.steps.networks[name].parameters(), self.plan.schedule.clip)
                optimizer.step()
            values.update({f"{turn.name}/{name}": term.detach() for name, term in terms.items()})
            values["loss"] = loss.detach()
        if self.average is not None:
            self.average.update(self.registration, step)
        self.progress.step += 1
        self.between_steps = True
        return self._shared(values)

    def _modules_of(self, turns: Sequence[Turn]) -> list[tuple[Turn, nn.Module]]:
        """Each turn as a module, wrapped where gradients are averaged over processes; made again when turns change."""
        if [turn.name for turn in turns] != list(self._modules):
            self._modules = {turn.name: self._module(turn) for turn in turns}
        return [(turn, self._modules[turn.name]) for turn in turns]

    def _module(self, turn: Turn) -> nn.Module:
        module = _TurnModule(turn, self.steps.networks, self.plan.schedule.precision)
        if self.processes == 1:
            return module
        on_gpu = [self.device.index or 0] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=on_gpu, find_unused_parameters=True)

    def _shared(self, values: dict[str, Tensor]) -> dict[str, float]:
        """Means over the processes."""
        stacked = torch.stack([v.float() for v in values.values()])
        if self.processes > 1:
            dist.all_reduce(stacked)
            stacked /= self.processes
        return dict(zip(values, stacked.tolist(), strict=True))

    def averaged(self) -> RegistrationNetwork:
        """A copy of the registration network with the averaged weights, for validation and export."""
        network = copy.deepcopy(self.registration)
        if self.average is not None:
            network.load_state_dict(self.average.values)
        return network.eval()

    def start_from(self, bundle: Path) -> None:
        """Take the weights of a bundle.

        Raises:
            InputError: if they are not those of this plan's network.
        """
        model = load_model(bundle)
        weights = self.registration.weights_from(model.network)
        if weights is None:
            raise InputError(f"The model {bundle} is not of the network of this plan; start from another one.")
        self.registration.load_state_dict(weights)
        training = model.header.training
        last: dict[str, Any] = {key: training[key] for key in ("plan_sha256", "steps", "seconds") if key in training}
        self.before = [*training.get("before", []), last]
        if self.average is not None:
            self.average = Average(self.registration, self.average.decay)

    def state(self) -> dict[str, Any]:
        p = self.progress
        return {
            "step": p.step,
            "best": p.best,
            "without_better": p.without_better,
            "seconds": p.seconds,
            "scores": p.scores,
            "plan": self.plan.hash(),
            "data": self.data,
            "before": self.before,
            "networks": {name: network.state_dict() for name, network in self.steps.networks.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "average": None if self.average is None else self.average.values,
            "random": torch.get_rng_state(),
        }

    def restore(self, state: dict[str, Any], folder: Path) -> None:
        """Go on from ``state``.

        Raises:
            InputError: if it is of another plan, on other data, or damaged.
        """
        if state.get("plan") != self.plan.hash():
            raise InputError(
                f"The folder {folder} holds a run of another plan; choose another folder, or delete it to start again."
            )
        if state.get("data", self.data) != self.data:  # older checkpoints do not say
            raise InputError(
                f"The folder {folder} holds a run on other data (an image, a label map, a field or the split "
                "is another one now); choose another folder, or delete it to start again."
            )
        try:
            self._restore(state)
        except (KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError) as error:
            if isinstance(error, InputError):
                raise
            raise damaged(folder / NAME) from error

    def _restore(self, state: dict[str, Any]) -> None:
        for name, network in self.steps.networks.items():
            unknown = sorted({*state["networks"][name]} - {*network.state_dict()})
            if unknown:  # the optimizer's moments would go to other weights
                raise InputError(
                    f"The checkpoint is of an older version of its network (it holds {unknown[0]}), so that training "
                    "cannot go on from it; export its weights and begin a new run with --start, or delete it."
                )
            network.load_state_dict(state["networks"][name])
            self.optimizers[name].load_state_dict(state["optimizers"][name])
        if self.average is not None:
            for name, value in state["average"].items():
                self.average.values[name].copy_(value)
        torch.set_rng_state(state["random"])
        self.before = state.get("before", [])
        self.progress = Progress(
            state["step"], state["best"], state["without_better"], state["seconds"], dict(state["scores"])
        )


class _TurnModule(nn.Module):
    """A turn's loss as a forward pass. Only what it trains is registered, so that the rest needs no gradients."""

    def __init__(self, turn: Turn, networks: dict[str, nn.Module], precision: str) -> None:
        super().__init__()
        self.trained = nn.ModuleDict({name: networks[name] for name in turn.trains})
        self.__dict__["others"] = networks
        self.loss, self.precision = turn.loss, precision

    def forward(self, batch: Batch, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        terms = self.loss(Context(self.__dict__["others"], progress, self.precision), batch)
        return total(terms), terms
