"""Landmarks and label maps that guide the refinement, looked at before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import InputError
from ..geometry.image import Grid, Image, ImageSource
from ..geometry.points import FEWEST_PAIRS, check_pairs
from ..geometry.transform import resample
from .label_maps import read_label_map
from .pair import Pair

BEYOND = 0.5
"""Of the image's size: landmarks may lie so far outside of its field of view."""

Landmarks = tuple[np.ndarray, np.ndarray]
Labels = tuple[Image, Image]


_TOGETHER = {
    "labels": "labels=(fixed, moving)",
    "points": "landmarks=(fixed, moving), two (n, ndim) arrays in LPS mm",
    "landmarks": "landmarks=(fixed, moving), two (n, ndim) arrays in LPS mm",
}
"""What the command line and lists name one by one, as ``register`` takes it."""


def check_guide_names(names: Iterable[str]) -> None:
    """Raises InputError where one is a guide's as the command line names it, which no setting is."""
    for name in names:
        together = _TOGETHER.get(name.removeprefix("fixed_").removeprefix("moving_"))
        if together:
            raise InputError(f"What guides is given for both images together: {together}.")


def check_guides(refines: bool, aligns: bool, landmarks: Any, labels: Any, names: Any = None) -> None:
    """Raises InputError if landmarks or labels are no pairs, or are given where nothing would look at them.

    Args:
        refines: whether a field is refined, which both can guide.
        aligns: whether the images are aligned as a whole, which three or more landmarks can start.
        landmarks, labels, names: as ``register`` gets them.
    """
    named = _count(names)
    if named and landmarks is None:
        raise InputError("The landmark_names are those of landmarks; give these too, or leave the names out.")
    for name, guide in (("landmarks", landmarks), ("labels", labels)):
        if guide is None:
            continue
        if not isinstance(guide, tuple | list) or len(guide) != 2:
            raise InputError(f"The {name} are a pair, those of the fixed and those of the moving image.")
        count = _count(guide[0])
        if name == "landmarks" and named and named != count:
            raise InputError(f"There are {named} landmark_names for {count} landmarks; give one for each.")
        if refines or (name == "landmarks" and aligns and count >= FEWEST_PAIRS):
            continue
        few = f"Fewer than {FEWEST_PAIRS} pairs of " if name == "landmarks" and aligns else "The "
        raise InputError(
            f"{few}{name} act in the refinement only; choose a deformable result and fast or accurate, or leave them "
            "out."
        )


def _count(points: Any) -> int:
    return len(points) if hasattr(points, "__len__") else 0


def read_landmarks(landmarks: Any, pair: Pair) -> Landmarks | None:
    """(n, ndim) LPS mm of both images, float64; None if there are none.

    Raises:
        InputError: if they are no two lists of as many finite points, or far outside of the images.
    """
    if landmarks is None:
        return None
    points = check_pairs(landmarks[0], landmarks[1], pair.given_fixed.ndim)
    for image, which, positions in zip((pair.given_fixed, pair.given_moving), ("fixed", "moving"), points, strict=True):
        check_near(positions, image.grid, which)
    return points


def check_near(positions: np.ndarray, grid: Grid, which: str) -> None:
    """Points of the ``which`` ("fixed" or "moving") image, (n, ndim) LPS mm, must not lie far outside of it.

    Raises:
        InputError: with the first that does.
    """
    size = np.maximum(grid.shape, max(grid.extent) / grid.spacing)  # along a thin axis too, as slices have one
    index = grid.to_index(positions)
    inside = ((index > -0.5 - BEYOND * size) & (index < np.array(grid.shape) - 0.5 + BEYOND * size)).all(1)
    wrong = np.flatnonzero(~inside)
    if len(wrong):
        place = ", ".join(f"{c:g}" for c in positions[wrong[0]])
        raise InputError(
            f"Landmark {wrong[0] + 1} of the {which} image, at ({place}) mm LPS, lies far outside of it; "
            "check the list and its coordinate system."
        )


def read_rigid_parts(source: ImageSource | None, pair: Pair) -> Image | None:
    """The label map of parts of the fixed image that must not bend; None if there is none.

    Raises:
        InputError: if it cannot be read, is no label map of that image's dimension, or has no part inside of it.
    """
    if source is None:
        return None
    image = read_label_map(source, "map of rigid parts")
    if image.ndim != pair.given_fixed.ndim:
        raise InputError(
            f"The {image.name} is {image.ndim}-D and the images {pair.given_fixed.ndim}-D; use a label map of "
            "the fixed image."
        )
    image = pair.plane.flatten(image) if pair.plane else image
    if not resample(image, pair.fixed.grid, mode="nearest").array.any():
        raise InputError(f"The {image.name} has no part inside the fixed image; draw the parts on that image.")
    return image


def read_labels(labels: tuple[ImageSource, ImageSource] | None, pair: Pair) -> Labels | None:
    """Both label maps, whole numbers; None if there are none.

    Raises:
        InputError: if one cannot be read, is no label map, of another dimension than the images, has no label inside
            its image, or if the two have no label in common there.
    """
    if labels is None:
        return None
    maps = read_label_map(labels[0], "fixed label map"), read_label_map(labels[1], "moving label map")
    numbers = []
    for image, side, onto in zip(maps, ("fixed", "moving"), (pair.fixed, pair.moving), strict=True):
        if image.ndim != pair.given_fixed.ndim:
            raise InputError(
                f"The {image.name} is {image.ndim}-D and the images {pair.given_fixed.ndim}-D; use a label map of that "
                "image."
            )
        flat = pair.plane.flatten(image) if pair.plane else image
        numbers.append(labels_inside(flat, onto.grid, side))
    if not np.intersect1d(numbers[0], numbers[1]).size:
        raise InputError("The two label maps have no label in common; equal structures need equal numbers.")
    return maps


def labels_inside(image: Image, grid: Grid, which: str) -> np.ndarray:
    """The labels, in ascending order, of a map of the ``which`` ("fixed" or "moving") image inside of its ``grid``.

    Raises:
        InputError: if there are labels, but all of them lie elsewhere.
    """
    inside = np.unique(resample(image, grid, mode="nearest").array)
    if image.array.any() and not inside.any():
        raise InputError(
            f"The {which} label map has no label inside the {which} image; use one that was drawn on that image."
        )
    return np.asarray(inside[inside != 0])
