"""The host's node selectors on the real scene: which node is chosen, which signals are sent."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest

from Testing.host import Host, boot, interact

boot()

import qt
import slicer

VOLUME = "vtkMRMLScalarVolumeNode"


def add_volume(name: str, class_name: str = VOLUME) -> Any:
    return slicer.util.addVolumeFromArray(np.zeros((3, 4, 5), np.int16), name=name, nodeClassName=class_name)


class TestNodeSelector:
    def selector(self, none: bool = True, actions: bool = True, cls: Any = None) -> Any:
        widget = (cls or slicer.qMRMLNodeComboBox)()
        widget.nodeTypes = [VOLUME]
        widget.noneEnabled = none
        if not actions:
            widget.addEnabled = widget.removeEnabled = False
        widget.setMRMLScene(slicer.mrmlScene)
        return widget

    def test_it_lists_the_nodes_of_its_types_as_they_come_and_go(self, host: Host) -> None:
        selector = self.selector()
        first, _ = add_volume("first"), add_volume("second", "vtkMRMLLabelMapVolumeNode")
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", "no volume")
        assert interact.entries(selector) == ["first", "second"]
        selector.showChildNodeTypes = False
        assert interact.entries(selector) == ["first"]
        first.SetName("renamed")
        assert interact.entries(selector) == ["renamed"]
        first.SetHideFromEditors(True)
        assert interact.entries(selector) == []

    def test_choosing_sends_the_signals_with_the_node(self, host: Host) -> None:
        selector, node = self.selector(), add_volume("a")
        heard: list[Any] = []
        selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda n: heard.append(n))
        selector.connect("currentNodeChanged(bool)", lambda valid: heard.append(valid))
        selector.connect("currentNodeIDChanged(QString)", lambda i: heard.append(i))
        interact.choose(selector, "a")
        assert heard == [node, True, node.GetID()]
        assert selector.currentNode() is node
        interact.choose(selector, "None")
        assert heard[3:] == [None, False, ""]

    def test_none_is_only_chosen_where_it_is_offered(self, host: Host) -> None:
        add_volume("a")
        assert self.selector(none=True).currentNode() is None
        assert self.selector(none=False).currentNode().GetName() == "a"

    def test_without_none_the_first_node_is_taken_only_if_the_list_was_quite_empty(self, host: Host) -> None:
        with_actions, plain = self.selector(none=False), self.selector(none=False, actions=False)
        add_volume("a")
        assert with_actions.currentNode() is None
        assert plain.currentNode().GetName() == "a"

    def test_a_neighbor_replaces_a_removed_node(self, host: Host) -> None:
        selector = self.selector()
        nodes = [add_volume(name) for name in "abc"]
        selector.setCurrentNode(nodes[1])
        slicer.mrmlScene.RemoveNode(nodes[1])
        assert selector.currentNode() is nodes[2]

    def test_closing_the_scene_selects_none(self, host: Host) -> None:
        selector = self.selector()
        selector.setCurrentNode(add_volume("a"))
        slicer.mrmlScene.Clear(False)
        assert selector.currentNode() is None
        assert selector.currentNodeID == ""

    def test_a_node_chosen_before_the_scene_is_kept(self, host: Host) -> None:
        add_volume("a")
        node = add_volume("b")
        selector = slicer.qMRMLNodeComboBox()
        selector.nodeTypes = [VOLUME]
        selector.setCurrentNode(node)
        selector.setMRMLScene(slicer.mrmlScene)
        assert selector.currentNode() is node

    def test_nodes_are_created_and_deleted_from_the_list(self, host: Host) -> None:
        selector = self.selector()
        selector.baseName = "Result"
        heard: list[str] = []
        selector.connect("nodeAddedByUser(vtkMRMLNode*)", lambda n: heard.append(n.GetName()))
        create, delete = interact.actions(selector)
        interact.choose(selector, create)
        interact.choose(selector, create)
        assert heard == ["Result", "Result_1"]
        assert selector.currentNode().GetName() == "Result_1"
        interact.choose(selector, delete)
        assert interact.entries(selector) == ["Result"]

    def test_a_node_is_renamed_from_the_list(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        selector, node = self.selector(), add_volume("a")
        selector.renameEnabled = True
        selector.setCurrentNode(node)
        monkeypatch.setattr(qt.QInputDialog, "getText", staticmethod(lambda *_: ("new name", True)))
        interact.choose(selector, next(a for a in interact.actions(selector) if a.startswith("Rename")))
        assert node.GetName() == "new name"

    def test_attributes_filter_the_nodes_and_mark_new_ones(self, host: Host) -> None:
        add_volume("plain")
        selector = self.selector()
        selector.addAttribute(VOLUME, "Role", "fixed")
        assert interact.entries(selector) == []
        assert selector.addNode().GetAttribute("Role") == "fixed"
        assert selector.nodeCount() == 1

    def test_several_nodes_can_be_checked(self, host: Host) -> None:
        selector = self.selector(cls=slicer.qMRMLCheckableNodeComboBox)
        first, second = add_volume("a"), add_volume("b")
        heard: list[Any] = []
        selector.connect("checkedNodesChanged()", lambda: heard.append(len(selector.checkedNodes())))
        interact.check(selector, "b")
        selector.check(first)
        assert selector.checkedNodes() == (first, second)
        slicer.mrmlScene.RemoveNode(second)
        assert selector.checkedNodes() == (first,)
        interact.check(selector, "a", False)
        assert selector.noneChecked()
        assert heard == [1, 2, 1, 0]

    def test_the_scene_keeps_no_selector_alive_and_calls_no_dead_one(self, host: Host) -> None:
        reference = weakref.ref(self.selector())
        assert reference() is None
        selector = self.selector()
        selector.deleteLater()
        interact.process_events()
        add_volume("a")  # would raise in an observer
