"""Whether the moving image would fit better mirrored: so a wrong orientation in a file's header shows.

The images are compared as a whole, coarsely, with what the affine stage measures: as they are, and with the moving
image mirrored along each of its axes. An anatomy that is its own mirror image, as a head nearly is from left to right,
tells nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..geometry.image import Grid, Image
from ..progress import SILENT, Reporter
from .content import Content, contents_of
from .quick import measure_of
from .solver import Prior, improve

PASSES = ((1 / 20, 2500, 20, "rigid", 10), (1 / 30, 8000, 24, "affine", 8))
"""Spacing relative to the anatomy's size, points, bins, freedom and steps of the two rounds of improvement."""
HOPELESS = 0.7
"""An axis along which the mirrored image is less alike than this, relative to the image as it is, after the first round
is not looked at more closely."""
LEAST = 0.01
"""Of normalized mutual information: below this the images have nothing in common, mirrored or not."""


@dataclass(frozen=True)
class Mirror:
    """How the moving image would fit if it were mirrored.

    Attributes:
        gain: likeness mirrored along the best axis, relative to that of the image as it is; 0: not measured.
        direction: that axis in words for the patient, such as "front to back"; empty in 2-D.
    """

    gain: float = 0.0
    direction: str = ""


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
    contents = contents or contents_of(fixed, moving, fixed_mask, moving_mask)
    if contents is None:
        return Mirror()
    fixed_content, content = contents
    ways = _Ways(fixed_content, content, matrix)
    with torch.no_grad():
        alike = dict(enumerate(ways.improve(list(range(1 + content.grid.ndim)), PASSES[0], reporter)))
        gains = {way: value / max(alike[0], LEAST) for way, value in alike.items() if way}
        near = [way for way, gain in gains.items() if gain > HOPELESS]
        if near:
            alike |= dict(zip([0, *near], ways.improve([0, *near], PASSES[1], reporter), strict=True))
            gains |= {way: alike[way] / max(alike[0], LEAST) for way in near}
    best = max((way for way in gains if alike[way] > LEAST), key=lambda way: gains[way], default=None)
    return Mirror() if best is None else Mirror(gains[best], _spoken(content.grid, best - 1))


class _Ways:
    """The ways to lay the moving image over the fixed one, improved in passes: as it is, and mirrored along each axis.

    Each begins with ``matrix``, with it after the centers of mass are joined, and with these without its turn: on an
    image that is mirrored the search for the matrix may have been led astray. The anatomy's middle stays in place.
    """

    def __init__(self, fixed: Content, moving: Content, matrix: np.ndarray) -> None:
        self.contents, self.size = (fixed, moving), min(fixed.size, moving.size)
        n = fixed.grid.ndim
        linear, identity, joined = torch.from_numpy(matrix[:n, :n]).float(), torch.eye(n), torch.zeros(n, 1)
        shift = torch.from_numpy((matrix @ [*fixed.center, 1])[:n] - moving.center).float()[:, None] * 2 / self.size
        starts = ((linear, shift), (linear, joined), (identity, joined))
        mirrors = [identity, *(_reflection(moving.grid, axis) for axis in range(n))]
        self.candidates = [torch.stack([torch.cat([mirror @ a, t], 1) for a, t in starts]) for mirror in mirrors]
        self.prior = Prior.of(fixed, moving)

    def improve(self, which: list[int], how: tuple[float, int, int, str, int], reporter: Reporter) -> list[float]:
        """Normalized mutual information after a short improvement of some ways; the best candidate of each goes on."""
        spacing, points, bins, freedom, steps = how
        measure = measure_of(*self.contents, self.size / 2, self.size * spacing, points, bins)
        candidates = [self.candidates[way] for way in which]
        found, _ = improve(measure, self.prior, torch.cat(candidates), freedom, steps, reporter)
        alike = []
        for way, part in zip(which, found.split([len(c) for c in candidates]), strict=True):
            losses = measure.losses(part)
            self.candidates[way] = part[int(losses.argmin())][None]
            alike.append(-float(losses.min()))
        return alike


def _reflection(grid: Grid, axis: int) -> Tensor:
    """(ndim, ndim) in LPS: mirrors along an array axis."""
    normal = torch.from_numpy(grid.directions[:, axis].copy()).float()
    return torch.eye(grid.ndim) - 2 * torch.outer(normal, normal)


def _spoken(grid: Grid, axis: int) -> str:
    """The patient's direction of an array axis; empty in 2-D, where nobody knows it."""
    if grid.ndim == 2:
        return ""
    return ("left to right", "front to back", "head to foot")[int(np.abs(grid.directions[:, axis]).argmax())]
