"""The figures by which AAPM's Task Group 132 wants a registration judged, each with its tolerance and source.

K. K. Brock, S. Mutic, T. R. McNutt, H. Li, M. L. Kessler, Use of image registration and fusion algorithms and
techniques in radiotherapy: Report of the AAPM Radiation Therapy Committee Task Group No. 132, Med. Phys. 44(7),
e43-e76, 2017, doi:10.1002/mp.12256. Its Table III gives the tolerances; where it gives none, none is made up here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk

from .. import fields
from ..geometry.image import Grid, Image
from ..geometry.points import check_pairs
from ..geometry.transform import displacement_on, lps_to_voxels, map_points, resample
from ..inputs.label_maps import as_labels
from . import metrics
from .there_and_back import missed_by_transforms

TG132_TABLE = "TG-132, Table III"
CITATION = "AAPM TG-132: Brock et al. 2017, Med. Phys. 44(7), e43-e76, doi:10.1002/mp.12256"
NOT_THERE = "not among TG-132's figures"
DICE, APART, FAR = "dice", "mean_distance_to_agreement_mm", "hausdorff95_mm"
BEFORE, AFTER, CHANGE = "moving_volume_ml", "moved_volume_ml", "volume_change_percent"
HEADS = {
    DICE: "Dice",
    APART: "mean distance to agreement, mm",
    FAR: "Hausdorff 95 %, mm",
    BEFORE: "volume in the moving image, ml",
    AFTER: "as moved, ml",
    CHANGE: "change, %",
}
"""What a person calls the figures of a structure. Its volume changes the doses that it is said to get."""
LEAST_DICE = 0.80
LEAST_LIMIT, MOST_LIMIT = 2.0, 3.0
"""mm, of "~2-3 mm": where no image tells its voxels, and where those are larger."""
GROWN = 2.0
POINTS = 40
"""Along an axis of the fixed image, from which there and back is followed."""


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        name: as a person reads it.
        value: NaN if it was not measured.
        unit: "mm", "%" or nothing.
        tolerance: in TG-132's words, with the number it means for these images; empty if there is none.
        within: whether the value is; None where there is no number to hold it against, or it was not measured.
        source: of the tolerance.
    """

    name: str
    value: float
    unit: str = ""
    tolerance: str = ""
    within: bool | None = None
    source: str = TG132_TABLE

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def judged(name: str, value: float, limit: float, tolerance: str, unit: str = "mm", least: bool = False) -> Figure:
    """A figure that must not exceed ``limit``, or with ``least`` not fall below it."""
    fits = value >= limit if least else value <= limit
    return Figure(name, value, unit, tolerance, None if math.isnan(value) else bool(fits))


def voxel_limit(*grids: Grid) -> float:
    """The tolerance of distances, mm: the largest voxel side of the images, but no more than TG-132 has in mind."""
    sides = [side for grid in grids for side, n in zip(grid.spacing, grid.shape, strict=True) if n > 1]
    return min(float(max(sides, default=LEAST_LIMIT)), MOST_LIMIT)


def landmark_figures(
    transform: sitk.Transform, points: tuple[np.ndarray, np.ndarray] | None, limit: float
) -> list[Figure]:
    """Target registration error of pairs of points, (n, ndim) LPS mm; ``limit``: ``voxel_limit``."""
    errors = np.array([math.nan])
    if points is not None:
        fixed, moving = check_pairs(*points, transform.GetDimension())
        errors = metrics.landmark_errors(map_points(transform, fixed), moving)
    said = f"maximum voxel dimension (~2-3 mm), here {limit:.3g} mm"
    return [
        judged("Target registration error, mean", float(errors.mean()), limit, said),
        judged("Target registration error, largest", float(errors.max()), limit, said),
    ]


def structures_after(
    transform: sitk.Transform, fixed: Image, moving: Image, labels: list[int] | None
) -> dict[str, dict[str, float]]:
    """For each label (all but 0 if None) what ``HEADS`` names; the images are label maps on their own grids.

    In 2-D nothing has a volume. How far one changes is not known (NaN) where its structure goes on beyond the fixed
    image, or nothing of it is in there.
    """
    fixed, moving = as_labels(fixed), as_labels(moving)
    present = np.union1d(np.unique(fixed.array), np.unique(moving.array))
    chosen = [int(v) for v in present if v != 0 and (labels is None or int(v) in labels)]
    warped = resample(moving, fixed.grid, transform, mode="nearest").array
    overlaps = metrics.dice(fixed.array, warped, chosen)
    surfaces = metrics.label_surfaces(fixed.array, warped, fixed.grid.spacing.tolist(), chosen)
    found = {
        str(v): {DICE: overlaps[v], APART: surfaces[v].mean_absolute, FAR: surfaces[v].hausdorff95} for v in chosen
    }
    if fixed.ndim == 3:
        cut = _cut_off(transform, fixed.grid, moving, warped)
        for v in chosen:
            before, after = (
                float((image == v).sum()) * float(np.prod(grid.spacing)) / 1000
                for image, grid in ((moving.array, moving.grid), (warped, fixed.grid))
            )
            change = 100 * (after / before - 1) if before and after and v not in cut else math.nan
            found[str(v)] |= {BEFORE: before, AFTER: after, CHANGE: change}
    return found


def _cut_off(transform: sitk.Transform, grid: Grid, moving: Image, warped: np.ndarray) -> set[int]:
    """The labels of ``moving`` that, as moved (``warped``, on ``grid``), go on a voxel beyond ``grid``, where what lies
    outside moves as the nearest voxel inside.
    """
    outside = np.pad(np.zeros(grid.shape, bool), 1, constant_values=True)
    at_edge = outside & (np.pad(warped, 1, mode="edge") != 0)
    index = np.argwhere(at_edge) - 1
    if not len(index):
        return set()
    inside = np.clip(index, 0, np.asarray(grid.shape) - 1)
    moved = displacement_on(transform, grid)[tuple(inside.T)]
    there = np.rint(moving.grid.to_index(grid.to_world(index) + moved)).astype(int)
    there = there[((there >= 0) & (there < moving.array.shape)).all(-1)]
    return {int(v) for v in np.unique(moving.array[tuple(there.T)])} - {0}


def structure_figures(each: Mapping[str, Mapping[str, float]], limit: float) -> list[Figure]:
    """Of the structures in ``each`` (``structures_after``), which may be none."""
    apart, far, overlap = ([one[key] for one in each.values()] for key in (APART, FAR, DICE))
    uncertain = "within the contouring uncertainty of the structure"
    said = f"{uncertain} or maximum voxel dimension (~2-3 mm), here {limit:.3g} mm"
    least = f"{uncertain} (~0.80-0.90), here at least {LEAST_DICE:.2f}"
    return [
        judged("Mean distance to agreement, mean of the structures", _mean(apart), limit, said),
        judged("Mean distance to agreement, worst structure", _most(apart), limit, said),
        Figure("Hausdorff distance (95 %), worst structure", _most(far), "mm", source=NOT_THERE),
        judged("Dice, worst structure", -_most([-v for v in overlap]), LEAST_DICE, least, "", least=True),
    ]


def field_figures(transform: sitk.Transform, grid: Grid) -> list[Figure]:
    """Volume change of the whole map over the fixed image's grid."""
    u = lps_to_voxels(displacement_on(transform, grid), grid)
    change = fields.jacobian_determinant_in_slabs(u)
    folded = 100 * float((change < 0).double().mean())
    said = "no negative values; otherwise as expected from the clinical scenario"
    return [
        judged("Jacobian determinant, smallest", float(change.min()), 0.0, said, "", least=True),
        Figure("Jacobian determinant, largest", float(change.max()), "", said),
        judged("Jacobian determinant below 0", folded, 0.0, said, "%"),
        Figure("Jacobian determinant above 2", 100 * float((change > GROWN).double().mean()), "%", said),
    ]


def consistency_figures(
    transform: sitk.Transform, inverse: sitk.Transform | None, fixed: Grid, moving: Grid | None, limit: float
) -> list[Figure]:
    """How far there and back misses, at points of the fixed image that lead into the moving one; NaN if unknown."""
    said = f"maximum voxel dimension (~2-3 mm), here {limit:.3g} mm"
    mean = most = math.nan
    if inverse is not None:
        found = missed_by_transforms(transform, inverse, fixed, POINTS)
        coarse, missed = found.grid, found.array
        if moving is not None:
            here = coarse.to_world(np.moveaxis(np.indices(coarse.shape), 0, -1))
            index = moving.to_index(here + displacement_on(transform, coarse))
            missed = missed[((index >= -0.5) & (index <= np.asarray(moving.shape) - 0.5)).all(-1)]
        if missed.size:
            mean, most = float(missed.mean()), float(missed.max())
    return [
        judged("There and back (consistency), mean", mean, limit, said),
        judged("There and back (consistency), largest", most, limit, said),
    ]


def _known(values: list[float]) -> list[float]:
    return [v for v in values if not math.isnan(v)]


def _mean(values: list[float]) -> float:
    return float(np.mean(_known(values))) if _known(values) else math.nan


def _most(values: list[float]) -> float:
    return max(_known(values), default=math.nan)


def said(figure: Figure) -> str:
    """The value as a person reads it."""
    return "-" if math.isnan(figure.value) else f"{figure.value:.4g} {figure.unit}".strip()


def in_words(figure: Figure) -> str:
    """within, outside, or what is to be done."""
    if math.isnan(figure.value):
        return "not measured"
    if figure.within is None:
        return "to be judged" if figure.tolerance else "no tolerance"
    return "within" if figure.within else "OUTSIDE"


@dataclass(frozen=True, eq=False)
class Known:
    """What a registration is held against; None where it is not known.

    Attributes:
        fixed, moving: the images' grids.
        inverse: moving to fixed.
        points: pairs of landmarks, each (n, ndim) LPS mm.
        structures: pairs of label maps of both images; several where structures overlap.
        labels: those to look at; all but 0 if None.
    """

    fixed: Grid | None = None
    moving: Grid | None = None
    inverse: sitk.Transform | None = None
    points: tuple[np.ndarray, np.ndarray] | None = None
    structures: Sequence[tuple[Image, Image]] = ()
    labels: list[int] | None = None


def measure(transform: sitk.Transform, known: Known) -> tuple[tuple[Figure, ...], dict[str, dict[str, float]]]:
    """All figures that ``known`` allows, the others as not measured; and those of each structure.

    Raises:
        InputError: if points or label maps do not fit the transform.
    """
    fixed = known.fixed or (known.structures[0][0].grid if known.structures else None)
    moving = known.moving or (known.structures[0][1].grid if known.structures else None)
    grids = [grid for grid in (fixed, moving) if grid is not None]
    limit = voxel_limit(*grids)
    each: dict[str, dict[str, float]] = {}
    for pair in known.structures:
        each |= structures_after(transform, *pair, known.labels)
    figures = landmark_figures(transform, known.points, limit) + structure_figures(each, limit)
    if fixed is not None:
        figures += field_figures(transform, fixed)
        figures += consistency_figures(transform, known.inverse, fixed, moving, limit)
    return tuple(figures), each
