"""Previews: the moving volume under what is known so far, over the fixed one."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import slicer

from DeepRegistrationLib.progress import REFINED

from ..scene import display, nodes, views
from ..scene.hidden import hiddenNode
from ..scene.nodes import Node
from ..texts import tr as _
from .results import remove

LOGGER = logging.getLogger(__name__)
SECONDS = 1.0
"""Between two redraws, at least, but for the last."""


class PreviewView:
    """Shows one registration on its way; ``close`` puts everything back. The scene's own nodes are not touched.

    The moving volume is shown by a copy that shares its voxels, from where it lies when this is made.
    """

    def __init__(self, fixedNode: Node, movingNode: Node, ignore: Node | None = None) -> None:
        self._fixedNode, self._movingNode = fixedNode, movingNode
        self._imageData, self._toWorld = movingNode.GetImageData(), nodes.ijkToWorld(movingNode, ignore)
        self._before = views.Remembered()
        self._hadDisplay = fixedNode.GetDisplayNode() is not None
        self._waiting: Path | None = None
        self._isLast = False
        self._shown = float("-inf")
        self.transform: Node | None = None
        self.volume: Node | None = None

    def offer(self, path: Path, level: str = "") -> None:
        """A newer field, of ``level``; it is shown by ``update``."""
        self._waiting, self._isLast = path, level == REFINED

    def update(self) -> None:
        """Show the newest field, unless one was shown a moment ago; the last one in any case."""
        if self._waiting is None or (time.monotonic() - self._shown < SECONDS and not self._isLast):
            return
        path, self._waiting = self._waiting, None
        try:
            self._show(path)
        except Exception:  # a picture that fails must not cost the result
            LOGGER.exception("Showing the registration on its way")
        self._shown = time.monotonic()

    @property
    def isShown(self) -> bool:
        """Whether the views show it, and where they look is chosen by now."""
        return self.volume is not None and self.volume.GetScene() is not None

    def close(self, restoresViews: bool = True) -> None:
        """Take away what was shown, and show again what was before; ``restoresViews``: and where."""
        self._waiting = None
        if self.isShown:
            self._before.restore(self.volume, restoresViews)
            shown = self._fixedNode.GetDisplayNode()
            if shown is not None and not self._hadDisplay:  # a slice view gives one to what it shows
                slicer.mrmlScene.RemoveNode(shown)
        for node in (self.volume, self.transform):
            remove(node)
        self.volume = self.transform = None

    def _show(self, path: Path) -> None:
        field = nodes.read(path)
        if self.transform is None:
            self._make()
        nodes.setField(self.transform, field)

    def _make(self) -> None:
        moving = self._movingNode
        self.transform = hiddenNode("vtkMRMLTransformNode", _("Registration on its way"))
        self.volume = hiddenNode(moving.GetClassName(), _("{name} on its way").format(name=moving.GetName()))
        self.volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(self._toWorld))
        self.volume.SetAndObserveImageData(self._imageData)
        self.volume.SetAndObserveTransformNodeID(self.transform.GetID())
        display.copyLook(moving, self.volume)
        views.overlay(self._fixedNode, self.volume)
