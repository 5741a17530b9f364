"""A registration's report in words: green, amber or red with the reason, and the numbers."""

from __future__ import annotations

import html
import math
from typing import Any

from DeepRegistrationLib.files.axes import RAS_TO_LPS_SIGNS
from DeepRegistrationLib.quality.verdict import LOST_CHECK, mm, resolution

from ..scene.landmarks import LandmarkPairs
from ..texts import tr as _
from .meanwhile import CHANGED
from .verdict_sentences import translated

WORST = 5
SCORED = (
    *("verdict", "reasons", "warnings", "tg132", "tg132_source", "volumes"),
    *("dice", "dice_before", "dice_after", "tre", "tre_before_mm", "tre_after_mm"),
)
OWN = "before_scoring"
"""What scoring changes in a report, and where it keeps what the registration itself said of it."""


def verdict(report: dict[str, Any]) -> tuple[str, str]:
    """("good" | "check" | "bad" | "", what the user reads)."""
    kind = str(report.get("verdict", ""))
    words = {
        "good": _("Good."),
        "check": _("Check it."),
        "bad": _("Do not use it as it is."),
    }
    if kind not in words:
        return "", _("No registration yet.")
    reasons = [translated(str(reason)) for reason in report.get("reasons") or []]
    return kind, " ".join([words[kind], *reasons])


def placeToLook(report: dict[str, Any]) -> tuple[float, float, float] | None:
    """RAS mm: the middle of the part of the anatomy that the verdict says is lost; None if it says no such thing."""
    place = report.get("lost_at_mm")
    if not isMeasured(report.get("lost_percent")) or report["lost_percent"] <= LOST_CHECK:
        return None
    if not isinstance(place, list | tuple) or len(place) != 3 or not all(map(isMeasured, place)):
        return None
    right, anterior, superior = (RAS_TO_LPS_SIGNS * place).tolist()
    return right, anterior, superior


def summary(report: dict[str, Any]) -> str:
    """One line for the status."""
    seconds, before, after = (report.get(k) for k in ("total_seconds", "similarity_before", "similarity_after"))
    parts = [_("Done.") if seconds is None else _("Done in {seconds:.0f} s.").format(seconds=seconds)]
    if isMeasured(before) and isMeasured(after):
        parts.append(_("Likeness {before:.2f} before, {after:.2f} after.").format(before=before, after=after))
    parts += [str(sentence) for sentence in report.get(CHANGED) or []]
    return " ".join(parts)


def rows(report: dict[str, Any], most: int | None = None) -> list[tuple[str, str]]:
    """(what, value) pairs; ``most``: of labels and landmarks only that many, the worst.

    What the report does not know is left out; what it knows to be unmeasured (null) is said to be so.
    """
    if not report:
        return []
    isLinear = report.get("result", "deformable") != "deformable"
    field = {} if isLinear else report  # what only a field has
    found = [
        (
            _("Likeness"),
            _likeness(report),
        ),
        (_("Mean Dice"), _values(report, _("{0:.3f} before, {1:.3f} after"), "dice_before", "dice_after")),
        (
            _("Mean landmark distance"),
            _lengths(report, _("{0} before, {1} after"), ("tre_before_mm", 2), ("tre_after_mm", 2)),
        ),
        (
            _("Estimated error"),
            _lengths(
                report,
                _("about {0} on average, less than {1} in 9 of 10 such results"),
                ("estimated_error_mm", 1),
                ("error_bound_mm", 1),
            ),
        ),
        (_("Result"), resultTitle(report)),
        (_("Fiducial registration error"), _fiducials(report)),
        (_("Dice of the labels"), _labelDice(report)),
        (_("Kept rigid"), _keptRigid(report)),
        (_("Turned"), _turned(report, isLinear)),
        (_("Folded"), _values(field, "{0:.4f} %", "folding_percent")),
        (
            _("Displacement"),
            _lengths(report, _("{0} mean, {1} largest"), ("mean_displacement_mm", 1), ("max_displacement_mm", 1)),
        ),
        (_("Beyond the affine part"), _lengths(field, _("{0} largest"), ("max_deformation_mm", 1))),
        (_("Anatomy bent"), _bending(field.get("shape") or {})),
        (_("Anatomy in doubt"), _values(report, "{0:.0f} %", "doubt_percent")),
        (_("Volume change"), _values(field, _("{0:.3f} (SD of its logarithm)"), "log_jacobian_sd")),
        (
            _("Inverse error"),
            _lengths(field, _("{0} mean, {1} largest"), ("inverse_error_mm", 3), ("max_inverse_error_mm", 2)),
        ),
        (_("Time"), _values(report, _("{0:.1f} s"), "total_seconds")),
        (_("Method"), _text(field, "method") + (_(" (fine-tuned)") if field.get("fine_tune") else "")),
        (_("Refinement"), _refinement(field)),
        (_("Affine"), _text(field, "affine")),
        (_("Computed on"), _text(report, "device")),
        (_("Model"), "" if isLinear else _model(report, full=most is None)),
        (_("Version"), _text(report, "version")),
    ]
    dice, distances = list(report.get("dice") or []), list(report.get("tre") or [])
    overlap, distance = _("Dice of {name}"), _("Landmark {name}")
    if most is not None:
        overlap = _("Lowest Dice: {name}") if len(dice) > most else overlap
        distance = _("Farthest: {name}") if len(distances) > most else distance
        dice = sorted((entry for entry in dice if isMeasured(entry[2])), key=lambda entry: entry[2])[:most]
        distances = sorted((e for e in distances if isMeasured(e[2])), key=lambda entry: -entry[2])[:most]
    found += [(_("Note"), translated(str(warning))) for warning in report.get("warnings") or []]
    found += [(overlap.format(name=called(name)), f"{_number(b)} → {_number(a)}") for name, b, a in dice]
    found += [(distance.format(name=name), f"{_length(b, 2)} → {_length(a, 2)}") for name, b, a in distances]
    if most is None:
        found += [(_("TG-132: {name}").format(name=f.get("name")), _figure(f)) for f in report.get("tg132") or []]
        volume = _("Volume of {name}")
        found += [
            (volume.format(name=called(name)), _volumes(*values)) for name, *values in report.get("volumes") or []
        ]
        found += [(_("Tolerances"), _text(report, "tg132_source"))]
        found += _signedFor(report)
    return [(name, value) for name, value in found if value]


def _signedFor(report: dict[str, Any]) -> list[tuple[str, str]]:
    """What a signature stands for: the user's words, when it was made, and of which voxels."""
    titles = {"fixed image": _("Fixed image"), "moving image": _("Moving image")}
    form = _("{name}; SHA-256 of its voxels {sha256}")
    found = [(_("Your note"), _text(report, "note")), (_("Made (UTC)"), _text(report, "made"))]
    return found + [
        (titles.get(what, what), form.format(**known)) for what, known in (report.get("inputs") or {}).items()
    ]


def _volumes(before: float, after: float, change: Any) -> str:
    if isMeasured(change):
        return _("{0:.4g} ml → {1:.4g} ml as moved ({2:+.1f} %)").format(before, after, change)
    if not before:
        return _("not in the moving image")
    if not after:
        return _("{0:.4g} ml; as moved nothing of it lies in the fixed image").format(before)
    return _("{0:.4g} ml; as moved it goes on beyond the fixed image").format(before)


def called(name: str) -> str:
    """What a structure is called: its name, or the number of its label."""
    return _("label {number}").format(number=name) if name.isdigit() else name


def fillTable(tableNode: Any, report: dict[str, Any]) -> None:
    """The report as the rows of a table node."""
    tableNode.RemoveAllColumns()
    columns = [tableNode.AddColumn() for _side in range(2)]
    columns[0].SetName(_("What"))
    columns[1].SetName(_("Value"))
    for name, value in [(_("Verdict"), verdict(report)[1]), *rows(report)]:
        index = tableNode.AddEmptyRow()
        tableNode.SetCellText(index, 0, name)
        tableNode.SetCellText(index, 1, value)
    tableNode.SetUseColumnTitleAsColumnHeader(True)
    tableNode.Modified()


def toHtml(report: dict[str, Any]) -> str:
    """The numbers as two columns for a label; of many labels and landmarks the worst."""

    def together(value: str) -> str:
        return html.escape(value).replace(" mm", "&nbsp;mm").replace(" %", "&nbsp;%")

    cells = "".join(
        f"<tr><td style='white-space: nowrap'>{html.escape(name)}&nbsp;&nbsp;</td><td>{together(value)}</td></tr>"
        for name, value in rows(report, WORST)
    )
    return f"<table cellspacing='2'>{cells}</table>" if cells else ""


def withScores(
    report: dict[str, Any], scores: dict[str, Any], labelNames: dict[str, int], pairs: LandmarkPairs | None = None
) -> dict[str, Any]:
    """The report with what the library's ``evaluate`` measured, in place of what an earlier scoring said.

    Args:
        report: of a registration; that of an earlier scoring knows what the registration itself said.
        scores: the library's answer.
        labelNames: as from ``masks.commonLabels``.
        pairs: the landmarks that were scored.
    """
    own = report.get(OWN)
    own = own if isinstance(own, dict) else {name: report[name] for name in SCORED if name in report}
    merged = {name: value for name, value in report.items() if name not in SCORED} | own | {OWN: own}
    names = {str(number): name for name, number in labelNames.items()}
    if "dice" in scores:
        merged["dice_before"], merged["dice_after"] = scores.get("mean_dice_before"), scores.get("mean_dice_after")
        values = {k: v for k, v in scores["dice"].items() if isMeasured(v["after"])}  # else in neither image
        merged["dice"] = [[names.get(k, k), v["before"], v["after"]] for k, v in values.items()]
    if "tre_mm" in scores:
        merged["tre_before_mm"], merged["tre_after_mm"] = scores["mean_tre_before_mm"], scores["mean_tre_after_mm"]
        points = pairs.names if pairs is not None and len(pairs.names) == len(scores["tre_mm"]) else scores["tre_mm"]
        values = scores["tre_mm"].values()
        merged["tre"] = [[k, v["before"], v["after"]] for k, v in zip(points, values, strict=True)]
    if "tg132" in scores:
        merged["tg132"] = scores["tg132"]["figures"]
        merged["tg132_source"] = scores["tg132"].get("source", "")
        each = (scores["tg132"].get("structures") or {}).items()
        keys = ("moving_volume_ml", "moved_volume_ml", "volume_change_percent")
        found = [[names.get(k, k), *(v.get(key) for key in keys)] for k, v in each]
        merged["volumes"] = [entry for entry in found if isMeasured(entry[1]) and isMeasured(entry[2])]
    if pairs is not None:
        known = merged.get("warnings") or []
        merged["warnings"] = [*known, *(note for note in pairs.notes if note not in known)]
    worse = []
    if _isWorse(merged.get("dice_after"), merged.get("dice_before")):
        worse.append(_("Your labels overlap less than before."))
    if _isWorse(merged.get("tre_before_mm"), merged.get("tre_after_mm")):
        worse.append(_("Your landmarks are farther apart than before."))
    if worse:
        kept = [r for r in merged.get("reasons") or [] if merged.get("verdict") != "good"]
        merged["verdict"], merged["reasons"] = "bad", worse + kept
    return merged


def _figure(figure: dict[str, Any]) -> str:
    """A figure after TG-132 with its tolerance; nothing if it was not measured."""
    value = figure.get("value")
    if not isMeasured(value):
        return ""
    text = f"{value:.4g} {figure.get('unit') or ''}".strip()
    kept = {True: _("within"), False: _("OUTSIDE"), None: _("to be judged")}[figure.get("within")]
    tolerance = figure.get("tolerance")
    return _("{value}: {kept} ({tolerance})").format(value=text, kept=kept, tolerance=tolerance) if tolerance else text


def resultTitle(report: dict[str, Any]) -> str:
    """What kind of transform came out, in words; empty where the report is of a time when there was but one."""
    titles = {
        "deformable": _("deformable"),
        "affine": _("affine (a linear transform)"),
        "similarity": _("similarity (a linear transform)"),
        "rigid": _("rigid (a linear transform)"),
    }
    return titles.get(str(report.get("result", "")), "")


def _fiducials(report: dict[str, Any]) -> str:
    """How well the landmarks that started the alignment agree, and how far apart they are with the result."""
    if not report.get("landmark_pairs"):
        return ""
    said = _("{length} over {count} pairs").format(
        length=_length(report.get("landmark_fit_mm"), 2), count=report["landmark_pairs"]
    )
    if not isMeasured(report.get("landmark_after_mm")):
        return said
    after = _("{length} with the result").format(length=_length(report["landmark_after_mm"], 2))
    return f"{said}; {after}"


def _labelDice(report: dict[str, Any]) -> str:
    """How far the labels that guided the result overlap; scored with labels, ``Mean Dice`` says it."""
    dice = report.get("label_dice")
    if not isMeasured(dice) or isMeasured(report.get("dice_after")):
        return ""
    return _("{dice} with the result").format(dice=f"{dice:.2f}")


def _refinement(report: dict[str, Any]) -> str:
    spacing = report.get("refined_spacing_mm")
    if not spacing:
        return _text(report, "refine")
    return _("{refine}, at {spacing}").format(refine=_text(report, "refine"), spacing=resolution(spacing))


def _keptRigid(report: dict[str, Any]) -> str:
    parts = report.get("rigid_parts")
    if not parts:
        return ""
    form = (
        _("1 part, to {left} or less; {moved} of bending taken out")
        if len(parts) == 1
        else _("{count} parts, each to {left} or less; {moved} of bending taken out")
    )
    left = report.get("rigid_left_mm")
    left = max(left, 0.001) if isMeasured(left) else left
    return form.format(count=len(parts), left=_length(left, 3), moved=_length(report.get("rigid_moved_mm"), 1))


def _turned(report: dict[str, Any], isLinear: bool) -> str:
    shape = report.get("shape") or {}
    if not isLinear or not isMeasured(shape.get("turn_degrees")):
        return ""
    turned = _("{angle:.1f} degrees").format(angle=shape["turn_degrees"])
    if report["result"] == "rigid":
        return turned
    scaled = _("scaled by {low:.3f} to {high:.3f}").format(low=shape["scale_low"], high=shape["scale_high"])
    return f"{turned}, {scaled}"


def _likeness(report: dict[str, Any]) -> str:
    values = _values(report, _("{0:.3f} before, {1:.3f} after"), "similarity_before", "similarity_after")
    measure = report.get("similarity")
    isKnown = isMeasured(report.get("similarity_after"))
    return f"{values} ({measure})" if values and measure and isKnown else values


def _model(report: dict[str, Any], full: bool) -> str:
    """Name and SHA-256 of the weights; on the narrow panel its first digits, which tell models apart as well."""
    name, sha = str(report.get("model") or ""), str(report.get("model_hash") or "")
    return f"{name} {sha if full else sha[:12]}".strip() or _("no network")


def _isWorse(low: Any, high: Any) -> bool:
    return isMeasured(low) and isMeasured(high) and low < high


def isMeasured(value: Any) -> bool:
    """Whether a figure of a report is there: null in JSON, and NaN in older reports, is not measured."""
    return isinstance(value, int | float) and math.isfinite(value)


def _number(value: Any) -> str:
    return f"{value:.3f}" if isMeasured(value) else _("not measured")


def _length(value: Any, digits: int) -> str:
    return mm(value, digits) if isMeasured(value) else _("not measured")


def _lengths(report: dict[str, Any], form: str, *wanted: tuple[str, int]) -> str:
    """``form`` with lengths in words; (name, digits) of each."""
    known = [(report[name], digits) for name, digits in wanted if name in report]
    if len(known) < len(wanted):
        return _("not measured") if known and not any(isMeasured(value) for value, _digits in known) else ""
    if not any(isMeasured(value) for value, _digits in known):
        return _("not measured")
    return form.format(*(_length(value, digits) for value, digits in known))


def _bending(shape: dict[str, Any]) -> str:
    if "bend_mm" not in shape:
        return ""
    if not isMeasured(shape["bend_mm"]) or not isMeasured(shape.get("bend_percent")):
        return _("not measured")
    form = _("{length} ({share:.0f} % of its size) or less in 95 % of it")
    return form.format(length=mm(shape["bend_mm"]), share=shape["bend_percent"])


def _values(report: dict[str, Any], form: str, *names: str) -> str:
    if any(name not in report for name in names):
        return ""
    values = [report[name] for name in names]
    return form.format(*values) if all(isMeasured(value) for value in values) else _("not measured")


def _text(report: dict[str, Any], *names: str) -> str:
    return ", ".join(str(report[name]) for name in names if report.get(name))


def stageTitle(stage: str) -> str:
    """What the user reads for a stage of the library."""
    titles = {
        "read": _("Reading"),
        "affine": _("Aligning as a whole"),
        "prepare": _("Preparing"),
        "network": _("Predicting"),
        "refine": _("Refining"),
        "output": _("Measuring and writing"),
        "done": _("Loading the result"),
    }
    return titles.get(stage, stage)
