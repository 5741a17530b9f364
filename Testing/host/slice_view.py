"""An offscreen slice view: what qMRMLSliceView shows, as a picture in memory or a PNG file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

# What Slicer's slice views draw over the volumes: markups, grids and glyphs of transforms, segmentations, models...
_DISPLAYABLE_MANAGERS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLTransformsDisplayableManager2D",
    "vtkMRMLColorLegendDisplayableManager",
)


class SliceView:
    """A slice view of the scene for one slice node; the renderer is made on the first picture.

    ``application_logic``: the vtkMRMLApplicationLogic of the scene. ``name``: of the view ("Red"). ``orientation``:
    "Axial", "Sagittal" or "Coronal"; None keeps that of the node. ``size``: width and height in pixels.
    """

    def __init__(
        self,
        application_logic: Any,
        name: str = "Red",
        orientation: str | None = None,
        size: tuple[int, int] = (400, 400),
    ) -> None:
        self.name = name
        self._application_logic = application_logic
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(application_logic)
        application_logic.GetSliceLogics().AddItem(self.logic)
        scene = application_logic.GetMRMLScene()
        self.logic.SetMRMLScene(scene)
        present = scene.GetSingletonNode(name, "vtkMRMLSliceNode")
        if present is not None:
            self.logic.SetSliceNode(present)
        else:
            self.logic.AddSliceNode(name)
        if orientation is not None:
            self.node.SetOrientation(orientation)
        self.node.SetMappedInLayout(1)
        self._window: Any = None
        self.resize(size)

    @property
    def node(self) -> Any:
        """The vtkMRMLSliceNode."""
        return self.logic.GetSliceNode()

    @property
    def composite(self) -> Any:
        """The vtkMRMLSliceCompositeNode: which volumes are shown, and how they are blended."""
        return self.logic.GetSliceCompositeNode()

    def resize(self, size: tuple[int, int]) -> None:
        self._size = size
        self.logic.ResizeSliceNode(*size)
        if self._window is not None:
            self._window.SetSize(*size)

    def show(
        self, background: Any = None, foreground: Any = None, label: Any = None, opacity: float = 0.5, fit: bool = True
    ) -> None:
        """Choose the volumes (nodes or None) and the foreground's opacity; ``fit`` centers on the background."""
        composite = self.composite
        composite.SetBackgroundVolumeID(background.GetID() if background is not None else None)
        composite.SetForegroundVolumeID(foreground.GetID() if foreground is not None else None)
        composite.SetLabelVolumeID(label.GetID() if label is not None else None)
        composite.SetForegroundOpacity(opacity)
        if fit:
            self.fit()

    def fit(self) -> None:
        self.logic.FitSliceToBackground()
        self.logic.SnapSliceOffsetToIJK()

    def render(self) -> np.ndarray:
        """The view as (height, width, 3) uint8, first row on top."""
        return _rgb(self._picture())

    def save(self, path: str | Path) -> np.ndarray:
        """Write the view as PNG; returns the same picture as :meth:`render`."""
        picture = self._picture()
        writer = vtk.vtkPNGWriter()
        writer.SetFileName(str(path))
        writer.SetInputData(picture)
        writer.Write()
        return _rgb(picture)

    def blend(self) -> np.ndarray | None:
        """The blended volumes alone, without OpenGL: (height, width, 3) uint8, or None where nothing is shown."""
        blend = self.logic.GetBlend()
        if self.logic.GetImageDataConnection() is None:
            return None
        blend.Update()
        return _rgb(blend.GetOutput())

    def close(self) -> None:
        """Free the renderer. The slice node and its logic stay."""
        if self._window is not None:
            self._group.SetMRMLDisplayableNode(None)
            self._window.RemoveRenderer(self._renderer)
            self._window.Finalize()
            self._window = None

    def render_window(self) -> Any:
        """The vtkRenderWindow, made if need be."""
        if self._window is None:
            self._make_renderer()
        return self._window

    def _make_renderer(self) -> None:
        self._renderer = vtk.vtkRenderer()
        self._renderer.GetActiveCamera().ParallelProjectionOn()
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(True)
        self._window.SetSize(*self._size)
        self._window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        self._interactor.Initialize()
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(self._application_logic)
        for manager in _DISPLAYABLE_MANAGERS:
            if hasattr(slicer, manager) and not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        self._group = factory.InstantiateDisplayableManagers(self._renderer)
        self._group.SetMRMLDisplayableNode(self.node)
        # Slicer puts the blended volumes into the view with CTK's light box; here an image mapper does.
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(self._mapper)
        self._actor.GetProperty().SetDisplayLocationToBackground()
        self._renderer.AddViewProp(self._actor)

    def _picture(self) -> Any:
        window = self.render_window()
        connection = self.logic.GetImageDataConnection()
        if connection is not None:
            self._mapper.SetInputConnection(connection)
        self._actor.SetVisibility(connection is not None)
        window.Render()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(window)
        grabber.ReadFrontBufferOff()
        grabber.Update()
        return grabber.GetOutput()


def _rgb(picture: Any) -> np.ndarray:
    width, height, _ = picture.GetDimensions()
    values = vtk_to_numpy(picture.GetPointData().GetScalars()).reshape(height, width, -1)
    return np.ascontiguousarray(values[::-1, :, :3])
