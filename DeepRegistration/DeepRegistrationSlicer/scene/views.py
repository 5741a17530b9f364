"""What the slice views show: two volumes over each other."""

from __future__ import annotations

from collections.abc import Sequence

import slicer
import vtk

from . import nodes
from .nodes import Node


def overlay(backgroundNode: Node, foregroundNode: Node | None, opacity: float = 0.5, fit: bool = True) -> None:
    """Both volumes over each other in every slice view; ``fit``: brought to the background.

    Slicer fits a view to all that it shows, and the box of a volume under a turning or bending transform is larger than
    what is seen of it: so the background comes alone first.
    """
    hasViews = getattr(slicer, "app", None) is not None and slicer.app.layoutManager() is not None
    if fit and hasViews:
        turn = _needsRotation(backgroundNode)
        slicer.util.setSliceViewerLayers(background=backgroundNode, foreground=None, fit=True, rotateToVolumePlane=turn)
    slicer.util.setSliceViewerLayers(
        background=backgroundNode, foreground=foregroundNode, foregroundOpacity=opacity, fit=False
    )


def jumpTo(ras: Sequence[float]) -> None:
    """Every slice view shows the place (3,), RAS mm, in its middle."""
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        node.JumpSliceByCentering(*ras)


class Remembered:
    """What the slice views show and where, to be put back."""

    def __init__(self) -> None:
        self._layers: list[tuple[Node, list[str | None], float]] = []
        self._places: list[tuple[Node, vtk.vtkMatrix4x4, tuple[float, ...], tuple[float, ...]]] = []
        for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            volumes = [node.GetBackgroundVolumeID(), node.GetForegroundVolumeID(), node.GetLabelVolumeID()]
            self._layers.append((node, volumes, node.GetForegroundOpacity()))
        for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
            matrix = vtk.vtkMatrix4x4()
            matrix.DeepCopy(node.GetSliceToRAS())
            self._places.append((node, matrix, node.GetFieldOfView(), node.GetXYZOrigin()))

    def restore(self, after: Node, restoresViews: bool) -> None:
        """Put back what was shown, in the views that still show ``after``; ``restoresViews``: and where."""
        touched = [layer for layer in self._layers if layer[0].GetForegroundVolumeID() == after.GetID()]
        for node, (background, foreground, label), opacity in touched:
            node.SetBackgroundVolumeID(background)
            node.SetForegroundVolumeID(foreground)
            node.SetLabelVolumeID(label)
            node.SetForegroundOpacity(opacity)
        if restoresViews and touched:
            for node, matrix, fieldOfView, origin in self._places:
                node.GetSliceToRAS().DeepCopy(matrix)
                node.UpdateMatrices()
                node.SetFieldOfView(*fieldOfView)
                node.SetXYZOrigin(*origin)


def _needsRotation(volumeNode: Node) -> bool:
    """A single slice can only be seen in its own plane."""
    return nodes.isSlice(volumeNode)
