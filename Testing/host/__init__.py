"""Slicer's application, as far as a scripted module notices it, in a plain Python process. For tests only.

    from Testing.host import boot, load_module
    host = boot()                                     # now `import slicer, qt, ctk, vtk` work as in Slicer
    load_module("DeepRegistration/DeepRegistration.py")
    slicer.util.selectModule("DeepRegistration")      # makes the panel and enters it
    panel = slicer.modules.DeepRegistrationWidget     # the Python side: panel.ui, panel.logic
    host.show(panel).save("panel.png")                # a QPixmap of it
    interact.choose(panel.ui.fixedSelector, "CT")     # what a user does: click, choose, check, type_text, wait_until
    host.slice_view("Red").save("red.png")            # what a slice view shows, as PNG
    host.errors                                       # exceptions that ended in the event loop or in an observer
    host.reset()                                      # empty scene, default settings, for the next test

In pytest use the fixtures of ``Testing/Module/conftest.py``.

What is real: the MRML scene, nodes, storage, logics, transforms and slice rendering (slicer-core), ``slicer.util`` (the
genuine file), Qt (PySide6). What stands in: ``slicer.app``, ``slicer.modules``, the CTK and qMRML widgets, the layout
manager, ``slicer.ScriptedLoadableModule``, ``slicer.i18n``, ``slicer.parameterNodeWrapper``, the PythonQt dialect.

PythonQt's discipline, kept by the host: keyword arguments to Qt constructors and methods raise ValueError; a property
called as a method raises TypeError; a new attribute on a Qt object raises AttributeError; connecting to a signal that
does not exist raises RuntimeError (Slicer prints and goes on); lists come back as tuples; plain C++ setters of CTK and
qMRML widgets that are not slots do not exist; slots get as many arguments as they take, builtins get all.

What the host cannot show, so that module code must avoid it by rule (``test_qt_discipline.py`` looks for it):

* ``isinstance(widget, qt.QWidget)`` is False in Slicer, True here.
* Threads: Slicer holds the interpreter lock while its event loop runs, so a Python thread starves. Here it runs.
* Enumerations are ints with PythonQt 3, objects of its own with PythonQt 4.1, and PySide's here: compare with ``==``,
  never use ``.value`` or ``int()``.
* A signal declared in Python (``qt.Signal``) does not exist in older Slicers; the host hides it.
* ``setText(Path(...))`` and ``setText(None)`` pass in Slicer and raise here.
* A connection to a missing signal only prints in Slicer.
* Slicer's own C++ widgets: the selectors here follow their sources, not the widgets themselves. Two nodes of the same
  name: Slicer 5.12 sends no ``currentNodeChanged`` when the user goes from one to the other; the host does.
* Importing a scene: a node that a parameter refers to may come after the parameter node. Slicer's wrapper then still
  says None, and so does the host's. Make a new wrapper at EndImportEvent.
* 3-D views, subject hierarchy, the data module, drag and drop, the module finder, CMake packaging, pip, restarts.
* ``slicer.packaging``, ``slicer.cli``, ``sitkUtils``, ``SampleData``, ``PyTorchUtils`` are not there: tests put
  what they need into ``sys.modules``.
* Time: pictures are made when they are asked for; nothing is redrawn in between.
"""

from __future__ import annotations

import shutil
import sys
import traceback
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

__all__ = ["Host", "boot", "load_module"]


class Host:
    """The running application. Made by :func:`boot`.

    ``app``: ``slicer.app``. ``errors``: the exceptions that no caller saw, because they were raised in a slot, a timer
    or a VTK observer; Slicer prints them, a test must not overlook them.
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        self.errors: list[BaseException] = []
        self._previous_hook = sys.excepthook
        sys.excepthook = self._on_error

    def _on_error(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        self.errors.append(error)
        traceback.print_exception(kind, error, trace)

    @property
    def layouts(self) -> list[int]:
        """What ``layoutManager().setLayout`` was told since the last reset."""
        return self.app.layoutManager()._layouts

    def slice_view(self, name: str) -> Any:
        """The :class:`.slice_view.SliceView` of the view ``name`` ("Red", "Green", "Yellow", ...)."""
        view = self.app.layoutManager()._view(name)
        if view is None:
            raise KeyError(f"no slice view {name}; there are {self.app.layoutManager().sliceViewNames()}")
        return view

    def set_testing(self, enabled: bool) -> None:
        """Switch Slicer's testing mode (on by default), in which message boxes do not open."""
        self.app.__dict__["_testing"] = enabled

    def show(self, panel: Any, width: int = 480, height: int = 0) -> Any:
        """Show a module's panel (its Python side or a widget) and return its picture, a QPixmap.

        ``height`` 0 gives the panel the height that its contents ask for.
        """
        from . import interact

        widget = getattr(panel, "parent", None) if not hasattr(panel, "isWidgetType") else panel
        widget.resize(width, height or 100)
        widget.show()
        interact.process_events(20)
        if not height:
            layout = widget.layout()
            wanted = layout.heightForWidth(width) if layout.hasHeightForWidth() else layout.totalSizeHint().height()
            widget.resize(width, max(wanted, 100))
            interact.process_events(20)
        return widget.grab()

    def reset(self) -> None:
        """Empty the scene and forget settings, layouts and errors."""
        import slicer

        from . import interact

        # Parameter nodes outlive a closed scene, and with them the observers of panels that are gone.
        for node in slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode"):
            node.RemoveAllObservers()
            slicer.mrmlScene.RemoveNode(node)
        slicer.mrmlScene.Clear(False)
        interact.process_events()
        self.app.layoutManager()._reset()
        self.app.userSettings().clear()
        self.set_testing(True)
        self.errors.clear()

    def unload_module(self, name: str) -> None:
        """Close a module as Slicer does when it ends: exit, cleanup, and its panel is deleted."""
        from . import scripted_module

        scripted_module.unload_module(name)

    def close(self) -> None:
        """Remove the files of the host. The application itself ends with the process."""
        shutil.rmtree(self.app.__dict__["_folder"], ignore_errors=True)


_host: Host | None = None


def boot() -> Host:
    """Start the application (once a process; later calls return the same)."""
    global _host
    if _host is None:
        from . import qt_module

        qt_application = qt_module.install()
        from . import ctk_widgets

        ctk_widgets.install()
        from . import application, parameter_node, scripted_module

        app = application.install(qt_application)
        scripted_module.install()
        parameter_node.install()
        _host = Host(app)
    return _host


def load_module(path: str | Path) -> ModuleType:
    """Load a scripted module from its .py file, as Slicer does when it starts; returns the Python module."""
    boot()
    from . import scripted_module

    return scripted_module.load_module(path)
