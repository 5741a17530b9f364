"""What a run says of its own result: numbers, a verdict in words, and a page to open."""

from __future__ import annotations

import io
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..affine.mirror import Mirror
from ..geometry.image import Image, PathLike
from ..geometry.transform import resample
from ..refinement.hypotheses import Evidence
from ..settings import DEFORMABLE
from .record import Record
from .report_page import write_page
from .shape import Shape
from .slices import EDGES, content_center, gray_range, slice_of, to_unit, upright, views
from .verdict import judge, mm, resolution
from .viewer import viewer_html

NOT_MEASURED = float("nan")
OF_A_FIELD = (
    "Folding",
    "Spread of volume change (SD of log Jacobian)",
    "Deformation beyond the affine part",
    "Bending of the anatomy",
    "Inverse error",
    "Chosen",
)
"""Lines of the report that say nothing about a matrix."""


@dataclass
class Report:
    """Everything measured in one registration; NaN (in JSON null) is what was not measured.

    Attributes:
        result: "deformable", or what one matrix for the whole image may do: "affine", "similarity" or "rigid".
        model, model_hash: of the network's weights; empty if there is none.
        fine_tune: whether the network was fitted to this pair first.
        similarity: name of the measure of likeness, always the same one, whatever the refinement compared by; larger is
            more alike.
        similarity_before, similarity_after: the likeness without any transform, and with the result.
        similarity_interpolated: as before, shifted by half a voxel: what interpolation alone makes of it.
        folding_percent: voxels of the fixed image where the field folds (determinant <= 0), %.
        log_jacobian_sd: standard deviation of the log Jacobian determinant.
        max_displacement_mm, mean_displacement_mm: of the whole map, over the fixed image's content.
        max_deformation_mm: of the map without its affine part, over the same.
        inverse_error_mm, max_inverse_error_mm: what is left of inverse(transform(p)) - p.
        estimated_error_mm, error_bound_mm: the error to expect on average, and what 9 of 10 results that measured so
            stayed below; see ``expected_error.py``.
        points_error_mm, affine_points_error_mm: how far off points are found again on average, with the result and with
            its affine part alone, whatever was optimized; see ``error_estimate.py``.
        error_step_mm: the coarse voxel they were looked for with, about a 56th of the content's size.
        lost_percent, lost_at_mm: of the anatomy's points, those in a part where hardly one is found again though most
            are elsewhere, and the middle of that part, LPS mm; see ``lost_part.py``.
        filled_percent: of the anatomy, how much more of it lies on something of the moving image than with the affine
            part alone.
        doubt_percent: of the anatomy, where the result should not be trusted; see ``doubt.py``.
        shape: how the anatomy is turned, scaled, bent and squeezed; see ``shape.py``.
        elsewhere_mm: where the matrix was given, or the header's, and not looked for: how far from there the images'
            detail lies; 0 where that speaks for it. See ``affine/elsewhere.py``.
        mirror: how the moving image would fit if it were mirrored; see ``affine/mirror.py``.
        orientation_open: whether the images are about as alike in an orientation far from the one that was found.
        working_spacing_mm: of the grid that the field is on, along each array axis.
        refined_spacing_mm: of the finest level of the refinement, where that is coarser than the fixed image.
        chosen: the measure and start that went on from the coarse levels; "affine" where nothing was better than the
            affine alignment, which then is the answer.
        hypotheses: what was tried there, best first, and the evidence for each; see ``hypotheses.py``.
        stopped_at: where the user ended the refinement and kept what was there; empty if it came to its end.
        landmark_pairs, landmark_fit_mm: how many pairs of landmarks started the alignment, and how well they agree: the
            fiducial registration error, root mean square.
        landmarks_apart: numbers (from 1) of the pairs that disagree with the others and did not count there.
        landmark_after_mm: distance of the others with the result, root mean square.
        label_dice: overlap of the structures of both label maps with the result, on average over labels.
        rigid_parts, rigid_moved_mm, rigid_left_mm: labels of the parts that were kept rigid, how far a voxel was moved
            for it at most, and how far one lies from its part's rigid motion at most.
        seconds: wall time of each stage.
        warnings: sentences the user should read.
    """

    method: str
    refine: str
    affine: str
    device: str
    version: str
    result: str = DEFORMABLE
    model: str = ""
    model_hash: str = ""
    fine_tune: bool = False
    similarity: str = ""
    similarity_before: float = float("nan")
    similarity_after: float = float("nan")
    similarity_interpolated: float = float("nan")
    folding_percent: float = NOT_MEASURED
    log_jacobian_sd: float = NOT_MEASURED
    max_displacement_mm: float = NOT_MEASURED
    mean_displacement_mm: float = NOT_MEASURED
    max_deformation_mm: float = NOT_MEASURED
    inverse_error_mm: float = NOT_MEASURED
    max_inverse_error_mm: float = NOT_MEASURED
    estimated_error_mm: float = NOT_MEASURED
    error_bound_mm: float = NOT_MEASURED
    points_error_mm: float = NOT_MEASURED
    affine_points_error_mm: float = NOT_MEASURED
    lost_percent: float = NOT_MEASURED
    lost_at_mm: tuple[float, ...] = ()
    filled_percent: float = NOT_MEASURED
    error_step_mm: float = NOT_MEASURED
    doubt_percent: float = NOT_MEASURED
    shape: Shape = field(default_factory=Shape)
    elsewhere_mm: float = 0.0
    mirror: Mirror = field(default_factory=Mirror)
    orientation_open: bool = False
    working_spacing_mm: tuple[float, ...] = ()
    refined_spacing_mm: tuple[float, ...] = ()
    chosen: str = ""
    hypotheses: tuple[Evidence, ...] = ()
    stopped_at: str = ""
    landmark_pairs: int = 0
    landmark_fit_mm: float = NOT_MEASURED
    landmarks_apart: tuple[int, ...] = ()
    landmark_after_mm: float = NOT_MEASURED
    label_dice: float = NOT_MEASURED
    rigid_parts: tuple[int, ...] = ()
    rigid_moved_mm: float = NOT_MEASURED
    rigid_left_mm: float = NOT_MEASURED
    seed: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def total_seconds(self) -> float:
        return sum(self.seconds.values())

    def say_stopped(self, where: str, has_field: bool) -> None:
        """Keep ``where`` the user ended the refinement; empty: not at all. ``has_field``: it is not zero everywhere."""
        self.stopped_at = where
        if not where:
            return
        if has_field:
            kept = ": what was there by then is the result."
        elif self.affine == "none":
            kept = ", before it had a field to keep: the images lie as they were."
        else:
            kept = ", before it had a field to keep: the images are aligned as a whole only."
        self.warnings.append(f"The refinement was stopped by hand at {where}{kept}")

    def _chosen(self) -> str:
        if not self.chosen:
            return "nothing to choose"
        if not self.hypotheses:
            return f"{self.chosen}, as nothing else was weighed"
        tried = ", ".join(f"{e.name} {e.worth:+.3f}" for e in self.hypotheses)
        return f"{self.chosen} (worth of what was tried: {tried})"

    def judge(self) -> tuple[str, list[str]]:
        """("good" | "check" | "bad", the reasons in words)."""
        return judge(self)

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON, with the verdict."""
        verdict, reasons = self.judge()
        return {**plain(asdict(self)), "total_seconds": self.total_seconds, "verdict": verdict, "reasons": reasons}

    def lines(self) -> list[tuple[str, str]]:
        """(what, value) pairs as a person reads them."""
        found = self._lines()
        return [(what, value) for what, value in found if value and (self.bends or what not in OF_A_FIELD)]

    @property
    def bends(self) -> bool:
        """Whether the result is a field; else one matrix."""
        return self.result == DEFORMABLE

    def _landmarks(self) -> str:
        if not self.landmark_pairs:
            return ""
        after = f"{mm(self.landmark_after_mm, 2)} with the result"
        return f"{mm(self.landmark_fit_mm, 2)} over {self.landmark_pairs} pairs; {after}"

    def _lines(self) -> list[tuple[str, str]]:
        return [
            ("Verdict", f"{self.judge()[0]}: {' '.join(self.judge()[1])}"),
            ("Result", self.result),
            (
                f"Similarity ({self.similarity})",
                _said("{:.3f} before, {:.3f} after", self.similarity_before, self.similarity_after),
            ),
            ("Fiducial registration error of the start", self._landmarks()),
            ("Dice of the labels", f"{self.label_dice:.2f} with the result" if math.isfinite(self.label_dice) else ""),
            (
                "Kept rigid",
                f"{len(self.rigid_parts)} parts, each to {mm(max(0.001, self.rigid_left_mm), 3)} or less; "
                f"{mm(self.rigid_moved_mm)} of bending taken out"
                if self.rigid_parts
                else "",
            ),
            ("Turned", "" if self.bends else f"{self.shape.turn_degrees:.1f} degrees"),
            (
                "Scaled",
                f"{self.shape.scale_low:.3f} to {self.shape.scale_high:.3f}"
                if self.result in ("affine", "similarity")
                else "",
            ),
            ("Folding", _said("{:.4f} %", self.folding_percent)),
            ("Spread of volume change (SD of log Jacobian)", _said("{:.3f}", self.log_jacobian_sd)),
            ("Displacement", f"{mm(self.mean_displacement_mm)} mean, {mm(self.max_displacement_mm)} largest"),
            ("Deformation beyond the affine part", f"{mm(self.max_deformation_mm)} largest"),
            (
                "Bending of the anatomy",
                f"{mm(self.shape.bend_mm)} "
                f"({_said('{:.0f} % of its size', self.shape.bend_percent)}) or less in 95 % of it",
            ),
            (
                "Estimated error",
                f"{mm(self.estimated_error_mm)} on average, less than {mm(self.error_bound_mm)} in 9 of 10 such results"
                if math.isfinite(self.estimated_error_mm)
                else "not measured",
            ),
            (
                "Points found again",
                f"{mm(self.points_error_mm)} off on average"
                + f", {mm(self.affine_points_error_mm)} with the affine alignment alone" * self.bends
                if math.isfinite(self.points_error_mm)
                else "not measured",
            ),
            ("In doubt", _said("{:.0f} % of the anatomy", self.doubt_percent)),
            ("Inverse error", f"{mm(self.inverse_error_mm, 3)} mean, {mm(self.max_inverse_error_mm, 2)} largest"),
            ("Time", f"{self.total_seconds:.1f} s ({', '.join(f'{k} {v:.1f}' for k, v in self.seconds.items())})"),
            (
                "Method",
                f"{self.method}{' (fine-tuned)' if self.fine_tune else ''}, refinement {self.refine}, "
                f"affine {self.affine}, on {self.device}",
            ),
            ("Stopped by hand at", self.stopped_at),
            ("Chosen", self._chosen()),
            ("Model", f"{self.model} {self.model_hash}".strip() or "no network"),
            ("Refined at", resolution(self.refined_spacing_mm)),
            ("Working resolution", resolution(self.working_spacing_mm)),
            ("Version", f"SlicerDeepRegistration {self.version}, seed {self.seed}"),
        ]


def _said(text: str, *values: float) -> str:
    return text.format(*values) if np.isfinite(values).all() else "not measured"


def plain(value: Any) -> Any:
    """For JSON, which has no NaN."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def save_report(
    report: Report,
    folder: PathLike,
    fixed: Image,
    moving: Image,
    warped: Image,
    picture: bytes | None = None,
    record: Record | None = None,
) -> Path:
    """Write ``report.json``, ``report.html`` and, where matplotlib is installed, ``overlay.png`` into ``folder``.

    With a ``picture`` (PNG) that one is taken, matplotlib is not needed, and the page is without its viewer, which is a
    few megabytes: for hundreds of pages.

    Args:
        record: figures after TG-132 and what a signature stands for.

    Raises:
        InputError: if the folder cannot be made.
        NotWritten: if the disk is full.
    """
    viewer = ""
    if picture is None:
        before = resample(moving, fixed.grid)
        picture, viewer = overlay_png(fixed, before, warped), viewer_html(fixed, before, warped)
    values = report.as_dict() | (plain(record.as_dict()) if record else {})
    return write_page(folder, "Registration report", report.judge()[0], report.lines(), values, picture, viewer, record)


_EDGES_AT = ((0.03, 0.5), (0.97, 0.5), (0.5, 0.96), (0.5, 0.04))
"""Of the picture: where left, right, top and bottom are named."""


def overlay_png(fixed: Image, before: Image, after: Image) -> bytes | None:
    """Before and after in every plane, fixed magenta over moving green; None without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except (ImportError, OSError):  # OSError: it finds no folder for its settings
        return None
    planes = views(fixed.grid)
    figure = Figure(figsize=(3.6 * len(planes), 7.4), facecolor="black", layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(planes), squeeze=False)
    middle = content_center(fixed.array)
    grays = gray_range(fixed.array)
    for row, (image, title) in enumerate(((before, "before"), (after, "after"))):
        moved_grays = gray_range(image.array)
        for column, (name, axis) in enumerate(planes):
            pair = [slice_of(x.array, axis, middle) for x in (fixed, image)]
            red, green = to_unit(pair[0], *grays), to_unit(pair[1], *moved_grays)
            picture, aspect = upright(np.stack([red, green, red], -1), fixed.grid, axis)
            axes[row, column].imshow(picture, aspect=aspect, interpolation="nearest")
            axes[row, column].set_title(f"{name}, {title}", color="white", fontsize=10)
            for side, place in zip(EDGES.get(name, ""), _EDGES_AT, strict=False):
                axes[row, column].annotate(
                    side, place, xycoords="axes fraction", color="yellow", ha="center", va="center"
                )
            axes[row, column].axis("off")
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    return buffer.getvalue()
