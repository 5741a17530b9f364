"""The affine stage: a matrix that brings two images roughly together, whatever their contrast, grid or orientation.

Coarse to fine, as in FLIRT (Jenkinson 2001; ``tracks.py``), each improvement damped Gauss-Newton on normalized mutual
information. Where the images start is always among the candidates, and the answer is never worse than it by the final
measure. What is found is checked against where the images' detail lies (``detail.py``).
"""

from __future__ import annotations

from dataclasses import replace
from operator import itemgetter

import numpy as np
import torch

from ..errors import InputError
from ..geometry.image import Image
from ..progress import SILENT, Reporter
from .alignment import AffineSettings, Alignment
from .content import Content, find_content
from .detail import AROUND, CLEARLY, LEAST_DETAIL, Shift, best_shift, correlation_at, leveled, lit
from .search import NEAR_TURN, angle
from .solver import rotation
from .tracks import Search

_DETAIL = 1.25  # correlation of the detail at the best shift, relative to the alignment's: below, no more is asked
# Below this correlation of the detail a search by detail alone is tried in the plane: of 242 sections, slices, chests
# and hands it was clearly more alike in 25, of 0.29 to 0.56; 22 of these then lay better, none worse.
_LITTLE = 0.45
# Of where a search by detail ended in the plane, its fine correlation and this share of how many times as alike it is
# in the images as they are: rightly 0.48 (a section) to 1.2, wrongly up to 0.44 (masks, brains inverted in noise).
_EVIDENT, _AS_IT_IS = 0.47, 0.4
_STRETCHED = 1.25  # where the detail told rightly it was 1.0 to 1.2, in blobs without any 1.3 to 1.5
# Against a far turn, its likeness and its correlation: parts of brains that were turned round wrongly gave 0.85 and
# 0.65, rightly turned bodies in two contrasts 0.2 to 0.7 and 0.3 to 0.5.
_NEARLY, _TOLD = 0.8, 0.3
_SEARCHED = 0.8  # of the progress, before the check
_DEFAULT = AffineSettings()


def align(
    fixed: Image,
    moving: Image,
    settings: AffineSettings = _DEFAULT,
    *,
    fixed_mask: np.ndarray | None = None,
    moving_mask: np.ndarray | None = None,
    reporter: Reporter = SILENT,
) -> np.ndarray:
    """The matrix of ``find_alignment``, with its arguments and errors."""
    options = {"fixed_mask": fixed_mask, "moving_mask": moving_mask}
    return find_alignment(fixed, moving, settings, **options, reporter=reporter).matrix


def find_alignment(
    fixed: Image,
    moving: Image,
    settings: AffineSettings = _DEFAULT,
    *,
    fixed_mask: np.ndarray | None = None,
    moving_mask: np.ndarray | None = None,
    start: np.ndarray | None = None,
    reporter: Reporter = SILENT,
) -> Alignment:
    """The matrix that maps points of ``fixed`` onto ``moving``, and whether another orientation is as likely.

    Args:
        fixed, moving: both 2-D or both 3-D, of any contrast, grid and orientation.
        fixed_mask, moving_mask: arrays of the image's shape; where they are 0 the image is not looked at.
        start: a matrix to be improved, instead of a search among all turns and shifts.

    Raises:
        InputError: if the dimensions differ, a mask does not fit, or an image is constant.
        Cancelled: if the reporter's token is set.
    """
    if fixed.ndim != moving.ndim:
        raise InputError(
            f"The fixed image has {fixed.ndim} dimensions and the moving image {moving.ndim}; both must have the same."
        )
    with torch.no_grad():
        reporter(0.0, "finding the anatomy")
        a = find_content(fixed, fixed_mask)
        reporter(0.2, "finding the anatomy")
        b = find_content(moving, moving_mask)
        search = Search(a, b, settings, reporter.stage(reporter.name, 0.0, _SEARCHED))
        found = search.run() if start is None else search.run_from(start)
        return _checked(found, [a, b], settings, reporter.stage(reporter.name, _SEARCHED, 1.0), start)


def likeness_at(fixed: Content, moving: Content, *matrices: np.ndarray) -> list[float]:
    """How alike two images are through each of ``matrices`` (LPS mm), whatever their contrasts."""
    with torch.no_grad():
        search = Search(fixed, moving, AffineSettings(), SILENT)
        return [search.likeness(matrix) for matrix in matrices]


def _checked(
    found: Alignment, seen: list[Content], settings: AffineSettings, reporter: Reporter, start: np.ndarray | None
) -> Alignment:
    """``found``, or where the images' detail lies, if it is elsewhere and much more alike there.

    What both images share may be the edge of their fields of view, or the light, which did not move along. From a
    given ``start`` nothing is looked for, but it may be the place.
    """
    fixed, moving = map(lit, seen)
    before = correlation_at(fixed, moving, found.matrix)
    rivals = _rivals(fixed, moving, found, before, settings, reporter, start)
    rivals = [rival for rival in rivals if not _is_stretched(rival)]
    if not rivals:
        return found
    search = Search(leveled(fixed), leveled(moving), settings, reporter)
    here, *alike = (search.likeness(each.matrix) for each in (found, *rivals))
    ranked = sorted(zip(alike, rivals, strict=True), key=itemgetter(0), reverse=True)
    for there, other in ranked:
        if there > max(LEAST_DETAIL, CLEARLY * here) and _is_evident(other, found, fixed, moving):
            return other
    there, other = ranked[0]
    # A turn far from the header's orientation is believed only where the detail does not speak against it.
    turned = float(angle(torch.from_numpy(found.matrix[None, :-1, :-1])))
    if turned < NEAR_TURN * torch.pi / 180 or there < max(LEAST_DETAIL, _NEARLY * here):
        return found
    return other if correlation_at(fixed, moving, other.matrix) > max(_TOLD, CLEARLY * before) else found


def _rivals(
    fixed: Content,
    moving: Content,
    found: Alignment,
    before: float,
    settings: AffineSettings,
    reporter: Reporter,
    start: np.ndarray | None,
) -> list[Alignment]:
    """Where the detail correlates best at one shift; in the plane, if ``before`` is little, what it tells alone."""
    if start is None:
        shift = best_shift(fixed, moving, _turns(settings.largest_rotation, fixed.grid.ndim))
    else:
        shift = Shift(start, correlation_at(fixed, moving, start))
    asked = shift is not None and shift.correlation >= _DETAIL * before
    alone = start is None and fixed.grid.ndim == 2 and before < _LITTLE
    surroundings = AROUND * fixed.size
    fixed, moving = (leveled(x) if asked or alone else x for x in (fixed, moving))
    rivals = []
    if shift is not None and asked:
        part = reporter.stage(reporter.name, 0.0, 0.3)
        rivals.append(Search(fixed, moving, settings, part).run_from(shift.matrix))
    if alone:
        part = reporter.stage(reporter.name, 0.3, 1.0)
        rivals.append(Search(fixed, moving, settings, part).run())
    return [replace(rival, surroundings=surroundings) for rival in rivals]


def _is_evident(other: Alignment, found: Alignment, fixed: Content, moving: Content) -> bool:
    """Whether finer detail, which was not searched by, or the images as they are agree; volumes show no finer."""
    if fixed.grid.ndim == 3:
        return True
    here, there = likeness_at(fixed, moving, found.matrix, other.matrix)
    fine = correlation_at(fixed, moving, other.matrix, AROUND / 2)
    return fine + _AS_IT_IS * there / max(here, 1e-6) > _EVIDENT


def _is_stretched(found: Alignment) -> bool:
    """As smooth blobs are, which have no detail to go by."""
    scales = np.linalg.svd(found.matrix[:-1, :-1], compute_uv=False)
    return bool(scales.max() > _STRETCHED or scales.min() < 1 / _STRETCHED)


def _turns(largest: float, ndim: int) -> list[np.ndarray]:
    """Turns at which the detail is looked for: in volumes each is dear, and none but that of the header."""
    reach = 10 * int(min(largest, NEAR_TURN) // 10) if ndim == 2 else 0
    radians = torch.arange(-reach, reach + 1, 10)[:, None] * (torch.pi / 180)
    return list(rotation(radians).double().numpy()) if ndim == 2 else [np.eye(ndim)]
