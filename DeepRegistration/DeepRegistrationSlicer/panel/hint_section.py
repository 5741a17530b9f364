"""What to do first, while the scene has no two images: a sample pair by one click."""

from __future__ import annotations

import weakref
from typing import Any

import slicer

from ..errors import RegistrationError
from ..registration import samples
from ..texts import tr as _
from .section import Section


class HintSection(Section):
    """A sentence and a button at the top, which go once there are two volumes."""

    def __init__(self, ui: Any) -> None:
        self.ui = ui
        self._parameters: Any = None
        ui.hintButton.connect("clicked(bool)", self.onMake)
        changed, scene = weakref.WeakMethod(self.update), slicer.mrmlScene

        def onScene(*_arguments: Any) -> None:
            method = changed()
            if method is not None:
                method()

        events = scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndImportEvent
        self._tags = [scene.AddObserver(event, onScene) for event in events]

    def show(self, parameters: Any) -> None:
        self._parameters = parameters
        self.update()

    def update(self) -> None:
        """Show the hint if there is something to say."""
        scene = slicer.mrmlScene
        isShown = not scene.IsBatchProcessing() and scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") < 2
        self.ui.hintLabel.visible = self.ui.hintButton.visible = isShown

    def onMake(self, _checked: bool = False) -> None:
        self.ui.hintButton.enabled = False
        self.ui.statusLabel.text = _("The sample pair is being made...")
        try:
            fixed, _labels, _points, moving, *_others = samples.load()
        except RegistrationError as error:
            self.ui.statusLabel.text = str(error)
            return
        finally:
            self.ui.hintButton.enabled = True
        if self._parameters is not None:  # not closed meanwhile
            self._parameters.fixedVolume, self._parameters.movingVolume = fixed, moving

    def close(self) -> None:
        for tag in self._tags:
            slicer.mrmlScene.RemoveObserver(tag)
        self._tags = []
