"""Takes pictures of the panel and of the slice views, small enough for a repository."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from PySide6 import QtCore, QtTest, QtWidgets

from Testing.host import interact

WIDTH = 440
"""Slicer's own panels are below 450 pixels."""


def tab_order(first: Any, controls: list[Any]) -> list[Any]:
    """The controls in the order in which the Tab key comes to them, once round from the first one: it is pressed."""
    window, order = first.window(), []
    window.activateWindow()
    first.setFocus()
    for _ in range(10 * len(controls)):
        widget = QtWidgets.QApplication.focusWidget()
        while widget is not None and widget not in controls:
            widget = widget.parentWidget()
        if widget is first and len(order) > 1:
            break
        if widget is not None and widget not in order:
            order.append(widget)
        QtTest.QTest.keyClick(QtWidgets.QApplication.focusWidget() or window, QtCore.Qt.Key.Key_Tab)
    return order


class Camera:
    """Takes pictures of the panel and of the slice views into a folder."""

    def __init__(self, running: Any, widget: Any, folder: Path) -> None:
        self._running, self._widget, self._folder = running, widget, folder

    def panel(self, name: str) -> None:
        for _again in range(4):  # word-wrapped labels and selectors settle slowly
            interact.process_events(50)
            self._widget.resize(WIDTH, self._widget.layout().totalHeightForWidth(WIDTH))
        interact.process_events(50)
        path = self._folder / f"{name}.png"
        self._widget.grab().save(str(path))
        Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)

    def numbered(self, name: str, first: Any, controls: list[Any]) -> None:
        """The panel, with the number of each control in the order in which the Tab key comes to it."""
        self.panel(name)
        path = self._folder / f"{name}.png"
        picture = Image.open(path).convert("RGB")
        draw = ImageDraw.Draw(picture)
        for number, control in enumerate(tab_order(first, controls), 1):
            corner = control.mapTo(self._widget, QtCore.QPoint(0, 0))
            wide = control.width > 150  # has room at its end; beside what is narrow there is some
            aside = control.width - 42 if wide else -15
            place = (max(corner.x() + aside, 2), corner.y() + min(control.height, 24) // 2 - 7)  # at a section's head
            box = draw.textbbox(place, str(number), font_size=11)
            draw.rectangle((box[0] - 2, box[1] - 2, box[2] + 2, box[3] + 2), fill=(200, 30, 30))
            draw.text(place, str(number), fill=(255, 255, 255), font_size=11)
        picture.quantize(256).save(path, optimize=True)

    def views(self, name: str, *names: str) -> None:
        self.pictures(name, [self._running.slice_view(view).render() for view in names or ("Red", "Yellow", "Green")])

    def now(self) -> np.ndarray:
        """What one slice view shows at this moment."""
        return np.array(self._running.slice_view("Red").render())

    def picture(self, name: str, png: bytes) -> None:
        Image.open(io.BytesIO(png)).convert("RGB").quantize(256).save(self._folder / f"{name}.png", optimize=True)

    def pictures(self, name: str, pictures: list[np.ndarray]) -> None:
        picture = Image.fromarray(np.concatenate(pictures, axis=1))
        picture.resize((picture.width * 2 // 3, picture.height * 2 // 3)).quantize(256).save(
            self._folder / f"{name}.png", optimize=True
        )
