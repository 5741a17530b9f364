"""The images as one level of the refinement sees them, with what helps: masks, landmarks, labels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from .guidance import label_codes
from .levels import Level, Window, shrink


@dataclass(frozen=True, eq=False)
class LevelPair:
    """The images of one level and what helps; landmarks, and how far each reaches, in voxels of the level."""

    fixed: Tensor
    moving: Tensor
    fixed_mask: Tensor | None
    moving_mask: Tensor | None
    landmarks: tuple[Tensor, Tensor] | None
    codes: tuple[Tensor, Tensor] | None
    reach: float


@dataclass(frozen=True, eq=False)
class Images:
    """What is aligned, at full resolution in ``window`` of a grid of ``shape``; landmarks and labels on that grid.

    ``given_fixed``, ``given_moving``: before one of them was blurred to show no more than the other.
    """

    fixed: Tensor
    moving: Tensor
    fixed_mask: Tensor | None
    moving_mask: Tensor | None
    landmarks: tuple[Tensor, Tensor] | None
    labels: tuple[Tensor, Tensor] | None
    window: Window
    shape: tuple[int, ...]
    smoothness: float
    given_fixed: Tensor
    given_moving: Tensor

    def as_given(self) -> Images:
        """With both as sharp as they are."""
        return replace(self, fixed=self.given_fixed, moving=self.given_moving)

    def swapped(self) -> Images:
        """The way back."""
        return replace(
            self,
            fixed=self.moving,
            moving=self.fixed,
            given_fixed=self.given_moving,
            given_moving=self.given_fixed,
            fixed_mask=self.moving_mask,
            moving_mask=self.fixed_mask,
            landmarks=None if self.landmarks is None else self.landmarks[::-1],
            labels=None if self.labels is None else self.labels[::-1],
        )

    def on(self, level: Level) -> LevelPair:
        fixed_mask, moving_mask = (
            None if mask is None else shrink(mask, level.factors) for mask in (self.fixed_mask, self.moving_mask)
        )
        return LevelPair(
            shrink(self.fixed, level.factors),
            shrink(self.moving, level.factors),
            fixed_mask,
            moving_mask,
            None if self.landmarks is None else self._landmarks(self.landmarks, level),
            None if self.labels is None else label_codes(self.labels, self.window, level),
            3.0 * self.smoothness,
        )

    def field_on(self, u: Tensor, level: Level, shape: tuple[int, ...]) -> Tensor:
        """The field ``u`` (1, ndim, *S) of ``level``, in its voxels, on ``shape`` voxels of the grid, in these."""
        points, scale = [], []
        for n, full, low, factor, size in zip(
            shape, self.shape, self.window.low, level.factors, u.shape[2:], strict=True
        ):
            on_grid = (torch.arange(n) + 0.5) * (full / n)
            points.append(2 * (on_grid - low) / factor / size - 1)  # as grid_sample counts, from edge to edge
            scale.append(factor * n / full)
        where = torch.stack(torch.meshgrid(*points, indexing="ij")[::-1], -1)[None]
        taken = F.grid_sample(u.float().cpu(), where, padding_mode="border", align_corners=False)
        return taken * torch.tensor(scale).view(1, -1, *[1] * len(shape))

    def _landmarks(self, landmarks: tuple[Tensor, Tensor], level: Level) -> tuple[Tensor, Tensor]:
        low = torch.tensor(self.window.low, dtype=torch.float32, device=landmarks[0].device)
        factors = torch.tensor(level.factors, dtype=torch.float32, device=landmarks[0].device)
        fixed, moving = (((p.float() - low + 0.5) / factors - 0.5) for p in landmarks)
        return fixed, moving
