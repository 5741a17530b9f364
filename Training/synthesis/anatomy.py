"""Procedural anatomy: a table of ellipsoids painted one over another, then a few rules for what ellipsoids cannot show.

Positions are (z, y, x) = (up, back, left) with the field of view from -1 to 1. All ellipsoids of a body are one matrix
product: |A(p - c)|^2 is linear in the monomials of p. The recipe is plain data (see ``bodies``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from DeepRegistrationLib import fields

from .axes import along, coefficients, smooth_noise, spline_matrix

_SLAB = 8  # slices at once
_CHUNK = 32768  # voxels at once, so that the (ellipsoids, voxels) table stays in the processor's cache


def paint(recipe: dict[str, Any], shape: Sequence[int], device: torch.device) -> Tensor:
    """Label map (1, 1, *shape), uint8, of one body.

    ``recipe``: ``ellipsoids`` rows (label, center z y x, radii z y x, turns about z y x), later rows over earlier
    ones; ``rules``; ``warp`` = (seed, size) of the organic irregularity; ``axes``, ``flips``, ``turns`` = how the body
    lies in the array; ``plane`` = (axis, position) for a 2-D shape.
    """
    p = _positions(recipe, shape, device)
    seed, size = recipe["warp"]
    spatial = tuple(p.shape[1:])
    flat = p.flatten(1)
    if size > 0:
        flat = flat + size * smooth_noise([seed], 3, shape, _cells(shape, 5), device).reshape(3, -1)
    table = torch.tensor(recipe["ellipsoids"], dtype=torch.float32)
    quadrics = _quadrics(table).to(device)
    ids = torch.cat([torch.zeros(1), table[:, 0]]).to(device=device, dtype=torch.uint8)
    rows = sorted({row for rule in recipe["rules"] for row in rule.get("rows", ())})
    labels, inside = [], []
    for part in flat.split(_CHUNK, 1):
        monomials = _monomials(part)
        near = _near(table, part).to(device)  # most ellipsoids are far from most slabs
        within = quadrics[near] @ monomials < 1
        last = torch.where(within, (near + 1)[:, None].to(torch.int16), 0).amax(0) if len(near) else within.sum(0)
        labels.append(ids[last.long()])
        inside.append(quadrics[rows] @ monomials)
    lab = torch.cat(labels).view(spatial)
    values = dict(zip(rows, torch.cat(inside, 1).view(len(rows), *spatial), strict=True))
    for rule in recipe["rules"]:
        lab = _RULES[rule["rule"]](rule, lab, flat.view(3, *spatial), values, table)
    return lab[None, None]


def _near(table: Tensor, points: Tensor) -> Tensor:
    """Rows of ``table`` whose ball around the ellipsoid meets the box around ``points`` (3, V)."""
    low, high = points.amin(1).cpu(), points.amax(1).cpu()
    center, reach = table[:, 1:4], table[:, 4:7].amax(1, keepdim=True)
    return ((center + reach > low) & (center - reach < high)).all(1).nonzero()[:, 0]


def _positions(recipe: dict[str, Any], shape: Sequence[int], device: torch.device) -> Tensor:
    """(3, *shape): where in the body each voxel of the array lies."""
    axes = [(torch.arange(n, device=device, dtype=torch.float32) + 0.5) * (2 / n) - 1 for n in shape]
    grid = list(torch.meshgrid(*axes, indexing="ij"))
    if len(shape) == 2:
        axis, position = recipe["plane"]
        grid.insert(axis, torch.full_like(grid[0], position))
    body = [grid[axis] * flip for axis, flip in zip(recipe["axes"], recipe["flips"], strict=True)]
    turn = _rotations(torch.tensor([recipe["turns"]]))[0].to(device)
    return torch.tensordot(turn, torch.stack(body), 1)


def _cells(shape: Sequence[int], cells: float) -> list[float]:
    return [n / cells for n in shape]


def _quadrics(table: Tensor) -> Tensor:
    """(K, 10) coefficients of |A(p - c)|^2 for the monomials below."""
    center, radii = table[:, 1:4], table[:, 4:7]
    rotation = _rotations(table[:, 7:10])
    scaled = rotation.transpose(1, 2) / radii[:, :, None]
    m = scaled.transpose(1, 2) @ scaled
    linear = -2 * (m @ center[:, :, None])[:, :, 0]
    constant = torch.einsum("ki,kij,kj->k", center, m, center)
    squares = torch.stack([m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]], 1)
    mixed = 2 * torch.stack([m[:, 0, 1], m[:, 0, 2], m[:, 1, 2]], 1)
    return torch.cat([constant[:, None], linear, squares, mixed], 1)


def _rotations(turns: Tensor) -> Tensor:
    """(K, 3, 3) rotations by angles (K, 3) about the three axes, one after the other."""
    rotation = torch.eye(3).expand(len(turns), 3, 3)
    for axis in range(3):
        a, b = [d for d in range(3) if d != axis]
        c, s = torch.cos(turns[:, axis]), torch.sin(turns[:, axis])
        turn = torch.eye(3).repeat(len(turns), 1, 1)
        turn[:, a, a], turn[:, b, b], turn[:, a, b], turn[:, b, a] = c, c, -s, s
        rotation = rotation @ turn
    return rotation


def _monomials(p: Tensor) -> Tensor:
    one = torch.ones_like(p[:1])
    return torch.cat([one, p, p.square(), p[:1] * p[1:2], p[:1] * p[2:], p[1:2] * p[2:]])


Rule = dict[str, Any]


def _is(lab: Tensor, ids: Sequence[int]) -> Tensor:
    table = torch.zeros(256, dtype=torch.bool, device=lab.device)
    table[list(ids)] = True
    return table[lab.long()]


def _sheets(rule: Rule, lab: Tensor) -> Tensor:
    """About the distance, in halves of the field of view, from the zero set of smooth noise."""
    noise = smooth_noise([rule["seed"]], 1, lab.shape, _cells(lab.shape, rule["cells"]), lab.device)
    steps = [(noise.diff(dim=d + 2) * (n / 2)).square().mean() for d, n in enumerate(lab.shape)]
    return noise[0, 0].abs() / sum(steps).sqrt()  # type: ignore[union-attr]


def _fold(rule: Rule, lab: Tensor, p: Tensor, values: dict[int, Tensor], table: Tensor) -> Tensor:
    """A folded shell: sulci filled with ``fluid``, ``gray`` along them and along the surface of ``inside``."""
    depths = [
        (1 - values[row].clamp_min(0).sqrt()) * float(table[row, 4:7].mean())
        for row in rule["rows"]
        if row != rule["core"]
    ]
    depth = torch.stack(depths).amax(0)
    middle = (p[2].square() + (values[rule["core"]] - 1).clamp(-1, 0).square() * 0.04).sqrt()  # between the halves
    away = _sheets(rule, lab)
    sulcus = (away.square() + (depth - rule["depth"]).clamp_min(0).square()).sqrt()
    surface = torch.minimum(torch.minimum(depth, sulcus - rule["width"]), middle - rule["width"])
    here = _is(lab, [rule["inside"]])
    lab = torch.where(here & (surface < rule["thickness"]), rule["gray"], lab)
    return torch.where(here & (surface < 0), rule["fluid"], lab)


def _vessels(rule: Rule, lab: Tensor, *_: Any) -> Tensor:
    """Tubes: the curves in which the zero sets of two noises meet."""
    first, second = _sheets(rule, lab), _sheets({**rule, "seed": rule["seed"] + 1}, lab)
    tube = first.square() + second.square() < rule["radius"] ** 2
    return torch.where(tube & _is(lab, rule["inside"]), rule["label"], lab)


def _bands(rule: Rule, lab: Tensor, p: Tensor, *_: Any) -> Tensor:
    """Repeated layers, such as ribs: sin(2 pi (count * (z + slope * y + bow * x^2) / 2 + phase)) above a level."""
    height = p[0] + rule["slope"] * p[1] + rule["bow"] * p[2].square()
    wave = torch.sin(torch.pi * rule["count"] * height + rule["phase"])
    here = (wave > rule["level"]) & _is(lab, rule["inside"])
    return torch.where(here, rule["label"], lab)


def _parts(rule: Rule, lab: Tensor, *_: Any) -> Tensor:
    """Irregular parts, such as loops of bowel: which of several noises is largest."""
    count = len(rule["labels"])
    noise = smooth_noise([rule["seed"]], count, lab.shape, _cells(lab.shape, rule["cells"]), lab.device)
    parts = torch.tensor(rule["labels"], device=lab.device, dtype=torch.uint8)[noise[0].max(0).indices]
    return torch.where(_is(lab, rule["inside"]), parts, lab)


def _sides(rule: Rule, lab: Tensor, p: Tensor, *_: Any) -> Tensor:
    """The right-hand partner of each label where x < 0: ``pairs`` of (left, right)."""
    swap = torch.arange(256, device=lab.device, dtype=torch.uint8)
    for left, right in rule["pairs"]:
        swap[left] = right
    return torch.where(p[2] < 0, swap[lab.long()], lab)


def _only(rule: Rule, lab: Tensor, *_: Any) -> Tensor:
    """Nothing but ``keep``: a skull-stripped brain, say."""
    return torch.where(_is(lab, rule["keep"]), lab, 0)


_RULES: dict[str, Any] = {
    "fold": _fold, "vessels": _vessels, "bands": _bands, "parts": _parts, "sides": _sides, "only": _only,
}  # fmt: skip


def shapes(recipe: dict[str, Any], shape: Sequence[int], device: torch.device) -> Tensor:
    """Label map (1, 1, *shape), uint8: which of ``count`` smooth noises is largest, within an envelope or everywhere.

    ``recipe``: ``count``, ``seed``, ``noise`` (spacing in voxels and size of each kind), ``warp`` (seed, spacing, size
    in voxels), ``envelope`` (radii as parts of the half size, irregularity) or None.
    """
    count, seed, ndim = recipe["count"], recipe["seed"], len(shape)
    noises = [
        (spacing, size, torch.Generator().manual_seed(seed + k)) for k, (spacing, size) in enumerate(recipe["noise"])
    ]
    drawn = [
        size * torch.randn((1, count, *coefficients(shape, [spacing] * ndim)), generator=generator)
        for spacing, size, generator in noises
    ]
    # One slab after another: the noises of all labels at once would be slow to search for the largest.
    slabs = []
    for low in range(0, shape[0], _SLAB):
        parts, ends = [], []
        for noise, (spacing, _, _) in zip(drawn, noises, strict=True):
            part = along(noise.to(device), spline_matrix(shape[0] / spacing, shape[0])[low : low + _SLAB].to(device), 0)
            for axis in range(1, ndim - 1):
                part = along(part, spline_matrix(shape[axis] / spacing, shape[axis]).to(device), axis)
            parts.append(part)
            ends.append(spline_matrix(shape[-1] / spacing, shape[-1]).to(device))
        total = along(torch.cat(parts, -1), torch.cat(ends, -1), ndim - 1)  # one product adds both noises
        slabs.append(total.max(1, keepdim=True).indices.to(torch.uint8))
    lab = torch.cat(slabs, 2).add_(1)
    if recipe["envelope"] is not None:
        radii, rough = recipe["envelope"]
        axes = [torch.linspace(-1, 1, n, device=device) for n in shape]
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
        r = (grid / grid.new_tensor(radii).view(-1, *[1] * len(shape))).square().sum(0)
        r = r + rough * smooth_noise([seed + 9], 1, shape, _cells(shape, 4), device)[0, 0]
        lab *= r < 1
    warp_seed, spacing, size = recipe["warp"]
    if size > 0:
        u = size * smooth_noise([warp_seed], ndim, shape, spacing, device)
        lab = pick(lab, fields.identity(shape, device) + u)
    return lab


def pick(labels: Tensor, points: Tensor) -> Tensor:
    """Labels (B, 1, *S) of the voxels nearest to points (B, ndim, *T), or of the border: (B, 1, *T)."""
    shape = labels.shape[2:]
    index: Tensor | None = None
    for d, n in enumerate(shape):
        along_axis = points[:, d].round().clamp_(0, n - 1)
        index = along_axis if index is None else index.mul_(n).add_(along_axis)
    assert index is not None
    return torch.gather(labels.flatten(1), 1, index.flatten(1).long()).view(len(points), 1, *points.shape[2:])
