"""Our fields stay linear between their samples, also after they were saved and loaded.

Slicer makes a grid linear, but cubic when it comes from a file. Ours carry the library's mark, from the panel as from
the command line (see ``DeepRegistrationLib/files/linear_mark.py``); what has it is set to linear when it is loaded.
"""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from DeepRegistrationLib.files.linear_mark import is_marked

from .nodes import Node


def restore(transformNode: Node) -> bool:
    """Make what has our mark in a node linear again; whether anything has it."""
    grids = [grid for grid in _gridsOf(transformNode.GetTransformFromParent()) if _isMarked(grid)]
    for grid in grids:
        if grid.GetInterpolationMode() != vtk.VTK_LINEAR_INTERPOLATION:
            grid.SetInterpolationModeToLinear()
            transformNode.Modified()
    return bool(grids)


def _gridsOf(transform: Any) -> list[Any]:
    """The grids of a transform: itself, or those of a chain, such as an affine part and a field from one file."""
    if transform is None:
        return []
    if transform.IsA("vtkGeneralTransform"):
        parts = [transform.GetConcatenatedTransform(i) for i in range(transform.GetNumberOfConcatenatedTransforms())]
        return [grid for part in parts for grid in _gridsOf(part)]
    return [transform] if transform.IsA("vtkOrientedGridTransform") else []


def _isMarked(transform: Any) -> bool:
    grid = transform.GetDisplacementGrid()
    scalars = grid.GetPointData().GetScalars() if grid is not None else None
    if scalars is None or scalars.GetNumberOfComponents() != 3:
        return False
    return is_marked(vtk_to_numpy(scalars).reshape(*reversed(grid.GetDimensions()), 3))


class Keeper:
    """Watches a scene: what is loaded into it with our mark is linear at once."""

    def __init__(self, scene: Any) -> None:
        self._scene = scene

        def added(_scene: Any, _event: str, node: Any) -> None:
            if node is not None and node.IsA("vtkMRMLTransformNode"):
                restore(node)

        added.CallDataType = vtk.VTK_OBJECT  # type: ignore[attr-defined]
        self._tags = [scene.AddObserver(scene.NodeAddedEvent, added)]
        # While a scene is imported, nodes come before their data.
        self._tags.append(scene.AddObserver(scene.EndImportEvent, lambda *_arguments: self.restoreAll()))
        self.restoreAll()

    def restoreAll(self) -> None:
        """Look at every transform of the scene, also those in sequences."""
        for node in slicer.util.getNodesByClass("vtkMRMLTransformNode"):
            restore(node)
        for sequence in slicer.util.getNodesByClass("vtkMRMLSequenceNode"):
            for index in range(sequence.GetNumberOfDataNodes()):
                node = sequence.GetNthDataNode(index)
                if node is not None and node.IsA("vtkMRMLTransformNode"):
                    restore(node)

    def close(self) -> None:
        """Stop watching."""
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._tags = []
