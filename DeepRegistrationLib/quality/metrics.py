"""Figures by which a registration is judged. Arrays are numpy or torch, in array order; results are plain numbers.

Label maps are (*spatial); a leading batch and channel axis of 1 is dropped. Fields are (1, ndim, *spatial) or
(ndim, *spatial) in voxels of the fixed grid. Masks are (*spatial). Spacing is mm along each array axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from .. import fields
from ..errors import InputError
from .surfaces import SurfaceDistances, surface_distances

Array: TypeAlias = np.ndarray | Tensor
Spacing: TypeAlias = float | Sequence[float]

_SLAB = 1 << 18
"""Voxels whose logarithms are taken together."""


def _numpy(array: Array) -> np.ndarray:
    result = array.detach().cpu().numpy() if isinstance(array, Tensor) else np.asarray(array)
    return result[0, 0] if result.ndim in (4, 5) and result.shape[:2] == (1, 1) else result


def _label_maps(fixed: Array, warped: Array) -> tuple[np.ndarray, np.ndarray]:
    maps = []
    for array in (_numpy(fixed), _numpy(warped)):
        if array.dtype.kind == "f":
            whole = array.astype(np.int32)
            if not np.array_equal(whole, array):
                raise InputError("A label map must hold whole numbers; warp labels with nearest neighbor.")
            array = whole
        array = array.astype(np.int32) if array.dtype.kind == "b" else array
        if array.size and (array.min() < 0 or array.max() >= 1 << 24):
            raise InputError("The values of a label map must lie between 0 and 16 million.")
        maps.append(array)
    if maps[0].shape != maps[1].shape or maps[0].ndim not in (2, 3):
        raise InputError(f"Two label maps of one 2-D or 3-D grid are needed, not {maps[0].shape} and {maps[1].shape}.")
    return maps[0], maps[1]


def _chosen(fixed: np.ndarray, warped: np.ndarray, labels: Iterable[int] | None) -> list[int]:
    if labels is not None:
        return [int(v) for v in labels]
    present = np.bincount(fixed.ravel()) > 0, np.bincount(warped.ravel()) > 0
    return sorted({int(v) for p in present for v in np.flatnonzero(p)} - {0})


def _overlaps(fixed: Array, warped: Array, labels: Iterable[int] | None) -> dict[int, tuple[int, int]]:
    """Voxels in both, and voxels of the one plus voxels of the other, per label."""
    a, b = _label_maps(fixed, warped)
    chosen = _chosen(a, b, labels)
    size = max(chosen, default=0) + 1
    counts = [np.bincount(x.ravel(), minlength=size) for x in (a, b, a[a == b])]
    return {v: (int(counts[2][v]), int(counts[0][v] + counts[1][v])) for v in chosen}


def dice(fixed_labels: Array, warped_labels: Array, labels: Iterable[int] | None = None) -> dict[int, float]:
    """2 |A and B| / (|A| + |B|) per label; NaN for a label that is in neither.

    Args:
        fixed_labels, warped_labels: label maps on one grid.
        labels: those to score; all but 0 that are in either map if None.

    Raises:
        InputError: if the maps are not label maps of one grid.
    """
    overlaps = _overlaps(fixed_labels, warped_labels, labels)
    return {v: 2 * both / total if total else math.nan for v, (both, total) in overlaps.items()}


def jaccard(fixed_labels: Array, warped_labels: Array, labels: Iterable[int] | None = None) -> dict[int, float]:
    """|A and B| / |A or B| per label, see ``dice``."""
    overlaps = _overlaps(fixed_labels, warped_labels, labels)
    return {v: both / (total - both) if total else math.nan for v, (both, total) in overlaps.items()}


def mean(per_label: Mapping[int, float]) -> float:
    """The mean over the labels for which there is a figure (NaN if there is none)."""
    values = [v for v in per_label.values() if not math.isnan(v)]
    return sum(values) / len(values) if values else math.nan


def label_surfaces(
    fixed_labels: Array, warped_labels: Array, spacing: Spacing = 1.0, labels: Iterable[int] | None = None
) -> dict[int, SurfaceDistances]:
    """Per label, the distances between the two boundaries: ``.hausdorff95``, ``.average``, ``.mean_absolute`` in mm.

    Raises:
        InputError: if the maps are not label maps of one grid or the spacing does not fit.
    """
    a, b = _label_maps(fixed_labels, warped_labels)
    return {v: surface_distances(a == v, b == v, spacing) for v in _chosen(a, b, labels)}


def landmark_errors(points_a: Array, points_b: Array, spacing: Spacing = 1.0) -> np.ndarray:
    """(n,) distances of two lists of points (n, ndim), pairs in the same order (TRE).

    The points are in mm; or in voxels, with the ``spacing`` that makes them mm.

    Raises:
        InputError: if the lists do not fit.
    """
    a, b = np.asarray(points_a, dtype=np.float64), np.asarray(points_b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 2:
        raise InputError(f"Landmarks are two lists (n, ndim) of pairs, not {a.shape} and {b.shape}.")
    return np.linalg.norm((a - b) * np.asarray(spacing, dtype=np.float64), axis=1)


def rmse_percent(reference: Array, image: Array, mask: Array | None = None, data_range: float | None = None) -> float:
    """Root-mean-square difference of intensities, in percent of ``data_range`` (that of ``reference`` if None).

    The figure of the Deform-GAN paper, there between the floating image warped by the predicted and the true field.
    """
    a, b = _numpy(reference).astype(np.float64), _numpy(image).astype(np.float64)
    if a.shape != b.shape:
        raise InputError(f"Two images of one grid are needed, not {a.shape} and {b.shape}.")
    span = float(a.max() - a.min()) if data_range is None else data_range
    if span <= 0:
        raise InputError("The reference image has one value everywhere; give the range of intensities.")
    squares = (a - b) ** 2
    chosen = squares if mask is None else squares[_numpy(mask) > 0]
    return 100 * math.sqrt(chosen.mean()) / span if chosen.size else math.nan


def _determinant(u: Array, mask: Array | None, border: int = 0) -> Tensor:
    """The Jacobian determinant inside the mask, flat, without ``border`` voxels at each side."""
    tensor = torch.as_tensor(u).detach()
    tensor = tensor if tensor.is_floating_point() else tensor.float()
    tensor = tensor[None] if tensor.ndim == tensor.shape[0] + 1 else tensor
    det = fields.jacobian_determinant_in_slabs(tensor)[:, 0]
    inside = None if mask is None else torch.as_tensor(_numpy(mask) > 0, device=det.device)
    if inside is not None and inside.shape != det.shape[1:]:
        raise InputError(f"The mask {tuple(inside.shape)} is not on the grid of the field {tuple(det.shape[1:])}.")
    for axis in range(1, det.ndim):
        n = det.shape[axis]
        if border and n > 2 * border:
            det = det.narrow(axis, border, n - 2 * border)
            inside = None if inside is None else inside.narrow(axis - 1, border, n - 2 * border)
    return det.flatten() if inside is None else det[inside.expand(det.shape)]


def folding_percent(u: Array, mask: Array | None = None) -> float:
    """Percent of the voxels (of the mask) where the field folds: Jacobian determinant <= 0, central differences.

    Raises:
        InputError: if ``u`` is not a field or the mask is on another grid.
    """
    return _folds(_determinant(u, mask))


def _folds(det: Tensor) -> float:
    return 100 * int((det <= 0).sum()) / det.numel() if det.numel() else math.nan


def log_jacobian_sd(u: Array, mask: Array | None = None, floor: float = 1e-9) -> float:
    """Standard deviation of log det J (SDlogJ), 0 for a shift; determinants under ``floor`` count as ``floor``."""
    return _spread(_determinant(u, mask), floor)


def _spread(det: Tensor, floor: float) -> float:
    if not det.numel():
        return math.nan
    total = square = 0.0
    for part in det.split(_SLAB):  # in double precision, as a float loses the fourth digit of so many
        logs = part.double().clamp_min_(floor).log_()
        total, square = total + float(logs.sum()), square + float(logs @ logs)
    mean = total / det.numel()
    return math.sqrt(max(0.0, square / det.numel() - mean**2))


def folds_and_spread(u: Array, mask: Array | None = None, floor: float = 1e-9) -> tuple[float, float]:
    """``folding_percent`` and ``log_jacobian_sd`` from one look at the determinant."""
    det = _determinant(u, mask)
    return _folds(det), _spread(det, floor)


def learn2reg_sdlogj(u: Array, mask: Array | None = None) -> float:
    """SDlogJ as the Learn2Reg challenge's evaluation computes it, only to be compared with its tables.

    That code adds 3 to the determinant before the logarithm, which makes the figure about four times smaller than
    ``log_jacobian_sd`` and hides every fold (its count of folds is always 0), and leaves out two voxels at each side.
    """
    det = _determinant(u, mask, border=2)
    return float((det.double() + 3).clamp(1e-9, 1e9).log().std(correction=0)) if det.numel() else math.nan
