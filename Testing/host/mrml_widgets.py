"""Stand-ins for Slicer's scene-aware widgets, except the node selectors (:mod:`.node_combo_box`)."""

from __future__ import annotations

from typing import Any, ClassVar

from PySide6 import QtWidgets
from PySide6.QtCore import Signal

from .binding import native
from .ctk_widgets import ctkDoubleSpinBox, ctkRangeWidget, ctkSliderWidget
from .stored_property import stored

SCENE_SIGNAL = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}


class SceneWidget:
    """What every qMRML widget shares: it is given the scene and passes it on."""

    _scene: Any = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._scene:
            return
        self._scene = scene
        self._scene_changed()
        signal = getattr(self, "mrmlSceneChanged", None)
        if signal is not None:
            signal.emit(scene)

    def _scene_changed(self) -> None:
        """Hook for the widgets that show something of the scene."""


@native
class qMRMLWidget(SceneWidget, QtWidgets.QWidget):
    mrmlSceneChanged = Signal(object)
    host_signals: ClassVar[dict[str, str]] = SCENE_SIGNAL


@native
class qSlicerWidget(SceneWidget, QtWidgets.QWidget):
    mrmlSceneChanged = Signal(object)
    host_signals: ClassVar[dict[str, str]] = SCENE_SIGNAL


@native
class qMRMLSliderWidget(SceneWidget, ctkSliderWidget):
    quantity = stored("QString", "")
    unitAwareProperties = stored("int", 0)


@native
class qMRMLSpinBox(SceneWidget, ctkDoubleSpinBox):
    quantity = stored("QString", "")


@native
class qMRMLRangeWidget(SceneWidget, ctkRangeWidget):
    quantity = stored("QString", "")


@native
class qMRMLTableView(SceneWidget, QtWidgets.QTableView):
    """Shows nothing; remembers its table node."""

    def setMRMLTableNode(self, node: Any) -> None:
        self._node = node

    def mrmlTableNode(self) -> Any:
        return getattr(self, "_node", None)


WIDGETS = (qMRMLWidget, qSlicerWidget, qMRMLSliderWidget, qMRMLSpinBox, qMRMLRangeWidget, qMRMLTableView)
