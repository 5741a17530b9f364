"""Parts that must not bend: inside each the field becomes its best rigid motion, and around it the field gives way.

A bone, an implant or a tumor moves as one piece. The best turn and shift of each part is that of Arun et al. (IEEE
TPAMI 9, 1987), fitted to where the field brings its voxels. Outside, what had to be added fades with the distance;
between parts the nearer one counts more, as in the polyrigid transforms of Arsigny et al. (MICCAI 2003). The fading
grows wider until nothing folds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch
import torch.nn.functional as F
from torch import Tensor

from ..fields.folding import smallest_determinant, unfold
from ..progress import SILENT, Reporter

FEWEST_VOXELS = 4
"""Voxels of a part; less have no turn."""
LEAST = 0.02
"""The smallest Jacobian determinant, as where folds are removed."""
PLENTY = 0.2
"""A determinant that needs no wider fading."""
NARROWEST, WIDEST = 3, 24
"""Finest voxels over which the correction fades."""


@dataclass(frozen=True, eq=False)
class RigidParts:
    """What came out.

    Attributes:
        field: (1, ndim, *S) voxels, without folds.
        labels: of the parts that were made rigid.
        moved_mm: how far a voxel was moved for it, at most.
        left_mm: the largest distance of a voxel of a part from its part's rigid motion; more than a trace is left only
            where parts come so close to each other that the field would fold between them.
    """

    field: Tensor
    labels: tuple[int, ...]
    moved_mm: float
    left_mm: float


@dataclass(frozen=True, eq=False)
class _Part:
    """One part: its box of voxels, the correction (ndim, *box) and the distance from it (*box), finest voxels."""

    box: tuple[slice, ...]
    correction: Tensor
    distance: Tensor


def keep_rigid(
    u: Tensor, parts: Tensor, to_world: np.ndarray, matrix: np.ndarray, reporter: Reporter = SILENT
) -> RigidParts:
    """The field whose whole map, p -> matrix(p + u(p)), is rigid in each part.

    Args:
        u: (1, ndim, *S) voxels.
        parts: (1, 1, *S) whole numbers, one a part; 0 may bend.
        to_world: (ndim + 1, ndim + 1) voxel to mm.
        matrix: (ndim + 1, ndim + 1) mm, applied after ``u``.

    Raises:
        Cancelled: if the reporter's token is set.
    """
    numbers, counts = torch.unique(parts, return_counts=True)
    labels = [int(v) for v, n in zip(numbers, counts, strict=True) if v and n >= FEWEST_VOXELS]
    if not labels:
        return RigidParts(u, (), 0.0, 0.0)
    spacing = np.linalg.norm(to_world[:-1, :-1], axis=0)
    found = []
    for label in labels:
        reporter.check()
        found.append(_part_of(u, parts, label, to_world, matrix, spacing / spacing.min()))
    scale = torch.as_tensor(spacing, dtype=u.dtype).view(-1, *[1] * (u.ndim - 2))
    moved = max(float((p.correction * scale)[:, p.distance <= 0].square().sum(0).max().sqrt()) for p in found)
    width = float(np.clip(np.ceil(3 * moved / spacing.min()), NARROWEST, WIDEST))
    field = _blended(u, found, width)
    before = smallest_determinant(u).clamp_max(PLENTY)
    while bool((smallest_determinant(field) < before - 1e-3).any()):
        reporter.check()
        if width >= WIDEST:
            if bool((smallest_determinant(field) < LEAST).any()):
                field = unfold(field, LEAST, reporter)
            break
        width = min(WIDEST, 1.6 * width)
        field = _blended(u, found, width)
    left = max(_bending(field, parts[0, 0] == label, to_world, matrix) for label in labels)
    return RigidParts(field, tuple(labels), moved, left)


def _part_of(
    u: Tensor, parts: Tensor, label: int, to_world: np.ndarray, matrix: np.ndarray, ratio: np.ndarray
) -> _Part:
    inside = parts[0, 0] == label
    whole = _with_neighbors(inside, parts[0, 0])
    shape = inside.shape
    places = torch.nonzero(whole).T
    reach = [int(np.ceil(WIDEST / r)) + 1 for r in ratio]
    box = tuple(
        slice(max(0, int(p.min()) - r), min(n, int(p.max()) + r + 1))
        for p, r, n in zip(places, reach, shape, strict=True)
    )
    here, there = _positions(u, inside, to_world, matrix)
    motion = _rigid_fit(here, there)
    back = np.linalg.inv(matrix @ to_world) @ motion @ to_world - np.eye(len(to_world))  # voxels to displacement
    grids = torch.meshgrid(*[torch.arange(s.start, s.stop, dtype=torch.float64) for s in box], indexing="ij")
    index = torch.stack([*grids, torch.ones_like(grids[0])])
    rigid = torch.tensordot(torch.as_tensor(back[:-1]), index, 1).to(u.dtype)
    return _Part(box, rigid - u[0][(slice(None), *box)], _distance(whole[box], ratio))


def _with_neighbors(inside: Tensor, parts: Tensor) -> Tensor:
    """A part and the voxels that touch it, so that the map is rigid between its outermost voxels' corners, too."""
    pool = {2: F.max_pool2d, 3: F.max_pool3d}[inside.ndim]
    grown = pool(inside[None, None].float(), 3, 1, 1)[0, 0] > 0
    return inside | (grown & (parts == 0))


def _distance(inside: Tensor, ratio: np.ndarray) -> Tensor:
    image = sitk.GetImageFromArray(inside.numpy().astype(np.uint8))
    image.SetSpacing(ratio[::-1].tolist())
    away = sitk.SignedMaurerDistanceMap(image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
    return torch.from_numpy(sitk.GetArrayFromImage(away)).clamp_min(0)


def _positions(u: Tensor, inside: Tensor, to_world: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the voxels of a part are and where the whole map brings them, (n, ndim) mm."""
    index = torch.nonzero(inside).double().numpy()
    moved = index + u[0][:, inside].T.double().numpy()
    n = index.shape[1]
    whole = matrix @ to_world
    return index @ to_world[:n, :n].T + to_world[:n, n], moved @ whole[:n, :n].T + whole[:n, n]


def _rigid_fit(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    n = here.shape[1]
    middles = here.mean(0), there.mean(0)
    left, _scales, right = np.linalg.svd((there - middles[1]).T @ (here - middles[0]))
    signs = np.ones(n)
    signs[-1] = np.sign(np.linalg.det(left @ right)) or 1.0
    motion = np.eye(n + 1)
    motion[:n, :n] = (left * signs) @ right
    motion[:n, n] = middles[1] - motion[:n, :n] @ middles[0]
    return motion


def _blended(u: Tensor, parts: list[_Part], width: float) -> Tensor:
    """The field with every part's correction in full inside, and fading over ``width`` finest voxels outside."""
    near, weight, pulled = torch.zeros_like(u[0, 0]), torch.zeros_like(u[0, 0]), torch.zeros_like(u[0])
    for part in parts:
        t = (part.distance / width).clamp_max(1)
        fade = 1 - t * t * (3 - 2 * t)
        share = fade / (part.distance.square() + 1e-6)
        near[part.box] = torch.maximum(near[part.box], fade)
        weight[part.box] += share
        pulled[(slice(None), *part.box)] += share * part.correction
    field = u + (near * pulled / weight.clamp_min(1e-12))[None]
    for part in parts:  # exactly
        inside = part.distance <= 0
        view = field[0][(slice(None), *part.box)]
        view[:, inside] = (u[0][(slice(None), *part.box)] + part.correction)[:, inside]
    return field


def _bending(u: Tensor, inside: Tensor, to_world: np.ndarray, matrix: np.ndarray) -> float:
    here, there = _positions(u, inside, to_world, matrix)
    motion, n = _rigid_fit(here, there), here.shape[1]
    return float(np.linalg.norm(here @ motion[:n, :n].T + motion[:n, n] - there, axis=1).max())
