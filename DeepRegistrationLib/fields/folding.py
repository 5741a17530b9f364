"""Keeping a field one-to-one: finding folds, and removing them where they are.

Volumes are looked at in slabs that stay in the cache, and folds are repaired voxel by voxel, as they are few.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..progress import SILENT, Reporter
from .operations import determinant, jacobian_determinant_in_slabs, smooth

SCHEMES = ("central", "forward", "backward")
"""Finite differences by which a field must not fold."""


def smallest_determinant(u: Tensor) -> Tensor:
    """(1, 1, *S) the smallest of the Jacobian determinants by central, forward and backward differences."""
    return jacobian_determinant_in_slabs(u, SCHEMES)


class SparseField:
    """A field seen as a list of voxels, for repairs that touch few of them. Positions are (n, ndim) indices."""

    def __init__(self, u: Tensor) -> None:
        self.ndim, self.shape = u.shape[1], u.shape[2:]
        self.flat = u[0].reshape(self.ndim, -1)  # a view: ``u`` is contiguous
        self._last = torch.tensor(self.shape, device=u.device) - 1
        self.strides = [1]
        for n in reversed(self.shape[1:]):
            self.strides.insert(0, self.strides[0] * n)

    def index(self, position: Tensor) -> Tensor:
        index = position[:, -1].clone()
        for axis, stride in enumerate(self.strides[:-1]):
            index.add_(position[:, axis], alpha=stride)
        return index

    def moved(self, position: Tensor, axis: int, by: int) -> Tensor:
        moved = position.clone()
        moved[:, axis] = (moved[:, axis] + by).clamp_(min=0).clamp_(max=int(self._last[axis]))
        return self.flat[:, self.index(moved)]

    def slope(self, position: Tensor, axis: int) -> Tensor:
        """(ndim, n) half the difference of the two neighbors."""
        return 0.5 * (self.moved(position, axis, 1) - self.moved(position, axis, -1))

    def grow(self, position: Tensor, reach: int) -> Tensor:
        """All voxels within ``reach`` (in the largest coordinate), in order."""
        index = self.index(position)
        for n, stride in zip(self.shape, self.strides, strict=True):
            at = torch.div(index, stride, rounding_mode="floor") % n
            found = [index]
            for by in range(1, reach + 1):
                found += [index[at >= by] - by * stride, index[at < n - by] + by * stride]
            index = torch.unique(torch.cat(found))
        return self.position(index)

    def position(self, index: Tensor) -> Tensor:
        parts = []
        for stride, n in zip(self.strides, self.shape, strict=True):
            parts.append(torch.div(index, stride, rounding_mode="floor") % n)
        return torch.stack(parts, 1)

    def relax(self, position: Tensor) -> None:
        """Half way to the mean of the direct neighbors."""
        mean = torch.zeros((self.ndim, len(position)), device=self.flat.device, dtype=self.flat.dtype)
        for axis in range(self.ndim):
            mean += self.moved(position, axis, 1)
            mean += self.moved(position, axis, -1)
        index = self.index(position)
        self.flat[:, index] = 0.5 * self.flat[:, index] + mean * (0.25 / self.ndim)

    def determinant(self, position: Tensor) -> Tensor:
        """(n,) as ``smallest_determinant``."""
        here = self.flat[:, self.index(position)]
        ahead, behind = [], []
        for axis in range(self.ndim):
            ahead.append(self.moved(position, axis, 1) - here)
            behind.append(here - self.moved(position, axis, -1))
        forward, backward = torch.stack(ahead, 1), torch.stack(behind, 1)  # (component, axis, n)
        inner = ((position > 0) & (position < self._last)).T[None]
        central = torch.where(inner, (forward + backward) * 0.5, forward + backward)
        unit = torch.eye(self.ndim, device=here.device, dtype=here.dtype)[:, :, None]
        found = [determinant(j + unit) for j in (central, forward, backward)]
        return torch.stack(found).amin(0)


def unfold(u: Tensor, minimum: float = 0.02, reporter: Reporter = SILENT) -> Tensor:
    """The field with every determinant at least ``minimum``: relaxed where it folds, left alone elsewhere.

    Voxels that fold are relaxed towards their neighbors together with a neighborhood that grows with the rounds.
    Should that not be enough, the whole field is smoothed, and at last shrunk; so the promise always holds.

    Args:
        u: (1, ndim, *S) in voxels; not changed.
    """
    with torch.no_grad():
        u = u.clone(memory_format=torch.contiguous_format)
        for attempt in range(6):
            bad = torch.nonzero(smallest_determinant(u)[0, 0] < minimum)
            if len(bad) == 0:
                return u
            reporter.check()
            if len(bad) > 0.03 * u[0, 0].numel():  # too many to mend one by one
                u = smooth(u, 0.5 * (1 + attempt))
                continue
            if _mend(SparseField(u), bad, minimum, reporter):
                return u
        for _ in range(10):
            u = smooth(u, 2.0)
            if not bool((smallest_determinant(u) < minimum).any()):
                return u
        while bool((smallest_determinant(u) < minimum).any()):
            u *= 0.7
        return u


def _mend(field: SparseField, bad: Tensor, minimum: float, reporter: Reporter, rounds: int = 48) -> bool:
    """Whether all is well: every voxel whose determinant changed was looked at again."""
    for turn in range(rounds):
        reporter.check()
        near = field.grow(bad, 1 + turn // 8)
        for _ in range(2 + turn // 8):
            field.relax(near)
        near = field.grow(near, 1)
        bad = near[field.determinant(near) < minimum]
        if len(bad) == 0:
            return True
        if len(bad) * 5 ** len(field.shape) > field.flat.shape[1] * 20:
            return False
    return False
