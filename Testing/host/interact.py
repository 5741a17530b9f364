"""What a user does to a panel, for tests: click, choose, check, wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore, QtTest

from .node_combo_box import ACTION, NODE_ID


def process_events(milliseconds: int = 0) -> None:
    """Let the event loop run: what is pending, then for ``milliseconds`` more."""
    end = time.monotonic() + milliseconds / 1000
    while True:
        QtCore.QCoreApplication.processEvents()
        QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)
        if time.monotonic() >= end:
            return
        time.sleep(0.005)


def wait_until(condition: Callable[[], Any], seconds: float = 30.0, what: str = "") -> None:
    """Let the event loop run until ``condition()`` is true; AssertionError after ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s in vain for {what or condition}")
        process_events(10)


def click(button: Any) -> None:
    """Click a button with the mouse. A button that a user could not click is an error."""
    if not button.isVisible() or not button.enabled:
        state = "hidden" if not button.isVisible() else "disabled"
        raise AssertionError(f"{button.objectName or button.text} is {state}: a user cannot click it")
    position = QtCore.QPoint(10, min(10, button.height // 2))
    QtTest.QTest.mouseClick(button, QtCore.Qt.MouseButton.LeftButton, QtCore.Qt.KeyboardModifier.NoModifier, position)
    process_events()


def choose(combo: Any, text: str) -> None:
    """Choose the entry ``text`` of a combo box or of a node selector (a node's name, "None", or an action)."""
    inner = getattr(combo, "_combo", combo)
    index = inner.findText(text)
    if not inner.enabled or index < 0:
        entries = [inner.itemText(i) for i in range(inner.count)]
        raise AssertionError(f"{combo.objectName} offers no {text!r}, it offers {entries} (enabled: {inner.enabled})")
    inner.setCurrentIndex(index)
    inner.activated.emit(index)
    process_events()


def entries(combo: Any) -> list[str]:
    """Texts of the entries of a combo box; of a node selector, the names of its nodes."""
    inner = getattr(combo, "_combo", combo)
    is_selector = inner is not combo
    return [inner.itemText(i) for i in range(inner.count) if not is_selector or inner.itemData(i, NODE_ID)]


def actions(selector: Any) -> list[str]:
    """Texts of the actions that a node selector offers below its nodes."""
    inner = selector._combo
    return [inner.itemText(i) for i in range(inner.count) if inner.itemData(i, ACTION)]


def check(selector: Any, name: str, on: bool = True) -> None:
    """Set or remove the tick of node ``name`` in a checkable node selector."""
    inner = selector._combo
    index = inner.findText(name)
    if index < 0:
        raise AssertionError(f"{selector.objectName} offers no {name!r}, it offers {entries(selector)}")
    state = QtCore.Qt.CheckState.Checked if on else QtCore.Qt.CheckState.Unchecked
    inner.model().item(index).setCheckState(state)
    process_events()


def type_text(edit: Any, text: str) -> None:
    """Replace the text of a line edit by typing."""
    edit.selectAll()
    QtTest.QTest.keyClicks(edit, text)
    process_events()
