"""Look: the chosen result in the slice views."""

from __future__ import annotations

from typing import Any

from ..errors import RegistrationError
from ..scene import nodes
from ..texts import tr as _
from ..viewing.looks import Look, Viewer
from .buttons import setText
from .parameters import resultOf
from .section import Section


class LookSection(Section):
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
        node = resultOf(parameters)
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
        if resultOf(self._parameters) is not None and self.ui.beforeButton.enabled:
            self._apply(self.viewer.look or Look.OVERLAY)

    def _apply(self, look: Look) -> None:
        if self._isShowing:
            return
        self._isShowing = True
        try:
            self.viewer.show(
                look, resultOf(self._parameters), not self.ui.beforeButton.checked, self._parameters.opacity
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
