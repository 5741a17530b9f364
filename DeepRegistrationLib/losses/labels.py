"""Losses on masks and label probabilities (N, C, *spatial) in [0, 1], 2-D or 3-D. Smaller is better but for Dice."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from ..similarity.windows import at_least_float32, check_pair, weighted_mean


def soft_dice(a: Tensor, b: Tensor, mask: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """2 sum(a b) / (sum a + sum b) of each item and channel, then the mean: 1 where binary masks agree.

    A channel that is empty in both counts as 1. ``mask`` (N or 1, 1, *spatial) weights the voxels.
    """
    check_pair(a, b, mask)
    a, b = at_least_float32(a), at_least_float32(b)
    weighted = a if mask is None else a * mask.to(a)
    axes = list(range(2, a.ndim))
    both = (weighted * b).sum(axes)
    total = weighted.sum(axes) + (b if mask is None else b * mask.to(b)).sum(axes)
    return ((2 * both + eps) / (total + eps)).mean()


def log_dice_loss(a: Tensor, b: Tensor, mask: Tensor | None = None, floor: float = 1e-6) -> Tensor:
    """-log Dice, SAR-Net's segmentation term (Eq. 5 with the sign that a minimum needs); Dice is at least ``floor``."""
    return -soft_dice(a, b, mask, eps=floor).clamp_min(floor).log()


def overlap_loss(warped: Tensor, fixed: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean |difference| of two soft masks (FlowNet with ROI, Eq. 6, there a sum)."""
    check_pair(warped, fixed, mask)
    return weighted_mean((warped - fixed).abs(), mask)


def class_balanced_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy in which foreground and background of an image weigh the same (Xie and Tu 2015, Eq. 2).

    -beta t log p - (1 - beta) (1 - t) log(1 - p), p = sigmoid(logits), beta the image's fraction of background. An
    image that is all background (or all foreground) adds nothing: the paper's formula has no weight left for it.

    Args:
        logits, target: (N, 1, *spatial); the target in [0, 1].
    """
    check_pair(logits, target)
    logits, target = at_least_float32(logits), at_least_float32(target)
    beta = 1 - target.mean(list(range(1, target.ndim)), keepdim=True)
    weight = beta * target + (1 - beta) * (1 - target)
    return (weight * F.binary_cross_entropy_with_logits(logits, target, reduction="none")).mean()


def hnn_loss(side_logits: Sequence[Tensor], fused_logits: Tensor, target: Tensor) -> Tensor:
    """The sum over side outputs plus the fused output of ``class_balanced_cross_entropy`` (FlowNet with ROI, Eq. 5).

    Args:
        side_logits: each (N, 1, *spatial), brought to the size of the target; weighted alike, as the paper is silent.

    Raises:
        InputError: if there is no side output or a shape differs from the target's.
    """
    if not side_logits:
        raise InputError("A holistically-nested network has at least one side output; none was given.")
    side = torch.stack([class_balanced_cross_entropy(logits, target) for logits in side_logits])
    return side.sum() + class_balanced_cross_entropy(fused_logits, target)
