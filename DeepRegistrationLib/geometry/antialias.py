"""Averaging before an image is sampled more coarsely than it was taken, so that noise and fine detail do not alias."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from .image import Grid

_ROUND_UP = 0.3
"""Added to the ratio of the spacings before it is cut to a whole number; up to 1.7 interpolation smooths enough."""


def averaged_for(image: sitk.Image, grid: Grid, transform: sitk.Transform | None = None) -> sitk.Image:
    """``image`` with blocks of voxels averaged where ``grid``, seen through ``transform``, steps over several of them.

    Args:
        image: what will be sampled, 2-D or 3-D, of one or more components.
        grid: the fixed grid.
        transform: fixed to moving, LPS mm; None is the identity.

    Returns:
        ``image`` itself where nothing is stepped over.
    """
    factors = [
        max(1, int(ratio + _ROUND_UP)) for ratio in voxels_per_step(Grid.from_sitk(image), grid, transform)[::-1]
    ]
    factors = [min(f, n) for f, n in zip(factors, image.GetSize(), strict=True)]
    if max(factors) == 1:
        return image
    over = [-n % f for n, f in zip(image.GetSize(), factors, strict=True)]
    if any(over):  # else the last voxels would be dropped
        image = sitk.ZeroFluxNeumannPad(image, [0] * len(over), over)
    return sitk.BinShrink(image, factors)


def voxels_per_step(own: Grid, grid: Grid, transform: sitk.Transform | None = None) -> np.ndarray:
    """(ndim,) voxels along each array axis of ``own`` that one step of ``grid`` goes over, on average."""
    middle = (np.asarray(grid.shape) - 1) / 2
    step = np.maximum(np.asarray(grid.shape) - 1, 1) / 4
    ends = grid.to_world(np.stack([middle + sign * part for part in np.diag(step) for sign in (-1, 1)]))
    if transform is not None:
        ends = np.array([transform.TransformPoint(point) for point in ends.tolist()])
    index = own.to_index(ends).reshape(grid.ndim, 2, grid.ndim)
    jacobian = (index[:, 1] - index[:, 0]) / (2 * step[:, None])
    return np.asarray(np.linalg.norm(jacobian, axis=0))
