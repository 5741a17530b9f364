"""Again, from here: the next moving image, begun where the last result ended."""

from __future__ import annotations

from typing import Any

from ..errors import RegistrationError
from ..registration.again import againFrom, newest
from ..registration.logic import RegistrationLogic
from ..registration.results import reportOf
from ..scene import nodes
from ..texts import registrationRuns
from ..texts import tr as _
from ..worker.methods import MethodCatalog
from .parameters import requestFrom, resultOf
from .section import Section


class AgainSection(Section):
    """One button below the results."""

    def __init__(self, ui: Any, logic: RegistrationLogic, catalog: MethodCatalog) -> None:
        self.ui, self.logic, self.catalog = ui, logic, catalog
        self._parameters: Any = None
        ui.againButton.connect("clicked(bool)", self.onAgain)

    def show(self, parameters: Any) -> None:
        self._parameters = parameters
        result = resultOf(parameters)
        isResult = result is not None and bool(reportOf(result)) and nodes.fixedOf(result) is parameters.fixedVolume
        button = self.ui.againButton
        button.enabled = isResult and not self.logic.isRunning
        if self.logic.isRunning:
            button.toolTip = registrationRuns()
        elif not isResult:
            button.toolTip = _("Choose a result first.")
        else:
            button.toolTip = _("Register the new moving volume, or the last one loaded, beginning at this result.")

    def onAgain(self, _checked: bool = False) -> None:
        parameters = self._parameters
        result = parameters.outputTransform
        moving = newest(result, parameters.fixedVolume, parameters.movingVolume) or parameters.movingVolume
        try:
            request = againFrom(requestFrom(parameters, self.catalog)[0], result, moving)
            self.logic.start(request, {})
        except RegistrationError as error:
            self.ui.statusLabel.text = str(error)
            return
        parameters.movingVolume = moving
