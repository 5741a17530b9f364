"""How values of each type lie in a vtkMRMLScriptedModuleNode: as Slicer writes them, so scenes can be exchanged."""

from __future__ import annotations

import collections.abc
import enum
import pathlib
import types
import typing
from typing import Any

import slicer
import slicer.util

from .annotations import IsInstance, NotNone, Validator, split


class Storage:
    """Writes and reads values of one type under a name; ``validators`` are asked before each write."""

    def __init__(self, kind: Any, validators: list[Any]) -> None:
        self.kind = kind
        self.validators: list[Any] = validators

    def default(self) -> Any:
        return self.kind()

    def validate(self, value: Any) -> None:
        for validator in self.validators:
            validator.validate(value)

    def holds(self, node: Any, name: str) -> bool:
        return bool(node.HasParameter(name))

    def put(self, node: Any, name: str, value: Any) -> None:
        self.validate(value)
        self.encode(node, name, value)

    def encode(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, str(value))

    def get(self, node: Any, name: str) -> Any:
        return self.kind(node.GetParameter(name))

    def remove(self, node: Any, name: str) -> None:
        node.UnsetParameter(name)


class BoolStorage(Storage):
    def encode(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, "True" if value else "False")

    def get(self, node: Any, name: str) -> bool:
        return node.GetParameter(name) == "True"


class EnumStorage(Storage):
    """By the name of the member: renaming a member breaks old scenes."""

    def default(self) -> Any:
        return next(iter(self.kind))

    def encode(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, value.name)

    def get(self, node: Any, name: str) -> Any:
        stored = node.GetParameter(name)
        if stored not in self.kind.__members__:
            raise ValueError(f"Found {stored!r} in parameter node but it is not a name in {self.kind!r}")
        return self.kind[stored]


class NodeStorage(Storage):
    """A node reference, plus an empty parameter that tells "None was set" from "never set"."""

    def default(self) -> None:
        return None

    def encode(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)

    def get(self, node: Any, name: str) -> Any:
        return node.GetNodeReference(name)

    def remove(self, node: Any, name: str) -> None:
        node.UnsetParameter(name)
        node.RemoveNodeReferenceIDs(name)


class NoneStorage(Storage):
    def default(self) -> None:
        return None

    def encode(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, "True")

    def get(self, node: Any, name: str) -> None:
        return None

    def validate(self, value: Any) -> None:
        if value is not None:
            raise ValueError("Value must be None")


class ObservedList(collections.abc.MutableSequence):
    """A list in a parameter node: changing it changes the node. It is no ``list`` and cannot be added with +."""

    def __init__(self, storage: ListStorage, node: Any, name: str, values: list[Any]) -> None:
        self._where = (storage, node, name)
        self._values = values

    def _save(self) -> None:
        storage, node, name = self._where
        storage.put(node, name, self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: Any) -> Any:
        return self._values[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._values[index] = value
        self._save()

    def __delitem__(self, index: Any) -> None:
        del self._values[index]
        self._save()

    def insert(self, index: int, value: Any) -> None:
        self._values.insert(index, value)
        self._save()

    def __eq__(self, other: object) -> bool:
        return self._values == (other._values if isinstance(other, ObservedList) else other)

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: Any) -> Any:
        raise NotImplementedError("adding an ObservedList is not supported; += and list(...) are")

    __radd__ = __add__

    def __repr__(self) -> str:
        return f"ObservedList({self._values})"


class ListStorage(Storage):
    """``name_len`` and ``name_0``, ``name_1``, ..."""

    def __init__(self, element: Storage, validators: list[Any]) -> None:
        super().__init__(list, validators)
        self._element = element

    def holds(self, node: Any, name: str) -> bool:
        return bool(node.HasParameter(f"{name}_len"))

    def _length(self, node: Any, name: str) -> int:
        return int(node.GetParameter(f"{name}_len")) if self.holds(node, name) else 0

    def encode(self, node: Any, name: str, value: Any) -> None:
        values = list(value)
        for item in values:  # all of them first: a refused value must leave the node as it was
            self._element.validate(item)
        with slicer.util.NodeModify(node):
            for index in range(len(values), self._length(node, name)):
                self._element.remove(node, f"{name}_{index}")
            for index, item in enumerate(values):
                self._element.put(node, f"{name}_{index}", item)
            node.SetParameter(f"{name}_len", str(len(values)))

    def get(self, node: Any, name: str) -> ObservedList:
        values = [self._element.get(node, f"{name}_{index}") for index in range(self._length(node, name))]
        return ObservedList(self, node, name, values)

    def remove(self, node: Any, name: str) -> None:
        with slicer.util.NodeModify(node):
            for index in range(self._length(node, name)):
                self._element.remove(node, f"{name}_{index}")
            node.UnsetParameter(f"{name}_len")


class UnionStorage(Storage):
    """``name_<index of the type in the union>``."""

    def __init__(self, members: list[Storage], validators: list[Any]) -> None:
        super().__init__(None, validators)
        self._members = members

    def default(self) -> Any:
        is_optional = len(self._members) == 2 and isinstance(self._members[1], NoneStorage)
        return None if is_optional else self._members[0].default()

    def holds(self, node: Any, name: str) -> bool:
        return any(m.holds(node, f"{name}_{i}") for i, m in enumerate(self._members))

    def encode(self, node: Any, name: str, value: Any) -> None:
        refused: Exception | None = None
        for index, member in enumerate(self._members):
            if isinstance(member, NoneStorage) != (value is None):
                continue
            try:
                member.validate(value)
            except (TypeError, ValueError) as error:
                refused = error
                continue
            with slicer.util.NodeModify(node):
                self.remove(node, name)
                member.put(node, f"{name}_{index}", value)
            return
        raise refused or TypeError(f"Unable to write value {value!r}")

    def get(self, node: Any, name: str) -> Any:
        for index, member in enumerate(self._members):
            if member.holds(node, f"{name}_{index}"):
                return member.get(node, f"{name}_{index}")
        raise KeyError(f"Unable to find value for name: {name}")

    def remove(self, node: Any, name: str) -> None:
        with slicer.util.NodeModify(node):
            for index, member in enumerate(self._members):
                member.remove(node, f"{name}_{index}")


def storage_for(hint: Any) -> Storage:
    """The storage of a type hint; TypeError for a type that Slicer, or this stand-in, cannot store."""
    kind, annotations = split(hint)
    validators = [a for a in annotations if isinstance(a, Validator)]
    origin = typing.get_origin(kind)
    if origin is list:
        (element,) = typing.get_args(kind)
        return ListStorage(storage_for(element), validators)
    if origin is typing.Union:
        return UnionStorage([storage_for(member) for member in typing.get_args(kind)], validators)
    if origin is types.UnionType:
        raise TypeError(f"Slicer cannot store {kind}: write Optional[...] or Union[...]")
    if kind is type(None):
        return NoneStorage(kind, [])
    if kind is bool:
        return BoolStorage(kind, [NotNone(), IsInstance(bool), *validators])
    if kind in (int, float):
        accepted = (int, float) if kind is float else int
        return Storage(kind, [NotNone(), IsInstance(accepted), *validators])
    if kind is str or (isinstance(kind, type) and issubclass(kind, pathlib.PurePath)):
        return Storage(kind, [NotNone(), IsInstance(kind), *validators])
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return EnumStorage(kind, [IsInstance(kind), *validators])
    if isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode):
        return NodeStorage(kind, [IsInstance(kind), *validators])
    raise TypeError(f"the parameter type {kind} is not among those the host stores")


def node_classes(hint: Any) -> list[str]:
    """Names of the node classes in a node hint (a node, or a union of nodes and None), else []."""
    kind, _ = split(hint)
    members = typing.get_args(kind) if typing.get_origin(kind) is typing.Union else (kind,)
    nodes = [m for m in members if isinstance(m, type) and issubclass(m, slicer.vtkMRMLNode)]
    others = [m for m in members if m not in nodes and m is not type(None)]
    return [] if others else [m.__name__ for m in nodes]
