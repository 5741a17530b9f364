"""What a registration has found so far, for whoever looks on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from .fields import resize
from .geometry.image import Grid
from .geometry.preview import Preview, coarse
from .inputs.pair import Pair
from .progress import Reporter, Watch
from .quality.report import Report


def begin(pair: Pair, grid: Grid, matrix: np.ndarray, field: Tensor | None, reporter: Reporter) -> None:
    """Show the affine alignment to the reporter's watch, and from now on the fields that come before it.

    Args:
        grid: the working grid.
        matrix: LPS mm, fixed to moving.
        field: (1, ndim, *grid.shape) voxels that a given start has besides; None: it has none.
    """
    watch = reporter.watch
    if watch.on_level is None:
        return
    watch.show = partial(_show, watch.on_level, pair, grid, matrix)
    show_whole("affine", torch.zeros(1, grid.ndim, *coarse(grid).shape) if field is None else field, reporter)


def show_whole(name: str, field: Tensor, reporter: Reporter) -> None:
    """Show a field (1, ndim, *S) on the whole grid, in its voxels."""
    reporter.show(name, partial(resize, field.float()))


def _show(
    on_level: Callable[[Preview], None],
    pair: Pair,
    grid: Grid,
    matrix: np.ndarray,
    name: str,
    field_on: Callable[[tuple[int, ...]], Tensor],
) -> None:
    small = coarse(grid)
    field = field_on(small.shape)
    if pair.plane:
        shape = list(small.shape)
        shape.insert(pair.plane.axis, 1)
        small, field = pair.given_fixed.grid.resized(tuple(shape)), pair.plane.lift_field(field)
        matrix = pair.plane.lift_affine(matrix)
    on_level(Preview.of(name, field, small, matrix))


def say_stopped(watch: Watch, report: Report) -> None:
    """Keep in the report where the user ended the refinement, if at all."""
    report.stopped_at = watch.stopped_at
    if watch.stopped_at:
        report.warnings.append(
            f"The refinement was stopped by hand at {watch.stopped_at}: what was there by then is the result."
        )
