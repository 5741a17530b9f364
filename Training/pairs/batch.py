"""A batch of pairs to learn from, and where batches come from.

A source is asked for items by number, not in turn: item k of a run is always the same pair, whatever happened before.
That is what makes a resumed run equal to one that was never stopped, and several processes equal to one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

VALIDATION = 1 << 40
"""Items from here on are for validation; training never asks for them."""


@dataclass(frozen=True)
class Batch:
    """Pairs of one shape S, and what is known about them.

    Attributes:
        fixed, moving: (B, 1, *S) intensities as the network wants them.
        fixed_labels, moving_labels: (B, 1, *S) uint8 or int16.
        displacement: (B, ndim, *S), voxels, fixed to moving: the true map.
        weight: (B, 1, *S): where the images show the same.
        names: what the pairs are called in tables.
        spacing: mm along each axis, where it is known.
        fixed_points, moving_points: (n, ndim) landmarks in voxels of each image, of a batch of one pair.
    """

    fixed: Tensor
    moving: Tensor
    fixed_labels: Tensor | None = None
    moving_labels: Tensor | None = None
    displacement: Tensor | None = None
    weight: Tensor | None = None
    names: tuple[str, ...] = ()
    spacing: tuple[float, ...] | None = None
    fixed_points: np.ndarray | None = None
    moving_points: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.fixed)

    @property
    def ndim(self) -> int:
        return self.fixed.ndim - 2

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: dict[str, Any] = {k: v.to(device) for k, v in values.items() if isinstance(v, Tensor)}
        return replace(self, **moved)


class Source(Protocol):
    """Where pairs come from."""

    ndim: int
    shape: tuple[int, ...]
    """Voxels of the images (of the first one, where they differ)."""
    reads: bool
    """Whether a batch is mostly waited for (files, Python), so that the next one is made while the network works."""

    @property
    def both_ways(self) -> bool:
        """Whether two kinds of image are drawn as fixed and moving one and the other way round."""
        ...

    def batch(self, items: Sequence[int], fade: float) -> Batch:
        """The pairs of these numbers; ``fade`` 0 to 1 is the size of synthetic deformations."""
        ...

    def validation(self, count: int) -> list[Batch]:
        """Held-out pairs, one a batch, always the same."""
        ...

    def describe(self) -> dict[str, object]:
        """What the pairs are, for the bundle."""
        ...

    def fingerprint(self) -> str:
        """Of the data that are not in the plan: another one means other data. "" where all of it is in the plan."""
        ...

    def without_labels(self) -> str:
        """The name of an image to learn from that has no label map; "" if all have one."""
        ...
