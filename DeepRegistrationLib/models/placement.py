"""Bringing images onto the grid a network was trained on, and its field back.

The network's axes are those of the fixed image, reordered, turned round, scaled and cropped or padded: never rotated,
so an image that already has the right spacing is only sliced and keeps its values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .. import fields
from ..errors import InputError
from ..geometry.image import Grid
from .header import NetworkGrid

_LPS_OF_LETTER = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}


@dataclass(frozen=True)
class Placement:
    """How a network's grid lies on an image's.

    Axis a of the network is axis ``axes[a]`` of the image, turned round if ``turned[a]``. Along it, network voxel i
    lies at ``offset[a] + scale[a] * i`` in voxels of the (turned) image.
    """

    axes: tuple[int, ...]
    turned: tuple[bool, ...]
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    size: tuple[int, ...]
    image_size: tuple[int, ...]

    @classmethod
    def on(cls, grid: Grid, working: NetworkGrid, box: tuple[np.ndarray, np.ndarray] | None = None) -> Placement:
        """Where ``working`` lies on ``grid``; ``box`` (low, high in image voxels) is kept in view if it must crop."""
        axes, turned = _orientation(grid, working.orientation)
        if working.longest is not None:
            side = float(grid.extent.max())
            step = max(working.finest(float(grid.spacing.min()), side), side / working.longest)
            working = replace(working, longest=None, shortest=None, spacing=(step,) * grid.ndim)
        scale, offset, size = [], [], []
        for a, axis in enumerate(axes):
            n, spacing = grid.shape[axis], float(grid.spacing[axis])
            middle = (n - 1) / 2
            if working.spacing is None:
                m = n if working.size is None else working.size[a]
                step = n / m
            else:
                step = working.spacing[a] / spacing
                if working.size is None:
                    m = max(1, round(n / step))
                    step = n / m
                else:
                    m = working.size[a]
                    if m * step < n - 0.5 and box is not None:
                        wanted = (box[0][axis] + box[1][axis]) / 2
                        wanted = n - 1 - wanted if turned[a] else wanted
                        room = (n - m * step) / 2
                        middle = min(max(wanted, middle - room), middle + room)
            if abs(step - 1) * m < 0.1:  # less than a tenth of a voxel over the whole axis: no interpolation then
                step = 1.0
            start = middle - step * (m - 1) / 2
            scale.append(step)
            offset.append(float(math.floor(start + 0.5)) if step == 1.0 else start)
            size.append(m)
        image_size = tuple(grid.shape[axis] for axis in axes)
        return cls(axes, turned, tuple(scale), tuple(offset), tuple(size), image_size)

    @property
    def ndim(self) -> int:
        return len(self.axes)

    def take(self, image: Tensor) -> Tensor:
        """(1, C, *image shape) -> (1, C, *size); zero outside of the image, averaged where voxels become larger."""
        x = self._turn(image.permute(0, 1, *[axis + 2 for axis in self.axes]))
        if all(s == 1.0 for s in self.scale):
            starts = [int(o) for o in self.offset]
            return _window(x, starts, self.size)
        if self._same_field_of_view:
            return fields.resize_image(x, self.size)
        # Half of the voxel's growth as a Gaussian keeps the coarser grid free of aliasing.
        x = fields.smooth(x, [0.5 * math.sqrt(max(0.0, s * s - 1)) if s > 1.2 else 0.0 for s in self.scale])
        positions = [o + s * torch.arange(m) for o, s, m in zip(self.offset, self.scale, self.size, strict=True)]
        return fields.sample(x, _lattice(positions, x), padding="zeros")

    def bring_back(self, u: Tensor) -> Tensor:
        """A field on the network's grid (1, ndim, *size), in its voxels, on the image's grid and in its voxels.

        Where the network's grid ends inside of the image the displacement fades to zero, slowly enough not to fold.
        ``u`` itself where both grids are the same.
        """
        if any(s != 1.0 for s in self.scale):
            u = u * u.new_tensor(self.scale).view(1, -1, *[1] * self.ndim)
        margins = self._fading(u)
        u = fields.pad_tapered(u, margins) if any(margins) else u
        starts = [o - s * m for o, s, m in zip(self.offset, self.scale, margins, strict=True)]
        if all(s == 1.0 for s in self.scale):
            u = _window(u, [-int(o) for o in starts], self.image_size)
        elif self._same_field_of_view:
            u = fields.resize_image(u, self.image_size)
        else:
            positions = [(torch.arange(n) - o) / s for n, o, s in zip(self.image_size, starts, self.scale, strict=True)]
            u = fields.sample(u, _lattice(positions, u), padding="border")
        if any(self.turned):
            signs = u.new_tensor([-1.0 if t else 1.0 for t in self.turned])
            u = self._turn(u) * signs.view(1, -1, *[1] * self.ndim)
        back = [self.axes.index(axis) for axis in range(self.ndim)]
        if back != sorted(back):
            u = u.permute(0, 1, *[a + 2 for a in back])[:, back]
        return u.contiguous()

    @property
    def _same_field_of_view(self) -> bool:
        """Both grids cover the same field of view."""
        ends = zip(self.scale, self.offset, self.size, self.image_size, strict=True)
        return all(abs(o - (s - 1) / 2) < 1e-6 and abs(s * m - n) < 1e-6 for s, o, m, n in ends)

    def _turn(self, x: Tensor) -> Tensor:
        dims = [a + 2 for a, turned in enumerate(self.turned) if turned]
        return x.flip(dims) if dims else x

    def _fading(self, u: Tensor) -> list[int]:
        """Network voxels over which each axis fades: none where the network saw all of the image."""
        ends = zip(self.offset, self.scale, self.size, self.image_size, strict=True)
        # A large network voxel lies far inside of the image and still sees it up to the border.
        seen = [o - (s - 1) / 2 <= 0.5 and o + s * (m - 1) + (s - 1) / 2 >= n - 1.5 for o, s, m, n in ends]
        if all(seen):
            return [0] * self.ndim
        # The ramp's steepest slope is 1.5 / width, on every axis at once in a corner: this wide it cannot fold.
        largest = u.abs().amax(dim=(0, *range(2, u.ndim))).tolist()
        width = max(8, math.ceil(2 * sum(c / s for c, s in zip(largest, self.scale, strict=True))))
        return [0 if whole else width for whole in seen]


def _orientation(grid: Grid, letters: str | None) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    if letters is None:
        return tuple(range(grid.ndim)), (False,) * grid.ndim
    if grid.ndim != 3:
        raise InputError("This model is for 3-D images; choose a model for 2-D images.")
    wanted = np.array([_LPS_OF_LETTER[c] for c in letters], dtype=np.float64)
    agreement = wanted @ grid.directions  # [network axis, image axis]
    orders = [(a, b, 3 - a - b) for a in range(3) for b in range(3) if a != b]
    axes = max(orders, key=lambda order: sum(abs(agreement[i, axis]) for i, axis in enumerate(order)))
    return axes, tuple(bool(agreement[i, axis] < 0) for i, axis in enumerate(axes))


def _window(x: Tensor, starts: list[int], size: tuple[int, ...]) -> Tensor:
    """Voxels ``starts`` to ``starts + size`` of (1, C, *S), zero where there are none."""
    edges: list[int] = []
    for start, m, n in zip(starts, size, x.shape[2:], strict=True):
        edges = [-start, start + m - n, *edges]  # F.pad crops where an edge is negative, and begins at the last axis
    return F.pad(x, edges) if any(edges) else x


def _lattice(positions: list[Tensor], like: Tensor) -> Tensor:
    axes = [p.to(device=like.device, dtype=like.dtype) for p in positions]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]
