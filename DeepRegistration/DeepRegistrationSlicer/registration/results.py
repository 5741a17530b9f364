"""The worker's files become nodes. Everything is read and checked before the scene is touched."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer

from ..errors import RegistrationError
from ..scene import derived, nodes
from ..scene.display import removeLegend
from ..scene.nodes import Node
from ..texts import tr as _
from . import meanwhile, report_words
from .request import FIXED, Request

REPORT_ATTRIBUTE, SETTINGS_ATTRIBUTE = "DeepRegistration.Report", "DeepRegistration.Settings"
INVERSE_ROLE, VOLUME_ROLE = "DeepRegistration.inverse", "DeepRegistration.warped"
TABLE_ROLE, DOUBT_ROLE = "DeepRegistration.report", "DeepRegistration.doubt"
TRANSFORM_KINDS = ("transform", "inverse")


@dataclass
class ResultNodes:
    """What a finished registration put into the scene; None where it was not asked for."""

    transform: Node
    volume: Node | None = None
    inverse: Node | None = None
    jacobian: Node | None = None
    magnitude: Node | None = None
    doubt: Node | None = None
    table: Node | None = None
    report: dict[str, Any] = field(default_factory=dict)


def load(request: Request, folder: Path, report: dict[str, Any], into: dict[str, Node | None]) -> ResultNodes:
    """Read what ``request`` made the worker write into ``folder``.

    Args:
        request: what was asked for.
        folder: where the worker ran.
        report: the worker's report.
        into: an existing node for "transform" or any of ``request.outputs``; a new one is made where it is None.

    Raises:
        RegistrationError: if a file is missing or damaged, or an input is no longer in the scene; nothing is changed.
    """
    for node in (request.fixedNode, request.movingNode):
        if node.GetScene() is not slicer.mrmlScene:
            raise RegistrationError(
                _("{name} was removed from the scene while it was being registered; nothing was changed.").format(
                    name=node.GetName()
                )
            )
    images: dict[str, Any] = {kind: nodes.readAny(folder / name) for kind, name in request.files().items()}
    for kind, compute in (("jacobian", derived.changeOn), ("magnitude", derived.lengthOn)):
        if kind in request.outputs:
            reference = nodes.read(folder / FIXED)  # the node may lie elsewhere by now
            images[kind] = compute(derived.asField(images["transform"], reference), reference)

    made: list[Node] = []
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    warnings = [*(report.get("warnings") or []), *request.notes]
    report = {**report, "warnings": warnings, "inputs": request.identity, "made": now}
    report = meanwhile.told(report, request.changes())
    result = ResultNodes(transform=None, report=report)
    try:
        for kind, image in images.items():
            node = into.get(kind)
            isGone = node is None or node.GetScene() is not slicer.mrmlScene
            if isGone or (kind in TRANSFORM_KINDS and not nodes.canHold(node, request.settings.is_linear)):
                node = _newNode(kind, request)
                made.append(node)
            if kind in TRANSFORM_KINDS:
                nodes.setMap(node, image)
            else:
                nodes.setVolume(node, image)
            setattr(result, kind, node)
        if "report" in request.outputs:
            result.table = into.get("report")
            if result.table is None or result.table.GetScene() is not slicer.mrmlScene:
                result.table = _newNode("report", request)
                made.append(result.table)
            report_words.fillTable(result.table, report)
    except Exception:
        for node in made:
            remove(node)
        raise
    _describe(result, request)
    return result


def remove(node: Node | None) -> None:
    """The node and its display out of the scene; nothing if it is in none."""
    if node is None or node.GetScene() is None:
        return
    if hasattr(node, "GetNumberOfDisplayNodes"):
        removeLegend(node)
    display = getattr(node, "GetDisplayNode", lambda: None)()
    if display is not None:
        slicer.mrmlScene.RemoveNode(display)
    slicer.mrmlScene.RemoveNode(node)


def reportOf(transformNode: Node | None) -> dict[str, Any]:
    """The report that came with a transform, also after the scene was saved and loaded; empty if there is none."""
    text = transformNode.GetAttribute(REPORT_ATTRIBUTE) if transformNode is not None else None
    try:
        report = json.loads(text or "{}")
    except ValueError:
        return {}
    return report if isinstance(report, dict) else {}


def _describe(result: ResultNodes, request: Request) -> None:
    _take(result)
    nodes.setRoles(result.transform, request.fixedNode, request.movingNode)
    result.transform.SetAttribute(REPORT_ATTRIBUTE, json.dumps(result.report))
    result.transform.SetAttribute(SETTINGS_ATTRIBUTE, request.key())
    if result.inverse is not None:
        nodes.setRoles(result.inverse, request.movingNode, request.fixedNode)
        result.transform.SetNodeReferenceID(INVERSE_ROLE, result.inverse.GetID())
    if result.volume is not None:
        result.transform.SetNodeReferenceID(VOLUME_ROLE, result.volume.GetID())
    if result.doubt is not None:
        result.transform.SetNodeReferenceID(DOUBT_ROLE, result.doubt.GetID())
    if result.table is not None:
        result.transform.SetNodeReferenceID(TABLE_ROLE, result.table.GetID())


def _take(result: ResultNodes) -> None:
    """What now holds this result belongs to no earlier one any more, which may have been written into it."""
    roles = {INVERSE_ROLE: result.inverse, VOLUME_ROLE: result.volume, DOUBT_ROLE: result.doubt}
    for other in slicer.util.getNodesByClass("vtkMRMLTransformNode"):
        for role, node in (roles | {TABLE_ROLE: result.table}).items():
            if node is not None and other.GetNodeReference(role) is node:
                other.SetNodeReferenceID(role, None)


def setReport(transformNode: Node, report: dict[str, Any]) -> None:
    """Keep a new report with the transform, and in its table if it has one."""
    transformNode.SetAttribute(REPORT_ATTRIBUTE, json.dumps(report))
    table = transformNode.GetNodeReference(TABLE_ROLE)
    if table is not None:
        report_words.fillTable(table, report)


def _newNode(kind: str, request: Request) -> Node:
    fixed, moving = request.fixedNode.GetName(), request.movingNode.GetName()
    className, name = {
        "transform": ("vtkMRMLTransformNode", _("{moving} to {fixed}")),
        "inverse": ("vtkMRMLTransformNode", _("{fixed} to {moving}")),
        "volume": ("vtkMRMLScalarVolumeNode", _("{moving} registered")),
        "jacobian": ("vtkMRMLScalarVolumeNode", _("{moving} volume change")),
        "magnitude": ("vtkMRMLScalarVolumeNode", _("{moving} displacement")),
        "doubt": ("vtkMRMLScalarVolumeNode", _("{moving} doubt")),
        "report": ("vtkMRMLTableNode", _("{moving} to {fixed} report")),
    }[kind]
    if kind in TRANSFORM_KINDS and request.settings.is_linear:
        className = "vtkMRMLLinearTransformNode"
    return nodes.newNode(className, name.format(fixed=fixed, moving=moving))
