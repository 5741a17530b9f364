"""What was computed of nodes is kept until one of them changes: a look that is pressed again costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import vtk

from ..scene.nodes import Node


class Once:
    """Keeps one value under each name.

    >>> once.get("moved", (movingNode, transformNode), lambda: resampled(movingNode, transformNode))
    """

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Any, Any]] = {}

    def get(self, name: str, nodes: Iterable[Node | None], compute: Callable[[], Any]) -> Any:
        """The value of ``compute``, called only if ``nodes`` are others or otherwise than the last time."""
        state = stateOf(nodes)
        if not self.has(name, state):
            self.keep(name, state, compute())
        return self._kept[name][1]

    def has(self, name: str, state: Any) -> bool:
        """Whether there is a value for this state, as from ``stateOf``."""
        return name in self._kept and self._kept[name][0] == state

    def keep(self, name: str, state: Any, value: Any) -> None:
        """Take a value that was computed elsewhere."""
        self._kept[name] = state, value

    def clear(self) -> None:
        """Forget all."""
        self._kept = {}


def stateOf(nodes: Iterable[Node | None]) -> tuple[Any, ...]:
    """Something that is the same as long as the nodes, their data, their place and their gray window are."""
    return tuple(state for node in nodes for state in _stateOfNode(node))


def _stateOfNode(node: Node | None) -> list[Any]:
    if node is None:
        return [None]
    if node.IsA("vtkMRMLTransformNode"):
        transform = node.GetTransformFromParent()
        return [node.GetID(), transform.GetMTime() if transform is not None else None]
    found = [node.GetID()]
    display = node.GetDisplayNode()
    if display is not None and display.IsA("vtkMRMLScalarVolumeDisplayNode"):
        found += [display.GetWindow(), display.GetLevel()]
    image = node.GetImageData()
    found += [image.GetMTime() if image is not None else None, *_placeOf(node)]
    parent = node.GetParentTransformNode()
    while parent is not None:
        found += _stateOfNode(parent)
        parent = parent.GetParentTransformNode()
    return found


def _placeOf(volumeNode: Node) -> list[float]:
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return [matrix.GetElement(i, j) for i in range(3) for j in range(4)]
