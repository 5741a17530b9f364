"""What is known of generated pairs, as losses: how far a field is from the true map, where there is something."""

from __future__ import annotations

import torch
from torch import Tensor

from ..pairs.batch import Batch

BACKGROUND = 0.1
"""Weight of voxels without a label: there is nothing to see."""


def label_weight(batch: Batch) -> Tensor:
    """(N, 1, *S) what a voxel of the fixed image counts: by its label, if labels are known, and by what is seen."""
    weight = torch.ones_like(batch.fixed) if batch.weight is None else batch.weight
    if batch.fixed_labels is not None:
        weight = weight * ((batch.fixed_labels > 0).float() * (1 - BACKGROUND) + BACKGROUND)
    return weight


def mean_length(error: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean length of vectors (N, ndim, *S); each item counts the same, however much of it is seen."""
    axes = list(range(1, weight.ndim))
    lengths = (error.square().sum(1, keepdim=True) + 1e-4).sqrt()
    return ((lengths * weight).sum(axes) / weight.sum(axes).clamp_min(1e-6)).mean()
