"""A generated pair of head scans with a known true transform: for the demonstration, the tutorial and the tests.

The fixed image looks like a T1-weighted scan. The moving image looks like a T2-weighted one of the same head after a
smooth diffeomorphic change and a change of pose, in thick oblique slices. Nothing is downloaded and no patient is
shown: the anatomy is computed (``phantom_head``) from a seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .. import fields
from ..errors import InputError
from ..geometry.image import Grid, Image
from .head import GRAY_NUCLEUS, LANDMARKS, LENS, MARROW, SKIN, Head, paint_head

# Relative signal of spin-echo-like contrasts: label -> intensity; bone and air are what is missing.
_GRAY = (3, 42, 8, 47, 17, 18, 53, 54)
_WHITE = (2, 41, 7, 46)
_FLUID = (4, 43, 14, 15, 24)


def _contrast(
    gray: float, white: float, fluid: float, fat: float, muscle: float, marrow: float, nucleus: float, stem: float
) -> dict[int, float]:
    table = dict.fromkeys(_GRAY, gray) | dict.fromkeys(_WHITE, white) | dict.fromkeys(_FLUID, fluid)
    return table | {
        16: stem, 85: white, 125: fat, SKIN: 0.6 * fat, 123: muscle, MARROW: marrow, GRAY_NUCLEUS: nucleus,
        134: fluid, LENS: muscle, 121: 0.06, 130: 0.0,
    }  # fmt: skip


T1 = _contrast(gray=0.52, white=0.80, fluid=0.16, fat=0.92, muscle=0.42, marrow=0.62, nucleus=0.60, stem=0.74)
T2 = _contrast(gray=0.50, white=0.34, fluid=0.95, fat=0.62, muscle=0.22, marrow=0.40, nucleus=0.43, stem=0.37)


@dataclass(frozen=True, eq=False)
class DemoPair:
    """A pair to register, and the answer.

    Attributes:
        fixed, moving: float32 images, intensities about 0 to 1000.
        fixed_labels, moving_labels: uint8 label maps on their grids; FreeSurfer's ids (``phantom_head.LABELS``).
        true_displacement: (*fixed shape, 3) LPS mm: the fixed image at x shows what lies at x + d in the moving one.
        fixed_points, moving_points: (n, 3) LPS mm, corresponding landmarks; ``names`` says which.
    """

    fixed: Image
    moving: Image
    fixed_labels: Image
    moving_labels: Image
    true_displacement: np.ndarray
    fixed_points: np.ndarray
    moving_points: np.ndarray
    names: tuple[str, ...]


def head_phantom(
    shape: tuple[int, int, int] = (128, 160, 128), spacing: float | tuple[float, ...] = 1.5, seed: int = 0
) -> tuple[Image, Image, Image]:
    """A head on an axis-aligned grid: label map (uint8), T1-like and T2-like image (float32, without noise).

    Args:
        shape: voxels along the array axes (foot to head, front to back, right to left).
        spacing: mm along the array axes.
        seed: another seed is another head.

    Raises:
        InputError: if the shape is not that of a 3-D grid.
    """
    grid = _fixed_grid(shape, spacing)
    points = _to_head(_lattice(grid.shape, grid.matrix))
    labels, pictures = paint_head(points, Head(seed), (T1, T2), float(np.mean(grid.spacing)))
    t1, t2 = (Image(picture.numpy() * 1000, grid, name) for picture, name in zip(pictures, ("T1", "T2"), strict=True))
    return Image(labels.numpy(), grid, "labels"), t1, t2


def demo_pair(
    seed: int = 0,
    shape: tuple[int, int, int] = (128, 160, 128),
    spacing: float = 1.5,
    elastic: float = 11.0,
    rotation: float = 8.0,
    translation: float = 10.0,
) -> DemoPair:
    """A T1-like fixed and a deformed T2-like moving head with the true transform between them.

    Args:
        seed: another seed is another head, deformation and pose.
        shape, spacing: the fixed grid (voxels; mm).
        elastic: largest elastic displacement within the head, mm.
        rotation, translation: size of the rigid part, degrees and mm.

    Raises:
        InputError: if the shape is not that of a 3-D grid.
    """
    grid = _fixed_grid(shape, spacing)
    head = Head(seed)
    random = np.random.default_rng(seed)
    rigid = _rigid(random, rotation, translation, np.array([0.0, 10.0, 0.0]))
    coarse, velocity = _velocity(grid, seed, elastic)
    forward, backward = fields.exponentiate(velocity), fields.exponentiate(-velocity)

    world = _lattice(grid.shape, grid.matrix)
    true = _apply(rigid, _displaced(world, coarse, forward)) - world
    fixed_labels, (t1,) = paint_head(_to_head(world), head, (T1,), spacing)
    points = _landmarks(head)
    column = torch.from_numpy(points.T.astype(np.float32))[:, :, None, None]
    moved = _apply(rigid, _displaced(column, coarse, forward))[:, :, 0, 0].T

    # Thick slices: anatomy is drawn on thin ones, pairs of which are averaged.
    moving_grid = _moving_grid(grid, rigid, random)
    upright = np.linalg.inv(rigid)
    thin = moving_grid.resized((moving_grid.shape[0] * 2, *moving_grid.shape[1:]))
    back = _displaced(_lattice(thin.shape, upright @ thin.matrix), coarse, backward)
    _, (t2,) = paint_head(_to_head(back), head, (T2,), float(np.mean(thin.spacing)))
    thick = F.avg_pool3d(t2[None, None], (2, 1, 1))[0, 0]
    back = _displaced(_lattice(moving_grid.shape, upright @ moving_grid.matrix), coarse, backward)
    moving_labels, _ = paint_head(_to_head(back), head, (), float(np.mean(thin.spacing)))
    return DemoPair(
        Image(_scan(t1, seed), grid, "fixed image"),
        Image(_scan(thick, seed + 1), moving_grid, "moving image"),
        Image(fixed_labels.numpy(), grid, "fixed labels"),
        Image(moving_labels.numpy(), moving_grid, "moving labels"),
        np.moveaxis(true.numpy(), 0, -1).astype(np.float32),
        points,
        moved.numpy().astype(np.float64),
        tuple(LANDMARKS),
    )


def _fixed_grid(shape: tuple[int, int, int], spacing: float | tuple[float, ...]) -> Grid:
    if len(shape) != 3 or min(shape) < 8:
        raise InputError(f"The head phantom needs a 3-D shape of at least 8 voxels a side, not {shape}.")
    grid = Grid.from_shape(shape, spacing)
    matrix = grid.matrix.copy()
    matrix[:3, 3] = np.array([0.0, 4.0, -5.0]) - (grid.center - grid.origin)
    return Grid(shape, matrix)


def _moving_grid(fixed: Grid, rigid: np.ndarray, random: np.random.Generator) -> Grid:
    """Oblique, 1.4 mm in slices of 3.2 mm, about the moved head."""
    pose = _rigid(random, 14.0, 0.0, np.zeros(3))
    size = fixed.extent * 1.02
    spacing = np.array([3.2, 1.4, 1.4]) * (fixed.spacing.mean() / 1.5)
    shape = tuple(int(n) for n in np.round(size / spacing))
    axes = pose[:3, :3] @ (np.eye(3)[:, ::-1] * spacing)
    matrix = np.eye(4)
    matrix[:3, :3] = axes
    center = (rigid @ np.append(fixed.center, 1))[:3]
    matrix[:3, 3] = center - axes @ ((np.asarray(shape) - 1) / 2)
    return Grid(shape, matrix)


def _lattice(shape: tuple[int, ...], matrix: np.ndarray) -> Tensor:
    """(3, *shape): ``matrix`` (4, 4) applied to each voxel's index."""
    axes = [torch.arange(n, dtype=torch.float32) for n in shape]
    index = torch.meshgrid(*axes, indexing="ij")
    m = matrix.astype(np.float32).tolist()
    return torch.stack([m[d][0] * index[0] + m[d][1] * index[1] + (m[d][2] * index[2] + m[d][3]) for d in range(3)])


def _to_head(world: Tensor) -> Tensor:
    """LPS mm to the phantom's (left, anterior, superior); it is symmetric but for its noise."""
    return world * world.new_tensor([1.0, -1.0, 1.0]).view(3, 1, 1, 1)


def _landmarks(head: Head) -> np.ndarray:
    points = np.array(list(LANDMARKS.values()), dtype=np.float64)
    return points * head.scale.numpy() * [1.0, -1.0, 1.0]


def _rigid(random: np.random.Generator, degrees: float, translation: float, center: np.ndarray) -> np.ndarray:
    """(4, 4) turn by ``degrees`` about a random axis through ``center``, then a shift of ``translation`` mm."""
    axis, shift = (v / np.linalg.norm(v) for v in random.standard_normal((2, 3)))
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    matrix = np.eye(4)
    matrix[:3, :3] += np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    matrix[:3, 3] = center - matrix[:3, :3] @ center + translation * shift
    return matrix


def _apply(matrix: np.ndarray, points: Tensor) -> Tensor:
    m = torch.from_numpy(matrix.astype(np.float32))
    return torch.tensordot(m[:3, :3], points, 1) + m[:3, 3].view(3, 1, 1, 1)


def _velocity(grid: Grid, seed: int, elastic: float) -> tuple[Grid, Tensor]:
    """A smooth velocity on a coarse grid with a margin, in its voxels, whose exponential moves by ``elastic`` mm."""
    coarse = grid.with_spacing(4.0).padded(10)
    generator = torch.Generator().manual_seed(seed + 7919)
    velocity = torch.zeros(1, 3, *coarse.shape)
    for sigma, weight in ((4.5, 0.35), (9.0, 1.0)):
        noise = fields.smooth(torch.randn(1, 3, *coarse.shape, generator=generator), sigma)
        velocity += weight * noise / noise.std()
    velocity = fields.pad_tapered(velocity[..., 8:-8, 8:-8, 8:-8], 8)
    # The exponential is not linear in v: twice is enough to get the asked size within a few percent.
    inside = (slice(None), slice(None), *[slice(10, n - 10) for n in coarse.shape])
    for _ in range(2):
        length = fields.exponentiate(velocity)[inside].square().sum(1).sqrt().max() * float(coarse.spacing.mean())
        velocity = velocity * (elastic / float(length)) if elastic > 0 else velocity * 0
    return coarse, velocity


def _displaced(world: Tensor, coarse: Grid, u: Tensor) -> Tensor:
    """``world`` (3, *S) LPS mm moved by a field given in voxels of ``coarse``, an axis-aligned grid."""
    step, origin = (world.new_tensor(v).view(3, 1, 1, 1) for v in (coarse.spacing, coarse.origin))
    return world + fields.sample(u, ((world - origin).flip(0) / step)[None])[0].mul_(step).flip(0)


def _scan(picture: Tensor, seed: int) -> np.ndarray:
    """What a scanner adds: uneven coil sensitivity, a little texture, Rician noise."""
    generator = torch.Generator().manual_seed(seed + 104729)
    shape = picture.shape

    def smooth_noise(n: int) -> Tensor:
        noise = torch.randn((1, 1, n, n, n), generator=generator)
        return F.interpolate(noise, size=shape, mode="trilinear", align_corners=False)[0, 0]

    picture = picture * torch.exp(0.10 * smooth_noise(4)) * (1 + 0.03 * smooth_noise(24))
    noise = torch.randn((2, *shape), generator=generator) * 0.018
    return ((picture + noise[0]).square() + noise[1].square()).sqrt_().mul_(1000).numpy()
