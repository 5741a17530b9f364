"""Where a result should not be trusted: a map from 0 (nothing speaks against it) to 1 (do not rely on it here).

Three things speak against a point of the fixed image, and the worst one counts: going to the moving image and back
misses the point; the moved image explains too few of the edges around the point; it explains fewer than before. Edges
can be compared across modalities, gray values cannot.

Only SimpleITK and numpy are needed, so that Slicer's own process can make the map too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..geometry.antialias import averaged_for
from ..geometry.image import Grid, Image
from ..geometry.padding import background_of
from ..progress import SILENT, Reporter
from .local_means import mean_around, smoothed
from .shape import Shape, measure_shape, points_of

MISS = 0.009
"""Of the field of view's longest side: missing a point by this much is full doubt. 2 mm in a head, about the smallest
structure that is planned on; 0.2 mm in a mouse. On coarser grids it is one voxel."""
CHANCE, ENOUGH = 0.04, 0.20
"""Share of the edges explained beyond chance: full doubt, and none. See ``verdict.py`` for what real pairs gave."""
LOSS = 0.3
"""Explaining this much less than before is full doubt."""
WINDOWS = 24
"""So many windows, in which edges are compared, lie along the image's longest side: 10 mm in a head."""
MOST_ALONG_AN_AXIS = 96
"""Along an axis of the map; the windows are larger than the voxels of this grid."""
SMOOTH_VOXELS = 1.2
"""Gaussian in front of the gradient, as noise would count as edges."""
QUIET = 0.02
"""Where edges have less than this share of the energy of strong ones there is nothing to compare: no anatomy."""
NOISE = 0.002
"""The same for a single voxel of the moved image: weaker edges than this explain nothing."""
TINY = 1e-20
"""Added to the energy of edges of images of unit range, per squared voxel: it keeps 0 / 0 away and is nothing else."""
IN_DOUBT = 0.5
"""From here on a point counts as in doubt."""


@dataclass(frozen=True)
class Doubt:
    """The map and what it comes to.

    Attributes:
        image: 0 to 1, on a grid over the fixed image's field of view.
        percent: of the anatomy that is in doubt; the anatomy is where the fixed image has edges to compare and the
            moving image was taken.
        shape: what the transform does to the anatomy as a body.
    """

    image: Image
    percent: float
    shape: Shape

    def on(self, grid: Grid) -> Image:
        """The map on another grid, usually that of the fixed image."""
        return Image(sitk.GetArrayFromImage(_onto(self.image.to_sitk(), grid)), grid, "map of doubt")


def measure_doubt(
    fixed: Image,
    moving: Image,
    transform: sitk.Transform | None,
    missed: Image | None = None,
    mask: np.ndarray | None = None,
    moving_mask: np.ndarray | None = None,
    reporter: Reporter = SILENT,
) -> Doubt:
    """Compare the fixed image with the moved one, and the way there with the way back.

    Args:
        fixed, moving: the images, 2-D or 3-D.
        transform: fixed to moving, LPS mm; None is the identity.
        missed: mm by which there and back misses each point of a coarse grid over the fixed image, as
            ``there_and_back.py`` finds it; None: not looked at.
        mask: (*fixed.grid.shape) bool; only what is inside was measured and counts as anatomy.
        moving_mask: (*moving.grid.shape) bool, likewise.
        reporter: asked now and then whether to stop.

    Raises:
        Cancelled: if the reporter's token is set.
    """
    grid = fixed.grid.resized(tuple(min(s, MOST_ALONG_AN_AXIS) for s in fixed.grid.shape))
    fixed_on_grid, source = _onto(_of_unit_range(fixed, mask), grid), _of_unit_range(moving, moving_mask)
    here, there = _mask_image(fixed.grid, mask), _mask_image(moving.grid, moving_mask)
    edges = _Edges(fixed_on_grid, here and _onto(here, grid))
    energy = edges.local_energy
    reporter.check()
    moved, seen = _onto_seen(source, grid, transform)
    known = there and _onto(there, grid, transform)
    if known:
        seen = sitk.GetArrayViewFromImage(known) > 0.5
    explained = edges.explained_by(moved, known)
    enough = max(QUIET * float(np.percentile(energy, 95)), TINY)
    worry = np.clip((ENOUGH - explained) / (ENOUGH - CHANCE), 0, 1)
    reporter.check()
    if transform is not None:
        lost = edges.explained_by(_onto(source, grid), there and _onto(there, grid)) - explained
        worry = np.maximum(worry, np.clip(lost / LOSS, 0, 1))
    worry = worry * np.clip(energy / enough, 0, 1)
    reporter.check()
    if missed is not None:
        # At the border of the moving image and beyond it there is no way back, nor anything to come back from.
        full = max(
            MISS * float(grid.extent.max()), min(s for s, n in zip(grid.spacing, grid.shape, strict=True) if n > 1)
        )
        far = sitk.GetArrayFromImage(_onto(missed.to_sitk(), grid)) / full
        worry = np.maximum(worry, np.clip(far, 0, 1) * (_local_mean(seen, fixed_on_grid) > 0.99))
    anatomy = (energy > enough) & seen
    if here:
        anatomy &= sitk.GetArrayFromImage(_onto(here, grid)) > 0.5
    return Doubt(
        Image(worry.astype(np.float32), grid, "map of doubt"),
        100 * float((worry[anatomy] >= IN_DOUBT).mean()) if anatomy.any() else 100.0,
        measure_shape(transform, grid, anatomy),
    )


def _of_unit_range(image: Image, mask: np.ndarray | None) -> sitk.Image:
    """The image with its background at 0 and a range of 1, float32: intensities can be of any size and offset.

    What was not measured is background.
    """
    array = image.array
    inside = None if mask is None else mask.reshape(array.shape)
    measured = array if inside is None else array[inside]
    low, high = float(measured.min()), float(measured.max())
    single = np.can_cast(array.dtype, np.float32) and 1e-30 < max(abs(low), abs(high)) < 1e30
    array = array.astype(np.float32 if single else np.float64)  # a copy
    if inside is not None:
        array[~inside] = low
    background = background_of(array)
    array -= background
    array /= (high - low) or 1.0
    if inside is not None:
        array[~inside] = 0
    return image.grid.to_sitk(array.astype(np.float32, copy=False))


def _mask_image(grid: Grid, mask: np.ndarray | None) -> sitk.Image | None:
    return None if mask is None else grid.to_sitk(mask.reshape(grid.shape).astype(np.float32))


def _onto_seen(image: sitk.Image, grid: Grid, transform: sitk.Transform | None) -> tuple[sitk.Image, np.ndarray]:
    """``_onto``, and where ``image`` is, bool."""
    array = sitk.GetArrayFromImage(_onto(image, grid, transform, float("nan")))
    seen = ~np.isnan(array)
    array[~seen] = 0
    return grid.to_sitk(array), seen


def _onto(image: sitk.Image, grid: Grid, transform: sitk.Transform | None = None, outside: float = 0.0) -> sitk.Image:
    identity = sitk.Transform(grid.ndim, sitk.sitkIdentity)
    size, *geometry = points_of(grid)
    if image.GetPixelID() != sitk.sitkFloat32:
        image = sitk.Cast(image, sitk.sitkFloat32)
    image = averaged_for(image, grid, transform)
    # What lies outside is 0: not doubted, not missed, background.
    return sitk.Resample(image, size, transform or identity, sitk.sitkLinear, *geometry, outside)


class _Edges:
    """The edges of an image (what they are, and their local energy), and how much of them another image has too.

    Args:
        image: of unit range, background 0.
        measured: 1 where it was measured, 0 elsewhere; None: everywhere.
    """

    def __init__(self, image: sitk.Image, measured: sitk.Image | None) -> None:
        self.image, self.gradient = image, _gradient(image, measured)
        self.energy = _squared(self.gradient)
        self.local_energy = _local_mean(self.energy, image)
        # Strong edges (skin, bone) must not drown the others: a voxel's vote grows with the root of its energy.
        self.votes = np.sqrt(self.energy)
        self.total = _local_mean(self.votes, image)

    def explained_by(self, other: sitk.Image, measured: sitk.Image | None) -> np.ndarray:
        """The share of the edges along those of the other image, 0 (chance) to 1, where that was ``measured``.

        After the normalized gradient fields of Haber and Modersitzki (2006): in n dimensions unrelated directions agree
        by 1/n on average.
        """
        gradient = _gradient(other, measured)
        energy = _squared(gradient)
        votes, total = self.votes, self.total
        if measured:
            votes = votes * (sitk.GetArrayViewFromImage(measured) > 0.5)
            total = _local_mean(votes, self.image)
        noise = NOISE * float(np.percentile(energy, 95)) + TINY
        along = np.einsum("...c,...c->...", self.gradient, gradient) ** 2
        along /= (self.energy + TINY) * (energy + noise)
        shared = _local_mean(votes * along, self.image)
        chance = 1 / max(2, sum(n > 1 for n in self.image.GetSize()))
        share = (shared / (total + 1e-12) - chance) / (1 - chance)
        return np.clip(share, 0, 1)


def _squared(gradient: np.ndarray) -> np.ndarray:
    return np.einsum("...c,...c->...", gradient, gradient)


def _gradient(image: sitk.Image, measured: sitk.Image | None) -> np.ndarray:
    """(*shape, axis) change of the smoothed gray value along each axis, per finest side; zero across a single slice.

    Where ``measured`` ends is no edge: only what lies inside is smoothed (normalized convolution), none is outside.
    """
    finest = min(s for s, n in zip(image.GetSpacing(), image.GetSize(), strict=True) if n > 1)
    array = smoothed(image, SMOOTH_VOXELS * finest)
    if measured:
        array /= np.maximum(smoothed(measured, SMOOTH_VOXELS * finest), 0.01)
    steps = [s / finest for s in image.GetSpacing()[::-1]]
    parts = [
        np.gradient(array, steps[axis], axis=axis) if array.shape[axis] > 1 else np.zeros_like(array)
        for axis in range(array.ndim)
    ]
    gradient = np.stack(parts, -1)
    if measured:
        gradient *= (sitk.GetArrayViewFromImage(measured) > 0.5)[..., None]
    return gradient


def _local_mean(array: np.ndarray, image: sitk.Image) -> np.ndarray:
    axes = list(zip(image.GetSpacing(), image.GetSize(), strict=True))
    side = max(size * spacing for spacing, size in axes) / WINDOWS
    radius = [max(1, round(side / 2 / spacing)) if size > 1 else 0 for spacing, size in axes]
    return mean_around(array, radius[::-1])
