"""Other nodes move with a registration: under its transform or hardened, there or back, and undone in one step."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from ..errors import SceneInputError
from ..registration.results import INVERSE_ROLE
from ..scene import derived, nodes
from ..scene.nodes import Node
from ..scene.resampled import resampled
from ..texts import nothingChecked, volumesGone
from ..texts import tr as _


class Mover:
    """Moves nodes and remembers how to undo it, the last step first."""

    def __init__(self) -> None:
        self._steps: list[list[dict[str, Any]]] = []

    @property
    def canUndo(self) -> bool:
        return bool(self._steps)

    def move(self, transformNode: Node, movedNodes: list[Node], inverse: bool = False, harden: bool = False) -> None:
        """Put every node under the transform, or write the new places into it.

        What is under a linear transform already keeps that: it is moved from where it is seen.

        Args:
            transformNode: a transform from moving to fixed.
            movedNodes: volumes, segmentations, models, markups.
            inverse: move from fixed to moving instead.
            harden: change the data of the nodes; otherwise Slicer shows them moved, and nothing is changed.

        Raises:
            SceneInputError: if nothing is chosen, or the fixed volume would be moved onto itself.
        """
        if not movedNodes:
            raise SceneInputError(nothingChecked())
        still = nodes.movingOf(transformNode) if inverse else nodes.fixedOf(transformNode)
        if still is not None and still in movedNodes:
            raise SceneInputError(
                _("{name} is where it belongs already; uncheck it.").format(name=still.GetName()),
            )
        step: list[dict[str, Any]] = []
        try:
            target = self._inverseOf(transformNode, step) if inverse else transformNode
            for node in movedNodes:
                step.append(self._remember(node, harden))
                parent = node.GetParentTransformNode()
                if parent is not None and parent is not target:
                    node.SetAndObserveTransformNodeID(self._copyOfChain(parent, target, step).GetID())
                else:
                    node.SetAndObserveTransformNodeID(target.GetID())
                if harden:
                    node.HardenTransform()
        except Exception:
            self._restore(step)
            raise
        self._steps.append(step)

    def resample(self, transformNode: Node, movedNodes: list[Node], inverse: bool = False) -> list[Node]:
        """New nodes on the voxels of the fixed volume, as ``scene/resampled.py`` makes them; the given ones stay.

        Args:
            transformNode: a transform from moving to fixed.
            movedNodes: volumes (also doses), label maps, segmentations.
            inverse: from fixed onto the voxels of the moving volume instead.

        Raises:
            SceneInputError: if nothing is chosen, a node has no voxels, or the volumes of the transform are gone.
        """
        if not movedNodes:
            raise SceneInputError(nothingChecked())
        onto = nodes.movingOf(transformNode) if inverse else nodes.fixedOf(transformNode)
        if onto is None:
            raise SceneInputError(volumesGone())
        back = transformNode.GetNodeReference(INVERSE_ROLE)
        if inverse and back is None and not transformNode.IsLinear():
            raise SceneInputError(_("There is no inverse transform; tick it under Results and register again."))
        used = (back if back is not None else transformNode) if inverse else transformNode
        toMoving = derived.mapOf(used)
        if used is transformNode and inverse:
            toMoving = toMoving.GetInverse()
        reference, made = nodes.imageOf(onto, transformNode), []
        try:
            for node in movedNodes:
                name = _("{name} on {fixed}").format(name=node.GetName(), fixed=onto.GetName())
                made.append(resampled(node, reference, toMoving, name, transformNode))
        except Exception:
            self._restore([{"made": node} for node in made])
            raise
        self._steps.append([{"made": node} for node in made])
        return made

    def undo(self) -> None:
        """Put everything of the last step back."""
        if self._steps:
            self._restore(self._steps.pop())

    def forget(self) -> None:
        """The scene was closed: there is nothing to undo any more."""
        self._steps = []

    @staticmethod
    def _remember(node: Node, harden: bool) -> dict[str, Any]:
        copy = None
        if harden:
            copy = slicer.mrmlScene.CreateNodeByClass(node.GetClassName())
            copy.UnRegister(None)
            copy.CopyContent(node, True)
        return {"node": node, "parent": node.GetTransformNodeID(), "copy": copy}

    @staticmethod
    def _restore(step: list[dict[str, Any]]) -> None:
        for item in step:
            node = item.get("node")
            if node is None or node.GetScene() is None:
                continue
            if item["copy"] is not None:
                node.CopyContent(item["copy"], True)
            parent = item["parent"]
            node.SetAndObserveTransformNodeID(parent if parent and slicer.mrmlScene.GetNodeByID(parent) else None)
        for item in step:
            made = item.get("made")
            if made is not None and made.GetScene() is not None:
                slicer.mrmlScene.RemoveNode(made)

    @staticmethod
    def _inverseOf(transformNode: Node, step: list[dict[str, Any]]) -> Node:
        """The transform from fixed to moving: the one that was computed, else Slicer's own inverse."""
        computed = transformNode.GetNodeReference(INVERSE_ROLE)
        if computed is not None:
            return computed
        name = _("{name} (inverse)").format(name=transformNode.GetName())
        made = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", slicer.mrmlScene.GenerateUniqueName(name))
        made.SetAndObserveTransformFromParent(transformNode.GetTransformToParent())
        step.append({"made": made})
        return made

    @staticmethod
    def _copyOfChain(parent: Node, target: Node, step: list[dict[str, Any]]) -> Node:
        """A copy of all above a node, put under ``target``: whatever else is under ``parent`` stays where it is."""
        if parent.IsTransformToWorldLinear():
            copy = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", parent.GetName())
            matrix = vtk.vtkMatrix4x4()
            parent.GetMatrixTransformToWorld(matrix)
            copy.SetMatrixTransformToParent(matrix)
        else:
            copy = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", parent.GetName())
            toWorld = vtk.vtkGeneralTransform()
            parent.GetTransformToWorld(toWorld)
            copy.SetAndObserveTransformToParent(toWorld)
        copy.SetAndObserveTransformNodeID(target.GetID())
        step.append({"made": copy})
        return copy
