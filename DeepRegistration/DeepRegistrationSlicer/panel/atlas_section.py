"""Make an atlas: the mean of several volumes."""

from __future__ import annotations

from typing import Any

from ..errors import RegistrationError
from ..registration.atlas import AtlasMaker, AtlasNodes
from ..registration.logic import RegistrationLogic
from ..scene.views import overlay
from ..texts import tr as _
from ..worker.methods import MethodCatalog
from .buttons import setText
from .parameters import requestFrom
from .section import Section


class AtlasSection(Section):
    """One button among Several at once: of the fixed volume and those that are checked, with the settings above."""

    def __init__(self, ui: Any, maker: AtlasMaker, logic: RegistrationLogic, catalog: MethodCatalog) -> None:
        self.ui, self.maker, self.logic, self.catalog = ui, maker, logic, catalog
        self._parameters: Any = None
        ui.atlasButton.connect("clicked(bool)", self.onAtlas)
        ui.severalSelector.connect("checkedNodesChanged()", self._update)
        maker.progressed.connect(self._say)
        maker.finished.connect(self._onMade)
        maker.failed.connect(self._say)

    def show(self, parameters: Any) -> None:
        self._parameters = parameters
        if parameters is None:
            self.maker.close()
        self._update()

    def _volumes(self) -> list[Any]:
        fixed = self._parameters.fixedVolume if self._parameters is not None else None
        checked = [node for node in self.ui.severalSelector.checkedNodes() if node is not fixed]
        return [fixed, *checked] if fixed is not None and checked else []

    def _update(self) -> None:
        button = self.ui.atlasButton
        if self.maker.isRunning:
            setText(button, _("Cancel the atlas"))
            button.enabled = True
            button.toolTip = _("Stop; Make an atlas goes on from there.")
            return
        setText(button, _("Make an atlas"))
        button.enabled = bool(self._volumes())
        button.toolTip = (
            _("The mean of the fixed and the checked volumes, with a transform to each; on the fixed volume's grid.")
            if button.enabled
            else _("Choose the fixed volume and check others first.")
        )

    def onAtlas(self, _checked: bool = False) -> None:
        if self.maker.isRunning:
            self.maker.cancel()
            self._say(_("Cancelled; what was finished is kept. Make an atlas goes on from there."))
            return
        try:
            settings = requestFrom(self._parameters, self.catalog)[0].settings
            self.logic.installer.ensure()
            self.maker.start(self._volumes(), settings)
        except RegistrationError as error:
            self._say(str(error))
            return
        self._say(_("Starting..."))

    def _onMade(self, atlas: AtlasNodes) -> None:
        overlay(atlas.volume, None)
        form = _("{name} is there, with a transform to it of each volume; the table {table} says how each went.")
        self._say(form.format(name=atlas.volume.GetName(), table=atlas.table.GetName()))

    def _say(self, sentence: str) -> None:
        self.ui.atlasLabel.text = sentence
        self._update()

    def close(self) -> None:
        self.maker.close()
