"""Register the frames of a sequence one after the other, each from where its neighbor's field ends."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Unpack, cast

import numpy as np
import SimpleITK as sitk
from torch import Tensor

from ..errors import InputError
from ..files.image_files import existing_file
from ..geometry.image import Grid, ImageSource, dimensions_of, read_image
from ..geometry.transform import displacement_on
from ..inputs.content_mask import content_of
from ..inputs.pair import Pair, fixed_on
from ..pipeline import register
from ..progress import CancelToken, ProgressCallback
from ..result import Result
from ..settings import AFFINE_ALONE, Choices, Settings


@dataclass
class Frames:
    """What came out.

    Attributes:
        transforms, reports: one a frame, in their order; reports as of ``Report.as_dict``.
        closure_mm, max_closure_mm: of a cycle, over the fixed image's content: the first frame registered again, from
            the last one's field, against how it was registered at first. What grows from frame to frame shows here.
    """

    transforms: list[sitk.Transform] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)
    closure_mm: float = float("nan")
    max_closure_mm: float = float("nan")


class FrameDone(NamedTuple):
    """A frame's result: fixed to frame, LPS mm, and the report as of ``Report.as_dict``."""

    transform: sitk.Transform
    report: dict[str, Any]


def register_frames(
    fixed: ImageSource,
    frames: Sequence[ImageSource],
    settings: Settings | None = None,
    *,
    neighbors: bool = True,
    cyclic: bool = False,
    known: Callable[[int, bool], FrameDone | None] | None = None,
    done: Callable[[int, Result], Any] | None = None,
    progress: Callable[[int], ProgressCallback] | None = None,
    cancel: CancelToken | None = None,
    **choices: Unpack[Choices],
) -> Frames:
    """Bring each of ``frames`` onto ``fixed``.

    Args:
        fixed: the image that stays, such as one of the frames.
        frames: in the order of time.
        settings, choices, cancel: as of ``register``.
        neighbors: each frame begins at the result of the one before, unless that one is bad, or a single slice. Where
            fields were asked for and the images confirmed none, as those with strong noise, nothing is handed on: the
            frame's own alignment, which noise hardly disturbs, is the better start.
        cyclic: the last frame is the first one's neighbor; whether the loop closes is measured.
        known: asked, with the number of a frame and whether it would begin at its neighbor's result, for what is there
            already; that is taken as it is.
        done: called with the number of the frame and its result.
        progress: makes the callback of a frame from its number.

    Raises:
        InputError: if a frame cannot be used.
    """
    if not frames:
        raise InputError("There are no frames; give at least one.")
    for number, frame in enumerate(frames, 1):
        if isinstance(frame, (str, os.PathLike)):
            existing_file(frame, f"frame {number}")
    chosen = Settings.given(settings, choices)
    image = read_image(fixed, "fixed image")
    for number, frame in enumerate(frames, 1):
        ndim = dimensions_of(frame, f"frame {number}")
        if ndim != image.ndim:
            raise InputError(
                f"Frame {number} is {ndim}-D and the fixed image {image.ndim}-D; give frames of the same dimension."
            )
    neighbors = neighbors and 1 not in image.grid.shape  # a single slice of a volume takes no start
    found, start = Frames(), cast("sitk.Transform | None", None)

    def one(index: int, begin: sitk.Transform | None) -> Result:
        told = None if progress is None else progress(index)
        try:
            return register(image, frames[index], chosen, initial_transform=begin, progress=told, cancel=cancel)
        except InputError as error:
            raise InputError(f"Frame {index + 1}: {error}") from error

    for index in range(len(frames)):
        made = None if known is None else known(index, start is not None)
        if made is None:
            result = one(index, start)
            made = FrameDone(result.transform, result.report.as_dict())
            if done is not None:
                done(index, result)
        found.transforms.append(made.transform)
        found.reports.append(made.report)
        helps = made.report["verdict"] != "bad" and made.report.get("chosen") != AFFINE_ALONE
        start = made.transform if neighbors and helps else None
    if cyclic and neighbors and len(frames) > 2:
        again = one(0, start).transform
        grid, content = content_on(image)
        found.closure_mm, found.max_closure_mm = maps_apart(found.transforms[0], again, grid, content[0, 0].numpy())
    return found


def content_on(fixed: ImageSource) -> tuple[Grid, Tensor]:
    """The fixed grid, and (1, 1, *shape) bool where that image shows something."""
    pair = Pair.read(fixed, fixed, None, None)
    return pair.given_fixed.grid, content_of(*fixed_on(pair, pair.fixed.grid)).reshape(
        1, 1, *pair.given_fixed.grid.shape
    )


def maps_apart(one: sitk.Transform, other: sitk.Transform, grid: Grid, content: np.ndarray) -> tuple[float, float]:
    """How far two maps lie apart over ``content``, mm: on average and at most."""
    between = displacement_on(one, grid) - displacement_on(other, grid)
    length = np.sqrt(np.einsum("...c,...c->...", between, between))[content]
    return float(length.mean()), float(length.max())
