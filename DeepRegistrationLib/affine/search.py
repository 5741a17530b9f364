"""The affine stage's exhaustive part: where the improvement begins, near the header's orientation and in any other.

Rotations are tried on about a thousand points, read at the nearest voxel of a coarse copy. Around the header's
orientation they lie on a dense lattice and with many shifts; everywhere else on a super-Fibonacci spiral (Alexa 2022),
which covers the rotations evenly, first with the contents laid over one another, the best then with shifts.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from math import log
from typing import Any

import torch
from torch import Tensor

from .solver import distinct, rotation

NEAR_TURN = 45.0
"""Degrees about the header's orientation that are searched densely, and in which no evidence is asked for."""
_FAR = 800  # rotations over the whole of SO(3): the next one is 15 degrees away on average, 27 at most
_PLANE = 5.0  # degrees between rotations in the plane
_SHIFTED = 24  # far rotations that are also tried with shifts
# Sizes along some axes, along one alone, and along one against another; and their inverses.
_LARGER, _LONGER, _OPPOSED = 1.15, 1.25, 1.1
_PSI = 1.533751168755204288118041

Losses = Callable[[Tensor], Tensor]


def of_sizes(
    candidates: Callable[..., Tensor], sizes: Sequence[float], starts: Tensor, losses: Losses, *arguments: Any
) -> Tensor:
    """What ``candidates`` finds with each of ``sizes`` times as large a fixed image, of the first size first.

    Args:
        candidates: ``near_candidates`` or ``far_candidates``, whose further ``arguments`` are given.
    """

    found = [
        scaled(candidates(starts, lambda matrices, size=size: losses(scaled(matrices, size)), *arguments), size)
        for size in sizes
    ]
    return torch.cat(found)


def scaled(matrices: Tensor, size: float | Tensor) -> Tensor:
    """A|t (B, ndim, ndim + 1) with ``size`` A."""
    return torch.cat([size * matrices[..., :-1], matrices[..., -1:]], -1)


def stretched(matrices: Tensor) -> Tensor:
    """A|t (B, n, n + 1) with A after each of S stretches along the axes, (B S, n, n + 1); S is 12 in 2-D, 26 in 3-D."""
    n = matrices.shape[1]
    axes = list(torch.eye(n))
    some = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * n)[1:]
    opposed = torch.stack([a - b for a, b in itertools.combinations(axes, 2)])
    logs = torch.cat([log(_LARGER) * some, log(_LONGER) * torch.eye(n), log(_OPPOSED) * opposed])
    stretches = torch.cat([logs, -logs]).exp()
    linear = matrices[:, None, :, :-1] * stretches[:, None]
    return torch.cat([linear, matrices[:, None, :, -1:].expand(-1, len(stretches), -1, -1)], -1).flatten(0, 1)


def near_candidates(
    starts: Tensor, losses: Losses, cost: Callable[[Tensor], Tensor], largest: float, keep: int
) -> Tensor:
    """The ``keep`` best turned by up to ``largest`` degrees, shifted or not, after the ``starts`` (B, ndim, ndim + 1).

    Args:
        losses: (B,) of matrices (B, ndim, ndim + 1) in normalized coordinates.
        cost: what is added for the effort, likewise.
    """
    n = starts.shape[1]
    shifted = _shifted(starts, torch.tensor([-0.5, -0.25, 0.0, 0.25, 0.5]))
    kept = torch.cat([starts, distinct(shifted, losses(shifted), 0.3, 3)])
    turned = _turned(kept, rotations_near(largest, n))
    return torch.cat([starts, distinct(turned, losses(turned) + cost(turned), 0.3, keep)])


def far_candidates(starts: Tensor, losses: Losses, largest: float, keep: int) -> Tensor:
    """The ``keep`` best turned by ``NEAR_TURN`` to ``largest`` degrees; none where ``largest`` is not more."""
    n = starts.shape[1]
    rotations = rotations_everywhere(n)
    angles = angle(rotations)
    wanted = (angles > 0.95 * NEAR_TURN * torch.pi / 180) & (angles <= largest * 1.001 * torch.pi / 180)
    if largest <= NEAR_TURN or not wanted.any():
        return starts[:0]
    turned = _turned(starts, rotations[wanted])
    loss = losses(turned)
    best = distinct(turned, loss, 0.2, _SHIFTED)
    shifted = torch.cat([turned, _shifted(best, torch.tensor([-0.3, 0.0, 0.3]))])
    return distinct(shifted, torch.cat([loss, losses(shifted[len(turned) :])]), 0.3, keep)


def angle(rotations: Tensor) -> Tensor:
    """(B,) radians by which the linear maps (B, ndim, ndim) turn."""
    u, _, v = torch.linalg.svd(rotations)
    rotations = u @ v
    trace = rotations.diagonal(dim1=1, dim2=2).sum(1)
    return ((trace - 1) / 2 if rotations.shape[1] == 3 else trace / 2).clamp(-1, 1).arccos()


def rotations_near(largest: float, ndim: int) -> Tensor:
    """(B, ndim, ndim) a lattice of rotations of up to ``largest`` degrees, about 15 (7.5 in the plane) apart."""
    radians = torch.pi / 180 * min(largest, NEAR_TURN)
    axis = torch.linspace(-radians, radians, 7 if ndim == 3 else 13)
    vectors = torch.cartesian_prod(axis, axis, axis) if ndim == 3 else axis[:, None]
    return rotation(vectors[vectors.norm(dim=1) <= radians * 1.01])


def rotations_everywhere(ndim: int) -> Tensor:
    """(B, ndim, ndim) rotations that cover all orientations evenly."""
    if ndim == 2:
        return rotation(torch.arange(-180, 180, _PLANE)[:, None] * (torch.pi / 180))
    s = torch.arange(_FAR, dtype=torch.float64) + 0.5
    alpha, beta = 2 * torch.pi * s / 2**0.5, 2 * torch.pi * s / _PSI
    r, q = (s / _FAR).sqrt(), (1 - s / _FAR).sqrt()
    x, y, z, w = r * alpha.sin(), r * alpha.cos(), q * beta.sin(), q * beta.cos()
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, -1) for row in rows], -2).float()


def _turned(starts: Tensor, rotations: Tensor) -> Tensor:
    result = starts[:, None].repeat(1, len(rotations), 1, 1)
    result[..., :-1] = rotations
    return result.flatten(0, 1)


def _shifted(starts: Tensor, axis: Tensor) -> Tensor:
    lattice = torch.cartesian_prod(*[axis] * starts.shape[1])
    result = starts[:, None].repeat(1, len(lattice), 1, 1)
    result[..., -1] += lattice
    return result.flatten(0, 1)
