"""Our fields stay linear between their samples, also after they were saved and loaded.

ITK reads a displacement field linearly, and that is what was measured: no folds, and an inverse that fits. Slicer makes
a grid linear, but cubic when it comes from a file, and no file format keeps which it was. So our grids carry a mark in
the values themselves, the only thing that all formats keep: the last bits of the vectors at the eight corners, below
any accuracy that matters (a millionth of a corner's displacement). What has it is set to linear when it is loaded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

Node = Any
BITS = np.uint32(0xF)
MARK = np.array([(7 * n * n + 3 * n + 11) % 16 for n in range(24)], np.uint32).reshape(8, 3)
"""The last 4 of the 23 bits of the three components (a sign may change, as between RAS and LPS) at the corners."""
SMALLEST = np.float32(1e-30)
"""A corner that does not move gets this and the mark (mm): 0 itself has no bits that would survive."""


def mark(vectors: np.ndarray) -> None:
    """Put the mark into a field (k, j, i, 3) of float32, in place. Fields with a side of one sample stay without."""
    if min(vectors.shape[:3]) < 2:
        return
    corners = _corners(vectors).astype(np.float32)
    corners[np.abs(corners) < SMALLEST] = SMALLEST
    bits = (corners.view(np.uint32) & ~BITS) | MARK
    k, j, i = _index(vectors)
    vectors[k, j, i] = bits.view(np.float32)


def isMarked(vectors: np.ndarray) -> bool:
    """Whether a field (k, j, i, 3), of float32 or float64, has the mark."""
    if vectors.ndim != 4 or vectors.shape[3] != 3 or min(vectors.shape[:3]) < 2:
        return False
    corners = np.ascontiguousarray(_corners(vectors))
    single = corners.astype(np.float32)
    if not np.array_equal(single, corners):  # computed anew by something else
        return False
    return bool(np.array_equal(single.view(np.uint32) & BITS, MARK))


def restore(transformNode: Node) -> bool:
    """Make a node with our mark linear again; whether it has it."""
    transform = transformNode.GetTransformFromParent()
    if transform is None or not transform.IsA("vtkOrientedGridTransform"):
        return False
    grid = transform.GetDisplacementGrid()
    scalars = grid.GetPointData().GetScalars() if grid is not None else None
    if scalars is None or scalars.GetNumberOfComponents() != 3:
        return False
    if not isMarked(vtk_to_numpy(scalars).reshape(*reversed(grid.GetDimensions()), 3)):
        return False
    if transform.GetInterpolationMode() != vtk.VTK_LINEAR_INTERPOLATION:
        transform.SetInterpolationModeToLinear()
        transformNode.Modified()
    return True


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


def _index(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ends = [np.array([0, n - 1]) for n in vectors.shape[:3]]
    k, j, i = np.meshgrid(*ends, indexing="ij")
    return k.ravel(), j.ravel(), i.ravel()


def _corners(vectors: np.ndarray) -> np.ndarray:
    """(8, 3) copy of the vectors at the corners."""
    k, j, i = _index(vectors)
    return vectors[k, j, i]
