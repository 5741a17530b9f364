"""Whether going once round a cycle of frames leads back to where it began."""

from __future__ import annotations

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from ..scene import nodes
from ..scene.nodes import Node

SAMPLES = 32
"""Along an axis of the fixed volume."""
FAINT = 0.05
"""Of the range of intensities: what differs less from the corners is air."""


def loopGap(firstNode: Node, againNode: Node, fixedNode: Node) -> float:
    """Mean distance, mm, of where two transforms take the points of the fixed volume that show something."""
    array = nodes.voxels(fixedNode)
    axes = [np.unique(np.linspace(0, n - 1, min(n, SAMPLES)).round().astype(int)) for n in array.shape]
    few = array[np.ix_(*axes)].astype(float)
    low, high = np.percentile(few, [1, 99])
    air = np.median([few[k, j, i] for k in (0, -1) for j in (0, -1) for i in (0, -1)])
    shown = np.abs(few - air) > FAINT * (high - low)
    k, j, i = np.stack(np.meshgrid(*axes, indexing="ij"))[:, shown if shown.any() else np.ones_like(shown)]
    toWorld = nodes.ijkToWorld(fixedNode)
    world = np.stack([i, j, k], 1) @ toWorld[:3, :3].T + toWorld[:3, 3]
    ends = []
    for node in (firstNode, againNode):
        points, moved = vtk.vtkPoints(), vtk.vtkPoints()
        for item in (points, moved):
            item.SetDataTypeToDouble()
        points.SetData(numpy_to_vtk(world, deep=True))
        node.GetTransformFromParent().TransformPoints(points, moved)
        ends.append(vtk_to_numpy(moved.GetData()).copy())
    return float(np.linalg.norm(ends[0] - ends[1], axis=1).mean())
