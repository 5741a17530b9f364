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

from ..errors import InputError
from ..geometry.image import Grid, Image
from ..progress import SILENT, Reporter
from ..quality.shape import Mirror
from .content import Content, find_content
from .measure import JointMeasure, make_side
from .solver import Prior, improve

PASSES = ((1 / 20, 2500, 20, "rigid", 10), (1 / 30, 8000, 24, "affine", 8))
"""Spacing relative to the anatomy's size, points, bins, freedom and steps of the two rounds of improvement."""
HOPELESS = 0.7
"""An axis along which the mirrored image is less alike than this, relative to the image as it is, after the first round
is not looked at more closely."""
LEAST = 0.01
"""Of normalized mutual information: below this the images have nothing in common, mirrored or not."""


def measure_mirror(
    fixed: Image,
    moving: Image,
    matrix: np.ndarray,
    *,
    fixed_mask: np.ndarray | None = None,
    moving_mask: np.ndarray | None = None,
    contents: tuple[Content, Content] | None = None,
    reporter: Reporter = SILENT,
) -> Mirror:
    """Compare how alike the images are with how alike they would be if the moving image were mirrored.

    Args:
        fixed, moving: both 2-D or both 3-D.
        matrix: (ndim + 1, ndim + 1) LPS mm, fixed point to moving point, which brings them together.
        fixed_mask, moving_mask: arrays of the image's shape; where they are 0 the image is not looked at.
        contents: of ``find_alignment``, so that they are not looked for again.

    Raises:
        Cancelled: if the reporter's token is set.
    """
    try:
        still, content = contents or (find_content(fixed, fixed_mask), find_content(moving, moving_mask))
    except InputError:  # nothing to compare
        return Mirror()
    ways = [_Way(still, content, matrix)]
    for axis in range(content.grid.ndim):
        reflection = _reflection(content.grid, axis)
        turned = matrix.copy()  # where the anatomy's middle went, it goes again; the rest is as it was
        turned[:-1, -1] += (reflection @ matrix @ [*still.center, 1] - matrix @ [*still.center, 1])[:-1]
        ways.append(_Way(still, _reflected(content, reflection), turned))
    with torch.no_grad():
        alike = [way.improve(PASSES[0], reporter) for way in ways]
        best, straight = Mirror(), 0.0
        for axis, mirrored in enumerate(alike[1:]):
            gain = mirrored / max(alike[0], LEAST)
            if gain > HOPELESS:
                straight = straight or max(ways[0].improve(PASSES[1], reporter), LEAST)
                mirrored = ways[1 + axis].improve(PASSES[1], reporter)
                gain = mirrored / straight
            if mirrored > LEAST and gain > best.gain:
                best = Mirror(gain, _spoken(content.grid, axis))
    return best


class _Way:
    """One way to lay the moving image over the fixed one, improved in passes.

    Begins with ``matrix``, with it after the centers of mass are joined, and with these without its turn: on an image
    that is mirrored the search for the matrix may have been led astray.
    """

    def __init__(self, fixed: Content, moving: Content, matrix: np.ndarray) -> None:
        self.contents, self.size = (fixed, moving), min(fixed.size, moving.size)
        n = fixed.grid.ndim
        shift = torch.from_numpy((matrix @ [*fixed.center, 1])[:n] - moving.center).float()[:, None] * 2 / self.size
        linear, still, joined = torch.from_numpy(matrix[:n, :n]).float(), torch.eye(n), torch.zeros(n, 1)
        starts = ((linear, shift), (linear, joined), (still, joined))
        self.candidates: Tensor = torch.stack([torch.cat(start, 1) for start in starts])
        self.prior = Prior.of(fixed, moving)

    def improve(self, how: tuple[float, int, int, str, int], reporter: Reporter) -> float:
        """Normalized mutual information after a short improvement; the best candidate goes on."""
        spacing, points, bins, freedom, steps = how
        sides = [make_side(c, c.center, self.size / 2, self.size * spacing, points, bins) for c in self.contents]
        measure = JointMeasure(sides[0], sides[1], bins)
        found, _ = improve(measure, self.prior, self.candidates, freedom, steps, reporter)
        losses = measure.losses(found)
        self.candidates = found[int(losses.argmin())][None]
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
