"""Labels of many subjects, brought together on a template, and from there to anybody: multi-atlas label fusion.

By majority, or with more weight for a subject that looks more like the target around the voxel (local weighting;
Artaechevarria 2009, Sabuncu 2010).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..geometry.image import Grid, Image
from ..geometry.transform import resample
from ..inputs.label_maps import as_labels
from ..quality import metrics
from .intensities import in_unit_range
from .weightings import WEIGHTINGS

RADIUS = 2
"""Voxels: the half edge of the window in which images are compared."""
SHARPNESS = 2.0
"""How strongly the weight falls with the squared difference, relative to the mean one at that voxel."""


@dataclass(frozen=True, eq=False)
class Atlas:
    """One subject on the template's grid: ``image`` (*S), 0 to 1, and ``labels`` (*S) whole numbers."""

    image: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, image: Image, labels: Image, transform: sitk.Transform, grid: Grid) -> Atlas:
        """A subject's image and label map, seen through ``transform`` (template to subject, LPS mm).

        Raises:
            InputError: if one of the three is of another dimension than the template's ``grid``.
        """
        kinds = {f"The {image.name}": image.ndim, f"The {labels.name}": labels.ndim}
        for what, ndim in (kinds | {f"The map to the {image.name}": transform.GetDimension()}).items():
            if ndim != grid.ndim:
                raise InputError(f"{what} is {ndim}-D and the template {grid.ndim}-D; run the command template again.")
        seen = resample(in_unit_range(image), grid, transform, fill=0.0, dtype=np.float32).array
        return cls(seen, resample(as_labels(labels), grid, transform, mode="nearest").array)


def fuse(atlases: Sequence[Atlas], target: np.ndarray | None = None, weighting: str = "majority") -> np.ndarray:
    """(*S) the label that most of the ``atlases`` give each voxel; of equal ones the smallest.

    Args:
        target: (*S), 0 to 1, what the weights of "local" compare the atlases with.

    Raises:
        InputError: if there is no atlas, the weighting is unknown, or "local" has nothing to compare with.
    """
    if not atlases:
        raise InputError("There are no labels to bring together; the list needs a column labels.")
    if weighting not in WEIGHTINGS:
        raise InputError(f"The weighting is {' or '.join(WEIGHTINGS)}, not {weighting!r}.")
    if weighting == "local" and target is None:
        raise InputError("Local weights need the image that is to be labelled; or choose majority.")
    weights: Sequence[np.ndarray | float] = [1.0] * len(atlases)
    if weighting == "local":
        weights = _local_weights([atlas.image for atlas in atlases], np.asarray(target))
    best = np.zeros(atlases[0].labels.shape, atlases[0].labels.dtype)
    most = np.full(best.shape, -1.0, np.float32)
    for label in np.unique(np.concatenate([np.unique(atlas.labels) for atlas in atlases])):
        votes = np.zeros(best.shape, np.float32)
        for atlas, weight in zip(atlases, weights, strict=True):
            votes += (atlas.labels == label) * weight
        better = votes > most
        best[better], most[better] = label, votes[better]
    return best


def _local_weights(images: Sequence[np.ndarray], target: np.ndarray) -> list[np.ndarray]:
    """(*S) weights, largest where an image looks like the target; whole images are matched in brightness first."""
    differences = []
    for image in images:
        there = image > 0.05
        gain = float((target[there] * image[there]).sum() / max(float((image[there] ** 2).sum()), 1e-6))
        square = sitk.GetImageFromArray(((gain * image - target) ** 2).astype(np.float32))
        radius = [min(RADIUS, (n - 1) // 2) for n in square.GetSize()]
        differences.append(sitk.GetArrayFromImage(sitk.BoxMean(square, radius)))
    usual = np.maximum(np.mean(differences, axis=0), 1e-6)
    return [np.exp(-SHARPNESS * difference / usual) for difference in differences]


def leave_one_out(
    atlases: Sequence[Atlas],
    own: Sequence[tuple[Image, sitk.Transform]],
    grid: Grid,
    weighting: str = "local",
) -> list[float]:
    """Mean Dice of each subject's labels with those that all others give it.

    Args:
        atlases: the subjects on the template's grid.
        own: each subject's label map on its own grid, and the map from its space to the template's (LPS mm).
        grid: the template's.
    """
    found = []
    for number, (labels, transform) in enumerate(own):
        others = [atlas for k, atlas in enumerate(atlases) if k != number]
        fused = Image(fuse(others, atlases[number].image, weighting), grid, "labels")
        given = resample(fused, labels.grid, transform, mode="nearest").array
        found.append(metrics.mean(metrics.dice(as_labels(labels).array, given)))
    return found
