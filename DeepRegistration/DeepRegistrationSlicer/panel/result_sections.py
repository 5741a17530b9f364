"""The parts of the panel below Apply; each shows the result that is chosen under Results."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import qt

from ..errors import RegistrationError
from ..registration import report_words, results
from ..registration.scorer import Scorer
from ..scene import nodes
from ..scene.nodes import Node
from ..texts import tr as _
from ..viewing import report_page
from ..viewing.looks import Look, Viewer
from ..viewing.mover import Mover
from .buttons import setText


class JudgmentSection:
    """Green, amber or red with the reason, and the numbers."""

    def __init__(self, ui: Any, scorer: Scorer) -> None:
        self.ui, self.scorer = ui, scorer
        self._parameters: Any = None
        self._message = ""
        ui.scoreButton.connect("clicked(bool)", self.onScore)
        ui.exportButton.connect("clicked(bool)", self.onExport)
        scorer.finished.connect(self._onScored)
        scorer.failed.connect(self._say)

    def show(self, parameters: Any) -> None:
        self._parameters = parameters
        report = results.reportOf(_chosen(parameters))
        kind, words = report_words.verdict(report)
        text = html.escape(words)
        if kind:
            color = report_words.COLORS[kind]
            text = f'<span style="color:{color}; font-size:large">&#9679;</span> <b>{text}</b>'
        if self._message:
            text += f"<br>{html.escape(self._message)}"
        self.ui.verdictLabel.text = text
        self.ui.reportLabel.text = report_words.toHtml(report)
        self.ui.exportButton.enabled = bool(report)
        self.ui.scoreButton.enabled = bool(report)

    def onFinished(self) -> None:
        """A registration has just finished: show the section, and score it if the user has labels or landmarks."""
        self._message = ""
        self.ui.judgmentButton.collapsed = False
        if self._parameters is not None and any(_scoreNodes(self._parameters)):
            self.onScore()

    def onScore(self, _checked: bool = False) -> None:
        self._message = ""
        try:
            self.scorer.score(_chosen(self._parameters), *_scoreNodes(self._parameters))
        except RegistrationError as error:
            self._say(str(error))

    def _onScored(self, _transformNode: Node) -> None:
        self._say("")

    def _say(self, message: str) -> None:
        self._message = message
        self.show(self._parameters)

    def onExport(self, _checked: bool = False) -> None:
        node = _chosen(self._parameters)
        chosen = qt.QFileDialog.getSaveFileName(
            self.ui.exportButton, _("Export the report"), f"{node.GetName()}.html", _("Web page (*.html)")
        )
        path = chosen if isinstance(chosen, str) else chosen[0]  # some bindings add the chosen filter
        if path:
            self.export(Path(path))

    def export(self, path: Path) -> None:
        """Write the report as a web page."""
        try:
            report_page.write(_chosen(self._parameters), path)
        except RegistrationError as error:
            self._say(str(error))
        else:
            self._say(_("Written to {path}.").format(path=path))

    def close(self) -> None:
        self.scorer.answer.stop()


class LookSection:
    """One button a look; pressing the pressed one goes back to the overlay."""

    def __init__(self, ui: Any, viewer: Viewer) -> None:
        self.ui, self.viewer = ui, viewer
        self._parameters: Any = None
        self._opacity = 0.5
        self._isShowing = False
        self.buttons = {look: getattr(ui, f"{look.value}Button") for look in Look}
        for look, button in self.buttons.items():
            button.connect("clicked(bool)", self._slotFor(look))
        ui.beforeButton.connect("toggled(bool)", self._onBefore)
        viewer.said.connect(self._say)

    def _slotFor(self, look: Look) -> Any:
        return lambda checked: self.choose(look if checked else Look.OVERLAY)

    def show(self, parameters: Any) -> None:
        self._parameters = parameters
        node = _chosen(parameters)
        usable = node is not None and nodes.fixedOf(node) is not None and nodes.movingOf(node) is not None
        for button in (*self.buttons.values(), self.ui.beforeButton):
            button.enabled = usable
        setText(self.ui.beforeButton, _("Show after") if self.ui.beforeButton.checked else _("Show before"))
        if not usable or (self.viewer.transformNode is not None and node is not self.viewer.transformNode):
            self.reset()
        elif self.viewer.look is not None and parameters.opacity != self._opacity:
            self.viewer.setOpacity(parameters.opacity)
        self._opacity = parameters.opacity if parameters is not None else 0.5

    def choose(self, look: Look) -> None:
        """Show ``look`` of the chosen result."""
        self._apply(look)
        self._check(look)

    def reset(self) -> None:
        """No look: the slice views are the user's own again."""
        if self.viewer.look is not None:
            self.viewer.clear()
        self._check(None)
        self.ui.beforeButton.checked = False

    def onFinished(self) -> None:
        """A new overlay is shown already; the buttons say so."""
        self.reset()
        self.ui.lookButton.collapsed = False
        self._check(Look.OVERLAY)

    def _onBefore(self, _checked: bool) -> None:
        setText(self.ui.beforeButton, _("Show after") if self.ui.beforeButton.checked else _("Show before"))
        if _chosen(self._parameters) is not None and self.ui.beforeButton.enabled:
            self._apply(self.viewer.look or Look.OVERLAY)

    def _apply(self, look: Look) -> None:
        if self._isShowing:
            return
        self._isShowing = True
        try:
            self.viewer.show(
                look, _chosen(self._parameters), not self.ui.beforeButton.checked, self._parameters.opacity
            )
        except RegistrationError as error:
            self._say(str(error))
        finally:
            self._isShowing = False

    def _say(self, sentence: str) -> None:
        self.ui.statusLabel.text = sentence

    def _check(self, look: Look | None) -> None:
        for other, button in self.buttons.items():
            button.checked = other is look

    def close(self) -> None:
        self.reset()


class ApplyToSection:
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
        hasTransform, hasNodes = _chosen(self._parameters) is not None, bool(self.ui.applyToSelector.checkedNodes())
        button.enabled = hasTransform and hasNodes
        if not hasTransform:
            button.toolTip = _("Choose a transform under Results first.")
        elif not hasNodes:
            button.toolTip = _("Check what should be moved first.")
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
                _chosen(self._parameters), chosen, self.ui.applyInverseCheckBox.checked, self.ui.hardenCheckBox.checked
            )
        except RegistrationError as error:
            self.ui.applyToLabel.text = str(error)
        else:
            self.ui.applyToLabel.text = _("Moved: {names}.").format(names=", ".join(n.GetName() for n in chosen))
        self._update()

    def onResample(self, _checked: bool = False) -> None:
        chosen = list(self.ui.applyToSelector.checkedNodes())
        try:
            made = self.mover.resample(_chosen(self._parameters), chosen, self.ui.applyInverseCheckBox.checked)
        except RegistrationError as error:
            self.ui.applyToLabel.text = str(error)
        else:
            self.ui.applyToLabel.text = _("Made: {names}.").format(names=", ".join(n.GetName() for n in made))
        self._update()

    def onUndo(self, _checked: bool = False) -> None:
        self.mover.undo()
        self.ui.applyToLabel.text = _("Everything is back where it was.")
        self._update()

    def onFinished(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        self.mover.forget()


def _chosen(parameters: Any) -> Node | None:
    return parameters.outputTransform if parameters is not None else None


def _scoreNodes(parameters: Any) -> tuple[Node | None, ...]:
    return parameters.fixedLabels, parameters.movingLabels, parameters.fixedLandmarks, parameters.movingLandmarks
