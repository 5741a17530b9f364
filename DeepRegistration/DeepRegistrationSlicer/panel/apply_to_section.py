"""Apply to: other nodes moved with the chosen result."""

from __future__ import annotations

from typing import Any

from ..errors import RegistrationError
from ..texts import nothingChecked, transformMissing
from ..texts import tr as _
from ..viewing.mover import Mover
from .parameters import resultOf
from .section import Section


class ApplyToSection(Section):
    """Move any number of nodes with the chosen transform."""

    def __init__(self, ui: Any, mover: Mover) -> None:
        self.ui, self.mover = ui, mover
        self._parameters: Any = None
        ui.applyToNodesButton.connect("clicked(bool)", self.onMove)
        ui.resampleButton.connect("clicked(bool)", self.onResample)
        ui.undoButton.connect("clicked(bool)", self.onUndo)
        ui.applyToSelector.connect("checkedNodesChanged()", self._update)

    def show(self, parameters: Any) -> None:
        self._parameters = parameters
        if parameters is None:
            self.mover.forget()
        self._update()

    def _update(self) -> None:
        button = self.ui.applyToNodesButton
        hasTransform, hasNodes = resultOf(self._parameters) is not None, bool(self.ui.applyToSelector.checkedNodes())
        button.enabled = hasTransform and hasNodes
        if not hasTransform:
            button.toolTip = transformMissing()
        elif not hasNodes:
            button.toolTip = nothingChecked()
        else:
            button.toolTip = _("Move all checked nodes with the transform.")
        self.ui.resampleButton.enabled = button.enabled
        self.ui.resampleButton.toolTip = (
            _("Make new volumes on the voxels of the fixed one. A dose stays a dose, and is 0 where there was none.")
            if button.enabled
            else button.toolTip
        )
        self.ui.undoButton.enabled = self.mover.canUndo

    def onMove(self, _checked: bool = False) -> None:
        chosen = list(self.ui.applyToSelector.checkedNodes())
        try:
            self.mover.move(
                resultOf(self._parameters), chosen, self.ui.applyInverseCheckBox.checked, self.ui.hardenCheckBox.checked
            )
        except RegistrationError as error:
            self.ui.applyToLabel.text = str(error)
        else:
            self.ui.applyToLabel.text = _("Moved: {names}.").format(names=", ".join(n.GetName() for n in chosen))
        self._update()

    def onResample(self, _checked: bool = False) -> None:
        chosen = list(self.ui.applyToSelector.checkedNodes())
        try:
            made = self.mover.resample(resultOf(self._parameters), chosen, self.ui.applyInverseCheckBox.checked)
        except RegistrationError as error:
            self.ui.applyToLabel.text = str(error)
        else:
            self.ui.applyToLabel.text = _("Made: {names}.").format(names=", ".join(n.GetName() for n in made))
        self._update()

    def onUndo(self, _checked: bool = False) -> None:
        self.mover.undo()
        self.ui.applyToLabel.text = _("Everything is back where it was.")
        self._update()

    def close(self) -> None:
        self.mover.forget()
