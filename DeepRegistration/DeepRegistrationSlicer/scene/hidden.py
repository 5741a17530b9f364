"""Nodes for the module's own use: no list shows them and no scene keeps them."""

from __future__ import annotations

import slicer

from .nodes import Node


def hide(node: Node) -> None:
    """No list shows it and no scene keeps it, also after another node's content was copied into it."""
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)


def hiddenNode(className: str, name: str, like: Node | None = None) -> Node:
    """A new node in the scene, with the content of ``like``; hidden before anybody can see it."""
    node = slicer.mrmlScene.CreateNodeByClass(className)
    node.UnRegister(None)
    if like is not None:
        node.CopyContent(like, True)
    node.SetName(name)
    hide(node)
    return slicer.mrmlScene.AddNode(node)
