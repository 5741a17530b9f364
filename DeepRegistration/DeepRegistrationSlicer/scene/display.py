"""Window, level and color of volumes, so that what is shown is readable at once."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from . import nodes
from .nodes import Node

SAMPLES = 200_000
LEGEND_LABELS = 3
DIVERGING = "Cold Black Hot"


def contentRange(volumeNode: Node) -> tuple[float, float]:
    """The gray values between which the content lies; air and background around it do not count."""
    values = nodes.voxels(volumeNode).reshape(-1)
    values = values[:: max(1, len(values) // SAMPLES)].astype(np.float32)
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    floor = float(values.min())
    content = values[values > floor + 0.02 * (float(values.max()) - floor)]
    low, high = np.percentile(content if len(content) else values, (1, 99.5))
    return float(low), float(max(high, low + 1e-6))


def makeReadable(volumeNode: Node) -> Node | None:
    """Set window and level from the content, unless the user has set them; the display node."""
    volumeNode.CreateDefaultDisplayNodes()
    display = volumeNode.GetDisplayNode()
    if isGray(display) and display.GetAutoWindowLevel():
        low, high = contentRange(volumeNode)
        setRange(volumeNode, low, high)
    return display


def isGray(display: Node | None) -> bool:
    """Whether window and level mean something: not for colors and label maps."""
    return display is not None and display.GetClassName() == "vtkMRMLScalarVolumeDisplayNode"


def setRange(volumeNode: Node, low: float, high: float) -> None:
    """Black at ``low``, white at ``high``."""
    display = volumeNode.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(low, high)


def copyLook(fromNode: Node, toNode: Node) -> None:
    """Show ``toNode`` as ``fromNode`` is shown, or would be if it were made readable; that stays as it is."""
    toNode.CreateDefaultDisplayNodes()
    source, shown = fromNode.GetDisplayNode(), toNode.GetDisplayNode()
    if shown is not None:
        shown.SetSaveWithScene(False)
    if not isGray(shown):
        return
    if isGray(source) and not source.GetAutoWindowLevel():
        shown.SetAutoWindowLevel(False)
        shown.SetWindowLevel(source.GetWindow(), source.GetLevel())
    else:
        setRange(toNode, *contentRange(toNode if nodes.isEmpty(fromNode) else fromNode))


def copyRange(fromNode: Node, toNode: Node) -> None:
    """Show ``toNode`` in the grays of ``fromNode``."""
    source = makeReadable(fromNode)
    toNode.CreateDefaultDisplayNodes()
    if isGray(source):
        display = toNode.GetDisplayNode()
        display.SetAutoWindowLevel(False)
        display.SetWindowLevel(source.GetWindow(), source.GetLevel())


def setColors(volumeNode: Node, colorNodeId: str, low: float, high: float) -> None:
    """Show a map in colors, ``low`` to ``high``."""
    volumeNode.CreateDefaultDisplayNodes()
    display = volumeNode.GetDisplayNode()
    if slicer.mrmlScene.GetNodeByID(colorNodeId) is not None:
        display.SetAndObserveColorNodeID(colorNodeId)
    setRange(volumeNode, low, high)


def setLengthColors(transformNode: Node, largest: float) -> None:
    """Color the arrows and grids of a transform by how far they move: gray, green, yellow, red at ``largest`` mm."""
    colors = vtk.vtkColorTransferFunction()
    for share, rgb in (
        (0.0, (0.2, 0.2, 0.2)),
        (0.25, (0.0, 1.0, 0.0)),
        (0.55, (1.0, 1.0, 0.0)),
        (1.0, (1.0, 0.0, 0.0)),
    ):
        colors.AddRGBPoint(share * max(largest, 1e-3), *rgb)
    shown = transformNode.GetDisplayNode()
    shown.SetDefaultColors()
    shown.SetColorMap(colors)


def addLegend(node: Node, title: str) -> Node | None:
    """A color legend beside a map, or a transform shown in colors, in the views; None where this Slicer has none.

    It goes with the node's look: it is not saved, and ``removeLegend`` takes it away.
    """
    logic = getattr(slicer, "vtkSlicerColorLogic", None)
    if logic is None:
        return None
    legend = logic.AddDefaultColorLegendDisplayNode(node)
    if legend is None:
        return None
    shown = node.GetDisplayNode()
    legend.SetAndObserveColorNodeID(shown.GetColorNodeID())
    legend.SetTitleText(title)
    legend.SetNumberOfLabels(LEGEND_LABELS)
    legend.SetSaveWithScene(False)
    legend.SetVisibility(True)
    return legend


def removeLegend(node: Node) -> None:
    """Take the color legend of a node away, if it has one."""
    for index in reversed(range(node.GetNumberOfDisplayNodes())):
        shown = node.GetNthDisplayNode(index)
        if shown is not None and shown.IsA("vtkMRMLColorLegendDisplayNode"):
            node.RemoveNthDisplayNodeID(index)
            slicer.mrmlScene.RemoveNode(shown)


def divergingColors() -> str:
    """The ID of a color table: cyan, blue, black (nothing), red, yellow; made when it is first needed.

    Black in the middle leaves an image underneath readable where nothing is to be told.
    """
    found = [n for n in slicer.util.getNodesByClass("vtkMRMLColorTableNode") if n.GetName() == DIVERGING]
    if found:
        return found[0].GetID()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", DIVERGING)
    node.SetTypeToUser()
    node.SetNumberOfColors(256)
    for index, t in enumerate(np.linspace(-1, 1, 256)):
        strong, weak = min(1.0, 1.6 * abs(t)), max(0.0, 2 * abs(t) - 1)
        red, green, blue = (strong, weak, 0.0) if t > 0 else (0.0, weak, strong)
        node.SetColor(index, f"{t:.2f}", red, green, blue, 1.0)
    return node.GetID()
