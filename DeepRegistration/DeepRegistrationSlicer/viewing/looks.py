"""The ways to look at a result. Each is one call, and leaves the scene as it was when the next one comes.

What is computed for a look is kept while the same result is looked at; what takes seconds is made in the worker.

Volumes made for a look are helpers: hidden in the lists of nodes, not saved, removed with the look.
"""

from __future__ import annotations

import enum
import time
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer

from ..errors import SceneInputError
from ..registration.meanwhile import Witness, changedSince, movedSince
from ..registration.results import DOUBT_ROLE, VOLUME_ROLE, remove, reportOf
from ..scene import derived, display, nodes, views
from ..scene.hidden import hiddenNode
from ..scene.nodes import Node
from ..texts import tr as _
from ..worker.process import POLL_SECONDS, QtTicker, Ticker, processEvents
from ..worker.signals import Signal
from .doubt_maker import DoubtMaker
from .once import Once, stateOf

HELPER = "DeepRegistration.helper"


class Look(enum.Enum):
    """What to show; the values are what scripts may write."""

    OVERLAY = "overlay"
    BLINK = "blink"
    CHECKERBOARD = "checkerboard"
    SIDE_BY_SIDE = "sideBySide"
    DIFFERENCE = "difference"
    GRID = "grid"
    ARROWS = "arrows"
    JACOBIAN = "jacobian"
    DOUBT = "doubt"


FADING = (Look.OVERLAY, Look.GRID, Look.ARROWS, Look.JACOBIAN, Look.DOUBT)
"""Looks that lay one image over the other."""


class Viewer:
    """Shows one look at a time in all slice views.

    >>> Viewer().show("checkerboard", transformNode)

    ``said(sentence)`` tells of a look that comes later (see ``wait``), or not.
    """

    def __init__(self, ticker: Ticker | None = None, doubtMaker: DoubtMaker | None = None) -> None:
        self.said = Signal("sentence")
        self.doubtMaker = doubtMaker or DoubtMaker()
        self.doubtMaker.answer.finished.connect(self._onDoubt)
        self.doubtMaker.answer.failed.connect(self._onNoDoubt)
        self._once = Once()
        self._asked: tuple[Any, ...] = ()
        self._seen: list[Witness] = []
        self._opacity, self._isAfter = 0.5, True
        self.look: Look | None = None
        self.transformNode: Node | None = None
        self._ticker = ticker or QtTicker(600)
        self._layout: int | None = None
        self._orientations: dict[str, Any] = {}
        self._blinkOn = False

    def show(self, look: Look | str, transformNode: Node, after: bool = True, opacity: float = 0.5) -> None:
        """Show ``look`` of the registration that made ``transformNode``.

        Args:
            look: see ``Look``.
            transformNode: a transform made by this module; it knows its volumes.
            after: False shows the moving volume as it was before.
            opacity: of the moving over the fixed volume.

        Raises:
            SceneInputError: if the transform does not know its volumes any more.
        """
        look, self._isAfter = Look(look), after
        fixedNode, movingNode = nodes.fixedOf(transformNode), nodes.movingOf(transformNode)
        if fixedNode is None or movingNode is None:
            raise SceneInputError(
                _("The volumes that {name} was made for are no longer in the scene.").format(
                    name=transformNode.GetName()
                )
            )
        isNew = look is not self.look or transformNode is not self.transformNode
        previous = self._helpers()
        if isNew:
            self._leave()
        if transformNode is not self.transformNode:
            self._forget()
        self.look, self.transformNode, self._opacity = look, transformNode, opacity
        for node in (fixedNode, movingNode):
            display.makeReadable(node)
        shown = {
            Look.OVERLAY: self._showOverlay,
            Look.BLINK: self._showBlink,
            Look.CHECKERBOARD: self._showCheckerboard,
            Look.SIDE_BY_SIDE: self._showSideBySide,
            Look.DIFFERENCE: self._showDifference,
            Look.GRID: self._showGrid,
            Look.ARROWS: self._showArrows,
            Look.JACOBIAN: self._showJacobian,
            Look.DOUBT: self._showDoubt,
        }[look]
        shown(fixedNode, movingNode, transformNode if after else None, opacity)
        for node in previous:
            if node.GetScene() is not None:
                remove(node)

    def setOpacity(self, opacity: float) -> None:
        """Only that; nothing is computed."""
        self._opacity = opacity
        if self.look not in FADING:
            return
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            composite.SetForegroundOpacity(opacity)

    def wait(self) -> None:
        """Until the look is there; Slicer stays usable."""
        while self.doubtMaker.answer.isRunning:
            self.doubtMaker.answer.poll()
            processEvents()
            time.sleep(POLL_SECONDS)

    def clear(self) -> None:
        """Back to what the slice views were before, without helpers."""
        self._leave()
        self._forget()
        helpers = self._helpers()
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            for get, put in (
                (composite.GetBackgroundVolumeID, composite.SetBackgroundVolumeID),
                (composite.GetForegroundVolumeID, composite.SetForegroundVolumeID),
            ):
                if get() in [node.GetID() for node in helpers]:
                    put(None)
        for node in helpers:
            remove(node)
        self.look = self.transformNode = None

    # --- One method a look; transformNode is None for "before" ---

    def _showOverlay(self, fixedNode: Node, movingNode: Node, transformNode: Node | None, opacity: float) -> None:
        views.overlay(fixedNode, self._movedNode(fixedNode, movingNode, transformNode), opacity, fit=False)

    def _showBlink(self, fixedNode: Node, movingNode: Node, transformNode: Node | None, opacity: float) -> None:
        views.overlay(fixedNode, self._movedNode(fixedNode, movingNode, transformNode), 1.0, fit=False)
        self._blinkOn = True
        self._ticker.start(self._blink)

    def _blink(self) -> None:
        self._blinkOn = not self._blinkOn
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            composite.SetForegroundOpacity(1.0 if self._blinkOn else 0.0)

    def _showCheckerboard(self, fixedNode: Node, movingNode: Node, transformNode: Node | None, opacity: float) -> None:
        fixed, other, image = self._units(fixedNode, movingNode, transformNode)
        board = self._once.get(
            f"board {transformNode is not None}",
            (fixedNode, movingNode, self.transformNode, _keptOn(fixedNode, transformNode)),
            lambda: derived.checkerboard(fixed, other, np.asarray(image.GetSpacing())[::-1]),
        )
        helper = self._helper(_("Checkerboard"), board, image)
        display.setRange(helper, 0.0, 1.0)
        views.overlay(helper, None, fit=False)

    def _showSideBySide(self, fixedNode: Node, movingNode: Node, transformNode: Node | None, opacity: float) -> None:
        other = self._movedNode(fixedNode, movingNode, transformNode)
        manager = slicer.app.layoutManager()
        if self._layout is None:
            self._layout = manager.layout
            manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutSideBySideView)
        views.overlay(fixedNode, None, fit=False)
        red, yellow = (manager.sliceWidget(name) for name in ("Red", "Yellow"))
        if not self._orientations:
            node = yellow.mrmlSliceNode()
            self._orientations = {"Yellow": slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS()).copy()}
        yellow.mrmlSliceNode().GetSliceToRAS().DeepCopy(red.mrmlSliceNode().GetSliceToRAS())
        yellow.mrmlSliceNode().UpdateMatrices()
        for widget, node in ((red, fixedNode), (yellow, other)):
            composite = widget.mrmlSliceCompositeNode()
            composite.SetBackgroundVolumeID(node.GetID())
            composite.SetLinkedControl(True)
        # The moved volume lies on the fixed grid; before the registration it may be anywhere.
        for widget in (red, yellow):
            widget.mrmlSliceCompositeNode().SetBackgroundVolumeID(fixedNode.GetID())
            widget.sliceLogic().FitSliceToBackground()
        yellow.mrmlSliceCompositeNode().SetBackgroundVolumeID(other.GetID())

    def _showDifference(self, fixedNode: Node, movingNode: Node, transformNode: Node | None, opacity: float) -> None:
        fixed, other, image = self._units(fixedNode, movingNode, transformNode)
        helper = self._helper(_("Difference"), other - fixed, image)
        display.setColors(helper, display.divergingColors(), -1.0, 1.0)
        views.overlay(helper, None, fit=False)

    def _showGrid(self, fixedNode: Node, movingNode: Node, transformNode: Node | None, opacity: float) -> None:
        self._showOverlay(fixedNode, movingNode, transformNode, opacity)
        self._showTransform(slicer.vtkMRMLTransformDisplayNode.VIS_MODE_GRID, fixedNode, transformNode)

    def _showArrows(self, fixedNode: Node, movingNode: Node, transformNode: Node | None, opacity: float) -> None:
        self._showOverlay(fixedNode, movingNode, transformNode, opacity)
        self._showTransform(slicer.vtkMRMLTransformDisplayNode.VIS_MODE_GLYPH, fixedNode, transformNode)
        if transformNode is not None:
            largest = reportOf(transformNode).get("max_displacement_mm")
            display.setLengthColors(transformNode, largest if isinstance(largest, float) else 10.0)
            display.addLegend(transformNode, _("Moved by (mm)"))

    def _showTransform(self, mode: int, fixedNode: Node, transformNode: Node | None) -> None:
        assert self.transformNode is not None
        self.transformNode.CreateDefaultDisplayNodes()
        shown = self.transformNode.GetDisplayNode()
        if transformNode is None:
            shown.SetVisibility(False)
            shown.SetVisibility2D(False)
            return
        bounds = [0.0] * 6
        fixedNode.GetRASBounds(bounds)
        extent = max(bounds[1] - bounds[0], bounds[3] - bounds[2], bounds[5] - bounds[4])
        shown.SetVisualizationMode(mode)
        shown.SetGridSpacingMm(extent / 20)
        shown.SetGridResolutionMm(extent / 80)
        shown.SetGlyphSpacingMm(extent / 25)
        shown.SetGlyphScalePercent(100)
        shown.SetVisibility(True)
        shown.SetVisibility2D(True)
        shown.SetVisibility3D(False)

    def _showJacobian(self, fixedNode: Node, movingNode: Node, transformNode: Node | None, opacity: float) -> None:
        reference = nodes.imageOf(fixedNode)
        if transformNode is None:
            change = np.ones(tuple(reversed(reference.GetSize())), np.float32)
        else:
            change = self._once.get(
                "change",
                (fixedNode, transformNode),
                lambda: sitk.GetArrayFromImage(derived.changeOn(derived.fieldOf(transformNode, reference), reference)),
            )
        helper = self._helper(_("Volume change"), change, reference)
        display.setColors(helper, display.divergingColors(), 0.4, 1.6)
        views.overlay(fixedNode, helper, opacity, fit=False)
        display.addLegend(helper, _("Volume change"))  # of what is in the views already

    def _showDoubt(self, fixedNode: Node, movingNode: Node, transformNode: Node | None, opacity: float) -> None:
        kept = transformNode.GetNodeReference(DOUBT_ROLE) if transformNode is not None else None
        if kept is not None and kept.GetImageData() is not None:
            self._layDoubt(fixedNode, nodes.voxels(kept), nodes.imageOf(kept))
            return
        asked = transformNode is not None, stateOf((fixedNode, movingNode, self.transformNode))
        if self._once.has(f"doubt {asked[0]}", asked[1]):
            known = self._once.get(f"doubt {asked[0]}", (fixedNode, movingNode, self.transformNode), lambda: None)
            self._layDoubt(fixedNode, known, nodes.imageOf(fixedNode))
            return
        views.overlay(fixedNode, None, fit=False)
        if not self.doubtMaker.answer.isRunning or asked != self._asked:
            self.doubtMaker.make(fixedNode, movingNode, transformNode, self.transformNode)
            self._asked = asked
            self._seen = [Witness(fixedNode), Witness(movingNode, self.transformNode), Witness(self.transformNode)]
        self.said.emit(_("Where to doubt the result is being measured; it is shown in a moment."))

    def _onDoubt(self, doubt: np.ndarray) -> None:
        isAfter, state = self._asked
        self._once.keep(f"doubt {isAfter}", state, doubt)
        isWanted = self.look is Look.DOUBT and self._isAfter == isAfter
        fixedNode = nodes.fixedOf(self.transformNode) if self.transformNode is not None else None
        if isWanted and (changedSince(self._seen) or movedSince(self._seen)):
            self.said.emit(_("What is shown was changed while doubt was measured; choose this look again."))
        elif isWanted and fixedNode is not None:
            self._layDoubt(fixedNode, doubt, nodes.imageOf(fixedNode))
            self.said.emit(_("The map of doubt is shown."))

    def _onNoDoubt(self, sentence: str) -> None:
        self.said.emit(sentence)

    def _layDoubt(self, fixedNode: Node, doubt: np.ndarray, image: sitk.Image) -> None:
        helper = self._helper(_("Doubt"), doubt, image)
        display.setColors(helper, "vtkMRMLPETProceduralColorNodePET-Heat", 0.0, 1.0)
        views.overlay(fixedNode, helper, self._opacity, fit=False)
        display.addLegend(helper, _("Doubt"))

    # --- Helpers ---

    def _movedNode(self, fixedNode: Node, movingNode: Node, transformNode: Node | None) -> Node:
        """What stands for the moving image: the moved volume, or a helper if it is gone; before: itself."""
        if transformNode is None:
            if movingNode.GetParentTransformNode() is not self.transformNode:
                return movingNode
            image = self._moved(fixedNode, movingNode, None)
        else:
            kept = transformNode.GetNodeReference(VOLUME_ROLE)
            if kept is not None and kept.GetImageData() is not None:
                return kept
            image = self._moved(fixedNode, movingNode, transformNode)
        helper = self._helper(movingNode.GetName(), sitk.GetArrayViewFromImage(image), image)
        display.copyRange(movingNode, helper)
        return helper

    def _moved(self, fixedNode: Node, movingNode: Node, transformNode: Node | None) -> sitk.Image:
        return self._once.get(
            f"moved {transformNode is not None}",
            (fixedNode, movingNode, self.transformNode),
            lambda: derived.moved(movingNode, fixedNode, transformNode, self.transformNode),
        )

    def _units(
        self, fixedNode: Node, movingNode: Node, transformNode: Node | None
    ) -> tuple[np.ndarray, np.ndarray, sitk.Image]:
        """Fixed and moving image on the fixed grid in the grays they are shown in."""
        image = nodes.imageOf(fixedNode)
        kept = _keptOn(fixedNode, transformNode)
        if kept is not None:  # what the overlay shows, too
            other = nodes.voxels(kept)
        else:
            other = sitk.GetArrayFromImage(self._moved(fixedNode, movingNode, transformNode))
        fixed = nodes.voxels(fixedNode)
        if fixed.ndim == 4:
            fixed = fixed[..., :3].astype(np.float32).mean(-1)
        return derived.unit(fixed, fixedNode), derived.unit(other, movingNode), image

    def _helper(self, name: str, array: np.ndarray, image: sitk.Image) -> Node:
        node = hiddenNode("vtkMRMLScalarVolumeNode", name)
        node.SetAttribute(HELPER, "1")
        _array, toWorld = nodes.fromFile(image)
        nodes.setVoxels(node, array, toWorld)
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetSaveWithScene(False)
        return node

    @staticmethod
    def _helpers() -> list[Node]:
        volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        return [node for node in volumes if node.GetAttribute(HELPER)]

    def _forget(self) -> None:
        """What was computed for another result."""
        self.doubtMaker.answer.end()
        self._once.clear()
        self._asked = ()

    def _leave(self) -> None:
        """Undo what the present look did besides choosing volumes."""
        self._ticker.stop()
        if self.transformNode is not None and self.transformNode.GetDisplayNode() is not None:
            display.removeLegend(self.transformNode)
            self.transformNode.GetDisplayNode().SetVisibility(False)
            self.transformNode.GetDisplayNode().SetVisibility2D(False)
        if self._layout is not None:
            manager = slicer.app.layoutManager()
            node = manager.sliceWidget("Yellow").mrmlSliceNode()
            node.GetSliceToRAS().DeepCopy(self._orientations["Yellow"].ravel().tolist())
            node.UpdateMatrices()
            manager.setLayout(self._layout)
            self._layout, self._orientations = None, {}


def _keptOn(fixedNode: Node, transformNode: Node | None) -> Node | None:
    """The moved volume that came with ``transformNode``, if it is one of grays on the fixed grid, and the transform was
    not changed since.
    """
    kept = transformNode.GetNodeReference(VOLUME_ROLE) if transformNode is not None else None
    if transformNode is None or kept is None or kept.GetImageData() is None:
        return None
    if kept.GetImageData().GetMTime() < transformNode.GetTransformFromParent().GetMTime():
        return None
    isAlike = nodes.voxels(kept).shape == nodes.voxels(fixedNode).shape[:3]
    isThere = isAlike and np.allclose(nodes.ijkToWorld(kept), nodes.ijkToWorld(fixedNode), atol=1e-4)
    return kept if isThere else None
