"""What a registration gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from .geometry.halfway import Halfway
from .geometry.image import Grid, Image
from .geometry.transform import Transform
from .geometry.volume_change import volume_change
from .quality.doubt import Doubt
from .quality.report import Report


@dataclass(frozen=True)
class Result:
    """What ``register`` returns.

    Attributes:
        transform: fixed to moving, LPS mm; a SimpleITK transform with ``save(path)``.
        make_inverse: makes ``inverse``.
        fixed, moving: the images as they were given.
        warped: the moving image on the fixed grid.
        report: what was measured.
        doubt: where the result should not be trusted; ``doubt.on(warped.grid)`` is the map on the fixed grid.
        field: (1, ndim, *grid.shape) the deformable part, in voxels of ``grid``; zero where the result is a matrix.
        grid: the working grid (the fixed grid unless that is too large for the memory).
    """

    transform: Transform
    make_inverse: Callable[[], Transform]
    fixed: Image
    moving: Image
    warped: Image
    report: Report
    doubt: Doubt
    field: Tensor
    grid: Grid

    @cached_property
    def inverse(self) -> Transform:
        """Moving to fixed, like ``transform``; its field is there already, and becomes a transform when asked for."""
        return self.make_inverse()

    @cached_property
    def halfway(self) -> Halfway:
        """Both images in the space between them, for which neither was favored; computed when asked for.

        Raises:
            InputError: if the transform has no half (``geometry/halfway.py``).
        """
        return Halfway.of(self.transform, self.fixed, self.moving)

    @cached_property
    def jacobian(self) -> Image:
        """Local volume change on the working grid, the affine part's included; see ``geometry/volume_change.py``."""
        change = volume_change(self.transform.displacement(self.grid), self.grid)
        return Image(change, self.grid, "Jacobian determinant")
