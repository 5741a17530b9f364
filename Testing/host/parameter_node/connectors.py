"""Which widget can show which type of parameter, and how. The pairs are Slicer's; any other pair is an error."""

from __future__ import annotations

import abc
import enum
import pathlib
from collections.abc import Callable
from typing import Any

import ctk
import qt
import slicer

from .annotations import Choice, Decimals, SingleStep, bounds, first, split
from .storage import node_classes

__all__ = ["GuiConnector", "createGuiConnector", "parameterNodeGuiConnector"]


class GuiConnector(abc.ABC):
    """Adapts a widget to a type. Subclasses are made by :func:`createGuiConnector`."""

    signal = ""
    """Name of the signal that the widget sends when the user changes it; empty for widgets that only show."""

    @staticmethod
    @abc.abstractmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        """Whether the widget can show values of the (annotated) type."""

    @classmethod
    def create(cls, widget: Any, datatype: Any) -> GuiConnector | None:
        return cls(widget, datatype) if cls.canRepresent(widget, datatype) else None

    def __init__(self, widget: Any, datatype: Any) -> None:
        self._widget = widget
        self._kind, self._annotations = split(datatype)
        self._callback: Callable[[], None] | None = None
        self._prepare()

    def _prepare(self) -> None:  # noqa: B027 - most widgets need no preparation
        """Set the widget up from the annotations."""

    def widget(self) -> Any:
        return self._widget

    def onChanged(self, callback: Callable[[], None] | None) -> None:
        """Call ``callback`` at each change of the widget; None ends that."""
        if self.signal:
            signal = getattr(self._widget, self.signal)
            if callback is None:
                signal.disconnect(self.changed)
            else:
                signal.connect(self.changed)
        self._callback = callback

    def changed(self) -> None:
        if self._callback is not None:
            self._callback()

    @abc.abstractmethod
    def read(self) -> Any:
        """The value in the widget."""

    @abc.abstractmethod
    def write(self, value: Any) -> None:
        """Show a value in the widget."""


_connectors: list[type[GuiConnector]] = []


def parameterNodeGuiConnector(cls: type[GuiConnector]) -> type[GuiConnector]:
    """Class decorator: offer a connector to :func:`createGuiConnector`."""
    _connectors.append(cls)
    return cls


def createGuiConnector(widget: Any, datatype: Any) -> GuiConnector:
    """The connector of a widget and a type; RuntimeError where Slicer has none for the pair."""
    for cls in _connectors:
        if cls.canRepresent(widget, datatype):
            connector = cls.create(widget, datatype)
            if connector is not None:
                return connector
    raise RuntimeError(f"Unable to create GUI connector from datatype '{datatype}' to widget type '{type(widget)}'")


def _is(widget: Any, *classes: type) -> bool:
    return type(widget) in classes  # as in Slicer the exact class: a subclass has no connector


@parameterNodeGuiConnector
class _CheckBox(GuiConnector):
    signal = "toggled"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return split(datatype)[0] is bool and _is(widget, qt.QCheckBox, ctk.ctkCheckBox, qt.QPushButton)

    def _prepare(self) -> None:
        self._widget.setCheckable(True)

    def read(self) -> bool:
        return self._widget.checked

    def write(self, value: bool) -> None:
        self._widget.checked = value


@parameterNodeGuiConnector
class _Integer(GuiConnector):
    signal = "valueChanged"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return split(datatype)[0] is int and _is(widget, qt.QSlider, qt.QSpinBox)

    def _prepare(self) -> None:
        low, high = bounds(self._annotations)
        if _is(self._widget, qt.QSlider) and None in (low, high):
            raise RuntimeError("A slider needs a parameter with WithinRange, or with Minimum and Maximum")
        step = first(self._annotations, SingleStep)
        if step is not None:
            self._widget.singleStep = step.value
        self._widget.setRange(-(2**31) if low is None else low, 2**31 - 1 if high is None else high)

    def read(self) -> int:
        return self._widget.value

    def write(self, value: int) -> None:
        self._widget.value = value


@parameterNodeGuiConnector
class _Float(GuiConnector):
    signal = "valueChanged"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return split(datatype)[0] is float and _is(
            widget,
            qt.QDoubleSpinBox,
            ctk.ctkSliderWidget,
            ctk.ctkDoubleSlider,
            ctk.ctkDoubleSpinBox,
            slicer.qMRMLSliderWidget,
            slicer.qMRMLSpinBox,
        )

    def _prepare(self) -> None:
        low, high = bounds(self._annotations)
        if self._widget.inherits("ctkSliderWidget") and None in (low, high):
            raise RuntimeError("A slider needs a parameter with WithinRange, or with Minimum and Maximum")
        decimals, step = first(self._annotations, Decimals), first(self._annotations, SingleStep)
        if decimals is not None:
            self._widget.decimals = decimals.value
        if step is not None:
            self._widget.singleStep = step.value
        self._widget.minimum = -1e308 if low is None else low
        self._widget.maximum = 1e308 if high is None else high

    def read(self) -> float:
        return self._widget.value

    def write(self, value: float) -> None:
        self._widget.value = value


@parameterNodeGuiConnector
class _Selection(GuiConnector):
    """A combo box for a Choice or an Enum. It fills itself: what the .ui file lists is dropped."""

    signal = "currentIndexChanged"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        kind, _ = split(datatype)
        simple = kind in (int, float, str, bool) or (isinstance(kind, type) and issubclass(kind, enum.Enum))
        return _is(widget, qt.QComboBox) and simple

    def _prepare(self) -> None:
        if isinstance(self._kind, type) and issubclass(self._kind, enum.Enum):
            label = getattr(self._kind, "label", lambda member: member.name)
            self._values = list(self._kind)
            texts = [label(member) for member in self._values]
        else:
            choice = first(self._annotations, Choice)
            if choice is None:
                raise RuntimeError("A combo box needs a parameter with the Choice annotation")
            self._values = list(choice.choices)
            texts = [str(value) for value in self._values]
        self._widget.clear()
        self._widget.addItems(texts)

    def read(self) -> Any:
        return self._values[self._widget.currentIndex]

    def write(self, value: Any) -> None:
        if value not in self._values:
            raise ValueError(f"Unable to find value {value} in choices {self._values}")
        self._widget.currentIndex = self._values.index(value)


@parameterNodeGuiConnector
class _LineEdit(GuiConnector):
    signal = "textChanged"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return split(datatype)[0] is str and _is(widget, qt.QLineEdit)

    def read(self) -> str:
        return self._widget.text

    def write(self, value: str) -> None:
        if value != self._widget.text:
            self._widget.text = value


@parameterNodeGuiConnector
class _TextEdit(GuiConnector):
    signal = "textChanged"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return split(datatype)[0] is str and _is(widget, qt.QTextEdit)

    def read(self) -> str:
        return self._widget.toPlainText()

    def write(self, value: str) -> None:
        if value != self._widget.toPlainText():
            self._widget.setPlainText(value)


@parameterNodeGuiConnector
class _Text(GuiConnector):
    """A label shows a text and never changes it."""

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return split(datatype)[0] is str and _is(widget, qt.QLabel)

    def read(self) -> str:
        return self._widget.text

    def write(self, value: str) -> None:
        self._widget.text = value


@parameterNodeGuiConnector
class _Path(GuiConnector):
    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        kind, _ = split(datatype)
        is_path = isinstance(kind, type) and issubclass(kind, pathlib.PurePath)
        return is_path and _is(widget, ctk.ctkPathLineEdit, ctk.ctkDirectoryButton)

    def _prepare(self) -> None:
        is_line = _is(self._widget, ctk.ctkPathLineEdit)
        self._name = "currentPath" if is_line else "directory"
        self.signal = "currentPathChanged" if is_line else "directoryChanged"

    def read(self) -> Any:
        return self._kind(getattr(self._widget, self._name))

    def write(self, value: Any) -> None:
        setattr(self._widget, self._name, str(value))


@parameterNodeGuiConnector
class _Node(GuiConnector):
    """A node selector; the types it offers become those of the parameter."""

    signal = "currentNodeChanged"

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        return _is(widget, slicer.qMRMLNodeComboBox) and bool(node_classes(datatype))

    def _prepare(self) -> None:
        self._widget.nodeTypes = node_classes(self._kind)

    def read(self) -> Any:
        return self._widget.currentNode()

    def write(self, value: Any) -> None:
        self._widget.setCurrentNode(value)
