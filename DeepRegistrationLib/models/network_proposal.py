"""What the universal network proposes to the refinement, which asks for it where its own field is not to be trusted."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from ..fields import warp
from ..geometry.image import Grid, Image
from ..progress import Reporter
from .bundle import Model, load_model
from .catalog import UNIVERSAL
from .header import State, state_of
from .methods import taken_bundle
from .predict import predict_both


def proposal_for(
    fixed: Tensor, moving: Tensor, grid: Grid, device: torch.device
) -> Callable[[Reporter, Tensor | None], tuple[Tensor, Tensor]] | None:
    """A function that makes the fields there and back, (1, ndim, *grid.shape) voxels; None if weights are absent.

    It is given a field of that shape by which the moving image is moved before it is looked at, or None.

    Args:
        fixed, moving: (1, 1, *grid.shape), aligned as a whole.
    """
    bundle = taken_bundle(UNIVERSAL, grid.ndim)
    if bundle is None:
        return None

    def propose(reporter: Reporter, before: Tensor | None) -> tuple[Tensor, Tensor]:
        # A copy: while it runs, it asks whether this very run was cancelled.
        network = copy.deepcopy(_network(bundle.path, state_of(bundle.path)))
        moved = moving if before is None else warp(moving, before.to(moving.device))
        pair = [Image(x[0, 0].numpy(), grid, "image") for x in (fixed, moved)]
        there, back = predict_both(network, *pair, device=device, reporter=reporter)
        return there.to(device), back.to(device)

    return propose


@lru_cache(1)
def _network(path: Path, state: State | None) -> Model:
    """Kept for the next pair: to make it takes as long as to ask it about a small one."""
    return load_model(path)
