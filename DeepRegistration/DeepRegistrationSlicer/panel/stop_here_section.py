"""Stop here and keep: what is found so far is good enough."""

from __future__ import annotations

from typing import Any

from ..registration.logic import RegistrationLogic
from ..texts import tr as _
from .section import Section


class StopHereSection(Section):
    """One button below Apply, once there is something to keep."""

    def __init__(self, ui: Any, logic: RegistrationLogic) -> None:
        self.ui, self.logic = ui, logic
        self._canStop = False
        ui.stopHereButton.connect("clicked(bool)", self.onStopHere)
        logic.started.connect(self._onStarted)
        logic.progressed.connect(self._onProgress)

    def show(self, parameters: Any) -> None:
        button = self.ui.stopHereButton
        button.enabled = self._canStop and self.logic.isRunning
        if button.enabled:
            button.toolTip = _("End the refinement with what the slice views show by now, as a proper result.")
        else:
            button.toolTip = _(
                "While the refinement runs: ends it with what the slice views show by then, as a proper result."
            )

    def _onStarted(self) -> None:
        self._canStop = False
        self.show(None)

    def _onProgress(self, stage: str, _fraction: float, _message: str) -> None:
        canStop = stage in ("prepare", "network", "refine")
        if canStop != self._canStop:
            self._canStop = canStop
            self.show(None)

    def onStopHere(self, _checked: bool = False) -> None:
        if self.logic.finishEarly():
            self.ui.statusLabel.text = _("Stopping here; the result is made and judged...")
        else:
            self.ui.statusLabel.text = _("This run cannot be stopped and kept; wait, or cancel it.")
        self.ui.stopHereButton.enabled = False
