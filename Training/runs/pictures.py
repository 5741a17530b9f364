"""Pictures of pairs during training: fixed, moving, warped, both overlaid before and after, and the field's grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from DeepRegistrationLib.fields import warp
from DeepRegistrationLib.networks import RegistrationNetwork

from ..pairs.batch import Batch
from ..synthesis.contact_sheet import grid_lines, slice_of
from .validation import predict_field


def picture_of(
    network: RegistrationNetwork, pairs: Sequence[Batch], device: torch.device, precision: str
) -> np.ndarray:
    """(rows, columns, 3) uint8, a row a pair."""
    rows = []
    for number, pair in enumerate(pairs):
        u = predict_field(network, pair, device, precision)[:1]
        fixed, moving = _unit(pair.fixed[:1].cpu()), _unit(pair.moving[:1].cpu())
        warped = warp(moving, u)
        lines = grid_lines(u, number % 3).expand(-1, 3, *u.shape[2:])
        drawn = [_gray(fixed), _gray(moving), _gray(warped), _overlay(fixed, moving), _overlay(fixed, warped), lines]
        tiles = [np.pad(slice_of(picture[0], number % 3), ((0, 2), (0, 2), (0, 0))) for picture in drawn]
        rows.append(np.concatenate(tiles, 1))
    width = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows])


def _unit(image: Tensor) -> Tensor:
    low, high = image.min(), image.max()
    return (image - low) / (high - low).clamp_min(1e-6)


def _gray(image: Tensor) -> Tensor:
    return image.expand(-1, 3, *image.shape[2:])


def _overlay(fixed: Tensor, moving: Tensor) -> Tensor:
    """Fixed in orange, moving in blue: gray where they agree."""
    return torch.cat([fixed, (fixed + moving) / 2, moving], 1)
