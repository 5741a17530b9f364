"""Several: many volumes onto one."""

from __future__ import annotations

from typing import Any

from ..errors import RegistrationError
from ..registration.logic import RegistrationLogic
from ..registration.series import Series
from ..texts import registrationRuns
from ..texts import tr as _
from ..worker.methods import MethodCatalog
from .buttons import setText
from .parameters import inTimeFrom, requestFrom
from .section import Section


class SeveralSection(Section):
    """Register many volumes with the settings above; not while ``logic`` registers a single one."""

    def __init__(self, ui: Any, series: Series, logic: RegistrationLogic, catalog: MethodCatalog) -> None:
        self.ui, self.series, self.logic, self.catalog = ui, series, logic, catalog
        self._parameters: Any = None
        ui.registerAllButton.connect("clicked(bool)", self.onRegisterAll)
        ui.severalSelector.connect("checkedNodesChanged()", self._update)
        ui.severalSequenceSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onSequence)
        series.progressed.connect(self._onProgress)
        series.finished.connect(self._onAllFinished)
        series.cancelled.connect(self._onCancelled)

    def show(self, parameters: Any) -> None:
        self._parameters = parameters
        if parameters is None:
            self.series.cancel()
        self._update()

    def _onSequence(self, _node: Any) -> None:
        self._update()

    def _update(self) -> None:
        button = self.ui.registerAllButton
        if self.series.isRunning:
            setText(button, _("Cancel"))
            button.enabled = True
            button.toolTip = _("Stop; what is finished stays.")
            return
        setText(button, _("Register all"))
        hasFixed = self._parameters is not None and self._parameters.fixedVolume is not None
        hasMoving = bool(self.ui.severalSelector.checkedNodes()) or bool(self.ui.severalSequenceSelector.currentNode())
        button.enabled = hasFixed and hasMoving and not self.logic.isRunning
        if self.logic.isRunning:
            button.toolTip = registrationRuns()
        elif not hasFixed:
            button.toolTip = _("Choose the fixed volume first.")
        elif not hasMoving:
            button.toolTip = _("Check volumes or choose a sequence first.")
        else:
            button.toolTip = _("Bring each of them onto the fixed volume; what is there already is not done again.")

    def onRegisterAll(self, _checked: bool = False) -> None:
        if self.series.isRunning:
            self.series.cancel()
            return
        if self.logic.isRunning:  # also a script may press the button
            self.ui.severalLabel.text = registrationRuns()
            return
        try:
            self.series.start(
                requestFrom(self._parameters, self.catalog)[0],
                list(self.ui.severalSelector.checkedNodes()),
                self.ui.severalSequenceSelector.currentNode(),
                inTimeFrom(self._parameters),
            )
        except RegistrationError as error:
            self.ui.severalLabel.text = str(error)
        self._update()

    def _onProgress(self, done: int, count: int, message: str) -> None:
        self.ui.severalLabel.text = _("{done} of {count} done. {message}").format(
            done=done, count=count, message=message
        )

    def _onAllFinished(self, tableNode: Any) -> None:
        self.ui.severalLabel.text = _("All done; the table {name} says how each went.").format(name=tableNode.GetName())
        self._update()

    def _onCancelled(self) -> None:
        self.ui.severalLabel.text = _("Cancelled; what was finished is kept. Register all goes on from there.")
        self._update()

    def close(self) -> None:
        self.series.cancel()
