"""Motion in numbers: how far the body, its parts and single points go from frame to frame."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import SimpleITK as sitk

from ..geometry.image import Grid, Image
from ..geometry.transform import displacement_on, map_points, resample
from ..geometry.volume_change import volume_change


@dataclass
class Curves:
    """One value a frame in each list.

    Attributes:
        frames: their names.
        mean_mm, max_mm: displacement over the fixed image's content.
        folding_percent: of the content.
        part_mean_mm: by label, the displacement.
        part_volume_ml: by label, the volume in that frame: the Jacobian determinant summed over the part.
        point_mm: by name, how far the point is from where it lies in the fixed image.
        paths: by name, where it is, LPS mm.
    """

    frames: list[str]
    mean_mm: list[float] = field(default_factory=list)
    max_mm: list[float] = field(default_factory=list)
    folding_percent: list[float] = field(default_factory=list)
    part_mean_mm: dict[str, list[float]] = field(default_factory=dict)
    part_volume_ml: dict[str, list[float]] = field(default_factory=dict)
    point_mm: dict[str, list[float]] = field(default_factory=dict)
    paths: dict[str, list[list[float]]] = field(default_factory=dict)

    def columns(self) -> dict[str, list[float]]:
        """The curves by title."""
        found = {
            "Mean displacement (mm)": self.mean_mm,
            "Largest displacement (mm)": self.max_mm,
            "Folded (%)": self.folding_percent,
        }
        found |= {f"{name}: displacement (mm)": values for name, values in self.part_mean_mm.items()}
        found |= {f"{name}: volume (ml)": values for name, values in self.part_volume_ml.items()}
        return found | {f"{name}: displacement (mm)": values for name, values in self.point_mm.items()}

    def as_csv(self) -> str:
        """A table, one row a frame; of points also where they are."""
        columns = self.columns()
        for name, path in self.paths.items():
            for axis, letter in enumerate("xyz"[: len(path[0])] if path else ""):
                columns[f"{name}: {letter} (LPS mm)"] = [place[axis] for place in path]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["Frame", *columns])
        for index, name in enumerate(self.frames):
            writer.writerow([name, *(f"{values[index]:.6g}" for values in columns.values())])
        return text.getvalue()

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def measure_motion(
    transforms: Sequence[sitk.Transform],
    grid: Grid,
    content: np.ndarray,
    frames: Sequence[str],
    labels: Image | None = None,
    points: dict[str, np.ndarray] | None = None,
) -> Curves:
    """The curves of maps from one fixed image to its frames.

    Args:
        transforms: fixed to moving, LPS mm.
        grid: the fixed grid.
        content: (*grid.shape) bool: where the fixed image shows something.
        frames: what each is called.
        labels: parts of the fixed image; all but 0 count.
        points: (ndim,) LPS mm in the fixed image, by name.
    """
    curves, points = Curves(list(frames)), points or {}
    parts = {} if labels is None else _parts(labels, grid)
    voxel_ml = float(np.prod(grid.spacing)) / 1000
    for transform in transforms:
        moved = displacement_on(transform, grid)
        length = np.sqrt(np.einsum("...c,...c->...", moved, moved))
        change = volume_change(moved, grid)
        curves.mean_mm.append(float(length[content].mean()))
        curves.max_mm.append(float(length[content].max()))
        curves.folding_percent.append(100 * float((change[content] <= 0).mean()))
        for name, inside in parts.items():
            curves.part_mean_mm.setdefault(name, []).append(float(length[inside].mean()))
            volume = float(change[inside].sum(dtype=np.float64)) * voxel_ml
            curves.part_volume_ml.setdefault(name, []).append(volume)
        for name, place in points.items():
            there = map_points(transform, place[None])[0]
            curves.point_mm.setdefault(name, []).append(float(np.linalg.norm(there - place)))
            curves.paths.setdefault(name, []).append(there.tolist())
    return curves


def _parts(labels: Image, grid: Grid) -> dict[str, np.ndarray]:
    array = resample(labels, grid, mode="nearest").array
    return {f"label {value}": array == value for value in np.unique(array).tolist() if value != 0}
