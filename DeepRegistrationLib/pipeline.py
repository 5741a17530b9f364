"""The one road: images in, a transform and its report out. Panel, console, command line and batch all take it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Unpack, cast

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from . import __version__, fields
from .affine.align import find_alignment
from .affine.alignment import AffineSettings
from .affine.content import contents_of
from .affine.elsewhere import how_far_elsewhere
from .affine.freedom import nearest
from .affine.landmarks import LandmarkFit, fit_landmarks
from .affine.mirror import measure_mirror
from .device import device_for, or_on_cpu
from .errors import InputError
from .fields.inverse import invert
from .geometry.image import Grid, Image, ImageSource, PathLike
from .geometry.points import FEWEST_PAIRS
from .geometry.transform import Transform, affine_to_sitk, resample
from .inputs.content_mask import content_of
from .inputs.field_of_view import seen_on
from .inputs.guides import (
    Labels,
    Landmarks,
    check_guide_names,
    check_guides,
    read_labels,
    read_landmarks,
    read_rigid_parts,
)
from .inputs.pair import Pair, PreparedPair, fixed_on, label_tensors, landmark_voxels, working_grid
from .inputs.start import read_start, split_start
from .models.bundle import Model
from .models.methods import chosen_method, find_method, model_for
from .models.network_proposal import proposal_for
from .models.predict import predict
from .preview import Preview, begin_previews, preview_whole
from .progress import REFINED, CancelToken, ProgressCallback, Reporter, Watch, check_listeners
from .quality.doubt import measure_doubt
from .quality.measurements import measure_field, measure_result
from .quality.report import Report
from .quality.there_and_back import missed_by_fields
from .refinement.engine import Refined
from .refinement.engine import refine as refine_field
from .refinement.rigid_parts import keep_rigid
from .result import Result
from .settings import AUTO, DEFORMABLE, NO_NETWORK, Choices, Settings


def register(
    fixed: ImageSource,
    moving: ImageSource,
    settings: Settings | None = None,
    *,
    fixed_mask: ImageSource | None = None,
    moving_mask: ImageSource | None = None,
    initial_transform: PathLike | sitk.Transform | None = None,
    landmarks: tuple[np.ndarray, np.ndarray] | None = None,
    landmark_names: Sequence[str] | None = None,
    labels: tuple[ImageSource, ImageSource] | None = None,
    rigid_labels: ImageSource | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
    on_level: Callable[[Preview], None] | None = None,
    stop: Callable[[], bool] | None = None,
    **choices: Unpack[Choices],
) -> Result:
    """Align ``moving`` to ``fixed``.

    Args:
        fixed, moving: paths, SimpleITK images or ``Image``; 2-D or 3-D, one value a voxel (color turns gray).
        settings: what the user chose; see ``Settings``.
        fixed_mask, moving_mask: only what is not zero there counts.
        initial_transform: fixed to moving, linear or not, taken instead of the affine stage; a result that is a matrix
            begins there.
        landmarks: (n, ndim) LPS mm in the fixed and in the moving image, which the field is drawn to join. Three pairs
            or more start the alignment, unless ``affine`` is "none": then they are all that a matrix is made of.
        landmark_names: what warnings call the pairs.
        labels: label maps of the fixed and the moving image, likewise.
        rigid_labels: a label map of the fixed image; each label is a part that moves as one piece, without bending.
        progress: called with the stage, the fraction of the whole and a message.
        cancel: a token that stops the run; nothing comes of it.
        on_level: called with what is found so far, as a ``Preview``: the affine alignment, then each level's field.
        stop: asked after every step of the refinement; once it says True, what ``on_level`` is shown by then becomes
            the result. Until coarse levels have been judged that is the affine alignment.
        choices: single settings by name, as in ``register(fixed, moving, refine="accurate")``; they go before those of
            ``settings``.

    Raises:
        InputError: if the input cannot be used; one sentence says why.
        Cancelled: if the token was set.
    """
    check_guide_names(choices)
    chosen = Settings.given(settings, choices)
    _check_guides(chosen, landmarks, labels, rigid_labels, landmark_names)
    check_listeners(progress, cancel, on_level, stop)
    reporter, (report, device) = Reporter(progress, cancel, Watch(on_level, stop)), _new_report(chosen)

    with reporter.stage("read", 0.0, 0.05) as stage:
        pair = Pair.read(fixed, moving, fixed_mask, moving_mask)
        report.warnings += pair.warnings
        guides = read_landmarks(landmarks, pair), read_labels(labels, pair)
        rigid = read_rigid_parts(rigid_labels, pair)
        fit = _read_fit(guides[0], pair, chosen, initial_transform is not None, report, landmark_names)
        start = read_start(initial_transform, pair, fit is not None, chosen.from_here)
        grid = working_grid(pair.fixed.grid, device, None if chosen.is_linear else report.warnings, chosen.from_here)
        model, fine_tuned_by = _read_model(chosen, pair.fixed.ndim, report)
        stage(1.0, "images read")

    fixed_on_grid = fixed_on(pair, grid)
    content = content_of(*fixed_on_grid)
    with reporter.stage("affine", 0.05, 0.2) as stage:
        matrix, field, surroundings = _aligned(pair, grid, start, fit, content, chosen, report, stage)
        pair, fixed_on_grid, content = seen_on(pair, grid, matrix, fixed_on_grid, content)
        stage(1.0, "images aligned as a whole")

    with reporter.stage("prepare", 0.2, 0.25) as stage:
        prepared = None if chosen.is_linear else PreparedPair.prepare(pair, fixed_on_grid, grid, matrix, surroundings)
        stage(1.0, "images on one grid")

    predicted = 0.25 if model is None else 0.65 if fine_tuned_by else 0.35
    with reporter.stage("network", 0.25, predicted) as stage:
        if model is not None and prepared is not None:
            field, device = _predicted(model, prepared, field, device, report, stage, fine_tuned_by)

    with reporter.stage("refine", predicted, 0.9) as stage:
        if prepared is None:
            refined = (torch.zeros(1, grid.ndim, *grid.shape),) * 2
        else:
            refined = _refined(prepared, pair, field, matrix, guides, chosen, report, device, stage)
        refined = _with_rigid_parts(*refined, rigid, grid, matrix, report, stage)
        preview_whole(REFINED, refined[0], stage)  # first it is seen, then judged
    del fixed_on_grid, prepared, field  # what comes needs their memory

    with reporter.stage("output", 0.9, 1.0) as stage:
        measure_field(report, *refined, grid, content)
        stage(0.3, "field measured")
        result = _finish(pair, grid, *refined, matrix, report, stage)
        stage(0.7, "transform ready")
        measure_result(report, pair, result.transform, matrix, content, result.grid, guides, stage)
        stage(1.0, "done")
    report.seconds = reporter.seconds
    return result


def _check_guides(settings: Settings, landmarks: Any, labels: Any, rigid_labels: Any, names: Any) -> None:
    refines = not settings.is_linear and settings.refine != "none"
    check_guides(refines, settings.is_linear or settings.alignment != "none", landmarks, labels, names)
    if rigid_labels is not None and settings.is_linear:
        raise InputError("Parts are kept rigid in a deformable result only; leave them out, or choose that result.")
    if settings.method != AUTO:
        find_method(settings.method)  # a name that is none is said before anything is read


def _new_report(settings: Settings) -> tuple[Report, torch.device]:
    said = list[str]()
    device = device_for(settings.device, said)
    report = Report("", settings.refine, settings.affine, str(device), __version__, seed=settings.seed, warnings=said)
    report.result = settings.result
    if settings.is_linear:
        report.refine, report.affine = "none", settings.result
    return report, device


def _read_fit(
    landmarks: Landmarks | None,
    pair: Pair,
    settings: Settings,
    is_given: bool,
    report: Report,
    names: Sequence[str] | None,
) -> LandmarkFit | None:
    """The alignment that the landmarks start; None if they do not.

    Raises:
        InputError: if nothing else could align the images, and the landmarks do not either.
    """
    alone = settings.is_linear and settings.affine == "none"
    if alone and landmarks is None and not is_given:
        raise InputError(
            f"A result that is {settings.result} needs the images aligned: set affine to auto, or give {FEWEST_PAIRS} "
            "landmarks or more."
        )
    if landmarks is None or is_given or settings.alignment == "none":
        return None
    if len(landmarks[0]) < FEWEST_PAIRS and not settings.is_linear and settings.refine != "none":
        return None
    points = [pair.plane.to_plane(p) for p in landmarks] if pair.plane else landmarks
    kind: Any = settings.result if settings.is_linear and (alone or settings.result != "affine") else "rigid"
    try:
        fit = fit_landmarks(points[0], points[1], kind)
    except InputError as error:
        if settings.is_linear or settings.refine == "none":
            raise
        report.warnings.append(f"{error} They guide the refinement only.")
        return None
    report.landmark_pairs, report.landmark_fit_mm = len(fit.errors) - len(fit.apart), fit.error_mm
    report.landmarks_apart = tuple(k + 1 for k in fit.apart)
    report.warnings += fit.warnings(names)
    return fit


def _read_model(settings: Settings, ndim: int, report: Report) -> tuple[Model | None, str | None]:
    """The network that was asked for, and the measure to fine-tune it by; None for neither."""
    if settings.is_linear or settings.from_here:
        report.method = NO_NETWORK
        if settings.is_linear and settings.method not in (AUTO, NO_NETWORK):
            report.warnings.append(
                f"A result that is {settings.result} takes no network; the method {settings.method} was not used."
            )
        return None, None
    method = chosen_method(settings, ndim)
    report.method = method.name
    if method.network is None:
        return None, None
    model = model_for(method, ndim, variant=settings.variant, seed=settings.seed, untrained=settings.untrained)
    report.model, report.model_hash, report.fine_tune = model.name, model.sha256, settings.fine_tune
    if model.path is None:
        report.warnings.append(f"The method {method.name} has no trained weights here; its start means nothing.")
    return model, method.fine_tuned_by if settings.fine_tune else None


def _aligned(
    pair: Pair,
    grid: Grid,
    start: sitk.Transform | None,
    fit: LandmarkFit | None,
    content: Tensor,
    settings: Settings,
    report: Report,
    reporter: Reporter,
) -> tuple[np.ndarray, Tensor | None, float]:
    """The matrix (LPS mm, fixed to moving), what a given start has besides, in voxels of ``grid``, and within how many
    mm the images are to be leveled (0: not).
    """
    matrix, field, contents, surroundings = np.eye(pair.fixed.ndim + 1), None, None, 0.0
    begin = fit.matrix if fit is not None else None
    if start is not None:
        begin, field = split_start(start, grid, content, report.warnings)
        if not settings.is_linear:
            report.affine = "given"
        elif field is not None:
            field = None
            report.warnings.append(
                f"The initial transform bends the image and a result that is {settings.result} does not: it begins at "
                "the best matrix for it."
            )
    images, kind = (pair.fixed, pair.moving), cast(Any, settings.alignment)
    if begin is not None and (settings.affine == "none" or report.affine == "given"):
        matrix = nearest(begin, kind) if settings.is_linear else begin
    elif kind != "none":
        found = find_alignment(*images, AffineSettings(kind), **pair.masks, start=begin, reporter=reporter)
        matrix, contents, report.orientation_open = found.matrix, found.contents, found.orientation_open
        surroundings = found.surroundings
    begin_previews(pair, grid, matrix, field, reporter)
    if not settings.from_here:
        if contents is None:  # the matrix was not looked for
            contents = contents_of(*images, **pair.masks)
            report.elsewhere_mm = how_far_elsewhere(contents, matrix)
        report.mirror = measure_mirror(*images, matrix, **pair.masks, contents=contents, reporter=reporter)
    return matrix, field, surroundings


def _predicted(
    model: Model,
    prepared: PreparedPair,
    start: Tensor | None,
    device: torch.device,
    report: Report,
    reporter: Reporter,
    fine_tuned_by: str | None,
) -> tuple[Tensor, torch.device]:
    """The network's field, after ``start`` where there is one, and where it was computed."""
    moving = prepared.moving if start is None else fields.warp(prepared.moving, start)
    images = [
        Image(image[0, 0].numpy(), prepared.grid, name)
        for image, name in ((prepared.fixed, "fixed image"), (moving, "moving image"))
    ]

    def work(device: torch.device) -> Tensor:
        return predict(model, *images, device=device, reporter=reporter, fine_tuned_by=fine_tuned_by)

    field, device = or_on_cpu(work, device, report.warnings)
    report.device = str(device)
    field = field if start is None else fields.compose(start, field)
    preview_whole("network", field, reporter)
    return field, device


def _refined(
    prepared: PreparedPair,
    pair: Pair,
    start: Tensor | None,
    matrix: np.ndarray,
    guides: tuple[Landmarks | None, Labels | None],
    settings: Settings,
    report: Report,
    device: torch.device,
    reporter: Reporter,
) -> tuple[Tensor, Tensor]:
    """The field and its inverse, (1, ndim, *grid.shape) voxels; ``start`` as it is if nothing shall be refined."""
    if settings.refine == "none":
        field = torch.zeros(1, prepared.grid.ndim, *prepared.grid.shape) if start is None else start
        inverse = invert(field, reporter)
        reporter(1.0, "no refinement")
        return field, inverse

    landmarks = landmark_voxels(guides[0], prepared.grid, matrix, pair.plane)
    labels = label_tensors(guides[1], prepared.grid, affine_to_sitk(matrix), pair.plane)
    asks = settings.method == AUTO and start is None  # who chose no network gets none

    def work(device: torch.device) -> Refined:
        images = prepared.fixed.to(device), prepared.moving.to(device)
        others = start, prepared.fixed_mask, prepared.moving_mask
        begin, fixed_mask, moving_mask = (None if x is None else x.to(device) for x in others)
        refined = refine_field(
            *images,
            settings,
            spacing=prepared.grid.spacing.tolist(),
            lacking=prepared.lacking,
            start=begin,
            fixed_mask=fixed_mask,
            moving_mask=moving_mask,
            landmarks=landmarks,
            labels=labels,
            propose=proposal_for(prepared.fixed, prepared.moving, prepared.grid, device) if asks else None,
            reporter=reporter,
        )
        return replace(refined, field=refined.field.cpu(), inverse=refined.inverse.cpu())

    refined, device = or_on_cpu(work, device, report.warnings)
    report.chosen, report.hypotheses = refined.choice.chosen, refined.choice.weighed
    report.device = str(device)
    if max(refined.spacing / pair.fixed.grid.spacing) > 1.01 and bool(refined.field.any()):
        report.refined_spacing_mm = refined.spacing
    return refined.field, refined.inverse


def _with_rigid_parts(
    field: Tensor,
    inverse: Tensor,
    rigid: Image | None,
    grid: Grid,
    matrix: np.ndarray,
    report: Report,
    reporter: Reporter,
) -> tuple[Tensor, Tensor]:
    """The field that moves each part of ``rigid`` (None: there is none) rigidly, and its inverse."""
    if rigid is None:
        return field, inverse
    parts = torch.from_numpy(resample(rigid, grid, mode="nearest").array.astype(np.int64))[None, None]
    kept = keep_rigid(field, parts, grid.matrix, matrix, reporter)
    report.rigid_parts, report.rigid_moved_mm, report.rigid_left_mm = kept.labels, kept.moved_mm, kept.left_mm
    if not kept.labels:
        report.warnings.append(
            "The parts to be kept rigid are no larger than a few voxels: they were left as they are."
        )
        return field, inverse
    return kept.field, invert(kept.field, reporter)


def _finish(
    pair: Pair, grid: Grid, field: Tensor, inverse: Tensor, matrix: np.ndarray, report: Report, reporter: Reporter
) -> Result:
    report.say_stopped(reporter.watch.stopped_at, bool(field.any()))
    moving_grid, fixed_grid = pair.given_moving.grid, pair.given_fixed.grid
    if pair.plane:
        shape = list(grid.shape)
        shape.insert(pair.plane.axis, 1)
        lifted_grid = fixed_grid.resized(tuple(shape))
        lifted, lifted_inverse = pair.plane.lift_field(field), pair.plane.lift_field(inverse)
        lifted_matrix = pair.plane.lift_affine(matrix)
    else:
        lifted_grid, lifted, lifted_inverse, lifted_matrix = grid, field, inverse, matrix
    if report.result == DEFORMABLE:
        make_inverse = partial(Transform.inverse_of, lifted_inverse, lifted_grid, lifted_matrix, moving_grid)
        transform = Transform.from_field(lifted, lifted_grid, lifted_matrix)
    else:
        make_inverse = partial(Transform.linear, np.linalg.inv(lifted_matrix), moving_grid)
        transform = Transform.linear(lifted_matrix, fixed_grid)
    reporter.check()  # each of these can take seconds
    warped = resample(pair.given_moving, fixed_grid, transform)
    reporter.check()
    missed = missed_by_fields(field, inverse, grid, lifted_grid) if report.result == DEFORMABLE else None
    masks = pair.fixed_mask, pair.moving_mask
    doubt = measure_doubt(pair.clean_fixed, pair.clean_moving, transform, missed, *masks, reporter=reporter)
    report.working_spacing_mm = tuple(float(s) for s in grid.spacing)
    report.doubt_percent, report.shape = doubt.percent, doubt.shape
    images = pair.given_fixed, pair.given_moving, warped
    return Result(transform, make_inverse, *images, report, doubt, lifted, lifted_grid)
