"""qMRMLNodeComboBox over the real scene.

It follows the C++ widget in what a module can notice: which node is selected when nodes come, go or are renamed,
which signals are sent, which actions the list offers (create, rename, delete) and what "None" means.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any, ClassVar

import slicer
import vtk
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

from .binding import native
from .connections import connect_weakly, is_alive
from .ctk_widgets import ctkComboBox
from .mrml_widgets import SceneWidget
from .stored_property import stored

NODE_EVENTS = (
    slicer.vtkMRMLScene.NodeAddedEvent,
    slicer.vtkMRMLScene.NodeRemovedEvent,
    slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent,
)
"""These come with the node."""
NODE_ID, ACTION = QtCore.Qt.ItemDataRole.UserRole, QtCore.Qt.ItemDataRole.UserRole + 1


@native
class qMRMLNodeComboBox(SceneWidget, QtWidgets.QWidget):
    """A list of the scene's nodes of some types.

    Without a scene it is disabled and empty. With ``noneEnabled`` the first entry means "no node". Without it nothing
    is selected until somebody selects, except in two cases that Slicer has too: the scene given already holds nodes,
    or the list offers no actions and was empty when the first node came.
    """

    currentNodeChanged = Signal(object)
    _validity_changed = Signal(bool)
    currentNodeIDChanged = Signal(str)
    nodeActivated = Signal(object)
    nodeAdded = Signal(object)
    nodeAddedByUser = Signal(object)
    nodeAddedByUserAction = Signal(object)
    nodeAboutToBeRemoved = Signal(object)
    nodeAboutToBeEdited = Signal(object)
    currentNodeRenamed = Signal(str)
    host_signals: ClassVar[dict[str, str]] = {
        "currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged",
        "currentNodeChanged(bool)": "_validity_changed",
        "currentNodeIDChanged(QString)": "currentNodeIDChanged",
        "nodeActivated(vtkMRMLNode*)": "nodeActivated",
        "nodeAdded(vtkMRMLNode*)": "nodeAdded",
        "nodeAddedByUser(vtkMRMLNode*)": "nodeAddedByUser",
        "nodeAddedByUserAction(vtkMRMLNode*)": "nodeAddedByUserAction",
        "nodeAboutToBeRemoved(vtkMRMLNode*)": "nodeAboutToBeRemoved",
        "nodeAboutToBeEdited(vtkMRMLNode*)": "nodeAboutToBeEdited",
        "currentNodeRenamed(QString)": "currentNodeRenamed",
    }

    nodeTypes = stored("QStringList", [])
    hideChildNodeTypes = stored("QStringList", [])
    showChildNodeTypes = stored("bool", True)
    showHidden = stored("bool", False)
    noneEnabled = stored("bool", False)
    noneDisplay = stored("QString", "None")
    addEnabled = stored("bool", True)
    removeEnabled = stored("bool", True)
    editEnabled = stored("bool", False)
    renameEnabled = stored("bool", False)
    baseName = stored("QString", "")
    selectNodeUponCreation = stored("bool", True)
    interactionNodeSingletonTag = stored("QString", "Singleton")

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._combo = ctkComboBox(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        self._observations: list[tuple[Any, int]] = []
        self._node_observations: list[tuple[Any, int]] = []
        self._attributes: list[tuple[str, str, str | None]] = []
        self._labels: dict[str, str] = {}
        self._user_actions: list[Any] = []
        self._requested = ""  # what was selected before there was a scene
        self._announced: tuple[str, str] = ("", "")
        self._rebuilding = False
        connect_weakly(self._combo, "currentIndexChanged(int)", self._on_index_changed)
        connect_weakly(self._combo, "activated(int)", self._on_activated)
        self.enabled = False

    # -- what the list shows ------------------------------------------------------------------------------------------

    def _shown(self, candidates: Iterable[Any]) -> list[Any]:
        """Those that the list shows."""
        show_hidden, hidden_types = self.showHidden, self.hideChildNodeTypes
        types, show_children = self.nodeTypes, self.showChildNodeTypes

        def shows(node: Any) -> bool:
            if node.GetHideFromEditors() and not show_hidden:
                return False
            if any(node.IsA(hidden) for hidden in hidden_types):
                return False
            for kind in types:
                if node.IsA(kind) if show_children else node.GetClassName() == kind:
                    return all(
                        node.GetAttribute(name) is not None and value in (None, node.GetAttribute(name))
                        for owner, name, value in self._attributes
                        if owner == kind
                    )
            return False

        return [node for node in candidates if shows(node)]

    def _nodes(self) -> list[Any]:
        scene = self._scene
        if scene is None:
            return []
        return self._shown(scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes()))

    def _actions(self) -> list[tuple[str, str]]:
        """(key, text) of the entries below the nodes."""
        if self._scene is None:
            return []
        types = self.nodeTypes
        label = self.nodeTypeLabel(types[0]) if len(types) == 1 else "node"
        actions = []
        if self.renameEnabled:
            actions.append(("RENAME", f"Rename current {label}"))
        if self.editEnabled:
            actions.append(("EDIT", f"Edit current {label}"))
        if self.addEnabled:
            for kind in types:
                actions.append((f"CREATE/{kind}", f"Create new {self.nodeTypeLabel(kind)}"))
                if self.renameEnabled:
                    actions.append((f"CREATE_AS/{kind}", f"Create new {self.nodeTypeLabel(kind)} as..."))
        if self.removeEnabled:
            actions.append(("DELETE", f"Delete current {label}"))
        return actions + [(f"USER/{i}", action.text) for i, action in enumerate(self._user_actions)]

    def _rebuild(self, just_given_scene: bool = False) -> None:
        """Fill the list again and select what Slicer would."""
        previous = [self._combo.itemData(i, NODE_ID) for i in range(self._combo.count)]
        previous = [identifier for identifier in previous if identifier]
        current = self._requested if just_given_scene else self._combo.itemData(self._combo.currentIndex, NODE_ID)
        position = previous.index(current) if current in previous else -1
        nodes, actions = self._nodes(), self._actions()
        identifiers = [node.GetID() for node in nodes]
        self._rebuilding = True
        self._combo.clear()
        if self.noneEnabled:
            self._combo.addItem(self.noneDisplay)
        for node in nodes:
            self._combo.addItem(node.GetName() or "", node.GetID())
        if actions:
            self._combo.insertSeparator(self._combo.count)
        for key, text in actions:
            self._combo.addItem(text)
            self._combo.setItemData(self._combo.count - 1, key, ACTION)
        if self.nodeTypes:
            self._combo.defaultText = f"Select a {self.nodeTypeLabel(self.nodeTypes[0])}"
        if current in identifiers:
            chosen = current
        elif position >= 0 and identifiers:  # the selected node has gone: its neighbour takes its place
            chosen = identifiers[min(position, len(identifiers) - 1)]
        elif not self.noneEnabled and identifiers and (just_given_scene or not (previous or actions)):
            chosen = identifiers[0]
        else:
            chosen = ""
        self._select(chosen)
        self._rebuilding = False
        self._observe_nodes(nodes)
        self._announce()

    def _select(self, identifier: str) -> None:
        index = self._combo.findData(identifier, NODE_ID) if identifier else -1
        self._combo.setCurrentIndex(0 if index < 0 and self.noneEnabled else index)

    def _property_changed(self) -> None:
        if self._scene is not None:
            self._rebuild()

    # -- the scene ----------------------------------------------------------------------------------------------------

    def _scene_changed(self) -> None:
        for caller, tag in self._observations:
            caller.RemoveObserver(tag)
        self._observations = []
        scene = self._scene
        if scene is not None:
            for event, method in (
                (scene.EndCloseEvent, "_on_scene_event"),
                (scene.EndImportEvent, "_on_scene_event"),
                (scene.NodeAddedEvent, "_on_node_came_or_went"),
                (scene.NodeRemovedEvent, "_on_node_came_or_went"),
                (scene.NodeAboutToBeRemovedEvent, "_on_node_about_to_go"),
            ):
                self._observations.append((scene, self._observe_weakly(scene, event, method)))
        self._rebuild(just_given_scene=True)
        self._requested = ""
        self.enabled = scene is not None

    def _observe_weakly(self, subject: Any, event: Any, method: str) -> int:
        """The tag of an observer that dies with the widget: VTK must not keep it alive, nor call it when C++ has
        deleted it."""
        reference = weakref.ref(self)

        def callback(caller: Any, _event: str, data: Any = None) -> None:
            widget = reference()
            if is_alive(widget):
                getattr(widget, method)(data)
            else:  # else each widget that ever was would be called for each node
                caller.RemoveObserver(tag)

        if event in NODE_EVENTS:
            callback.CallDataType = vtk.VTK_OBJECT
        tag = subject.AddObserver(event, callback)
        return tag

    def _on_node_came_or_went(self, node: Any) -> None:
        """As in Slicer, what the list does not show costs nothing."""
        if node is None or self._shown([node]) or self._combo.findData(node.GetID(), NODE_ID) >= 0:
            self._on_scene_event(node)

    def _on_scene_event(self, _data: Any) -> None:
        if self._scene is None:
            return
        before = {self._combo.itemData(i, NODE_ID) for i in range(self._combo.count)}
        self._rebuild()
        for node in self._nodes():
            if node.GetID() not in before:
                self.nodeAdded.emit(node)

    def _on_node_about_to_go(self, node: Any) -> None:
        if node is not None and self._combo.findData(node.GetID(), NODE_ID) >= 0:
            self.nodeAboutToBeRemoved.emit(node)

    def _observe_nodes(self, nodes: list[Any]) -> None:
        for node, tag in self._node_observations:
            node.RemoveObserver(tag)
        self._node_observations = [(n, self._observe_weakly(n, "ModifiedEvent", "_on_node_modified")) for n in nodes]

    def _on_node_modified(self, _data: Any) -> None:
        shown = [self._combo.itemData(i, NODE_ID) for i in range(self._combo.count)]
        names = {i: self._combo.itemText(i) for i, identifier in enumerate(shown) if identifier}
        nodes = self._nodes()
        if [n.GetID() for n in nodes] != [i for i in shown if i]:
            self._rebuild()
            return
        for node, (index, name) in zip(nodes, names.items(), strict=True):
            if node.GetName() != name:
                self._combo.setItemText(index, node.GetName() or "")
        self._announce()

    # -- selection ----------------------------------------------------------------------------------------------------

    def _on_index_changed(self) -> None:
        is_action = self._combo.itemData(self._combo.currentIndex, ACTION) is not None  # _on_activated deals with it
        if not self._rebuilding and not is_action:
            self._announce()

    def _announce(self) -> None:
        node = self.currentNode()
        state = (node.GetID(), node.GetName() or "") if node is not None else ("", "")
        if state != self._announced:  # Slicer sends the signals for a renamed node too
            self._announced = state
            self.currentNodeChanged.emit(node)
            self._validity_changed.emit(node is not None)
            self.currentNodeIDChanged.emit(state[0])

    def _on_activated(self, index: int) -> None:
        """The user picked an entry: a node, None or an action."""
        action = self._combo.itemData(index, ACTION)
        if action is None:
            self.nodeActivated.emit(self.currentNode())
            return
        self._rebuilding = True
        self._select(self._announced[0])
        self._rebuilding = False
        kind, _, argument = action.partition("/")
        if kind in ("CREATE", "CREATE_AS"):
            self._create(argument, ask_name=kind == "CREATE_AS")
        elif kind == "DELETE":
            self.removeCurrentNode()
        elif kind == "RENAME":
            self.renameCurrentNode()
        elif kind == "EDIT":
            self.editCurrentNode()
        else:
            self._user_actions[int(argument)].trigger()

    def _create(self, kind: str, ask_name: bool) -> None:
        name = self._ask_name(f"Create new {self.nodeTypeLabel(kind)}", "") if ask_name else ""
        if ask_name and not name:
            return
        node = self.addNode(kind)
        if name:
            node.SetName(name)
        self.setCurrentNode(node)
        self.nodeAddedByUserAction.emit(node)

    def _ask_name(self, title: str, name: str) -> str:
        text, accepted = QtWidgets.QInputDialog.getText(
            self, title, "New name:", QtWidgets.QLineEdit.EchoMode.Normal, name
        )
        return text if accepted else ""

    def currentNode(self) -> Any:
        identifier = self._combo.itemData(self._combo.currentIndex, NODE_ID)
        return self._scene.GetNodeByID(identifier) if self._scene is not None and identifier else None

    def setCurrentNode(self, node: Any) -> None:
        self.setCurrentNodeID(node if isinstance(node, str) else node.GetID() if node is not None else "")

    def setCurrentNodeID(self, identifier: str | None) -> None:
        if self._scene is None:
            self._requested = identifier or ""
        self._select(identifier or "")

    def setCurrentNodeIndex(self, index: int) -> None:
        self._combo.setCurrentIndex((index if index < self.nodeCount() else -1) + (1 if self.noneEnabled else 0))

    def _current_id(self) -> str:
        node = self.currentNode()
        return node.GetID() if node is not None else ""

    currentNodeID = Property("QString", _current_id, setCurrentNodeID)

    def nodeCount(self) -> int:
        return sum(bool(self._combo.itemData(i, NODE_ID)) for i in range(self._combo.count))

    def nodeFromIndex(self, index: int) -> Any:
        nodes = self._nodes()
        return nodes[index] if 0 <= index < len(nodes) else None

    # -- nodes --------------------------------------------------------------------------------------------------------

    def addNode(self, kind: str | None = None) -> Any:
        if not self.nodeTypes or (kind is not None and kind not in self.nodeTypes):
            return None
        kind = kind or self.nodeTypes[0]
        node = self._scene.CreateNodeByClass(kind)
        node.UnRegister(None)
        node.SetName(self._scene.GenerateUniqueName(self.baseName or node.GetNodeTagName()))
        for owner, name, value in self._attributes:
            if owner == kind:
                node.SetAttribute(name, value or "")
        node = self._scene.AddNode(node)
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def removeCurrentNode(self) -> None:
        node = self.currentNode()
        if node is not None:
            self._scene.RemoveNode(node)

    def renameCurrentNode(self) -> None:
        node = self.currentNode()
        if node is None:
            return
        name = self._ask_name(f"Rename {self.nodeTypeLabel(node.GetClassName())}", node.GetName())
        if name:
            node.SetName(name)
            self.currentNodeRenamed.emit(name)

    def editCurrentNode(self) -> None:
        self.nodeAboutToBeEdited.emit(self.currentNode())

    def addAttribute(self, kind: str, name: str, value: str | None = None) -> None:
        self._attributes.append((kind, name, None if value is None else str(value)))
        self._property_changed()

    def removeAttribute(self, kind: str, name: str) -> None:
        self._attributes = [a for a in self._attributes if a[:2] != (kind, name)]
        self._property_changed()

    def setNodeTypeLabel(self, label: str, kind: str) -> None:
        self._labels[kind] = label
        self._property_changed()

    def nodeTypeLabel(self, kind: str) -> str:
        label = self._labels.get(kind, "")
        if not label and self._scene is not None:
            label = self._scene.GetTypeDisplayNameByClassName(kind)
        return label or "node"

    def addMenuAction(self, action: Any) -> None:
        self._user_actions.append(action)
        self._property_changed()
