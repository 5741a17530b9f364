"""qMRMLCheckableNodeComboBox: a node selector in which several nodes can be ticked."""

from __future__ import annotations

from typing import Any, ClassVar

from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Signal

from .binding import native
from .connections import connect_weakly
from .node_combo_box import NODE_ID, qMRMLNodeComboBox


@native
class qMRMLCheckableNodeComboBox(qMRMLNodeComboBox):
    """A node list in which several nodes can be checked; the checks live in the widget alone."""

    checkedNodesChanged = Signal()
    host_signals: ClassVar[dict[str, str]] = {"checkedNodesChanged()": "checkedNodesChanged"}

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        self._checked: set[str] = set()
        super().__init__(parent)
        connect_weakly(self._combo.model(), "itemChanged(QStandardItem*)", self._on_item_changed)

    def _rebuild(self, just_given_scene: bool = False) -> None:
        super()._rebuild(just_given_scene)
        before = set(self._checked)
        self._checked &= {node.GetID() for node in self._nodes()}
        self._show_checks()
        if before != self._checked:
            self.checkedNodesChanged.emit()

    def _show_checks(self) -> None:
        self._rebuilding = True
        states = QtCore.Qt.CheckState
        for index in range(self._combo.count):
            identifier = self._combo.itemData(index, NODE_ID)
            if identifier:
                item = self._combo.model().item(index)
                item.setCheckable(True)
                item.setCheckState(states.Checked if identifier in self._checked else states.Unchecked)
        self._rebuilding = False

    def _on_item_changed(self, item: Any) -> None:
        identifier = item.data(NODE_ID)
        if not self._rebuilding and identifier and item.isCheckable():
            self._set_checked(identifier, item.checkState() == QtCore.Qt.CheckState.Checked)

    def _set_checked(self, identifier: str, on: bool) -> None:
        before = set(self._checked)
        (self._checked.add if on else self._checked.discard)(identifier)
        if before != self._checked:
            self._show_checks()
            self.checkedNodesChanged.emit()

    def checkedNodes(self) -> tuple[Any, ...]:
        return tuple(node for node in self._nodes() if node.GetID() in self._checked)

    def uncheckedNodes(self) -> tuple[Any, ...]:
        return tuple(node for node in self._nodes() if node.GetID() not in self._checked)

    def allChecked(self) -> bool:
        return not self.uncheckedNodes()

    def noneChecked(self) -> bool:
        return not self.checkedNodes()

    def checkState(self, node: Any) -> QtCore.Qt.CheckState:
        on = node is not None and node.GetID() in self._checked
        return QtCore.Qt.CheckState.Checked if on else QtCore.Qt.CheckState.Unchecked

    def setCheckState(self, node: Any, state: QtCore.Qt.CheckState) -> None:
        if node is not None and self._combo.findData(node.GetID(), NODE_ID) >= 0:
            self._set_checked(node.GetID(), state == QtCore.Qt.CheckState.Checked)

    def check(self, node: Any) -> None:
        self.setCheckState(node, QtCore.Qt.CheckState.Checked)

    def uncheck(self, node: Any) -> None:
        self.setCheckState(node, QtCore.Qt.CheckState.Unchecked)
