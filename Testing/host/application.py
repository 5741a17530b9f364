"""``slicer.app``, ``slicer.modules`` and the main window."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import slicer
import slicer.util
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

from . import layout_manager, mrml_widgets, ui_loader
from .binding import native
from .checkable_node_combo_box import qMRMLCheckableNodeComboBox
from .io_manager import CoreIOManager
from .layout_manager import qSlicerLayoutManager
from .mrml_scene import MrmlApplication
from .node_combo_box import qMRMLNodeComboBox


class Module:
    """An entry of ``slicer.modules``: name, title, path, logic and panel of a module."""

    def __init__(
        self,
        name: str,
        logic: Any = None,
        path: str = "",
        title: str = "",
        make_widget: Callable[[], Any] | None = None,
        python: Any = None,
    ) -> None:
        self.name, self.path, self.title = name, path, title or name
        self.python = python
        self._logic, self._make_widget, self._widget = logic, make_widget, None

    def logic(self) -> Any:
        return self._logic

    def widgetRepresentation(self) -> Any:
        """The module's panel, made on the first call as when the user opens the module."""
        if self._widget is None and self._make_widget is not None:
            self._widget = self._make_widget()
        return self._widget

    def createNewWidgetRepresentation(self) -> Any:
        return self._make_widget() if self._make_widget is not None else None


@native
class qSlicerModuleManager(QtCore.QObject):
    """Knows the modules by name."""

    moduleAboutToBeUnloaded = Signal(str)
    moduleLoaded = Signal(str)
    host_signals: ClassVar[dict[str, str]] = {
        "moduleAboutToBeUnloaded(QString)": "moduleAboutToBeUnloaded",
        "moduleLoaded(QString)": "moduleLoaded",
    }

    def __init__(self) -> None:
        super().__init__()
        self._modules: dict[str, Module] = {}

    def _register(self, module: Module) -> None:
        self._modules[module.name] = module
        setattr(slicer.modules, module.name.lower(), module)
        setattr(slicer.moduleNames, module.name, module.name)

    def _forget(self, name: str) -> None:
        del self._modules[name]
        for registry, key in ((slicer.modules, name.lower()), (slicer.moduleNames, name)):
            if hasattr(registry, key):
                delattr(registry, key)
        slicer.app.__dict__["_main_window"].moduleSelector()._forget(name)

    def module(self, name: str) -> Module | None:
        return self._modules.get(name)

    def modulesNames(self) -> tuple[str, ...]:
        return tuple(self._modules)

    def loadedModulesNames(self) -> tuple[str, ...]:
        return tuple(self._modules)

    def factoryManager(self) -> Any:
        return types.SimpleNamespace(
            loadedModuleNames=self.loadedModulesNames,
            isLoaded=lambda name: name in self._modules,
            registeredModuleNames=self.loadedModulesNames,
        )


@native
class qSlicerModuleSelectorToolBar(QtWidgets.QToolBar):
    """The drop-down that opens modules."""

    moduleSelected = Signal(str)
    host_signals: ClassVar[dict[str, str]] = {"moduleSelected(QString)": "moduleSelected"}

    def __init__(self) -> None:
        super().__init__()
        self._name = ""

    def selectModule(self, name: str) -> None:
        """Leave the present module and enter ``name``, as a click on the drop-down does."""
        manager = slicer.app.moduleManager()
        if manager.module(name) is None or name == self._name:
            return
        for method, module in (("exit", manager.module(self._name)), ("enter", manager.module(name))):
            panel = module.widgetRepresentation() if module is not None else None
            if panel is not None and hasattr(panel, method):
                getattr(panel, method)()
        self._name = name
        self.moduleSelected.emit(name)

    def _forget(self, name: str) -> None:
        if self._name == name:
            self._name = ""

    selectedModule = Property("QString", lambda self: self._name)


@native
class qSlicerMainWindow(QtWidgets.QMainWindow):
    """A main window: module drop-down, status bar. It is never shown by the host."""

    def __init__(self) -> None:
        super().__init__()
        self.objectName = "qSlicerMainWindow"
        self._selector = qSlicerModuleSelectorToolBar()
        self.addToolBar(self._selector)

    def moduleSelector(self) -> qSlicerModuleSelectorToolBar:
        return self._selector


class _ApplicationSignals(QtCore.QObject):
    startupCompleted = Signal()


class Application:
    """``slicer.app``: Slicer's own calls here, all others those of QApplication."""

    applicationName = "Slicer"
    applicationVersion = "5.13.0-2026-01-01"
    majorVersion, minorVersion = 5, 13
    revision = repositoryRevision = "00000"
    os, arch, platform = "linux", "amd64", "linux-amd64"
    documentationBaseUrl = "https://slicer.readthedocs.io/en/latest/"
    isInstalled = True
    _signals: _ApplicationSignals

    def __init__(self, qt_application: QtWidgets.QApplication, mrml: MrmlApplication, folder: Path) -> None:
        state = {
            "_qt": qt_application,
            "_mrml": mrml,
            "_signals": _ApplicationSignals(),
            "_testing": True,
            "_settings": QtCore.QSettings(),
            "_io": CoreIOManager(),
            "_modules": None,
            "_layout": None,
            "_folder": str(folder),
            "temporaryPath": str(folder / "temporary"),
            "slicerHome": str(folder / "home"),
            "extensionsInstallPath": str(folder / "extensions"),
        }
        self.__dict__.update(state)
        Path(self.temporaryPath).mkdir(parents=True, exist_ok=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._qt, name)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"'{name}' of slicer.app cannot be set")

    def connect(self, signal: str, target: Callable[..., Any]) -> bool:
        if signal.startswith("startupCompleted"):
            return self._signals.connect(signal, target)
        return self._qt.connect(signal, target)

    def disconnect(self, signal: str, target: Callable[..., Any] | None = None) -> bool:
        if signal.startswith("startupCompleted"):
            return self._signals.disconnect(signal, target)
        return self._qt.disconnect(signal, target)

    def applicationLogic(self) -> Any:
        return self._mrml.logic

    def mrmlScene(self) -> Any:
        return self._mrml.scene

    def moduleManager(self) -> qSlicerModuleManager:
        return self._modules

    def layoutManager(self) -> qSlicerLayoutManager:
        return self._layout

    def coreIOManager(self) -> CoreIOManager:
        return self._io

    ioManager = coreIOManager

    def testingEnabled(self) -> bool:
        return self._testing

    def userSettings(self) -> QtCore.QSettings:
        return self._settings

    settings = revisionUserSettings = userSettings

    def startupEnvironment(self) -> QtCore.QProcessEnvironment:
        return QtCore.QProcessEnvironment.systemEnvironment()

    def processEvents(self, *_arguments: Any) -> None:
        self._qt.processEvents()

    def pauseRender(self) -> None:
        """Pictures are only made when they are asked for."""

    def resumeRender(self) -> None:
        """See pauseRender."""

    def moduleDocumentationUrl(self, name: str) -> str:
        return f"{self.documentationBaseUrl}user_guide/modules/{name.lower()}.html"

    def extensionsManagerModel(self) -> None:
        """No extension is ever installed on the host."""

    def translate(self, _context: str, text: str, *_rest: Any) -> str:
        return text

    def restart(self) -> None:
        raise RuntimeError("module code asked Slicer to restart")


def install(qt_application: QtWidgets.QApplication) -> Application:
    """Make ``slicer.app``, ``slicer.mrmlScene``, ``slicer.modules``, the main window and the qMRML widgets."""
    folder = Path(tempfile.mkdtemp(prefix="slicerhost-"))
    QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
    for scope in (QtCore.QSettings.Scope.UserScope, QtCore.QSettings.Scope.SystemScope):
        QtCore.QSettings.setPath(QtCore.QSettings.Format.IniFormat, scope, str(folder))  # never the user's own
    qt_application.setOrganizationName("SlicerHost")
    qt_application.setApplicationName("Slicer")
    mrml = MrmlApplication(folder / "cache")
    slicer.modules = types.ModuleType("slicer.modules")
    slicer.moduleNames = types.ModuleType("slicer.moduleNames")
    sys.modules["slicer.modules"] = slicer.modules
    application = Application(qt_application, mrml, folder)
    slicer.app = application
    application.__dict__["_modules"] = qSlicerModuleManager()
    for name, logic in mrml.logics.items():
        application.moduleManager()._register(Module(name, logic))
    widgets = (*mrml_widgets.WIDGETS, qMRMLNodeComboBox, qMRMLCheckableNodeComboBox)
    for cls in (*widgets, *_view_classes()):
        setattr(slicer, cls.__name__, cls)
    for cls in widgets:
        ui_loader.widget_classes[cls.__name__] = cls
    application.__dict__["_layout"] = qSlicerLayoutManager(mrml.logic)
    application.__dict__["_main_window"] = qSlicerMainWindow()
    _make_python_launcher(folder / "bin")
    return application


def _view_classes() -> list[type]:
    return [v for k, v in vars(layout_manager).items() if k.startswith(("qMRML", "qSlicer")) and isinstance(v, type)]


def _make_python_launcher(folder: Path) -> None:
    """``PythonSlicer`` on the PATH. As in Slicer it is a launcher: the interpreter is its child, not itself."""
    folder.mkdir(parents=True)
    launcher = folder / "PythonSlicer"
    launcher.write_text(f'#!/bin/sh\n"{sys.executable}" "$@"\nexit $?\n', encoding="utf-8")
    launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR)
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ.get('PATH', '')}"
