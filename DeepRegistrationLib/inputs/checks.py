"""Checks on the two images and their masks, before any work is done."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from ..geometry.image import Grid, Image, ImageSource, read_image
from ..geometry.padding import background_of
from ..geometry.transform import resample
from .label_maps import read_inside

SMALLEST_AXIS = 4
FEWEST_IN_MASK = 16
"""Voxels of a mask; in fewer there is nothing that could be aligned or measured."""

TIMES_LARGER = 100.0
"""The largest sides of two images: a head is 7 times as large as the crop of a hippocampus; units are 1000 apart."""


def read_pair(fixed: ImageSource, moving: ImageSource) -> tuple[Image, Image]:
    """Both images, checked.

    Raises:
        InputError: if one cannot be read, holds no content or no number at all, or the two cannot be registered.
    """
    pair = read_image(fixed, "fixed image"), read_image(moving, "moving image")
    for image in pair:
        _check_content(image)
    if pair[0].ndim != pair[1].ndim:
        raise InputError(
            f"The fixed image is {pair[0].ndim}-D and the moving image {pair[1].ndim}-D; "
            "choose two images of the same dimension."
        )
    return pair


def _check_content(image: Image) -> None:
    small = min((s for s in image.grid.shape if s > 1), default=1)
    flat = sum(s == 1 for s in image.grid.shape)
    if small < SMALLEST_AXIS or image.ndim - flat < 2:
        size = " x ".join(str(s) for s in reversed(image.grid.shape))
        raise InputError(
            f"The {image.name} has only {size} voxels; at least {SMALLEST_AXIS} are needed along each axis."
        )
    values = image.array[np.isfinite(image.array)]
    if not values.size:
        raise InputError(f"The {image.name} has no voxel with a number (all are NaN or infinite); make it again.")
    if values.min() == values.max():
        raise InputError(f"The {image.name} has the same value everywhere; choose an image that shows something.")
    if float(values.min()) == float(values.max()):
        raise InputError(
            f"The values of the {image.name}, about {float(values.max()):.3g}, differ by too little to be told apart; "
            "subtract what they have in common."
        )


def filled(image: Image) -> tuple[Image, np.ndarray | None]:
    """The image with its background where voxels hold no number, as FSL and SPM leave them around a brain.

    Returns:
        The image, with a warning, and (*shape) bool, True where there are numbers; itself and None if that is all over.
    """
    numbers = np.isfinite(image.array)
    missing = image.array.size - int(numbers.sum())
    if not missing:
        return image, None
    array = np.where(numbers, image.array, background_of(image.array)).astype(image.array.dtype)
    warning = (
        f"The {image.name} has {missing} voxel{'s' * (missing > 1)} without a number (NaN or infinite); "
        "they count as not measured."
    )
    return Image(array, image.grid, image.name, (*image.warnings, warning)), numbers


def unlike_units(fixed: Grid, moving: Grid) -> str:
    """A sentence if one image is so much larger than the other that its voxel size cannot be in mm; else nothing."""
    sizes = {"fixed image": float(fixed.extent.max()), "moving image": float(moving.extent.max())}
    small, large = sorted(sizes, key=lambda name: sizes[name])
    times = sizes[large] / sizes[small]
    if times < TIMES_LARGER:
        return ""
    return (
        f"The {large} is {times:.0f} times as large as the {small} ({_mm(sizes[large])} against {_mm(sizes[small])}): "
        "check the voxel size of both, which may be meters or micrometers instead of mm."
    )


def _mm(length: float) -> str:
    return f"{length:.0f} mm" if length >= 1 else f"{length:.2g} mm"


def check_overlap(fixed: Grid, moving: Grid) -> None:
    """Both fields of view must share space.

    Raises:
        InputError: if the boxes around the two grids do not touch.
    """
    boxes = []
    for grid in (fixed, moving):
        ends = [[-0.5, s - 0.5] for s in grid.shape]
        corners = grid.to_world(np.stack(np.meshgrid(*ends, indexing="ij"), -1).reshape(-1, grid.ndim))
        boxes.append((corners.min(0), corners.max(0)))
    gap = np.maximum(boxes[0][0] - boxes[1][1], boxes[1][0] - boxes[0][1]).max()
    if gap >= 0:
        units = unlike_units(fixed, moving)
        if units:
            raise InputError(f"{units} As they are, they do not overlap in space.")
        raise InputError(
            f"The two images do not overlap in space (they are {_mm(gap)} apart); check that they belong together, "
            "or bring them together first with an initial transform."
        )


def read_mask(source: ImageSource | None, image: Image, name: str) -> np.ndarray | None:
    """A boolean array on ``image``'s grid, from a label map of any geometry; None if there is no mask.

    Raises:
        InputError: if the mask is empty within the image or of another dimension.
    """
    if source is None:
        return None
    mask = read_inside(source, name)
    if mask.ndim != image.ndim:
        raise InputError(f"The {name} is {mask.ndim}-D and the {image.name} {image.ndim}-D; use a mask of that image.")
    if not mask.grid.same_as(image.grid):
        mask = resample(mask, image.grid, mode="nearest")
    inside = mask.array != 0
    if not inside.any():
        raise InputError(f"The {name} is empty inside the {image.name}; draw it over the part that matters.")
    count = int(inside.sum())
    if count < FEWEST_IN_MASK:
        raise InputError(
            f"The {name} has {count} voxel{'s' * (count > 1)} inside the {image.name}, too few to align anything; draw "
            "it over the part that matters."
        )
    return inside
