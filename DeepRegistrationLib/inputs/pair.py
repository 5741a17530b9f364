"""From what the user gave to tensors on one grid: the pair, the working grid, masks, landmarks and label maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from ..affine.detail import relative
from ..device import available_bytes, total_bytes
from ..errors import InputError
from ..geometry.image import Grid, Image, ImageSource
from ..geometry.padding import comparable, measured_part
from ..geometry.single_slice import Plane, flatten
from ..geometry.transform import affine_to_sitk, resample
from .checks import filled, read_mask, read_pair, unlike_units
from .resolution import lacking

BYTES_PER_VOXEL = 260
"""Peak memory of a registration for each voxel of the working grid, measured by the benchmarks."""
MOST_VOXELS = {"cpu": 10_000_000, "cuda": 40_000_000, "mps": 10_000_000}
SHARE = 0.4
"""Of all the memory there is, that a registration may take: other programs run, too."""
MOST_FROM_HERE = 650_000
"""Voxels on which is looked for what has moved since an accepted result, by somebody who waits for it. More bring
little: a breathing liver of 800 000 voxels ended at 1.03 mm on 500 000, 1.01 on all (1.26 before), a chest of 8 million
at 1.23 mm, 1.11 on all (2.09 before)."""


@dataclass(frozen=True)
class Pair:
    """The two images as they are registered (one-slice images as 2-D) and as they were given.

    Attributes:
        fixed, moving: what is registered, ``comparable`` (see ``padding.py``); 2-D where both are single slices.
        fixed_mask, moving_mask: bool on those grids: the user's masks, less what was not measured (None: all counts).
        plane: of single slices.
        given_fixed, given_moving: the images untouched, but for voxels without a number (see ``filled``).
        clean_fixed, clean_moving: the same, ``comparable``: for doubt, likeness and verdict.
    """

    fixed: Image
    moving: Image
    fixed_mask: np.ndarray | None
    moving_mask: np.ndarray | None
    plane: Plane | None
    given_fixed: Image
    given_moving: Image
    clean_fixed: Image
    clean_moving: Image

    @property
    def warnings(self) -> list[str]:
        """What the user should read of how the images were read."""
        units = unlike_units(self.given_fixed.grid, self.given_moving.grid)
        return [*self.given_fixed.warnings, *self.given_moving.warnings, *([units] if units else [])]

    @property
    def masks(self) -> dict[str, Any]:
        """Both masks, as keywords; None where there is none."""
        return {"fixed_mask": self.fixed_mask, "moving_mask": self.moving_mask}

    @classmethod
    def read(
        cls, fixed: ImageSource, moving: ImageSource, fixed_mask: ImageSource | None, moving_mask: ImageSource | None
    ) -> Pair:
        (one, there), (other, there_too) = map(filled, read_pair(fixed, moving))
        given = one, other
        first = _where_both(read_mask(fixed_mask, one, "fixed mask"), there)
        second = _where_both(read_mask(moving_mask, other, "moving mask"), there_too)
        clean = comparable(given[0]), comparable(given[1])
        flat = flatten(*given)
        if flat is None:
            masks = _measured(given[0], first), _measured(given[1], second)
            return cls(*clean, *masks, None, *given, *clean)
        *images, plane = flat
        shaped = [
            _measured(image, None if mask is None else mask.reshape(image.grid.shape))
            for image, mask in zip(images, (first, second), strict=True)
        ]
        return cls(comparable(images[0]), comparable(images[1]), shaped[0], shaped[1], plane, *given, *clean)


@dataclass(frozen=True)
class PreparedPair:
    """Both images on the working grid, the moving one through the affine: tensors (1, 1, *grid.shape).

    ``lacking``: voxels along each axis, see ``resolution.py``.
    """

    grid: Grid
    fixed: Tensor
    moving: Tensor
    fixed_mask: Tensor | None
    moving_mask: Tensor | None
    lacking: tuple[float, ...]

    @classmethod
    def prepare(
        cls,
        pair: Pair,
        fixed_on_grid: tuple[Tensor, Tensor | None],
        grid: Grid,
        matrix: np.ndarray,
        surroundings: float = 0.0,
    ) -> PreparedPair:
        """The moving image on ``grid`` through ``matrix`` (LPS mm), beside what ``fixed_on`` made of the fixed one.

        ``surroundings``: mm within which each voxel is taken relative to those around it, without light that stays in
        its place; 0: as it is.
        """
        (fixed, fixed_mask), affine = fixed_on_grid, affine_to_sitk(matrix)
        moving = resample(pair.moving, grid, affine, dtype=np.float32)
        # Where the moving image was never seen nothing may pull.
        seen = pair.moving_mask if pair.moving_mask is not None else np.ones(pair.moving.grid.shape, bool)
        there = _on_grid(seen, pair.moving.grid, grid, affine)
        moving_mask = None if pair.moving_mask is None and bool(there.all()) else there
        images, masks = [fixed, _tensor(moving.array)], [fixed_mask, moving_mask]
        if surroundings:
            radius = np.round(surroundings / grid.spacing).astype(int)
            weights = [torch.ones_like(fixed) if mask is None else mask for mask in masks]
            images = [relative(x, weight, radius) for x, weight in zip(images, weights, strict=True)]
        less = lacking(grid, pair.moving.grid, matrix)
        return cls(grid, images[0], images[1], fixed_mask, moving_mask, less)


def fixed_on(pair: Pair, grid: Grid) -> tuple[Tensor, Tensor | None]:
    """The fixed image on ``grid``, and its mask: tensors (1, 1, *grid.shape)."""
    fixed = pair.fixed if grid is pair.fixed.grid else resample(pair.fixed, grid, dtype=np.float32)
    if pair.fixed_mask is None:
        return _tensor(fixed.array), None
    return _tensor(fixed.array), _on_grid(pair.fixed_mask, pair.fixed.grid, grid, None)


def _measured(image: Image, mask: np.ndarray | None) -> np.ndarray | None:
    return _where_both(mask, measured_part(image.array))


def _where_both(mask: np.ndarray | None, seen: np.ndarray | None) -> np.ndarray | None:
    """Where both are; the user's own where that is nowhere."""
    if mask is None or seen is None:
        return seen if mask is None else mask
    both = np.asarray(mask & seen)
    return both if both.any() else mask


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.require(array, np.float32, ["C", "W"]))[None, None]  # of what may not be written, a copy


def _on_grid(mask: np.ndarray, own: Grid, grid: Grid, transform: sitk.Transform | None) -> Tensor:
    image = Image(mask.astype(np.uint8), own, "mask")
    if transform is None and grid is own:
        return _tensor(mask)
    return _tensor(resample(image, grid, transform, mode="nearest").array)


def working_grid(fixed: Grid, device: torch.device, said: list[str] | None = None, from_here: bool = False) -> Grid:
    """The fixed grid, or a coarser one over the same field of view where that is all the machine's memory holds.

    What is free just now decides nothing but whether to begin: the same images give the same answer at any time.

    Args:
        said: gets a sentence if the grid is coarser.
        from_here: of ``MOST_FROM_HERE`` voxels at most; nothing is said then, the report has the resolution.

    Raises:
        InputError: if the memory that is free does not do.
    """
    most = min(MOST_VOXELS[device.type], int(total_bytes(device) * SHARE / BYTES_PER_VOXEL))
    grid = _fitting(fixed, min(most, MOST_FROM_HERE) if from_here else most)
    needed, free = BYTES_PER_VOXEL * int(np.prod(grid.shape)), available_bytes(device)
    if free < needed:
        raise InputError(
            f"There is too little free memory: {free / 2**30:.1f} of about {needed / 2**30:.1f} GB that these images "
            "need; close other programs and try again, or crop the images."
        )
    if grid is not fixed and said is not None and not from_here:
        given, coarse = (" x ".join(f"{s:.3g}" for s in reversed(g.spacing)) for g in (fixed, grid))
        said.append(
            f"The images were aligned at {coarse} mm instead of {given} mm, as more does not fit into this machine's "
            "memory; crop them to what matters for a finer result."
        )
    return grid


def _fitting(fixed: Grid, most: int) -> Grid:
    if np.prod(fixed.shape) <= most:
        return fixed
    # The finest axes give way first, so that slices of a thick-slice image stay.
    spacing = fixed.spacing.copy()
    for target in np.geomspace(spacing.min(), spacing.max() * 64, 400):
        grid = fixed.with_spacing(np.maximum(spacing, target))
        if np.prod(grid.shape) <= most:
            return grid
    raise InputError("The fixed image is too large for the memory; crop or resample it first.")


def landmark_voxels(
    landmarks: tuple[np.ndarray, np.ndarray] | None, grid: Grid, matrix: np.ndarray, plane: Plane | None
) -> tuple[Tensor, Tensor] | None:
    """Points in mm to voxels of the working grid, the moving ones taken back through the affine."""
    if landmarks is None:
        return None
    pair = [np.asarray(points, dtype=np.float64) for points in landmarks]
    if plane:
        pair = [plane.to_plane(points) for points in pair]
    back = np.linalg.inv(matrix)
    pair[1] = pair[1] @ back[:-1, :-1].T + back[:-1, -1]
    fixed, moving = (torch.as_tensor(grid.to_index(points), dtype=torch.float32) for points in pair)
    return fixed, moving


def label_tensors(
    labels: tuple[Image, Image] | None, grid: Grid, affine: sitk.Transform, plane: Plane | None
) -> tuple[Tensor, Tensor] | None:
    """Label maps on the working grid, the moving one through the affine."""
    if labels is None:
        return None
    maps = [plane.flatten(image) for image in labels] if plane else labels
    on_grid = resample(maps[0], grid, mode="nearest"), resample(maps[1], grid, affine, mode="nearest")
    fixed, moving = (torch.from_numpy(m.array.astype(np.int64))[None, None] for m in on_grid)
    return fixed, moving
