"""What the slice views show: a finished registration, and the ways to judge it."""

from __future__ import annotations

import slicer

from . import display, nodes
from .nodes import Node
from ..registration.results import Result


def showResult(fixedNode: Node, movingNode: Node, result: Result) -> None:
    """The fixed volume under the moved one, half each. Without a moved volume nothing is shown."""
    if result.jacobian is not None:
        display.setColors(result.jacobian, display.divergingColors(), 0.4, 1.6)
    if result.magnitude is not None:
        largest = display.contentRange(result.magnitude)[1]
        display.setColors(result.magnitude, "vtkMRMLPETProceduralColorNodePET-Heat", 0.0, largest)
    if result.doubt is not None:
        display.setColors(result.doubt, "vtkMRMLPETProceduralColorNodePET-Heat", 0.0, 1.0)
    if result.volume is None:
        return
    display.makeReadable(fixedNode)
    display.copyRange(movingNode, result.volume)
    overlay(fixedNode, result.volume)


def overlay(backgroundNode: Node, foregroundNode: Node | None, opacity: float = 0.5, fit: bool = True) -> None:
    """Both volumes over each other in every slice view."""
    hasViews = getattr(slicer, "app", None) is not None and slicer.app.layoutManager() is not None
    slicer.util.setSliceViewerLayers(
        background=backgroundNode,
        foreground=foregroundNode,
        foregroundOpacity=opacity,
        fit=fit and hasViews,
        rotateToVolumePlane=fit and hasViews and _needsRotation(backgroundNode),
    )


def _needsRotation(volumeNode: Node) -> bool:
    """A single slice can only be seen in its own plane."""
    return nodes.isSlice(volumeNode)
