"""Where to compute."""

from __future__ import annotations

from typing import Any

from ..worker.devices import DeviceFinder
from .section import Section


class DeviceSection(Section):
    """Says what there is to compute on, once Advanced is opened."""

    def __init__(self, ui: Any, finder: DeviceFinder) -> None:
        self.ui, self.finder = ui, finder
        ui.deviceLabel.visible = False
        ui.advancedButton.connect("contentsCollapsed(bool)", self._onCollapsed)
        finder.changed.connect(self._onFound)

    def _onCollapsed(self, collapsed: bool) -> None:
        if not collapsed and not self.finder.text:
            self.finder.find()

    def _onFound(self) -> None:
        self.ui.deviceLabel.text = self.finder.text
        self.ui.deviceLabel.visible = True

    def close(self) -> None:
        self.finder.answer.end()
