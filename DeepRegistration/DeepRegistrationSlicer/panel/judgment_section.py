"""Judgment: whether to trust the chosen result, and the numbers."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import qt

from DeepRegistrationLib.quality.verdict import VERDICT_COLORS

from ..errors import RegistrationError
from ..registration import report_words, results
from ..registration.scorer import Scorer
from ..scene import views
from ..scene.nodes import Node
from ..texts import tr as _
from ..viewing import report_page
from .buttons import pathOf
from .parameters import resultOf
from .section import Section


class JudgmentSection(Section):
    """Green, amber or red with the reason, and the numbers."""

    def __init__(self, ui: Any, scorer: Scorer) -> None:
        self.ui, self.scorer = ui, scorer
        self._parameters: Any = None
        self._message = ""
        ui.scoreButton.connect("clicked(bool)", self.onScore)
        ui.exportButton.connect("clicked(bool)", self.onExport)
        ui.placeButton.connect("clicked(bool)", self.onPlace)
        ui.noteEdit.connect("editingFinished()", self.onNote)
        self._noted: tuple[Any, Any] = (None, None)
        scorer.finished.connect(self._onScored)
        scorer.failed.connect(self._say)

    def show(self, parameters: Any) -> None:
        self._parameters = parameters
        report = results.reportOf(resultOf(parameters))
        kind, words = report_words.verdict(report)
        text = html.escape(words)
        if kind:
            color = VERDICT_COLORS[kind]
            text = f'<span style="color:{color}; font-size:large">&#9679;</span> <b>{text}</b>'
        if self._message:
            text += f"<br>{html.escape(self._message)}"
        self.ui.verdictLabel.text = text
        self.ui.placeButton.visible = report_words.placeToLook(report) is not None
        self.ui.reportLabel.text = report_words.toHtml(report)
        for widget in (self.ui.exportButton, self.ui.scoreButton, self.ui.noteEdit):
            widget.enabled = bool(report)
        noted = resultOf(parameters), report.get("made")
        if noted != self._noted:  # else it may be what is being typed
            self._noted = noted
            self.ui.noteEdit.text = str(report.get("note", ""))

    def onFinished(self) -> None:
        """A registration has just finished: show the section, and score it if the user has labels or landmarks."""
        self._message = ""
        self.ui.judgmentButton.collapsed = False
        if self._parameters is not None:
            labels, landmarks = _scoreNodes(self._parameters)
            # What is chosen of one side alone is there for other things, such as curves of motion.
            pairs = [pair if None not in pair else (None, None) for pair in (labels, landmarks)]
            if any(pair[0] for pair in pairs):
                self._score(*pairs[0], *pairs[1])

    def onScore(self, _checked: bool = False) -> None:
        labels, landmarks = _scoreNodes(self._parameters)
        self._score(*labels, *landmarks)

    def _score(self, *chosen: Node | None) -> None:
        self._message = ""
        try:
            self.scorer.score(resultOf(self._parameters), *chosen)
        except RegistrationError as error:
            self._say(str(error))

    def _onScored(self, _transformNode: Node) -> None:
        self._say("")

    def _say(self, message: str) -> None:
        self._message = message
        self.show(self._parameters)

    def onPlace(self, _checked: bool = False) -> None:
        """Bring the slice views to the part that the verdict says is lost."""
        place = report_words.placeToLook(results.reportOf(resultOf(self._parameters)))
        if place is not None:
            views.jumpTo(place)

    def onNote(self) -> None:
        """Keep the user's words with the result."""
        node, text = resultOf(self._parameters), self.ui.noteEdit.text.strip()
        report = results.reportOf(node)
        if report and (node, report.get("made")) == self._noted and text != report.get("note", ""):
            results.setReport(node, {**report, "note": text})

    def onExport(self, _checked: bool = False) -> None:
        node = resultOf(self._parameters)
        chosen = qt.QFileDialog.getSaveFileName(
            self.ui.exportButton,
            _("Export the report"),
            f"{node.GetName()}.html",
            _("Web page (*.html);;Numbers (*.json)"),
        )
        path = pathOf(chosen)
        if path is not None:
            self.export(path)

    def export(self, path: Path) -> None:
        """Write the report as a web page, or where the name ends so as JSON."""
        self.onNote()
        try:
            report_page.write(resultOf(self._parameters), path)
        except RegistrationError as error:
            self._say(str(error))
        else:
            self._say(_("Written to {path}.").format(path=path))

    def close(self) -> None:
        self.scorer.answer.end()


def _scoreNodes(parameters: Any) -> tuple[tuple[Node | None, Node | None], tuple[Node | None, Node | None]]:
    """Labels and landmarks, each of the fixed and of the moving volume."""
    labels = parameters.fixedLabels, parameters.movingLabels
    return labels, (parameters.fixedLandmarks, parameters.movingLandmarks)
