"""The flat ``qt`` module that Slicer gives to Python: QtCore, QtGui and QtWidgets in one namespace."""

from __future__ import annotations

import ctypes
import os
import sys
import types
from collections.abc import Callable
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
if "DISPLAY" not in os.environ:
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")  # else VTK complains that X is missing

from PySide6 import QtCore, QtGui, QtWidgets

from . import binding, connections

# PySide's ways to declare signals and properties in Python; older Slicers have none of them.
_ABSENT = {"Signal", "SignalInstance", "Slot", "Property", "ClassInfo", "QEnum", "QFlag", "SIGNAL", "SLOT"}


def _keep_singletons_alive() -> None:
    """Give None, True and False so many references that they never run out.

    PySide6 6.12 returns them without counting the reference (6.11 counts it). From Python 3.12 on that is right; with
    Python 3.11 the count sinks with every call that returns None, until the interpreter aborts.
    """
    if sys.version_info < (3, 12):
        for singleton in (None, True, False):
            ctypes.c_ssize_t.from_address(id(singleton)).value += 1 << 40


def _single_shot(milliseconds: int, target: Callable[[], Any]) -> None:
    """``qt.QTimer.singleShot``: as everywhere in the host, an exception in ``target`` is reported, not lost."""
    _pyside_single_shot(milliseconds, connections.guarded(target))


_pyside_single_shot = QtCore.QTimer.singleShot
_HARMLESS = ("This plugin does not support propagateSizeHints()",)


def _on_qt_message(_kind: QtCore.QtMsgType, _context: QtCore.QMessageLogContext, text: str) -> None:
    if text not in _HARMLESS:
        sys.stderr.write(f"Qt: {text}\n")


def install() -> QtWidgets.QApplication:
    """Start the Qt application, dress PySide6 and register the module ``qt``."""
    _keep_singletons_alive()
    QtCore.qInstallMessageHandler(_on_qt_message)
    arguments = ["SlicerHost", "-platform", os.environ["QT_QPA_PLATFORM"]]
    application = QtWidgets.QApplication.instance() or QtWidgets.QApplication(arguments)
    qt = types.ModuleType("qt", __doc__)
    classes = set()
    for module in (QtCore, QtGui, QtWidgets):
        for name in dir(module):  # not vars(): PySide makes its classes on first use
            if name.startswith("_") or name in _ABSENT:
                continue
            value = getattr(module, name)
            setattr(qt, name, value)
            if isinstance(value, type) and type(value).__name__ == "ObjectType":
                classes.add(value)
    binding.dress(*classes)
    QtCore.QTimer.singleShot = staticmethod(_single_shot)
    for cls in (QtWidgets.QDialog, QtWidgets.QApplication, QtWidgets.QMenu, QtCore.QEventLoop):
        cls.exec_ = cls.exec
    from . import ui_loader

    qt.QUiLoader = ui_loader.QUiLoader
    sys.modules["qt"] = qt
    return application
