"""With which values each paper trains: ``paper`` is what it prints, ``modern`` and ``authors-code`` are beside it.

The keys of ``loss`` are the keywords of the paper's function in ``losses.objectives`` (or ``losses.multiscale``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Optimizer:
    """Adam and its schedule.

    ``halve_after`` and ``epochs`` where the paper counts epochs; ``steps`` where it counts updates.
    """

    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    batch: int = 1
    halve_after: int | None = None
    epochs: int | None = None
    steps: int | None = None


@dataclass(frozen=True)
class Preset:
    """One set of training values.

    Attributes:
        name: "paper", "modern", "authors-code", or the paper's name of the data they were printed for.
        about: one line: where they come from, or why they differ.
        optimizer: of the registration network, and of the others where ``others`` does not say otherwise.
        loss: weights and options of the objective.
        options: of the trainer beyond the objective (loss of the ROI network, cycle, ...).
    """

    name: str
    about: str
    optimizer: Optimizer = field(default_factory=Optimizer)
    loss: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


KERAS_EPS = 1e-7

VOXELMORPH = (
    Preset(
        "paper",
        "as printed; the smoothness as their code scales it",
        Optimizer(1e-4, eps=KERAS_EPS),
        {"similarity": "lncc", "weight": 1.0, "signed": False},
    ),
    Preset(
        "modern",
        "correlation with its sign: images of reversed contrast are not alike",
        Optimizer(1e-4, eps=KERAS_EPS),
        {"similarity": "lncc", "weight": 1.0, "signed": True},
    ),
)
DUAL_BRANCH = (
    Preset(
        "modern",
        "self-similarity context in place of MIND of 2012; weights of the pig kidneys",
        Optimizer(1e-5, eps=KERAS_EPS),
        {"alpha": 0.4, "beta": 0.3, "gamma": 0.8, "kind": "ssc"},
    ),
    Preset(
        "paper",
        "MIND of 2012; weights of the pig kidneys",
        Optimizer(1e-5, eps=KERAS_EPS),
        {"alpha": 0.4, "beta": 0.3, "gamma": 0.8, "kind": "mind"},
    ),
    Preset(
        "paper-abdomen",
        "MIND of 2012; weights of the abdomens",
        Optimizer(1e-5, eps=KERAS_EPS),
        {"alpha": 0.5, "beta": 0.5, "gamma": 1.0, "kind": "mind"},
    ),
)
DEFORM_GAN = (
    Preset(
        "paper",
        "as printed",
        Optimizer(1e-4),
        {"alpha": 1.0, "beta": 2.0, "window": 7, "form": "paper"},
        {"lambda_": 100.0, "mu": 5.0, "conditional": False},
    ),
    Preset(
        "authors-code",
        "LCC : local gradient : smoothness = 1 : 1 : 0.7 and no gradient term for G",
        Optimizer(1e-4),
        {"alpha": 0.7, "beta": 1.0, "window": 7, "form": "authors-code"},
        {"lambda_": 100.0, "mu": 0.0, "conditional": False},
    ),
)
SAR_NET = (
    Preset(
        "modern",
        "the usual values of adversarial training",
        Optimizer(2e-4, (0.5, 0.999)),
        {"largest": 20.0},
        {"cycle": 10.0},
    ),
    Preset(
        "paper",
        "as printed, with the signs that a minimum needs",
        Optimizer(1e-3, (0.93, 0.999), steps=100_000),
        {"largest": 20.0},
        {"cycle": 10.0},
    ),
)
FLOWNET_ROI = (
    Preset(
        "modern",
        "from scratch: ten times the learning rate of fine-tuning",
        Optimizer(1e-4, weight_decay=5e-4, batch=32, halve_after=10, epochs=17),
        {"alpha": 1.0, "beta": 0.05, "gamma": 1.0},
        {"eta": 1.0},
    ),
    Preset(
        "paper",
        "as printed: fine-tuning of a pretrained FlowNetSimple and VGG",
        Optimizer(1e-5, weight_decay=5e-4, batch=32, halve_after=10, epochs=17),
        {"alpha": 1.0, "beta": 0.05, "gamma": 1.0},
        {"eta": 1.0},
    ),
    Preset(
        "paper-supervised",
        "as printed for the supervised baselines: 10 epochs, after 4 the ROI network at a thousandth of the rate",
        Optimizer(1e-4, weight_decay=5e-4, batch=32, epochs=10),
        {"alpha": 1.0, "beta": 0.05, "gamma": 1.0},
        {"eta": 1.0, "roi_share": 0.0, "roi_slow_after": 0.4, "roi_slow": 1e-3},
    ),
)
UNIVERSAL = (
    Preset(
        "modern",
        "end-point error for the first quarter of the steps, then soft Dice and diffusion",
        Optimizer(1e-3, batch=2),
        {},
        {"end_point_share": 0.25},
    ),
)
