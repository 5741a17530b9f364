"""Help from the user: landmarks and label maps that pull the field."""

from __future__ import annotations

import torch
from torch import Tensor

from ..fields import sample
from ..fields.kernels import BandFilter, gaussian_weights
from .levels import Level, Window, shrink, soften


class LandmarkPull:
    """Draws the field towards pairs of points, most strongly at the points, fading over ``reach`` voxels.

    Args:
        fixed, moving: (n, ndim) voxel positions on the level's grid.
    """

    def __init__(self, level: Level, fixed: Tensor, moving: Tensor, reach: float) -> None:
        ndim = len(level.shape)
        self._fixed, self._moving = fixed, moving
        self._at = fixed.T.reshape(1, ndim, -1, *[1] * (ndim - 1))
        last = torch.tensor(level.shape, device=fixed.device) - 1
        nearest = torch.minimum(fixed.round().long().clamp_min(0), last)
        index = torch.zeros(len(fixed), dtype=torch.long, device=fixed.device)
        for axis, n in enumerate(level.shape):
            index = index * n + nearest[:, axis]
        self._index = index
        like = {"device": fixed.device, "dtype": fixed.dtype}
        self._splat = torch.zeros((1, ndim + 1, *level.shape), **like)  # type: ignore[call-overload]
        self._blurred, self._scratch = torch.empty_like(self._splat), torch.empty_like(self._splat)
        weights = [gaussian_weights(s) if s > 0.2 else None for s in level.in_voxels(reach)]
        self._blur = BandFilter(level.shape, weights, **like)  # type: ignore[arg-type]
        peak = 1.0
        for w in weights:
            peak *= 1.0 if w is None else float(w.max())
        self._noise = 0.05 * peak

    def __call__(self, u: Tensor, step: Tensor, longest: float) -> None:
        """Mix the pull into ``step`` (1, ndim, *S), in place; no pull is longer than ``longest`` voxels."""
        ndim = u.shape[1]
        reached = self._fixed + sample(u, self._at)[0].reshape(ndim, -1).T
        residual = self._moving - reached
        length = residual.norm(dim=1, keepdim=True).clamp_min(1e-6)
        residual = residual * (longest / length).clamp_max(1)
        flat = self._splat.zero_()[0].view(ndim + 1, -1)
        for axis in range(ndim):
            flat[axis].index_add_(0, self._index, residual[:, axis].contiguous())
        flat[ndim].index_add_(0, self._index, torch.ones_like(residual[:, 0]))
        blurred = self._blur(self._splat, self._blurred, self._scratch)
        near = blurred[:, ndim:]
        share = near / (near + self._noise)
        step.mul_(1 - share).add_(share * blurred[:, :ndim] / near.clamp_min(1e-12))


def label_codes(
    labels: tuple[Tensor, Tensor], window: Window, level: Level, channels: int = 6
) -> tuple[Tensor, Tensor]:
    """Label maps (1, 1, *S) of whole numbers as few-channel images, (1, C, *level): equal labels have equal codes.

    Background, 0, is 0. Up to ``channels`` labels get a channel each; more get random unit vectors, which keeps the
    cost apart from the number of labels: differing labels still differ.
    """
    values = torch.unique(torch.cat([torch.unique(x) for x in labels]))
    values = values[values != 0]
    if len(values) <= channels:
        codes = torch.eye(max(1, len(values)))
    else:
        codes = torch.randn((len(values), channels), generator=torch.Generator().manual_seed(0))
        codes = codes / codes.norm(dim=1, keepdim=True)
    table = torch.cat([torch.zeros(1, codes.shape[1]), codes[: len(values)]]).to(values.device)
    out = []
    for x in labels:
        # Labels can be any number, so their place in the list is looked up: 0 is the background.
        place = torch.searchsorted(values, x).clamp_max_(max(0, len(values) - 1))
        known = values[place] == x if len(values) else torch.zeros_like(x, dtype=torch.bool)
        cut = window.cut(torch.where(known, place + 1, 0).float()).long()
        parts = [shrink(table[:, c][cut], level.factors) for c in range(table.shape[1])]
        out.append(soften(torch.cat(parts, 1), [1.0] * len(level.shape)))
    return out[0], out[1]
