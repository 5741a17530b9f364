"""Where the two images of a pair come from one label map, and the exact map between them.

With T_f = exp(v_f) and T_m = A o exp(v_m), the fixed image is s o T_f and the moving image s o T_m, so the true map is
phi = T_m^-1 o T_f = exp(-v_m) o A^-1 o exp(v_f): what lies at x in the fixed image lies at phi(x) in the moving one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from DeepRegistrationLib import fields

from .axes import along, coefficients, linear_matrix, spread


@dataclass(frozen=True)
class Maps:
    """Positions (B, ndim, *S) in voxels: of the label map at each fixed and each moving voxel; phi - id; its error.

    ``error`` (B, 1, *S), voxels, is large only where material flows through the border of the grid.
    """

    fixed: Tensor
    moving: Tensor
    displacement: Tensor
    error: Tensor


def velocity(recipes: Sequence[dict[str, Any]], shape: Sequence[int], device: torch.device) -> Tensor:
    """(B, ndim, *shape) stationary velocities in voxels of ``shape``: noise of several widths, or nothing.

    Each recipe is ``{"seed", "spacing": [...], "sd": [...], "largest"}``: spacing in parts of the grid, SD in voxels of
    ``shape``; where ``largest`` is given, v is scaled to that length, which no displacement then exceeds.
    """
    ndim = len(shape)
    out = torch.zeros(len(recipes), ndim, *shape, device=device)
    levels = sorted({s for recipe in recipes for s in recipe["spacing"]})
    generators = [torch.Generator().manual_seed(recipe["seed"]) for recipe in recipes]
    for level in levels:
        spacing = [level] * ndim
        drawn = torch.zeros(len(recipes), ndim, *coefficients(shape, spacing))
        for item, (recipe, generator) in enumerate(zip(recipes, generators, strict=True)):
            if level in recipe["spacing"]:
                sd = recipe["sd"][recipe["spacing"].index(level)]
                drawn[item] = sd * torch.randn(drawn.shape[1:], generator=generator)
        out += spread(drawn.to(device), shape, spacing)
    if any(recipe["largest"] for recipe in recipes):
        longest = out.square().sum(1).flatten(1).amax(1).sqrt().clamp_min(1e-6)
        wanted = torch.tensor([recipe["largest"] or 0.0 for recipe in recipes], device=device)
        out *= torch.where(wanted > 0, wanted / longest, torch.ones_like(longest)).view(-1, 1, *[1] * ndim)
    return out


def maps(recipes: Sequence[dict[str, Any]], shape: Sequence[int], device: torch.device) -> Maps:
    """The maps of a batch of recipes ``{"fixed": velocity, "moving": velocity, "affine": rows}``.

    Velocities are integrated at half resolution; ``affine`` is (ndim, ndim + 1) about the middle of the grid.
    """
    count = len(recipes)
    half = [math.ceil(n / 2) for n in shape]
    still = [recipe["fixed"] is None for recipe in recipes]
    v_moving = velocity([recipe["moving"] for recipe in recipes], half, device)
    parts = [v_moving, -v_moving]
    if not all(still):
        parts.append(velocity([recipe["fixed"] or _AT_REST for recipe in recipes], half, device))
    u = fields.exponentiate(torch.cat(parts), steps=recipes[0]["squarings"])
    u_moving, u_back = u[:count], u[count : 2 * count]
    rows = torch.tensor([recipe["affine"] for recipe in recipes], dtype=torch.float64)
    upright = _inverse(rows)
    # In voxels of the half grid, too, the affine turns about the middle; only its shift is halved.
    ratio = torch.tensor([h / n for h, n in zip(half, shape, strict=True)], dtype=torch.float64)
    base = fields.identity(half, device)
    u_fixed = u[2 * count :] if len(parts) == 3 else torch.zeros_like(u_moving)
    start = _affine(_scaled(upright, ratio), base + u_fixed, half)
    u_back = fields.sample(u_back, start)
    # exp(v) and exp(-v) disagree where the flow crosses the border of the grid; what is left of their composition.
    left = (u_back + fields.sample(u_moving, start + u_back)).square().sum(1, keepdim=True).sqrt() * 2
    base = fields.identity(shape, device)
    u_moving, u_back = (_up(part, shape) for part in (u_moving, u_back))
    at_fixed = base + _up(u_fixed, shape) if len(parts) == 3 else base.expand(count, *base.shape[1:])
    at_moving = _affine(rows, base + u_moving, shape)
    displacement = _affine(upright, at_fixed, shape).add_(u_back).sub_(base)
    return Maps(at_fixed, at_moving, displacement, fields.resize_image(left, shape))


def _up(u: Tensor, shape: Sequence[int]) -> Tensor:
    """``fields.resize`` to ``shape``, as products along the axes."""
    ratio = [n / m for n, m in zip(shape, u.shape[2:], strict=True)]
    for axis, n in enumerate(shape):
        u = along(u, linear_matrix(u.shape[axis + 2], n).to(u.device), axis)
    return u * u.new_tensor(ratio).view(1, -1, *[1] * len(shape))


def _scaled(rows: Tensor, ratio: Tensor) -> Tensor:
    """The affine in voxels that are ``1 / ratio`` times as large."""
    return torch.cat([ratio[:, None] * rows[..., :-1] / ratio, ratio[:, None] * rows[..., -1:]], -1)


_AT_REST: dict[str, Any] = {"seed": 0, "spacing": [], "sd": [], "largest": None}


def _affine(rows: Tensor, points: Tensor, shape: Sequence[int]) -> Tensor:
    """rows (B, ndim, ndim + 1) applied to points (B or 1, ndim, *T) about the middle of ``shape``."""
    ndim = len(shape)
    middle = (torch.tensor(shape, dtype=torch.float64) - 1) / 2
    matrix, shift = rows[..., :ndim], rows[..., ndim] + middle - rows[..., :ndim] @ middle
    flat = points.flatten(2)
    moved = torch.baddbmm(
        shift.to(flat)[:, :, None].expand(-1, -1, flat.shape[2]),
        matrix.to(flat),
        flat.expand(len(rows), -1, -1),
    )
    return moved.view(len(rows), ndim, *points.shape[2:])


def _inverse(rows: Tensor) -> Tensor:
    inverse = torch.linalg.inv(rows[..., :-1])
    return torch.cat([inverse, -inverse @ rows[..., -1:]], -1)
