"""The one road: images in, a transform and its report out. Panel, console, command line and batch all take it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from . import __version__, fields
from .affine.align import align
from .affine.mirror import measure_mirror
from .device import choose_device
from .errors import InputError
from .fields.inverse import inverse_of
from .geometry.image import Grid, Image, ImageSource, PathLike
from .geometry.transform import Transform, affine_to_sitk, read_transform, resample
from .inputs.checks import check_overlap
from .inputs.choices import check_guides, check_network, check_settings, read_labels, read_landmarks
from .inputs.content import content_of
from .inputs.pair import Level, Pair, label_tensors, landmark_voxels, working_grid
from .inputs.start import split_start
from .models.bundle import Model
from .models.methods import Method, find_method, model_for
from .models.predict import predict
from .progress import CancelToken, ProgressCallback, Reporter
from .quality.doubt import Doubt, measure_doubt
from .quality.measure import measure_field, measure_images, misses
from .quality.report import Report
from .refinement.engine import refine as refine_field
from .refinement.schedule import RefineSettings


@dataclass(frozen=True)
class Result:
    """What ``register`` returns.

    Attributes:
        transform: fixed to moving, LPS mm; a SimpleITK transform with ``save(path)``.
        make_inverse: makes ``inverse``.
        warped: the moving image on the fixed grid.
        report: what was measured.
        doubt: where the result should not be trusted; ``doubt.on(warped.grid)`` is the map on the fixed grid.
        field: (1, ndim, *grid.shape) the deformable part, in voxels of ``grid``.
        grid: the working grid (the fixed grid unless that is too large for the memory).
    """

    transform: Transform
    make_inverse: Callable[[], Transform]
    warped: Image
    report: Report
    doubt: Doubt
    field: Tensor
    grid: Grid

    @cached_property
    def inverse(self) -> Transform:
        """Moving to fixed, like ``transform``; its field is there already, and becomes a transform when asked for."""
        return self.make_inverse()

    @cached_property
    def jacobian(self) -> Image:
        """The Jacobian determinant of the deformable part on the working grid: local volume change."""
        det = fields.jacobian_determinant(self.field)
        return Image(det[0, 0].numpy(), self.grid, "Jacobian determinant")


def register(
    fixed: ImageSource,
    moving: ImageSource,
    *,
    method: str = "none",
    variant: str | None = None,
    fine_tune: bool = False,
    untrained: bool = False,
    refine: str = "fast",
    affine: str = "auto",
    similarity: str = "auto",
    smoothness: float = 1.0,
    device: str = "auto",
    fixed_mask: ImageSource | None = None,
    moving_mask: ImageSource | None = None,
    initial_transform: PathLike | sitk.Transform | None = None,
    landmarks: tuple[np.ndarray, np.ndarray] | None = None,
    labels: tuple[ImageSource, ImageSource] | None = None,
    seed: int = 0,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> Result:
    """Align ``moving`` to ``fixed``.

    Args:
        fixed, moving: paths, SimpleITK images or ``Image``; 2-D or 3-D, one value a voxel (color turns gray).
        method: a name from ``methods()``, or the path of a model bundle; "none" is refinement alone.
        variant: one of the method's variants, the papers' comparisons; None is the default.
        fine_tune: fit the network's last layer to this pair first (for a new kind of image); the weights stay.
        untrained: take a network with fresh weights where there are no trained ones; else such a method is refused.
        refine: "none", "fast" or "accurate" refinement of the field on this very pair.
        affine: "auto" aligns the whole image first; "none" takes the images as they lie.
        similarity: "auto", or one of the refinement's measures ("lncc", "translated", "mind", "ssd", "gradient").
        smoothness: 1 is the default; larger values give a stiffer field.
        device: "auto", "cpu", "cuda" or "mps".
        fixed_mask, moving_mask: only what is not zero there counts.
        initial_transform: fixed to moving, taken instead of the affine stage; linear or not.
        landmarks: (n, ndim) LPS mm in the fixed and in the moving image, which the field is drawn to join.
        labels: label maps of the fixed and the moving image, likewise.
        seed: the same answer for the same seed on one machine.
        progress: called with the stage, the fraction of the whole and a message.
        cancel: a token that stops the run.

    Raises:
        InputError: if the input cannot be used; one sentence says why.
        Cancelled: if the token was set.
    """
    check_settings(refine, affine, similarity, smoothness, seed)
    check_guides(refine, landmarks, labels)
    place = choose_device(device)
    chosen = find_method(method)
    check_network(chosen.name, chosen.network is not None, variant, fine_tune)
    reporter = Reporter(progress, cancel)
    report = Report(chosen.name, refine, affine, str(place), __version__, seed=seed, fine_tune=fine_tune)

    with reporter.stage("read", 0.0, 0.05) as stage:
        pair = Pair.read(fixed, moving, fixed_mask, moving_mask)
        report.warnings += pair.warnings
        points, maps = read_landmarks(landmarks, pair), read_labels(labels, pair)
        start = _read_start(initial_transform, pair)
        grid = _choose_grid(pair, place, report)
        model = _read_model(chosen, pair.fixed.ndim, variant, seed, untrained, report) if chosen.network else None
        stage(1.0, "images read")

    matrix = np.eye(pair.fixed.ndim + 1)
    start_field: Tensor | None = None
    masks: dict[str, Any] = {"fixed_mask": pair.fixed_mask, "moving_mask": pair.moving_mask}
    content = content_of(*Level.prepare_fixed(pair, grid))
    with reporter.stage("affine", 0.05, 0.2) as stage:
        if start is not None:
            report.affine = "given"
            matrix, start_field = split_start(start, grid, content)
        elif affine == "auto":
            matrix = align(pair.fixed, pair.moving, **masks, reporter=stage)
        report.mirror = measure_mirror(pair.fixed, pair.moving, matrix, **masks, reporter=stage)
        stage(1.0, "images aligned as a whole")

    with reporter.stage("prepare", 0.2, 0.25) as stage:
        onto = affine_to_sitk(matrix)
        level = Level.prepare(pair, grid, onto)
        stage(1.0, "images on one grid")

    predicted = 0.25 if model is None else 0.65 if fine_tune else 0.35
    with reporter.stage("network", 0.25, predicted) as stage:
        if model is not None:
            start_field = _network_start(
                model, level, start_field, place, stage, chosen.similarity if fine_tune else None
            )

    with reporter.stage("refine", predicted, 0.9) as stage:
        if refine == "none":
            field = torch.zeros(1, grid.ndim, *grid.shape) if start_field is None else start_field
            inverse = inverse_of(field, stage)
            stage(1.0, "no refinement")
        else:
            refined = refine_field(
                level.fixed.to(place),
                level.moving.to(place),
                RefineSettings(refine, similarity, smoothness),
                spacing=grid.spacing.tolist(),
                start=None if start_field is None else start_field.to(place),
                fixed_mask=None if level.fixed_mask is None else level.fixed_mask.to(place),
                moving_mask=None if level.moving_mask is None else level.moving_mask.to(place),
                landmarks=landmark_voxels(points, grid, matrix, pair.plane),
                labels=label_tensors(maps, grid, onto, pair.plane),
                reporter=stage,
            )
            field, inverse = refined.field.cpu(), refined.inverse.cpu()
            del refined
    del level, start_field  # what comes needs their memory

    with reporter.stage("output", 0.9, 1.0) as stage:
        measure_field(report, field, inverse, grid, content)
        stage(0.3, "field measured")
        result = _finish(pair, grid, field, inverse, matrix, report, stage)
        stage(0.7, "transform ready")
        measure_images(report, pair, result.transform, content, stage)
        stage(1.0, "done")
    report.seconds = reporter.seconds
    return result


def _read_start(source: PathLike | sitk.Transform | None, pair: Pair) -> sitk.Transform | None:
    """The initial transform of a pair that it fits; without one, the images must lie together."""
    if source is None:
        check_overlap(pair.fixed.grid, pair.moving.grid)
        return None
    start = read_transform(source, "initial transform")
    if start.GetDimension() != (3 if pair.plane else pair.fixed.ndim):
        raise InputError(
            f"The initial transform is {start.GetDimension()}-D and the images {pair.fixed.ndim}-D; "
            "give one of the images' dimension."
        )
    if pair.plane:
        raise InputError("An initial transform cannot be used with single slices; align them without it.")
    return start


def _choose_grid(pair: Pair, device: torch.device, report: Report) -> Grid:
    grid = working_grid(pair.fixed.grid, device)
    report.working_spacing_mm = tuple(float(s) for s in grid.spacing)
    if grid is not pair.fixed.grid:
        given, coarse = (" x ".join(f"{s:.3g}" for s in reversed(g.spacing)) for g in (pair.fixed.grid, grid))
        report.warnings.append(
            f"The images were aligned at {coarse} mm instead of {given} mm, as more does not fit into this machine's "
            "memory; crop them to what matters for a finer result."
        )
    return grid


def _read_model(chosen: Method, ndim: int, variant: str | None, seed: int, untrained: bool, report: Report) -> Model:
    model = model_for(chosen, ndim, variant=variant, seed=seed, untrained=untrained)
    report.model, report.model_hash = model.name, model.sha256
    if model.path is None:
        report.warnings.append(f"The method {chosen.name} has no trained weights here; its start means nothing.")
    return model


def _network_start(
    model: Model, level: Level, start: Tensor | None, device: torch.device, reporter: Reporter, fit: str | None
) -> Tensor:
    """The network's field, after ``start`` where there is one."""
    moving = level.moving if start is None else fields.warp(level.moving, start)
    pair = (
        Image(image[0, 0].numpy(), level.grid, name)
        for image, name in ((level.fixed, "fixed image"), (moving, "moving image"))
    )
    field = predict(model, *pair, device=device, reporter=reporter, fit=fit)
    return field if start is None else fields.compose(start, field)


def _finish(
    pair: Pair, grid: Grid, field: Tensor, inverse: Tensor, matrix: np.ndarray, report: Report, reporter: Reporter
) -> Result:
    moving_grid, fixed_grid = pair.given_moving.grid, pair.given_fixed.grid
    if pair.plane:
        shape = list(grid.shape)
        shape.insert(pair.plane.axis, 1)
        lifted_grid = fixed_grid.resized(tuple(shape))
        lifted, lifted_inverse = pair.plane.lift_field(field), pair.plane.lift_field(inverse)
        lifted_matrix = pair.plane.lift_affine(matrix)
    else:
        lifted_grid, lifted, lifted_inverse, lifted_matrix = grid, field, inverse, matrix
    make_inverse = partial(Transform.inverse_of, lifted_inverse, lifted_grid, lifted_matrix, moving_grid)
    transform = Transform.from_field(lifted, lifted_grid, lifted_matrix)
    reporter.check()  # each of these can take seconds
    warped = resample(pair.given_moving, fixed_grid, transform)
    reporter.check()
    missed = misses(field, inverse, grid, lifted_grid)
    masks = pair.fixed_mask, pair.moving_mask
    doubt = measure_doubt(pair.clean_fixed, pair.clean_moving, transform, missed, *masks, reporter=reporter)
    report.doubt_percent, report.shape = doubt.percent, doubt.shape
    return Result(transform, make_inverse, warped, report, doubt, lifted, lifted_grid)
