"""What the universal network proposes to the refinement, which asks for it where its own field is not to be trusted."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..geometry.image import Grid, Image
from ..progress import Reporter
from .catalog import UNIVERSAL
from .methods import has_weights, model_for
from .predict import predict


def proposal_for(
    fixed: Tensor, moving: Tensor, grid: Grid, device: torch.device
) -> Callable[[Reporter], tuple[Tensor, Tensor]] | None:
    """A function that makes the fields there and back, (1, ndim, *grid.shape) voxels; None if weights are absent.

    Args:
        fixed, moving: (1, 1, *grid.shape), aligned as a whole.
    """
    if not has_weights(UNIVERSAL, grid.ndim):
        return None

    def propose(reporter: Reporter) -> tuple[Tensor, Tensor]:
        network = model_for(UNIVERSAL, grid.ndim)
        pair = [Image(x[0, 0].numpy(), grid, "image") for x in (fixed, moving)]
        there, back = (predict(network, *images, device=device, reporter=reporter) for images in (pair, pair[::-1]))
        return there.to(device), back.to(device)

    return propose
