"""Label maps and masks as whole numbers: what is no label is said, or counts as background."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..geometry.image import Grid, Image, ImageSource, is_layered, read_components, read_image

LARGEST_LABEL = (1 << 24) - 1
"""What single precision can tell apart, and ``metrics`` takes."""
MOST_LABELS = 5000
"""An image of gray values, taken for a label map by mistake, has more."""


def read_label_map(source: ImageSource, name: str = "label map") -> Image:
    """A label map as whole numbers; NaN is background (0).

    Raises:
        InputError: if it cannot be read, or ``as_labels`` refuses it.
    """
    return as_labels(read_image(source, name))


def as_labels(image: Image) -> Image:
    """``image`` with whole numbers; itself where it has them already.

    Raises:
        InputError: if it holds fractions, negative or too large numbers, or too many to be labels.
    """
    array = image.array
    if array.dtype.kind == "f":
        if np.isnan(array).all():
            raise InputError(f"The {image.name} has no voxel with a number (all are NaN); make it again.")
        array = np.where(np.isnan(array), 0, array)
        broken = array[(array != np.rint(array)) & (np.abs(array) <= LARGEST_LABEL)]
        if broken.size:
            raise InputError(
                f"The {image.name} holds {broken.flat[0]:g}, which is no label; if it was resampled, do that again "
                "with nearest neighbors."
            )
    if array.min() < 0 or array.max() > LARGEST_LABEL:
        raise InputError(f"The values of the {image.name} are no labels; use whole numbers from 0 to {LARGEST_LABEL}.")
    if array.dtype.kind == "f":
        array = array.astype(np.int64)
    count = len(np.unique(array))
    if count > MOST_LABELS:
        raise InputError(f"The {image.name} has {count} different values; it is an image, not a label map.")
    return image if array is image.array else Image(array, image.grid, image.name, image.warnings)


def read_inside(source: ImageSource, name: str) -> Image:
    """A mask as 0 and 1: 1 where any component of a voxel (a layer of segments, a color) is a number other than 0.

    Raises:
        InputError: if it cannot be read.
    """
    if isinstance(source, Image):
        array, grid, warnings = source.array, source.grid, source.warnings
    else:
        image, sentences = read_components(source, name)
        array, grid, warnings = sitk.GetArrayFromImage(image), Grid.from_sitk(image), tuple(sentences)
        if array.ndim > grid.ndim and array.shape[-1] in (2, 4) and not is_layered(image):
            array = array[..., :-1]  # opacity
    there = (array != 0) & (array == array)  # NaN is not equal to itself
    if there.ndim > grid.ndim:
        there = there.any(-1)
    return Image(there.astype(np.uint8), grid, name, warnings)
