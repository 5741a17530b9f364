"""Whether the moving image would fit better mirrored: so a wrong orientation in a file's header shows.

The images are compared as a whole, coarsely, with what the affine stage measures: as they are, and with the moving
image mirrored along each of its axes. An anatomy that is its own mirror image, as a head nearly is from left to right,
tells nothing.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from .affine_measure import JointMeasure, make_side
from .affine_pyramid import Content, find_content
from .affine_solver import Prior, improve
from .errors import InputError
from .image import Grid, Image
from .plausible import Mirror
from .progress import SILENT, Reporter

PASSES = ((1 / 20, 5000, 20, "rigid", 12), (1 / 30, 8000, 24, "affine", 8))
"""Spacing relative to the anatomy's size, points, bins, freedom and steps of the two rounds of improvement."""
LEAST = 0.01
"""Of normalized mutual information: below this the images have nothing in common, mirrored or not."""


def measure_mirror(
    fixed: Image,
    moving: Image,
    matrix: np.ndarray,
    *,
    fixed_mask: np.ndarray | None = None,
    moving_mask: np.ndarray | None = None,
    reporter: Reporter = SILENT,
) -> Mirror:
    """Compare how alike the images are with how alike they would be if the moving image were mirrored.

    Args:
        fixed, moving: both 2-D or both 3-D.
        matrix: (ndim + 1, ndim + 1) LPS mm, fixed point to moving point, which brings them together.
        fixed_mask, moving_mask: arrays of the image's shape; where they are 0 the image is not looked at.

    Raises:
        Cancelled: if the reporter's token is set.
    """
    try:
        still, content = find_content(fixed, fixed_mask), find_content(moving, moving_mask)
    except InputError:  # nothing to compare
        return Mirror()
    size = min(still.size, content.size)
    with torch.no_grad():
        straight = _likeness(still, content, matrix, size, reporter)
        best = Mirror()
        for axis in range(content.grid.ndim):
            reflection = _reflection(content.grid, axis)
            turned = matrix.copy()  # where the anatomy's middle went, it goes again; the rest is as it was
            turned[:-1, -1] += (reflection @ matrix @ [*still.center, 1] - matrix @ [*still.center, 1])[:-1]
            mirrored = _likeness(still, _reflected(content, reflection), turned, size, reporter)
            if mirrored > LEAST and mirrored > best.gain * max(straight, LEAST):
                best = Mirror(mirrored / max(straight, LEAST), _spoken(content.grid, axis))
    return best


def _likeness(fixed: Content, moving: Content, matrix: np.ndarray, size: float, reporter: Reporter) -> float:
    """Normalized mutual information after a short improvement.

    Of ``matrix``, of it with the centers of mass joined, and of these without its turn: on an image that is mirrored
    the search for the matrix may have been led astray.
    """
    n, radius = fixed.grid.ndim, size / 2
    shift = torch.from_numpy((matrix @ [*fixed.center, 1])[:n] - moving.center).float()[:, None] / radius
    linear, still, joined = torch.from_numpy(matrix[:n, :n]).float(), torch.eye(n), torch.zeros(n, 1)
    starts = ((linear, shift), (linear, joined), (still, joined))
    candidates: Tensor = torch.stack([torch.cat(start, 1) for start in starts])
    prior = Prior.of(fixed, moving)
    losses = torch.zeros(1)
    for spacing, points, bins, freedom, steps in PASSES:
        sides = [make_side(c, c.center, radius, size * spacing, points, bins) for c in (fixed, moving)]
        measure = JointMeasure(sides[0], sides[1], bins)
        candidates, _ = improve(measure, prior, candidates, freedom, steps, reporter)
        losses = measure.losses(candidates)
    return -float(losses.min())


def _reflection(grid: Grid, axis: int) -> np.ndarray:
    """Homogeneous, LPS mm: mirrors along an array axis, about the grid's center."""
    normal = grid.directions[:, axis]
    result = np.eye(grid.ndim + 1)
    result[:-1, :-1] -= 2 * np.outer(normal, normal)
    result[:-1, -1] = 2 * normal * (normal @ grid.center)
    return result


def _reflected(content: Content, reflection: np.ndarray) -> Content:
    def at(point: np.ndarray) -> np.ndarray:
        return (reflection @ [*point, 1])[:-1]

    grid, region = (Grid(g.shape, reflection @ g.matrix) for g in (content.grid, content.region))
    return replace(content, grid=grid, region=region, center=at(content.center), middle=at(content.middle))


def _spoken(grid: Grid, axis: int) -> str:
    """The patient's direction of an array axis; empty in 2-D, where nobody knows it."""
    if grid.ndim == 2:
        return ""
    return ("left to right", "front to back", "head to foot")[int(np.abs(grid.directions[:, axis]).argmax())]
