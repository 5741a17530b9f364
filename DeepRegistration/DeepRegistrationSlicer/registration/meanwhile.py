"""What became of the nodes of a run while it ran: a result is for its images as they were when it began."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import vtk

from ..errors import SceneInputError
from ..scene import nodes
from ..scene.nodes import Node
from ..texts import tr as _

CHANGED = "changed"
"""What a report calls the sentences about inputs that changed while it was made."""
CLOSE = 1e-6
"""Places that differ by less (mm, or shares of 1) are the same: a transform was hardened, or set and reset."""


class Witness:
    """A node as it is when this is made: what it holds, and where it lies.

    Voxels are compared by what they are, so what was changed and put back was not changed; segmentations and fields by
    the time of their last change. How a node is shown does not count.

    Args:
        node: a volume, segmentation, list of points, transform, or sequence of them.
        ignore: a parent transform that does not count as its place.
        frame: the name of the frame that it is in a sequence; a frame that is gone was replaced.
    """

    def __init__(self, node: Node, ignore: Node | None = None, frame: str = "") -> None:
        self.node, self.name, self.isFrame, self._ignore = node, frame, bool(frame), ignore
        self._scene = node.GetScene()
        self.content, self._place = _contentOf(node), _placeOf(node, ignore)

    def isMoved(self) -> bool:
        """Whether it lies elsewhere now: its own geometry or a transform above it is another."""
        before, now = self._place, _placeOf(self.node, self._ignore)
        if isinstance(before, np.ndarray) and isinstance(now, np.ndarray):
            return not np.allclose(before, now, rtol=0, atol=CLOSE)
        return type(before) is not type(now) or before != now

    def isChanged(self) -> bool:
        """Whether it holds something else now."""
        return _contentOf(self.node) != self.content

    def isGone(self) -> bool:
        """Whether it is no longer where it was kept: in the scene, or as a frame in its sequence."""
        return self.node.GetScene() is not self._scene


def sentences(seen: Iterable[Witness]) -> list[str]:
    """What to tell of those that are otherwise by now; nothing of those that are gone."""
    seen = list(seen)
    others = changedSince(seen)
    forms = (
        (
            _("Changed while this was computed: {names}; the result is for what was there before, so register again."),
            others,
        ),
        (
            _(
                "Moved while this was computed: {names}; the result is for the former place, so put it back there or "
                "register again."
            ),
            movedSince(one for one in seen if one not in others),
        ),
    )
    return [form.format(names=namesOf(found)) for form, found in forms if found]


def changedSince(seen: Iterable[Witness]) -> list[Witness]:
    """Those that hold something else by now."""
    return [one for one in seen if (one.isFrame if one.isGone() else one.isChanged())]


def movedSince(seen: Iterable[Witness]) -> list[Witness]:
    """Those that lie elsewhere by now."""
    return [one for one in seen if not one.isGone() and one.isMoved()]


def namesOf(seen: Iterable[Witness]) -> str:
    """Their names, each once."""
    return ", ".join(dict.fromkeys(one.name or one.node.GetName() for one in seen))


def told(report: dict[str, Any], said: Sequence[str]) -> dict[str, Any]:
    """The report with what ``sentences`` says: what was good is to be checked then."""
    new = [sentence for sentence in said if sentence not in report.get(CHANGED, [])]
    if not new:
        return report
    verdict = report.get("verdict")
    return {
        **report,
        CHANGED: [*report.get(CHANGED, []), *new],
        "verdict": "check" if verdict == "good" else verdict,
        "reasons": [*new, *(report.get("reasons") or [])],
    }


def _contentOf(node: Node) -> Any:
    """Something that is equal as long as the node holds the same."""
    if node.IsA("vtkMRMLVolumeNode"):
        try:
            return nodes.voxels(node).shape, voxelHash(node)
        except SceneInputError:
            return None
    if node.IsA("vtkMRMLTransformNode"):
        return _mapOf(node)
    if node.IsA("vtkMRMLMarkupsNode"):
        return [
            (
                node.GetNthControlPointLabel(k),
                node.GetNthControlPointPositionStatus(k),
                tuple(node.GetNthControlPointPosition(k)),
            )
            for k in range(node.GetNumberOfControlPoints())
        ]
    if node.IsA("vtkMRMLSequenceNode"):
        items = range(node.GetNumberOfDataNodes())
        return [(node.GetNthIndexValue(k), node.GetNthDataNode(k), _contentOf(node.GetNthDataNode(k))) for k in items]
    segmentation = node.GetSegmentation()
    source, found = segmentation.GetSourceRepresentationName(), []
    for index in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(index)
        data = segment.GetRepresentation(source)
        found.append((segment.GetName(), segment.GetLabelValue(), data.GetMTime() if data is not None else None))
    return found


def _mapOf(transformNode: Node) -> Any:
    """The map from parent: a matrix as it is, all others by the time of their last change."""
    if transformNode.IsLinear():
        matrix = vtk.vtkMatrix4x4()
        transformNode.GetMatrixTransformFromParent(matrix)
        return nodes.arrayOf(matrix).tolist()
    transform = transformNode.GetTransformFromParent()
    return transform.GetMTime() if transform is not None else None


def _placeOf(node: Node, ignore: Node | None) -> Any:
    """(4, 4) to the world, of a volume from its voxels; for a node that is bent when its transforms last changed."""
    if node.IsA("vtkMRMLSequenceNode"):
        return None
    parent = node.GetParentTransformNode()
    if parent is not None and parent is not ignore and not parent.IsTransformToWorldLinear():
        return parent.GetID(), parent.GetTransformToWorldMTime()
    if node.IsA("vtkMRMLVolumeNode"):
        return nodes.ijkToWorld(node, ignore)
    toWorld = vtk.vtkMatrix4x4()
    if parent is not None and parent is not ignore:
        parent.GetMatrixTransformToWorld(toWorld)
    return nodes.arrayOf(toWorld)


def voxelHash(volumeNode: Node) -> str:
    """SHA-256 of the voxels as ``slicer.util.arrayFromVolume`` has them."""
    return hashlib.sha256(np.ascontiguousarray(nodes.voxels(volumeNode))).hexdigest()
