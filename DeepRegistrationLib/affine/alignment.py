"""What the affine stage may do, and what it found."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .content import Content
from .freedom import Freedom


@dataclass(frozen=True)
class AffineSettings:
    """What the affine stage may do.

    Attributes:
        kind: "rigid" allows rotation and translation, "similarity" also one scale, "affine" each scale and shear.
        largest_rotation: degrees that are searched around the starting orientation.
    """

    kind: Freedom = "affine"
    largest_rotation: float = 180.0


@dataclass(frozen=True)
class Alignment:
    """What the affine stage found.

    Attributes:
        matrix: (ndim + 1, ndim + 1) homogeneous, LPS mm to LPS mm, fixed point to moving point.
        orientation_open: whether the images agree about as well in an orientation far from this one.
        surroundings: mm; where only the detail shows how the images lie, the half width over which it was leveled;
            0 elsewhere.
        contents: what was seen of the fixed and of the moving image.
    """

    matrix: np.ndarray
    orientation_open: bool = False
    surroundings: float = 0.0
    contents: tuple[Content, Content] | None = field(default=None, repr=False, compare=False)
