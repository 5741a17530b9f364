"""Where the two images have no counterpart: tissue that only one of them shows must not pull.

Beside a tumor, or where it was removed, the nearest thing that looks alike is taken for the counterpart. Registered
there and back on a coarse level, such tissue gives itself away: going there and back misses the point, and once
aligned the images are less alike than elsewhere. Either alone is no sign: large ventricles miss the point as well, and
folded cortex is nowhere much alike.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..fields import smooth, warp
from ..settings import FOR_ONE_CONTRAST
from .forces import translate
from .levels import Level

MISS = 2.5
"""Voxels of the level by which a point of usual likeness may be missed before it counts half."""
LIKENESS_SIGMA = 1.5
"""Voxels of the level: the Gaussian window in which images are compared."""
MISS_SIGMA = 1.0
FILL_SIGMA = 4.0
"""Voxels of the level from which the field is taken where nothing is to be trusted."""
_SEEN = 0.05


def trust_in(fixed: Tensor, moving: Tensor, there: Tensor, back: Tensor, level: Level) -> Tensor:
    """(1, 1, *S) 0 to 1: how far what pulls at a voxel of ``fixed`` should count.

    1 / (1 + E^2) with E = (m / MISS)^2 (q / mean q)^2: m is by how much there and back misses, q how far the aligned
    images are from being correlated around the voxel. Across modalities one image is put into the other's contrast.

    Args:
        fixed, moving: (1, 1, *S) normalized, on the level.
        there, back: (1, ndim, *S) voxels, fixed to moving and moving to fixed, each found by itself.
    """
    seen = fixed > _SEEN
    warped = warp(moving, there)
    if level.similarity not in FOR_ONE_CONTRAST:
        pair = translate(fixed, moving, warped)
        if pair is None:
            return torch.ones_like(fixed)
        fixed, warped = pair[0], warp(pair[1], there)
    unlike = _unlikeness(fixed, warped, level, seen)
    usual = unlike[seen].mean() if bool(seen.any()) else unlike.mean()
    scale = [s / level.unit for s in level.spacing]
    missed = there + warp(back, there)
    for axis, factor in enumerate(scale):
        missed[:, axis] *= factor
    missed = smooth(missed.square().sum(1, keepdim=True), level.in_voxels(MISS_SIGMA))
    doubt = (missed / MISS**2) * (unlike / usual.clamp_min(1e-6)).square()
    return 1 / (1 + doubt.square())


def fill_in(u: Tensor, trust: Tensor, level: Level) -> None:
    """Replace, in place, what is not trusted of ``u`` (1, ndim, *S) by what is around it."""
    sigma = level.in_voxels(FILL_SIGMA)
    around = smooth(u * trust, sigma) / smooth(trust, sigma).clamp_min(1e-3)
    u.lerp_(around, 1 - trust)


def _unlikeness(fixed: Tensor, warped: Tensor, level: Level, seen: Tensor) -> Tensor:
    """1 - the local correlation, in either direction of the contrast: the one that prevails."""
    sigma = level.in_voxels(LIKENESS_SIGMA)
    powers = torch.cat([fixed, warped, fixed * fixed, warped * warped, fixed * warped], 1)
    f, w, ff, ww, fw = smooth(powers, sigma).split(1, 1)
    spread = ((ff - f * f).clamp_min(0) + 1e-5).sqrt() * ((ww - w * w).clamp_min(0) + 1e-5).sqrt()
    correlation = (fw - f * w) / spread
    return 1 - correlation * (-1 if float((correlation * seen).sum()) < 0 else 1)
