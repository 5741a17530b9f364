"""The next image of a procedure: the registration begins where the last one ended."""

from __future__ import annotations

from dataclasses import replace

import slicer

from ..errors import SceneInputError
from ..scene import nodes
from ..scene.nodes import Node
from ..texts import tr as _
from .request import Request


def againFrom(request: Request, transformNode: Node, movingNode: Node) -> Request:
    """``request`` for a new moving volume, from a transform that was accepted.

    What was drawn on the former moving volume (its mask, landmarks and labels) does not belong to the new one.

    Raises:
        SceneInputError: if there is nothing new to register, or the transform brings to another fixed volume.
    """
    if nodes.fixedOf(transformNode) is not request.fixedNode:
        raise SceneInputError(
            _("{name} was made for another fixed volume; choose a result of this one.").format(
                name=transformNode.GetName()
            )
        )
    if movingNode in (nodes.movingOf(transformNode), request.fixedNode):
        raise SceneInputError(_("Choose the new moving volume first, then press this again."))
    nothing = dict.fromkeys(
        ("movingMask", "fixedLandmarks", "movingLandmarks", "fixedLabels", "movingLabels", "replaced")
    )
    settings = replace(request.settings, from_here=True)
    return replace(request, movingNode=movingNode, initialTransform=transformNode, settings=settings, **nothing)


def newest(transformNode: Node, fixedNode: Node, movingNode: Node | None) -> Node | None:
    """The moving volume that was chosen, if it is a new one, else the last that came into the scene; None: neither."""
    former = nodes.movingOf(transformNode)
    if movingNode is not None and movingNode is not former:
        return movingNode
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    after = volumes[volumes.index(former) + 1 :] if former in volumes else volumes
    for node in reversed(after):
        isOurs = any(t.HasNodeReferenceID("DeepRegistration.warped", node.GetID()) for t in _transforms())
        isImage = not node.IsA("vtkMRMLLabelMapVolumeNode") and not node.GetHideFromEditors()
        if isImage and not isOurs and node is not fixedNode:
            return node
    return None


def _transforms() -> list[Node]:
    return list(slicer.util.getNodesByClass("vtkMRMLTransformNode"))
