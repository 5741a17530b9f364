"""Stand-ins for the CTK widgets a module panel uses, as the module ``ctk``.

Only what CTK shows to Python is there: properties, slots and signals. A plain C++ setter that is no slot
(``ctkCollapsibleButton.setCollapsed``) does not exist in PythonQt, so it does not exist here either.
"""

from __future__ import annotations

import sys
import types
from typing import Any, ClassVar

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from . import ui_loader
from .binding import native
from .connections import connect_weakly
from .stored_property import stored


def _row(widget: QtWidgets.QWidget, *parts: QtWidgets.QWidget) -> None:
    layout = QtWidgets.QHBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    for index, part in enumerate(parts):
        layout.addWidget(part, 1 if index == 0 else 0)


@native
class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A header that shows or hides its children."""

    contentsCollapsed = Signal(bool)
    host_signals: ClassVar[dict[str, str]] = {"contentsCollapsed(bool)": "contentsCollapsed"}
    _HEAD = 26
    _WANTED = "visibilityToParent"  # dynamic property of a child: shown when the button is open

    collapsedHeight = stored("int", 10)
    contentsFrameShape = stored("int", 0)
    contentsFrameShadow = stored("int", 0)
    contentsLineWidth = stored("int", 1)
    contentsMidLineWidth = stored("int", 0)

    def __init__(self, *args: Any) -> None:
        texts = [a for a in args if isinstance(a, str)]
        parents = [a for a in args if isinstance(a, QtWidgets.QWidget)]
        self._collapsed = False
        super().__init__(parents[0] if parents else None)
        self.setText(texts[0] if texts else "")
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Preferred, QtWidgets.QSizePolicy.Policy.Preferred)
        self.setContentsMargins(0, self._HEAD, 0, 0)
        connect_weakly(self, "toggled(bool)", self._on_toggled)

    def _on_toggled(self, on: bool) -> None:
        self._set_collapsed(not on)

    def _set_collapsed(self, value: bool) -> None:
        if value == self._collapsed:
            return
        self._collapsed = value
        self.setChecked(not value)
        for child in self._widgets():
            if value:
                child.setProperty(self._WANTED, not child.isHidden())
                child.setVisible(False)
            elif child.property(self._WANTED):
                child.setVisible(True)
        self.updateGeometry()
        self.update()
        self.contentsCollapsed.emit(value)

    def _widgets(self) -> list[QtWidgets.QWidget]:
        return [child for child in self.children() if child.isWidgetType()]

    def event(self, event: QtCore.QEvent) -> bool:
        handled = super().event(event)
        kinds = QtCore.QEvent.Type
        if self._collapsed and event.type() in (kinds.LayoutRequest, kinds.ChildPolished, kinds.Show):
            for child in self._widgets():  # added or shown while collapsed: it waits until the button opens
                if not child.isHidden():
                    child.setProperty(self._WANTED, True)
                    child.setVisible(False)
        return handled

    collapsed = Property(bool, lambda self: self._collapsed, _set_collapsed)

    def sizeHint(self) -> QtCore.QSize:
        layout = self.layout()
        inner = layout.totalSizeHint() if layout and not self._collapsed else QtCore.QSize(0, 0)
        return QtCore.QSize(max(inner.width(), 120), max(inner.height(), self._HEAD))

    def minimumSizeHint(self) -> QtCore.QSize:
        layout = self.layout()
        inner = layout.totalMinimumSize() if layout and not self._collapsed else QtCore.QSize(0, 0)
        return QtCore.QSize(max(inner.width(), 120), max(inner.height(), self._HEAD))

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtWidgets.QStylePainter(self)
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width, self._HEAD - 2)
        painter.drawControl(QtWidgets.QStyle.ControlElement.CE_PushButtonBevel, option)
        arrow = (
            "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}" if self._collapsed else "\N{BLACK DOWN-POINTING SMALL TRIANGLE}"
        )
        place = option.rect.adjusted(8, 0, -8, 0)
        painter.drawText(place, QtCore.Qt.AlignmentFlag.AlignVCenter, f"{arrow}  {self.text}")

    def hitButton(self, position: QtCore.QPoint) -> bool:
        return position.y() < self._HEAD


@native
class ctkCollapsibleGroupBox(QtWidgets.QGroupBox):
    """A group box that folds."""

    collapsed = stored("bool", False)
    collapsedHeight = stored("int", 14)

    def _property_changed(self) -> None:
        for child in self.children():
            if child.isWidgetType():
                child.setVisible(not self.collapsed)


@native
class ctkSliderWidget(QtWidgets.QWidget):
    """A slider and a spin box that move together."""

    valueChanged = Signal(float)
    valueIsChanging = Signal(float)
    host_signals: ClassVar[dict[str, str]] = {
        "valueChanged(double)": "valueChanged",
        "valueIsChanging(double)": "valueIsChanging",
    }

    minimum = stored("double", 0.0)
    maximum = stored("double", 99.0)
    singleStep = stored("double", 1.0)
    pageStep = stored("double", 10.0)
    decimals = stored("int", 2)
    prefix = stored("QString", "")
    suffix = stored("QString", "")
    tickInterval = stored("double", 0.0)
    tracking = stored("bool", True)
    spinBoxVisible = stored("bool", True)
    popupSlider = stored("bool", False)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal, self)
        self._spin = QtWidgets.QDoubleSpinBox(self)
        _row(self, self._slider, self._spin)
        self._syncing = False
        self._property_changed()
        connect_weakly(self._spin, "valueChanged(double)", self._on_spin)
        connect_weakly(self._slider, "valueChanged(int)", self._on_slider)

    def _property_changed(self) -> None:
        self._spin.setDecimals(self.decimals)
        self._spin.setRange(self.minimum, self.maximum)
        self._spin.setSingleStep(self.singleStep)
        self._spin.setPrefix(self.prefix)
        self._spin.setSuffix(self.suffix)
        self._spin.setVisible(self.spinBoxVisible)
        self._sync_slider()

    def _sync_slider(self) -> None:
        step = self.singleStep or 1.0
        span = min(self.maximum - self.minimum, 1e9 * step)
        self._syncing = True
        self._slider.setRange(0, max(0, round(span / step)))
        self._slider.setValue(round((self._spin.value - self.minimum) / step))
        self._syncing = False

    def _on_slider(self, position: int) -> None:
        if not self._syncing:
            self._spin.setValue(self.minimum + position * (self.singleStep or 1.0))

    def _on_spin(self, value: float) -> None:
        self._sync_slider()
        self.valueChanged.emit(value)

    def setValue(self, value: float) -> None:
        self._spin.setValue(value)

    def reset(self) -> None:
        self._spin.setValue(0.0)

    def setSpinBoxVisible(self, visible: bool) -> None:
        self.setProperty("spinBoxVisible", visible)

    value = Property("double", lambda self: self._spin.value, setValue)


@native
class ctkDoubleSlider(ctkSliderWidget):
    """The bare slider; here with its spin box hidden."""

    def __init__(self, *args: Any) -> None:
        parents = [a for a in args if isinstance(a, QtWidgets.QWidget)]
        super().__init__(parents[0] if parents else None)
        self._spin.hide()


@native
class ctkRangeWidget(QtWidgets.QWidget):
    """Two bounds within a range."""

    valuesChanged = Signal(float, float)
    host_signals: ClassVar[dict[str, str]] = {"valuesChanged(double,double)": "valuesChanged"}

    minimum = stored("double", 0.0)
    maximum = stored("double", 99.0)
    singleStep = stored("double", 1.0)
    decimals = stored("int", 2)
    suffix = stored("QString", "")

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._low, self._high = QtWidgets.QDoubleSpinBox(self), QtWidgets.QDoubleSpinBox(self)
        _row(self, self._low, self._high)
        self._property_changed()
        self._high.setValue(99.0)
        for spin in (self._low, self._high):
            connect_weakly(spin, "valueChanged(double)", self._on_changed)

    def _property_changed(self) -> None:
        for spin in (self._low, self._high):
            spin.setDecimals(self.decimals)
            spin.setRange(self.minimum, self.maximum)
            spin.setSingleStep(self.singleStep)

    def _on_changed(self) -> None:
        self.valuesChanged.emit(self._low.value, self._high.value)

    def setRange(self, minimum: float, maximum: float) -> None:
        self.setProperty("minimum", minimum)
        self.setProperty("maximum", maximum)

    def setMinimumValue(self, value: float) -> None:
        self._low.setValue(value)

    def setMaximumValue(self, value: float) -> None:
        self._high.setValue(value)

    def setValues(self, low: float, high: float) -> None:
        self._low.setValue(low)
        self._high.setValue(high)

    minimumValue = Property("double", lambda self: self._low.value, setMinimumValue)
    maximumValue = Property("double", lambda self: self._high.value, setMaximumValue)


@native
class ctkPathLineEdit(QtWidgets.QWidget):
    """A path and its browse button."""

    Dirs, Files, Drives, NoSymLinks, AllEntries = 0x1, 0x2, 0x4, 0x8, 0x7
    Readable, Writable, Executable, Hidden, System = 0x10, 0x20, 0x40, 0x100, 0x200
    NoDotAndDotDot, NoDot, NoDotDot = 0x1000, 0x2000, 0x4000

    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)
    host_signals: ClassVar[dict[str, str]] = {
        "currentPathChanged(QString)": "currentPathChanged",
        "validInputChanged(bool)": "validInputChanged",
    }

    filters = stored("int", 0x7)
    nameFilters = stored("QStringList", [])
    label = stored("QString", "")
    settingKey = stored("QString", "")
    options = stored("int", 0)
    showBrowseButton = stored("bool", True)
    showHistoryButton = stored("bool", True)
    minimumContentsLength = stored("int", 0)

    def __init__(self, *args: Any) -> None:
        parents = [a for a in args if isinstance(a, QtWidgets.QWidget)]
        super().__init__(parents[0] if parents else None)
        self._edit = QtWidgets.QLineEdit(self)
        self._browse = QtWidgets.QToolButton(self)
        self._browse.setText("...")
        _row(self, self._edit, self._browse)
        connect_weakly(self._edit, "textChanged(QString)", self._on_text)

    def _on_text(self, text: str) -> None:
        self.currentPathChanged.emit(text)

    def _property_changed(self) -> None:
        self._browse.setVisible(self.showBrowseButton)

    def setCurrentPath(self, path: str) -> None:
        self._edit.setText(path)

    def addCurrentPathToHistory(self) -> None:
        """The history is a matter of the user's settings, which the host does not keep."""

    def retrieveHistory(self) -> None:
        """See addCurrentPathToHistory."""

    currentPath = Property("QString", lambda self: self._edit.text, setCurrentPath)


@native
class ctkDirectoryButton(QtWidgets.QPushButton):
    """A button that holds a directory."""

    directoryChanged = Signal(str)
    directorySelected = Signal(str)
    host_signals: ClassVar[dict[str, str]] = {
        "directoryChanged(QString)": "directoryChanged",
        "directorySelected(QString)": "directorySelected",
    }
    directory = stored("QString", "", notify="directoryChanged")
    caption = stored("QString", "")

    def _property_changed(self) -> None:
        self.setText(self.directory)


@native
class ctkCheckBox(QtWidgets.QCheckBox):
    """As QCheckBox."""


@native
class ctkComboBox(QtWidgets.QComboBox):
    """A combo box with a text for "nothing chosen"."""

    defaultText = stored("QString", "")

    def _property_changed(self) -> None:
        self.setPlaceholderText(self.defaultText)


@native
class ctkDoubleSpinBox(QtWidgets.QDoubleSpinBox):
    """As QDoubleSpinBox."""


@native
class ctkPushButton(QtWidgets.QPushButton):
    """As QPushButton."""


@native
class ctkMenuButton(QtWidgets.QPushButton):
    """As QPushButton."""


@native
class ctkFittedTextBrowser(QtWidgets.QTextBrowser):
    """As QTextBrowser; the height does not follow the text here."""

    collapsed = stored("bool", True)
    collapsibleText = stored("QString", "")


@native
class ctkMessageBox(QtWidgets.QMessageBox):
    """A message box that can be silenced."""

    dontShowAgainSettingsKey = stored("QString", "")
    dontShowAgainVisible = stored("bool", False)


def install() -> types.ModuleType:
    """Register the module ``ctk`` and its widgets with the .ui loader."""
    ctk = types.ModuleType("ctk", __doc__)
    for name, value in globals().items():
        if name.startswith("ctk"):
            setattr(ctk, name, value)
            ui_loader.widget_classes[name] = value
    sys.modules["ctk"] = ctk
    return ctk
