"""Stand-ins for ``slicer.ScriptedLoadableModule`` and ``slicer.i18n``, and the loading of a scripted module."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import types
import unittest
from pathlib import Path
from typing import Any

import slicer
import slicer.util
from PySide6 import QtCore, QtWidgets

from . import interact
from .application import Module
from .binding import native
from .mrml_widgets import qMRMLWidget

_LOGGER = logging.getLogger(__name__)


class ScriptedLoadableModule:
    """Base of a module's metadata class."""

    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__
        parent.title = parent.helpText = parent.acknowledgementText = ""
        for name in ("categories", "dependencies", "contributors", "associatedNodeTypes"):
            setattr(parent, name, [])
        parent.hidden = False
        for ending in ("svg", "png"):
            icon = Path(parent.path).parent / "Resources" / "Icons" / f"{self.moduleName}.{ending}"
            if icon.is_file():
                import qt

                parent.icon = qt.QIcon(str(icon))
                break
        if not hasattr(slicer, "selfTests"):
            slicer.selfTests = {}
        slicer.selfTests[self.moduleName] = self.runTest

    def resourcePath(self, name: str) -> str:
        return str(Path(self.parent.path).parent / "Resources" / name)

    def getDefaultModuleDocumentationLink(self, docPage: str | None = None) -> str:
        url = docPage or slicer.app.moduleDocumentationUrl(self.moduleName)
        return f'<p>For more information see the <a href="{url}">online documentation</a>.</p>'

    def runTest(self, msec: int = 100, **arguments: Any) -> None:
        module = importlib.import_module(type(self).__module__)
        case = getattr(module, f"{self.moduleName}Test")()
        case.messageDelay = msec
        case.runTest(**arguments)


class ScriptedLoadableModuleWidget:
    """Base of a module's panel."""

    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = slicer.util.settingsValue("Developer/DeveloperMode", False, converter=slicer.util.toBool)
        if parent is None:
            self.parent = qMRMLWidget()
            self.parent.setLayout(QtWidgets.QVBoxLayout())
            self.parent.setMRMLScene(slicer.mrmlScene)
        else:
            self.parent = parent
        self.layout = self.parent.layout()
        if parent is None:
            self.setup()
            self.parent.show()
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def resourcePath(self, name: str) -> str:
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / name)

    def setup(self) -> None:
        """Build the panel; the genuine class adds the Reload && Test section in developer mode."""

    def cleanup(self) -> None:
        """Called when the application closes and when the module is reloaded."""

    def _onModuleAboutToBeUnloaded(self, name: str) -> None:
        if name == self.moduleName:
            self.cleanup()
            slicer.app.moduleManager().disconnect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def onReload(self) -> None:
        slicer.util.reloadScriptedModule(self.moduleName)

    def onTest(self, **arguments: Any) -> None:
        slicer.selfTests[self.moduleName](**arguments)

    def onReloadAndTest(self, **arguments: Any) -> None:
        self.onReload()
        self.onTest(**arguments)


class ScriptedLoadableModuleLogic:
    """Base of a module's logic: keeps one parameter node a scene."""

    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> Any:
        if self.isSingletonParameterNode:
            node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            if node is not None:
                if node.GetAttribute("ModuleName") != self.moduleName:  # closing a scene removes it
                    node.SetAttribute("ModuleName", self.moduleName)
                return node
        else:
            nodes = self.getAllParameterNodes()
            if nodes:
                return nodes[0]
        return slicer.mrmlScene.AddNode(self.createParameterNode())

    def getAllParameterNodes(self) -> list[Any]:
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [node for node in nodes if node.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self) -> Any:
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """Base of a module's self test."""

    messageDelay = 50

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*(arguments or ("runTest",)))

    def delayDisplay(self, message: str, requestedDelay: int | None = None, msec: int | None = None) -> None:
        _LOGGER.info(message)
        slicer.app.processEvents()

    def takeScreenshot(self, name: str, description: str, type: int = -1) -> None:
        """The host has no screen."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear(0)

    def runTest(self) -> None:
        """Run every method whose name begins with "test", as the genuine class does unless it is overridden."""
        for name in (n for n in dir(self) if n.startswith("test")):
            self.setUp()
            getattr(self, name)()
            self.tearDown()


def _tr(text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"tr takes a text, got {text!r}")
    return text


def _translate(_context: str, text: str) -> str:
    return _tr(text)


def install() -> None:
    """Register the stand-ins for the parts of the package ``slicer`` that the wheel lacks."""
    base = types.ModuleType("slicer.ScriptedLoadableModule", __doc__)
    for cls in (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    ):
        setattr(base, cls.__name__, cls)
    base.__all__ = [n for n in vars(base) if n.startswith("Scripted")]
    # `import *` of the genuine module also gives its imports in older Slicers; module code must not lean on that.
    translation = types.ModuleType("slicer.i18n")
    translation.tr, translation.translate = _tr, _translate
    for module in (base, translation):
        sys.modules[module.__name__] = module
        setattr(slicer, module.__name__.partition(".")[2], module)
    slicer.qSlicerScriptedLoadableModule = qSlicerScriptedLoadableModule
    slicer.qSlicerScriptedLoadableModuleWidget = qSlicerScriptedLoadableModuleWidget


class qSlicerScriptedLoadableModule(QtCore.QObject):
    """The C++ side of a module; its attributes are the module's metadata."""


@native
class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The C++ side of a module's panel: makes the Python side and hands it enter, exit and reload."""

    def __init__(self, module_name: str) -> None:
        super().__init__()
        self._module_name = module_name
        self._python: Any = None
        self._entered = False
        self.setLayout(QtWidgets.QVBoxLayout())
        self.setMRMLScene(slicer.mrmlScene)

    def _build(self) -> None:
        cls = getattr(sys.modules[self._module_name], f"{self._module_name}Widget")
        self._python = cls(self)
        setattr(slicer.modules, f"{self._module_name}Widget", self._python)
        self._python.setup()

    def reload(self) -> None:
        self._build()
        if self._entered:
            self._call("enter")

    def _call(self, name: str) -> None:
        method = getattr(self._python, name, None)
        if method is not None:
            method()

    def enter(self) -> None:
        self._entered = True
        self._call("enter")

    def exit(self) -> None:
        self._entered = False
        self._call("exit")

    def self(self) -> Any:
        return self._python

    isEntered = QtCore.Property(bool, lambda self: self._entered)


def load_module(path: str | Path) -> types.ModuleType:
    """Load a scripted module from its file, as Slicer does when it starts; returns the Python module.

    The panel is made by ``slicer.modules.<name>.widgetRepresentation()``, or by ``slicer.util.selectModule(name)``,
    which also enters it; the Python side of the panel is then ``slicer.modules.<Name>Widget``.
    """
    path = Path(path).resolve()
    name = path.stem
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    parent = qSlicerScriptedLoadableModule()
    parent.path = str(path)
    instance = getattr(module, name)(parent)
    setattr(slicer.modules, f"{name}Instance", instance)

    def make_widget() -> Any:
        panel = qSlicerScriptedLoadableModuleWidget(name)
        registered._widget = panel  # setup() may ask for it
        panel._build()
        return panel

    registered = Module(name, path=str(path), title=parent.title, make_widget=make_widget, python=instance)
    slicer.app.moduleManager()._register(registered)
    return module


def unload_module(name: str) -> None:
    """Exit and clean up a module's panel, delete it, and forget the module."""
    manager = slicer.app.moduleManager()
    module = manager.module(name)
    if module is None:
        return
    panel = module._widget
    if panel is not None and panel.isEntered:
        panel.exit()
    manager.moduleAboutToBeUnloaded.emit(name)
    manager._forget(name)
    if panel is not None:
        panel.hide()
        panel.deleteLater()
    for attribute in (f"{name}Widget", f"{name}Instance"):
        if hasattr(slicer.modules, attribute):
            delattr(slicer.modules, attribute)
    sys.modules.pop(name, None)
    interact.process_events()
