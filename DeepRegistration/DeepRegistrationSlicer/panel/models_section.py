"""Models: those in the box and the user's own."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import qt

from ..errors import RegistrationError
from ..texts import tr as _
from ..worker import models
from ..worker.methods import MethodCatalog
from .buttons import pathOf
from .section import Section


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
        path = pathOf(chosen)
        if path is not None:
            self.importModel(path)

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
