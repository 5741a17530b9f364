"""Show motion: what a registered sequence does over time, as curves."""

from __future__ import annotations

from typing import Any

from ..errors import RegistrationError
from ..registration.motion import FIXED_ROLE, Motion, MotionMaker
from ..registration.series import Series
from ..scene import plots
from ..texts import tr as _
from .parameters import inTimeFrom
from .section import Section


class MotionSection(Section):
    """One button below Register all; it takes the last series' transforms, or those that are chosen as the sequence."""

    def __init__(self, ui: Any, series: Series, maker: MotionMaker) -> None:
        self.ui, self.series, self.maker = ui, series, maker
        self._parameters: Any = None
        ui.motionButton.connect("clicked(bool)", self.onMotion)
        ui.severalSequenceSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onSequence)
        series.started.connect(self._update)
        series.finished.connect(lambda _table: self._update())
        series.cancelled.connect(self._update)
        maker.finished.connect(self._onMade)
        maker.failed.connect(self._say)

    def show(self, parameters: Any) -> None:
        self._parameters = parameters
        self._update()

    def _onSequence(self, _node: Any) -> None:
        self._update()

    def _transforms(self) -> Any:
        chosen = self.ui.severalSequenceSelector.currentNode()
        if chosen is not None and chosen.GetNodeReference(FIXED_ROLE) is not None:
            return chosen
        made = self.series.transforms
        return made if made is not None and made.GetScene() is not None and made.GetNumberOfDataNodes() else None

    def _update(self) -> None:
        button = self.ui.motionButton
        button.enabled = (
            self._parameters is not None
            and self._transforms() is not None
            and not self.series.isRunning
            and not self.maker.answer.isRunning
        )
        button.toolTip = (
            _("How far the body goes, and the fixed labels and landmarks of Advanced, as a table and charts.")
            if button.enabled
            else _("Register a sequence first.")
        )

    def onMotion(self, _checked: bool = False) -> None:
        parameters = self._parameters
        try:
            self.maker.start(
                self._transforms(), inTimeFrom(parameters), parameters.fixedLabels, parameters.fixedLandmarks
            )
        except RegistrationError as error:
            self._say(str(error))
            return
        self._say(_("Measuring the motion..."))

    def _onMade(self, motion: Motion) -> None:
        if motion.charts:
            plots.showChart(motion.charts[0])
        words = [_("The curves are in the table {name}.").format(name=motion.table.GetName())]
        if motion.smoothed is not None:
            words.append(_("The smoothed transforms are {name}.").format(name=motion.smoothed.GetName()))
        self._say(" ".join(words))

    def _say(self, sentence: str) -> None:
        self.ui.severalLabel.text = sentence
        self._update()

    def close(self) -> None:
        self.maker.answer.end()
