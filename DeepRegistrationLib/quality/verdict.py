"""When a result is good, to be checked, or bad, in words a clinician reads. The only place that holds the limits.

They were set on real pairs: radiographs, brains and hippocampi of different people, one heart at two phases, one brain
before and after surgery, CT and MR of one head; and on wrong pairs: another organ, an image upside down or back to
front, noise. The comments say what those gave.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..settings import AFFINE_ALONE, NETWORK_ALONE

if TYPE_CHECKING:
    from .report import Report

VERDICT_COLORS = {"good": "#1a7f37", "check": "#9a6700", "bad": "#cf222e"}
FOLDED_BAD = 0.5
"""% of the image: one fold may be an artifact of a border, this is no longer one."""
INVERSE_CHECK = 1.0
"""Voxels (the finest side) left after there and back, on average; of the working grid, if known, else of 1 mm."""
DOUBT_CHECK, DOUBT_BAD = 50.0, 75.0
"""% of the anatomy in doubt. Right pairs gave 0 to 18, CT with MR 33 to 42; wrong ones 39 to 88, except images upside
down or back to front, which have the right edges (6 to 10) and are told by their bending."""
BEND_CHECK, BEND_BAD = 9.0, 14.0
"""% of the anatomy's size, for all but 1 in 20 points. Right pairs gave 1 to 9, wrong ones 7 to 21."""
LARGEST_BEND_CHECK = 18.0
"""The same for all but 1 in 1000 points. Right pairs gave 5 to 17, wrong ones 12 to 31."""
BENT_RIGHTLY, BENT_SURELY = 0.25, 5.0
"""Coarse voxels that points are found again off, and % in doubt, at most, where more bending (up to ``BEND_BAD``) is
believed. Of 39 pairs that nothing but their bending spoke against, nearly all bent on purpose by a fifth of their size,
26 gave no more and ended 0.3 to 2.2 coarse voxels off; those that ended 2.8 to 8 off gave 0.26 or 6 % and more. Pairs
of two organs gave 0.43 and more."""
SQUEEZED_CHECK = 5.0
"""% of the anatomy. Right pairs gave 0 to 4, wrong ones 0 to 13."""
FILLED_CHECK = 18.0
"""% of the anatomy. Right pairs gave -4 to 12 (hands 10, MR with CT 12); brains and slices of which the moving image
shows little more than half, 24 to 30: what is not there was made by stretching what is."""
TURN_CHECK = 45.0
"""Degrees. Nobody is scanned so: either the header is right and the body was turned, or the header is wrong, and then
a half turn and a mirror image look alike where the anatomy is its own mirror image."""
SYMMETRIC = 0.8
"""Likeness with the moving image mirrored, relative to that without, from which on the images cannot tell that."""
MIRROR_CHECK = 1.1
"""Likeness with the moving image mirrored, relative to that without. 97 right pairs gave 0.05 to 1.05. Mirrored by
hand, hearts and hippocampi gave 7 to 54, brains 1.38 to 1.68 front to back or head to foot, radiographs upside down
0.85 to 4.1 (35 of 39 are told); from left to right radiographs gave 0.95 to 1.39 (20 of 39 are told), one head with a
tumor 1.1 to 1.4, but healthy brains 1.00 to 1.02: they are too nearly symmetric for anybody to know."""
SCALE_CHECK = 1.5
"""Two adults' heads differ by a tenth, a child's and an adult's by a third; a wrong voxel size by far more. Right pairs
gave 0.80 to 1.18, wrong ones 0.53 to 1.12."""


AFFINE_MARGIN = 0.1
"""Coarse voxels (0.2 % of the content's size) by which the estimated error is above that of the affine alone. Known
errors, a kind left out: 99 % of those worse are seen, 0.5 % of the others accused; livers: 8 of 8, and 0 of 16."""
NEGLIGIBLE = 0.25
"""The same of estimated error up to which the affine alone is not said to fit better: of the robustness page's cases
so near, none was harmed, and a body that the affine stage finds exactly was to be checked for a tenth of a voxel."""
ERROR_CHECK = 2.8
"""Coarse voxels (5 % of the content's size) of estimated error. Right pairs gave 0 to 1.5, slices of CT with MR that
nothing else spoke against 0.9 to 2.5. Of 132 pairs of two organs, or of other cuts through a head, nothing else spoke
against five: 1.7, 2.4, 3.1, 3.2 and 4.3."""


FELL, FELL_CHECK = 1.4, 1.4
"""The same where the estimate was so many times as large for the affine part alone: it does tell here what lies in its
place from what does not, so what remains of it is no matter of contrast. Nothing else spoke against five of 133 pairs
of two organs or cuts, which gave 1.5 to 2.4 and 1.5 to 4.2 times as much before, nor against nine generated heads that
ended two coarse voxels off: 1.5 to 2.4, 1.4 to 2.7. Of about 450 others a chest that is off, six
cases of a prostate (2.0, Dice 0.79), four slices of CT and MR, three hippocampi and a liver in contrasts that are not
monotone are asked about."""
AFFINE_CHECK = 0.7
"""The same where the affine alignment is the answer: nothing that was tried is confirmed, so what points tell must be
that it lies right. Of 41 such answers of the robustness benchmark 27 would be good up to twice the working step: right
ones gave 0.25 to 2.0, wrong ones (a heart at 0.47 Dice, sections, a hand, a lung 3.4 mm off) 0.74 to 1.6, heads with a
tumor that stayed 2.4 mm off 0.3 to 1.1. A PET and CT of a generated body 11 mm off, which had asked for it: 1.8."""

LOST_CHECK = 6.4
"""% of the anatomy's points that lie where hardly one is found again, though most are elsewhere. Knees, hands, a skull,
a chest and a head bent by 25 degrees and more, of which a part was smeared, gave 0 to 18 (9 of 13 are told); of about
540 other pairs a lung of which a part is missing 9, a slice that slid 7, a CT with streaks of metal 27, all others 0
to 6."""

APART_CHECK = 2.0
"""Coarse voxels (3 % of the content's size) from the field that went on to the nearest of all others that were refined,
with other measures or from elsewhere. Right pairs that nothing else spoke against gave 0.2 to 1.8 (CT and MR, other
contrasts, stains), two others 3.2 and 3.5. Of 133 pairs of two organs nothing else spoke against five: 1.5, 2.2, 2.8,
3.1 and 4.6."""

FOUND_AGAIN = 0.2
"""Coarse voxels of estimated error up to which what was laid far off is believed to have come back: slices and a hand
bent or slid by 10 % of their size, right to 1 to 2 mm, gave 0.12 to 0.14. Of 109 images moved by 15 to 50 % on purpose
three gave 0.17 to 0.2, whose Dice was 0.02 to 0.05 below that of the images in their place; a liver whose surroundings
ended 9 mm off gave 0.25, all others that ended wrong 0.3 and more."""

LABELS_CHECK = 0.5
"""Mean Dice of labels that guided the result. Hippocampi came to 0.85 to 0.88, with numbers exchanged to 0.14 to
0.20."""
RIGID_CHECK = 0.1
"""mm: a part kept rigid bends by a ten-thousandth of that, unless folds had to be removed."""


def mm(length: float, digits: int = 1) -> str:
    """A length in words, with ``digits`` behind the point or, below half a millimeter, as many as show two."""
    if not math.isfinite(length):
        return "not measured"
    small = 0 if not 0 < abs(length) < 0.5 else 1 + math.ceil(-math.log10(abs(length)))
    return f"{length:.{min(9, max(digits, small))}f} mm"


def resolution(spacing: Sequence[float]) -> str:
    """mm along each array axis in words, the last axis first as people say it; "" of none."""
    return " x ".join(f"{s:.3g}" for s in reversed(spacing)) + " mm" if spacing else ""


def judge(report: Report) -> tuple[str, list[str]]:
    """("good" | "check" | "bad", the reasons in words)."""
    bad: list[str] = []
    check = list(report.warnings)
    if report.folding_percent > FOLDED_BAD:
        bad.append(f"The field folds in {report.folding_percent:.2f} % of the image: more smoothness is needed.")
    elif report.folding_percent > 0:
        check.append(f"The field folds in {report.folding_percent:.4f} % of the image.")
    # What was not interpolated before is less alike than it was once it is, however well it lies.
    before, interpolated = report.similarity_before, report.similarity_interpolated
    if report.similarity_after < (min(before, interpolated) if math.isfinite(interpolated) else before):
        bad.append("The images are less alike after the registration than before.")
    if report.similarity and not math.isfinite(report.similarity_after):
        check.append(
            "How alike the images are could not be measured, as too little of both is seen together: check the masks, "
            "and where the images lie."
        )
    if report.inverse_error_mm > INVERSE_CHECK * min(report.working_spacing_mm, default=1.0):
        check.append(f"Forward and back do not cancel: {mm(report.inverse_error_mm)} remain on average.")
    if report.rigid_left_mm > RIGID_CHECK:
        check.append(
            f"A part that should stay rigid bends by {mm(report.rigid_left_mm)}: parts come too close to each other to "
            "move apart; join them under one label, or check them."
        )
    if report.label_dice < LABELS_CHECK:
        check.append(
            f"The structures of the label maps overlap by a Dice of only {report.label_dice:.2f} with the result: "
            "check that equal numbers mean equal structures."
        )
    if report.chosen == NETWORK_ALONE:
        check.append(
            "What the refinement found was not confirmed; the field is what the universal network proposes: look "
            "closely at both images."
        )
    _judge_error(report, check)
    _judge_lost(report, check)
    _judge_agreement(report, check)
    _judge_doubt(report, bad, check)
    _judge_shape(report, bad, check)
    if bad:
        return "bad", bad + check
    if check:
        return "check", check
    if report.chosen == AFFINE_ALONE:
        return "good", [
            "No deformation that was tried explained the images better than the affine alignment, which is the answer."
        ]
    smooth = "The field is smooth and invertible, the" if report.bends else "The"
    if not math.isfinite(report.doubt_percent):
        return "good", [f"{smooth} images are more alike than before.".replace(", the", ", and the")]
    share = 100 - report.doubt_percent
    return "good", [
        f"{smooth} images are more alike than before, and nothing speaks against the result in {share:.0f} % of the "
        "anatomy."
    ]


def affine_fits_better(report: Report) -> bool:
    """Whether points found again lie nearer with the affine part alone; False where it was not measured."""
    margin = report.affine_points_error_mm + AFFINE_MARGIN * report.error_step_mm
    return report.points_error_mm > max(margin, NEGLIGIBLE * report.error_step_mm)


def _judge_error(report: Report, check: list[str]) -> None:
    error = report.points_error_mm
    if affine_fits_better(report):
        check.append(
            "The alignment as a whole alone fits better: with it points lie "
            f"{mm(report.affine_points_error_mm)} off, not {mm(error)}; use it (no refinement), or try another "
            "similarity."
        )
    limit = AFFINE_CHECK if report.chosen == AFFINE_ALONE else ERROR_CHECK
    if report.affine_points_error_mm > FELL * error:
        limit = FELL_CHECK
    if error > limit * report.error_step_mm:
        check.append(f"Points of the anatomy lie about {mm(error)} from where they belong: compare the images closely.")


def _judge_lost(report: Report, check: list[str]) -> None:
    if report.lost_percent > LOST_CHECK:
        place = place_in_words(report.lost_at_mm)
        around = f", around {place}" if place else ""
        check.append(
            f"Hardly a point is found again in {report.lost_percent:.0f} % of the anatomy{around}, "
            "though most are elsewhere: that part was moved or bent too far, or is not in both images; look there."
        )


def place_in_words(lps: Sequence[float]) -> str:
    """As Slicer shows a position, "R 12, A 30, S 45"; "" in a plane, which has no sides of a patient."""
    if len(lps) != 3:
        return ""
    letters = ("RL", "AP", "IS")  # of a negative and of a positive number
    return ", ".join(f"{sides[x > 0]} {abs(x):.0f}" for sides, x in zip(letters, lps, strict=True))


def nearest_other_mm(report: Report) -> float:
    """mm from what went on to the nearest of all other refined fields; NaN: none was tried, or no field went on."""
    none = (AFFINE_ALONE, NETWORK_ALONE, "")
    if report.chosen in none:
        return math.nan
    apart = [e.apart_mm for e in report.hypotheses if e.name not in (*none, report.chosen)]
    return min(filter(math.isfinite, apart), default=math.nan)


def _judge_agreement(report: Report, check: list[str]) -> None:
    if report.elsewhere_mm > 0 and not report.points_error_mm <= FOUND_AGAIN * report.error_step_mm:
        check.append(
            f"As a whole the images fit better {mm(report.elsewhere_mm, 0)} from where the initial transform or the "
            "headers put them, which is too far for the refinement: let the affine stage look for the place."
        )
    apart = nearest_other_mm(report)
    if apart > APART_CHECK * report.error_step_mm:
        check.append(
            f"Nothing else that was tried led to about the same place; the nearest lies {mm(apart)} from the result: "
            "check that both images show the same part of the body, and compare them closely."
        )


def _judge_doubt(report: Report, bad: list[str], check: list[str]) -> None:
    if report.doubt_percent > DOUBT_CHECK:
        (bad if report.doubt_percent > DOUBT_BAD else check).append(
            f"In {report.doubt_percent:.0f} % of the anatomy nothing in the moved image confirms the result: check "
            "that both images show the same part of the body, and look at the map of doubt."
        )


def _bent_rightly(report: Report) -> bool:
    """Whether the images confirm all over that the anatomy is bent as far as it is."""
    found_again = report.points_error_mm <= BENT_RIGHTLY * report.error_step_mm
    return found_again and report.doubt_percent <= BENT_SURELY


def _judge_shape(report: Report, bad: list[str], check: list[str]) -> None:
    shape, rightly = report.shape, _bent_rightly(report)
    if shape.bend_percent > (BEND_BAD if rightly else BEND_CHECK):
        (bad if shape.bend_percent > BEND_BAD else check).append(
            f"The anatomy is bent by up to {mm(shape.bend_mm, 0)}, {shape.bend_percent:.0f} % of its size, which is "
            "hardly plausible: check that both images show the same part of the body in the same orientation."
        )
    elif shape.largest_bend_percent > LARGEST_BEND_CHECK and not rightly:
        check.append(
            f"A part of the anatomy is pulled by {mm(shape.largest_bend_mm, 0)}, {shape.largest_bend_percent:.0f} % of "
            "its size: look at the warped grid there."
        )
    if shape.squeezed_percent > SQUEEZED_CHECK:
        check.append(
            f"{shape.squeezed_percent:.0f} % of the anatomy is squeezed to less than a tenth or blown up more than "
            "tenfold: these parts have no counterpart in the moving image."
        )
    if report.filled_percent > FILLED_CHECK:
        check.append(
            f"{report.filled_percent:.0f} % of the anatomy meets nothing in the moving image once that is aligned as a "
            "whole, and is covered by stretching what lies beside it: check that both images show the same part of the "
            "body."
        )
    if report.orientation_open:
        check.append(
            "The images are about as alike in another orientation, turned by far from this one: check which is right."
        )
    # A gain of 0 was not measured.
    if shape.turn_degrees > TURN_CHECK and not 0 < report.mirror.gain < SYMMETRIC:
        check.append(
            f"The image was turned by {shape.turn_degrees:.0f} degrees: check its orientation, and left from right."
        )
    if report.mirror.gain > MIRROR_CHECK:
        how = f"mirrored {report.mirror.direction}".rstrip()
        check.append(f"The images are more alike when the moving one is {how}: check the orientation of both.")
    if shape.scale_high > SCALE_CHECK or shape.scale_low < 1 / SCALE_CHECK:
        factor = shape.scale_high if shape.scale_high > SCALE_CHECK else shape.scale_low
        check.append(f"The image had to be scaled by {factor:.2f}: check the voxel size of both images.")
