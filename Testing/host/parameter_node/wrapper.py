"""The class decorator ``parameterNodeWrapper``."""

from __future__ import annotations

import logging
import typing
import weakref
from dataclasses import dataclass
from typing import Any

import qt
import slicer.util

from .annotations import Default, Validator, first, split
from .connectors import GuiConnector, createGuiConnector
from .storage import Storage, storage_for

__all__ = [
    "SlicerParameterNamePropertyName",
    "findChildWidgetForParameter",
    "isParameterNodeWrapper",
    "parameterNodeWrapper",
]

_LOGGER = logging.getLogger(__name__)
SlicerParameterNamePropertyName = "SlicerParameterName"


@dataclass
class ParameterInfo:
    """One field of the decorated class."""

    basename: str
    unalteredType: Any
    serializer: Storage
    default: Default


def parameterNodeWrapper(cls: type | None = None) -> Any:
    """Make the annotated fields of ``cls`` live in a vtkMRMLScriptedModuleNode: ``cls(node)``."""
    if cls is None:
        return parameterNodeWrapper
    parameters: dict[str, ParameterInfo] = {}
    for name, hint in typing.get_type_hints(cls, include_extras=True).items():
        _, annotations = split(hint)
        for annotation in annotations:
            if isinstance(annotation, type) and issubclass(annotation, Validator):
                raise TypeError(f"{name}: write {annotation.__name__}(), not the class")
        unused = [a for a in annotations if not isinstance(a, (Default, Validator))]
        if unused:  # Slicer says so at each opening
            _LOGGER.warning("Unused annotations: %s", unused)
        storage = storage_for(hint)
        if hasattr(cls, name):
            default = Default(getattr(cls, name))
        else:
            default = first(annotations, Default) or Default(generator=storage.default)
        parameters[name] = ParameterInfo(name, hint, storage, default)
        setattr(cls, name, _property(name))
    for name, member in {"allParameters": parameters, **_MEMBERS}.items():
        if hasattr(cls, name):
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
        setattr(cls, name, member)
    cls.__init__ = _initialize  # type: ignore[misc]
    return cls


def isParameterNodeWrapper(obj: Any) -> bool:
    return getattr(obj, "_is_parameter_node_wrapper", False)


def findChildWidgetForParameter(widget: Any, name: str) -> Any:
    """The widget below ``widget`` that is bound to parameter ``name``, or None."""
    children = widget.findChildren(qt.QWidget)
    return next((w for w in children if w.property(SlicerParameterNamePropertyName) == name), None)


def _property(name: str) -> property:
    return property(lambda self: self.getValue(name), lambda self, value: self.setValue(name, value))


def _initialize(self: Any, node: Any) -> None:
    self.parameterNode = node
    self._guis = {}
    self._next_tag = 0
    self._updating = False
    self._cache = {}
    for name, info in self.allParameters.items():
        if not info.serializer.holds(node, name):  # the scene's values win over defaults
            info.serializer.put(node, name, info.default.value)
    _refresh(self)
    reference = weakref.ref(self)

    def on_modified(*_: Any) -> None:
        instance = reference()
        if instance is not None:
            _refresh(instance)

    node.AddObserver("ModifiedEvent", on_modified)


def _refresh(self: Any) -> None:
    """Read all values again. As in Slicer that happens when the node says it was modified, and only then: a node that
    is referred to and comes into the scene later is not noticed."""
    for name, info in self.allParameters.items():
        if not info.serializer.holds(self.parameterNode, name):  # a closed scene takes the values with it
            info.serializer.put(self.parameterNode, name, info.default.value)
        self._cache[name] = info.serializer.get(self.parameterNode, name)


def _info(self: Any, name: str) -> ParameterInfo:
    if name not in self.allParameters:
        raise ValueError(f"Cannot find a param with the given name: {name}; there are {sorted(self.allParameters)}")
    return self.allParameters[name]


def _get_value(self: Any, name: str) -> Any:
    _info(self, name)
    return self._cache[name]


def _set_value(self: Any, name: str, value: Any) -> None:
    info = _info(self, name)
    with slicer.util.NodeModify(self.parameterNode):
        info.serializer.put(self.parameterNode, name, value)
        self._cache[name] = info.serializer.get(self.parameterNode, name)


def _connect_parameters(self: Any, mapping: dict[str, Any]) -> int:
    connectors = {
        name: target
        if isinstance(target, GuiConnector)
        else createGuiConnector(target, _info(self, name).unalteredType)
        for name, target in mapping.items()
    }
    tag = self._next_tag
    self._next_tag += 1
    self._guis[tag] = connectors
    for name, connector in connectors.items():
        connector.write(self.getValue(name))
        connector.onChanged(_make_callback(self, name, connector))
    self.AddObserver("ModifiedEvent", lambda *_: _update_gui(self))
    return tag


def _make_callback(self: Any, name: str, connector: GuiConnector) -> Any:
    def callback() -> None:
        if not self._updating:
            self.setValue(name, connector.read())

    return callback


def _update_gui(self: Any) -> None:
    if self._updating:
        return
    self._updating = True
    try:
        with slicer.util.NodeModify(self.parameterNode):
            for connectors in self._guis.values():
                for name, connector in connectors.items():
                    connector.write(self.getValue(name))
    finally:
        self._updating = False


def _connect_gui(self: Any, gui: Any) -> None:
    """Bind every widget of ``gui`` (a widget, or what childWidgetVariables gives) that names a parameter."""
    is_widget = getattr(gui, "isWidgetType", lambda: False)()
    widgets = gui.findChildren(qt.QWidget) if is_widget else gui.__dict__.values()
    named = {w.property(SlicerParameterNamePropertyName): w for w in widgets}
    _connect_parameters(self, {name: widget for name, widget in named.items() if name})


def _disconnect_gui(self: Any, tag: int | None) -> None:
    for connector in self._guis.pop(tag, {}).values():
        connector.onChanged(None)


_MEMBERS = {
    "_is_parameter_node_wrapper": True,
    "getValue": _get_value,
    "setValue": _set_value,
    "default": lambda self, name: _info(self, name).default,
    "dataType": classmethod(lambda cls, name: _info(cls, name).unalteredType),
    "isCached": lambda self, name: bool(_info(self, name)),
    "connectGui": _connect_gui,
    "connectParametersToGui": _connect_parameters,
    "disconnectGui": _disconnect_gui,
    "StartModify": lambda self: self.parameterNode.StartModify(),
    "EndModify": lambda self, was: self.parameterNode.EndModify(was),
    "AddObserver": lambda self, event, callback, priority=0.0: self.parameterNode.AddObserver(
        event, callback, priority
    ),
    "RemoveObserver": lambda self, tag: self.parameterNode.RemoveObserver(tag),
    "Modified": lambda self: self.parameterNode.Modified(),
}
