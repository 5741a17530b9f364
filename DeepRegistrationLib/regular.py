"""Keeping a field one-to-one: removing folds, and inverting it."""

from __future__ import annotations

import torch
from torch import Tensor

from .fields import check_field, compose, identity, invert, jacobian_determinant, resize, resize_image, smooth

SCHEMES = ("central", "forward", "backward")
"""Finite differences by which a field must not fold."""


def smallest_determinant(u: Tensor) -> Tensor:
    """(1, 1, *S) the smallest of the determinants by central, forward and backward differences."""
    least = jacobian_determinant(u, SCHEMES[0])
    for scheme in SCHEMES[1:]:
        torch.minimum(least, jacobian_determinant(u, scheme), out=least)
    return least


def unfold(u: Tensor, minimum: float = 0.02, rounds: int = 60) -> Tensor:
    """The field with every determinant at least ``minimum``: relaxed where it folds, left alone elsewhere.

    Around each voxel that folds the field is mixed with its own local mean, over a neighborhood that grows with every
    ten rounds. Should that not be enough, the whole field is smoothed, then shrunk; so the promise always holds.

    Args:
        u: (1, ndim, *S) in voxels.
    """
    ndim = check_field(u)
    pool = torch.nn.functional.max_pool3d if ndim == 3 else torch.nn.functional.max_pool2d
    with torch.no_grad():
        u = u.clone()
        for turn in range(rounds):
            bad = smallest_determinant(u) < minimum
            if not bool(bad.any()):
                return u
            reach = 1 + turn // 10
            where = torch.nonzero(bad[0, 0])
            margin = 4 + 2 * reach
            low = [max(0, int(v) - margin) for v in where.amin(0)]
            high = [min(s, int(v) + margin + 1) for v, s in zip(where.amax(0), u.shape[2:], strict=True)]
            box = (slice(None), slice(None), *(slice(a, b) for a, b in zip(low, high, strict=True)))
            part = u[box]
            size = tuple(min(2 * reach + 1, s if s % 2 else s - 1) for s in part.shape[2:])
            near = pool(bad[box].float(), size, stride=1, padding=tuple(s // 2 for s in size))
            mix = smooth(near, 1.0) * 0.9
            u[box] = part + mix * (smooth(part, 1.0 + 0.1 * turn) - part)
        for _ in range(20):
            if not bool((smallest_determinant(u) < minimum).any()):
                return u
            u = smooth(u, 2.0)
        while bool((smallest_determinant(u) < minimum).any()):
            u *= 0.8
        return u


def inverse_of(u: Tensor, tolerance: float = 0.05) -> Tensor:
    """The inverse field, (1, ndim, *S): found at half resolution where the field is large, then corrected.

    See ``fields.invert``; this costs a few seconds less on a large volume.
    """
    shape = tuple(u.shape[2:])
    start = None
    if u[0, 0].numel() > 200_000:
        small = tuple(max(1, n // 2) for n in shape)
        scale = u.new_tensor([s / n for s, n in zip(small, shape, strict=True)]).view(1, -1, *[1] * len(shape))
        coarse = resize_image(u, small) * scale
        start = resize(invert(coarse, 30, 0.02), shape)
    return invert(u, 6 if start is not None else 40, tolerance, start=start)


__all__ = ["compose", "identity", "inverse_of", "smallest_determinant", "unfold"]
