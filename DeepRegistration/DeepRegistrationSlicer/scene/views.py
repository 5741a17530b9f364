"""What the slice views show: two volumes over each other."""

from __future__ import annotations

import slicer

from . import nodes
from .nodes import Node


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
