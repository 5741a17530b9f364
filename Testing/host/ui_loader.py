"""``qt.QUiLoader``: reads a .ui file with the host's ctk and qMRML widgets, and does what Slicer's loader does."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from PySide6 import QtCore, QtUiTools, QtWidgets

from . import binding

widget_classes: dict[str, type] = {}
"""Name -> class of every widget beyond Qt's own that a .ui file may name."""
_registered: set[str] = set()


class QUiLoader(QtUiTools.QUiLoader):
    """Loader that knows :data:`widget_classes`, refuses any other class and wires the scene connections of the file.

    A selector that the file forgets to connect to ``mrmlSceneChanged`` stays without a scene, as in Slicer.
    """

    def __init__(self, parent: QtCore.QObject | None = None) -> None:
        super().__init__(parent)
        for name, cls in widget_classes.items():
            if name not in _registered:  # for all loaders that there will be
                self.registerCustomWidget(cls)
                _registered.add(name)

    def load(self, device: QtCore.QIODevice, parent: QtWidgets.QWidget | None = None) -> QtWidgets.QWidget:
        root = ET.fromstring(device.readAll().data())
        used = {w.get("class", "") for w in root.iter("widget")}
        missing = {c for c in used if not hasattr(QtWidgets, c)} - set(widget_classes)
        if missing:
            raise RuntimeError(f"the host has no widget class {sorted(missing)}")
        undeclared = {c for c in used if c in widget_classes} - {c.findtext("class") for c in root.iter("customwidget")}
        if undeclared:
            raise RuntimeError(f"the .ui file uses {sorted(undeclared)} without a <customwidget> entry")
        scene_links = _take_scene_connections(root)
        _number_custom_flags(root)
        buffer = QtCore.QBuffer()
        buffer.setData(ET.tostring(root))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        binding.loading.active = True
        try:
            widget = super().load(buffer, parent)
        finally:
            binding.loading.active = False
        if widget is None:
            raise RuntimeError(f"the .ui file does not load: {self.errorString()}")
        for sender, receiver in scene_links:
            _find(widget, sender).connect("mrmlSceneChanged(vtkMRMLScene*)", _find(widget, receiver).setMRMLScene)
        return widget


def _find(top: QtWidgets.QWidget, name: str) -> QtCore.QObject:
    found = top if top.objectName == name else top.findChild(QtCore.QObject, name)
    if found is None:
        raise RuntimeError(f"the .ui file connects {name}, which it does not define")
    return found


def _take_scene_connections(root: ET.Element) -> list[tuple[str, str]]:
    """Remove the ``mrmlSceneChanged -> setMRMLScene`` connections (Qt does not know the types) and return them."""
    taken = []
    for connections in root.iter("connections"):
        for connection in list(connections):
            signal, slot = connection.findtext("signal", ""), connection.findtext("slot", "")
            if "vtkMRMLScene" in signal:
                if (signal, slot) != ("mrmlSceneChanged(vtkMRMLScene*)", "setMRMLScene(vtkMRMLScene*)"):
                    raise RuntimeError(f"no such connection in Slicer: {signal} -> {slot}")
                taken.append((connection.findtext("sender", ""), connection.findtext("receiver", "")))
                connections.remove(connection)
    return taken


def _number_custom_flags(root: ET.Element) -> None:
    """Replace ``ctkPathLineEdit::Files|...`` by its number: Qt cannot look up flags of classes made in Python."""
    for prop in root.iter("property"):
        for element in prop.findall("set") + prop.findall("enum"):
            parts = [p.strip() for p in (element.text or "").split("|")]
            owner = widget_classes.get(parts[0].partition("::")[0])
            if owner is None:
                continue
            value = 0
            for part in parts:
                value |= getattr(owner, part.rpartition("::")[2])
            prop.remove(element)
            ET.SubElement(prop, "number").text = str(value)
