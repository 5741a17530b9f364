"""The parts of the panel that are not about one result: several at once, models, where to compute."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import qt

from ..errors import RegistrationError
from ..registration.logic import RegistrationLogic
from ..registration.series import Series
from ..texts import tr as _
from ..worker import models
from ..worker.devices import DeviceFinder
from ..worker.methods import MethodCatalog
from .buttons import setText
from .parameters import inTimeFrom, requestFrom


class Section:
    """What the panel asks of each of its parts; nothing by default."""

    def show(self, parameters: Any) -> None:
        """The parameters changed; None: the scene is being closed."""

    def onFinished(self) -> None:
        """A registration is finished."""

    def close(self) -> None:
        """The panel closes."""


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
            button.toolTip = _("A registration is running; wait until it is done, or cancel it.")
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
            self.ui.severalLabel.text = _("A registration is running; wait until it is done, or cancel it.")
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


class ModelsSection(Section):
    """The models in the box and the user's own."""

    def __init__(self, ui: Any, catalog: MethodCatalog) -> None:
        self.ui, self.catalog = ui, catalog
        self.models: list[models.ModelFile] = []
        ui.importModelButton.connect("clicked(bool)", self.onImport)
        ui.removeModelButton.connect("clicked(bool)", self.onRemove)
        ui.modelsList.connect("currentRowChanged(int)", self._onRow)
        models.tellWorker()
        self.refresh()

    def refresh(self) -> None:
        """Read the folders again."""
        self.models = models.listModels()
        self.ui.modelsList.clear()
        for model in self.models:
            where = _("in the box") if model.isInTheBox else _("yours")
            self.ui.modelsList.addItem(f"{model.name} ({where})")
        self._onRow(-1)
        if not self.models:
            self.ui.modelLabel.text = _("There are no models yet. Refinement alone needs none.")

    def _onRow(self, row: int) -> None:
        isModel = 0 <= row < len(self.models)
        self.ui.removeModelButton.enabled = isModel and not self.models[row].isInTheBox
        if isModel:
            lines = [f"<b>{html.escape(n)}:</b> {html.escape(v)}" for n, v in self.models[row].details()]
            self.ui.modelLabel.text = "<br>".join(lines)
        else:
            self.ui.modelLabel.text = ""

    def onImport(self, _checked: bool = False) -> None:
        chosen = qt.QFileDialog.getOpenFileName(
            self.ui.importModelButton, _("Import a model"), "", _("Models (*.safetensors)")
        )
        path = chosen if isinstance(chosen, str) else chosen[0]  # some bindings add the chosen filter
        if path:
            self.importModel(Path(path))

    def importModel(self, path: Path) -> None:
        """Copy ``path`` into the user's folder and show it."""
        try:
            model = models.importModel(path)
        except RegistrationError as error:
            self.ui.modelLabel.text = html.escape(str(error))
            return
        self.refresh()
        self.ui.modelsList.setCurrentRow([m.path for m in self.models].index(model.path))
        self.catalog.refresh()

    def onRemove(self, _checked: bool = False) -> None:
        row = self.ui.modelsList.currentRow
        try:
            models.removeModel(self.models[row])
        except RegistrationError as error:
            self.ui.modelLabel.text = html.escape(str(error))
            return
        self.refresh()
        self.catalog.refresh()


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
        self.finder.answer.stop()
