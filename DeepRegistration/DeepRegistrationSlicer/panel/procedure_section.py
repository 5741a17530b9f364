"""During a procedure: the result is kept up to date, by a watched node or by landmarks that are dragged."""

from __future__ import annotations

from typing import Any

from ..errors import RegistrationError
from ..registration.following import Following
from ..registration.report_words import verdict
from ..registration.request import Request
from ..registration.results import reportOf
from ..scene.nodes import fixedOf
from ..texts import tr as _
from ..worker.methods import MethodCatalog
from .buttons import setText
from .parameters import requestFrom, resultOf
from .section import Section


class ProcedureSection(Section):
    """Watch a node, or follow landmarks; one of them at a time."""

    def __init__(self, ui: Any, following: Following, catalog: MethodCatalog) -> None:
        self.ui, self.following, self.catalog = ui, following, catalog
        self._parameters: Any = None
        self._isWatching = False
        ui.watchButton.connect("clicked(bool)", self.onWatch)
        ui.followButton.connect("clicked(bool)", self.onFollow)
        ui.watchSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onNode)
        following.updated.connect(self._onUpdated)
        following.failed.connect(self._say)
        following.stopped.connect(self._update)

    def show(self, parameters: Any) -> None:
        self._parameters = parameters
        if parameters is None:
            self.following.stop()
        self._update()

    def _onNode(self, _node: Any) -> None:
        self._update()

    def _update(self) -> None:
        ui, parameters, isOn = self.ui, self._parameters, self.following.isFollowing
        result = resultOf(parameters)
        isResult = result is not None and bool(reportOf(result)) and fixedOf(result) is parameters.fixedVolume
        hasPoints = isResult and None not in (parameters.fixedLandmarks, parameters.movingLandmarks)
        hasNode = isResult and ui.watchSelector.currentNode() is not None
        setText(ui.watchButton, _("Stop watching") if isOn and self._isWatching else _("Watch"))
        setText(ui.followButton, _("Stop following") if isOn and not self._isWatching else _("Follow landmarks"))
        ui.watchButton.enabled = hasNode if not isOn else self._isWatching
        ui.followButton.enabled = hasPoints if not isOn else not self._isWatching
        if not isResult:
            ui.watchButton.toolTip = ui.followButton.toolTip = _("Choose a result first: that is where it begins.")
            return
        ui.watchButton.toolTip = (
            _("Each new image is registered from the last result; those that come too fast are dropped.")
            if hasNode
            else _("Choose a volume that changes, or a sequence that grows.")
        )
        ui.followButton.toolTip = (
            _("After a landmark was dragged, the result is drawn on so that the pairs fit.")
            if hasPoints
            else _("Choose landmarks of both volumes under Advanced first.")
        )

    def onWatch(self, _checked: bool = False) -> None:
        self._toggle(True)

    def onFollow(self, _checked: bool = False) -> None:
        self._toggle(False)

    def _toggle(self, isWatching: bool) -> None:
        if self.following.isFollowing:
            self.following.stop()
            self._say(_("Stopped; the result stays as it is."))
            return
        parameters, self._isWatching = self._parameters, isWatching
        try:
            if isWatching:
                self.following.watch(self._request, parameters.outputTransform, self.ui.watchSelector.currentNode())
            else:
                lists = [parameters.fixedLandmarks, parameters.movingLandmarks]
                self.following.follow(self._request, parameters.outputTransform, lists)
        except RegistrationError as error:
            self._say(str(error))
            return
        self._say(_("Waiting for a new image.") if isWatching else _("Drag a landmark."))

    def _request(self) -> Request:
        return requestFrom(self._parameters, self.catalog)[0]

    def _onUpdated(self, report: dict[str, Any]) -> None:
        said = _("Up to date: {done} registered, {dropped} dropped. {verdict}")
        self._say(said.format(done=self.following.done, dropped=self.following.dropped, verdict=verdict(report)[1]))

    def _say(self, sentence: str) -> None:
        self.ui.procedureLabel.text = sentence
        self._update()

    def close(self) -> None:
        self.following.stop()
