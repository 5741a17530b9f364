"""The vanilla adversarial game (Goodfellow 2014) and the cycle (Zhu 2017), as Deform-GAN and SAR-Net play them.

Scores of a discriminator are logits: numbers of any sign before the papers' final sigmoid, in a tensor of any shape.
The losses apply that sigmoid in a form that does not overflow.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from ..similarity.measures import l1


def _check_logits(logits: Tensor, name: str) -> None:
    if not logits.is_floating_point() or not logits.numel():
        raise InputError(f"The scores of the {name} images must be floating point numbers, at least one.")


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-mean log D(real) - mean log(1 - D(fake)): what the discriminator minimizes (SAR-Net Eq. 3 with the sign turned).

    log 4 where it cannot tell one from the other. Give it the fake images detached from what made them.
    """
    _check_logits(real_logits, "real")
    _check_logits(fake_logits, "made")
    return F.softplus(-real_logits.float()).mean() + F.softplus(fake_logits.float()).mean()


def generator_loss(fake_logits: Tensor, saturating: bool = False) -> Tensor:
    """-mean log D(fake): what the generator minimizes, with a gradient even where the discriminator is sure.

    ``saturating`` gives the printed mean log(1 - D(fake)) of SAR-Net Eq. 3 and Pix2Pix, whose gradient vanishes there.
    """
    _check_logits(fake_logits, "made")
    logits = fake_logits.float()
    return -F.softplus(logits).mean() if saturating else F.softplus(-logits).mean()


def cycle_loss(x: Tensor, x_again: Tensor, y: Tensor, y_again: Tensor) -> Tensor:
    """mean |F(G(x)) - x| + mean |G(F(y)) - y| of images (N, C, *spatial) (SAR-Net Eq. 4)."""
    return l1(x_again, x) + l1(y_again, y)


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Within it, gradients flow through the modules but not into their weights.

    For the turns of a game: T learns through a frozen G, and G through a frozen D.
    """
    switched = [p for module in modules for p in module.parameters() if p.requires_grad]
    try:
        for parameter in switched:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in switched:
            parameter.requires_grad_(True)
