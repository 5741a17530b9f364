"""``slicer.app.layoutManager()``: real layout and slice nodes, slice views drawn offscreen.

Any slice node of the scene has a slice widget. The 3-D view only swallows what it is told.
"""

from __future__ import annotations

from typing import Any, ClassVar

import slicer
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

from .binding import native
from .slice_view import SliceView

_ORIENTATIONS = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}


@native
class qMRMLSliceView(QtWidgets.QWidget):
    """The picture part of a slice widget."""

    def __init__(self, view: SliceView) -> None:
        super().__init__()
        self._view = view

    def mrmlSliceNode(self) -> Any:
        return self._view.node

    def renderWindow(self) -> Any:
        return self._view.render_window()

    def forceRender(self) -> None:
        self._view.render()

    def scheduleRender(self) -> None:
        """Pictures are made when they are asked for."""


@native
class qMRMLSliceControllerWidget(QtWidgets.QWidget):
    """The bar above a slice view."""

    def __init__(self, view: SliceView) -> None:
        super().__init__()
        self._view = view

    def mrmlSliceNode(self) -> Any:
        return self._view.node

    def fitSliceToBackground(self) -> None:
        self._view.logic.FitSliceToBackground()

    def setSliceOffsetValue(self, offset: float) -> None:
        self._view.logic.SetSliceOffset(offset)

    def setSliceLink(self, linked: bool) -> None:
        self._view.composite.SetLinkedControl(linked)


@native
class qMRMLSliceWidget(QtWidgets.QWidget):
    """A slice view with its bar."""

    def __init__(self, view: SliceView) -> None:
        super().__init__()
        self._view = view
        self._picture, self._controller = qMRMLSliceView(view), qMRMLSliceControllerWidget(view)

    def mrmlSliceNode(self) -> Any:
        return self._view.node

    def mrmlSliceCompositeNode(self) -> Any:
        return self._view.composite

    def sliceLogic(self) -> Any:
        return self._view.logic

    def sliceView(self) -> qMRMLSliceView:
        return self._picture

    def sliceController(self) -> qMRMLSliceControllerWidget:
        return self._controller

    def fitSliceToBackground(self) -> None:
        self._view.logic.FitSliceToBackground()


@native
class qMRMLThreeDView(QtWidgets.QWidget):
    """A 3-D view that shows nothing."""

    def resetFocalPoint(self) -> None:
        """Nothing is shown."""

    def resetCamera(self) -> None:
        """Nothing is shown."""

    def forceRender(self) -> None:
        """Nothing is shown."""


@native
class qMRMLThreeDWidget(QtWidgets.QWidget):
    def __init__(self) -> None:
        super().__init__()
        self._view, self._controller = qMRMLThreeDView(), QtWidgets.QWidget()

    def threeDView(self) -> qMRMLThreeDView:
        return self._view

    def threeDController(self) -> QtWidgets.QWidget:
        return self._controller


@native
class qSlicerLayoutManager(QtCore.QObject):
    """The views of the application. ``Host.layouts`` lists what setLayout was told."""

    layoutChanged = Signal(int)
    host_signals: ClassVar[dict[str, str]] = {"layoutChanged(int)": "layoutChanged"}

    def __init__(self, application_logic: Any) -> None:
        super().__init__()
        self._application_logic = application_logic
        self._layouts: list[int] = []
        self._views: dict[str, SliceView] = {}
        self._widgets: dict[str, qMRMLSliceWidget] = {}
        self._three_d = qMRMLThreeDWidget()
        self._logic = slicer.vtkMRMLLayoutLogic()
        self._logic.SetMRMLApplicationLogic(application_logic)
        self._logic.SetMRMLScene(application_logic.GetMRMLScene())
        self._logic.GetLayoutNode().SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        self._sync()

    def _reset(self) -> None:
        """Views as after the start: four-up, default planes, nothing blended."""
        self._logic.GetLayoutNode().SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        self._layouts.clear()
        for name, view in self._views.items():
            view.node.SetOrientation(_ORIENTATIONS.get(name, "Axial"))
            view.composite.Reset(None)
            view.show(None, None, None, 0.0, False)

    def _sync(self) -> None:
        """A view for each slice node."""
        scene = self._application_logic.GetMRMLScene()
        for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceNode")):
            name = scene.GetNthNodeByClass(index, "vtkMRMLSliceNode").GetLayoutName()
            if name not in self._views:
                self._views[name] = SliceView(self._application_logic, name, _ORIENTATIONS.get(name))

    def _view(self, name: str) -> SliceView | None:
        self._sync()
        return self._views.get(name)

    def sliceViewNames(self) -> tuple[str, ...]:
        self._sync()
        return tuple(self._views)

    def sliceWidget(self, name: str) -> qMRMLSliceWidget | None:
        view = self._view(name)
        if view is None:
            return None
        if name not in self._widgets:
            self._widgets[name] = qMRMLSliceWidget(view)
        return self._widgets[name]

    def mrmlSliceLogics(self) -> Any:
        self._sync()
        return self._application_logic.GetSliceLogics()

    def mrmlScene(self) -> Any:
        return self._application_logic.GetMRMLScene()

    def layoutLogic(self) -> Any:
        return self._logic

    def setLayout(self, layout: int) -> None:
        self._logic.GetLayoutNode().SetViewArrangement(layout)
        self._layouts.append(int(layout))
        self._sync()
        self.layoutChanged.emit(int(layout))

    layout = Property(int, lambda self: self._logic.GetLayoutNode().GetViewArrangement(), setLayout)
    threeDViewCount = Property(int, lambda self: 1)
    tableViewCount = Property(int, lambda self: 0)
    plotViewCount = Property(int, lambda self: 0)

    def threeDWidget(self, index: int) -> qMRMLThreeDWidget | None:
        return self._three_d if index == 0 else None

    def resetSliceViews(self) -> None:
        for name in self.sliceViewNames():
            self._views[name].logic.FitSliceToAll()

    def resetThreeDViews(self) -> None:
        """Nothing is shown in 3-D."""
