"""A finished registration in the slice views, its maps in colors that can be read at once."""

from __future__ import annotations

from ..scene import display, nodes, views
from ..scene.nodes import Node
from .results import ResultNodes


def showResult(fixedNode: Node, movingNode: Node, result: ResultNodes, fit: bool = True) -> None:
    """The fixed volume under the moved one, half each. Without a moved volume nothing is shown.

    ``fit``: the views are brought to the volume; else they stay where they are.
    """
    if result.jacobian is not None:
        display.setColors(result.jacobian, display.divergingColors(), 0.4, 1.6)
    if result.magnitude is not None:
        largest = display.contentRange(result.magnitude)[1]
        display.setColors(result.magnitude, "vtkMRMLPETProceduralColorNodePET-Heat", 0.0, largest)
    if result.doubt is not None:
        display.setColors(result.doubt, "vtkMRMLPETProceduralColorNodePET-Heat", 0.0, 1.0)
    if result.volume is None:
        return
    if not nodes.isEmpty(fixedNode):  # both may have been emptied while it ran
        display.makeReadable(fixedNode)
    if nodes.isEmpty(movingNode):
        display.makeReadable(result.volume)
    else:
        display.copyRange(movingNode, result.volume)
    views.overlay(fixedNode, result.volume, fit=fit)
