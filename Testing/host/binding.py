"""PySide6 made to behave like PythonQt, Slicer's Qt binding.

PySide6 and PythonQt show the same C++ objects to Python in two dialects. Module code is written in PythonQt's:
a property is an attribute (``label.text``, never ``label.text()``), a signal is connected by its C++ signature
(``button.connect("clicked(bool)", f)``) or as an attribute, arguments are positional, and nothing new may be hung on a
Qt object. :func:`dress` puts that dialect on the classes of PySide6 and on the host's own widgets, once per process.

PySide's classes keep their own dictionaries; only the way Python looks attributes up is changed. C++ looks an
overridden virtual function up the same way and takes nothing but a bound Python method for one, so those are passed
through as they are.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore

from . import connections
from .connections import BoundSignal, raw_lookup, raw_lookups
from .slots import Slot, positional, refuse_keywords, unwrap

# Names that PySide's and the host's C++ properties answer to in PythonQt as well.
_ALIASES = {"name": "objectName"}

_native_classes: set[type] = set()


class _LoadingState:
    """True while QUiLoader builds a tree: it hangs named children on the top widget, PythonQt does not."""

    active = False


loading = _LoadingState()


def native(cls: type) -> type:
    """Class decorator for the host's widgets: treat ``cls`` as if it were implemented in C++."""
    _native_classes.add(cls)
    for name, member in list(cls.__dict__.items()):
        if isinstance(member, types.FunctionType) and not name.startswith("_"):
            setattr(cls, name, positional(member))
    dress(cls)
    return cls


def is_native(cls: type) -> bool:
    """Whether ``cls`` plays a C++ class, i.e. is not a Python subclass made by module code."""
    return cls in _native_classes or cls.__module__.startswith(("PySide6", "Shiboken", "shiboken6"))


def _class_name(self: QtCore.QObject) -> str:
    return str(self.metaObject().className())


_METHODS: dict[str, Callable[..., Any]] = {
    "connect": connections.connect,
    "disconnect": connections.disconnect,
    "className": _class_name,
}


@functools.cache
def _properties(cls: type) -> dict[str, tuple[bool, bool]]:
    """Name -> (read by the method of the same name, writable), for each property of ``cls``.

    A class that defines the name in Python (an overridden ``sizeHint``) has taken the property over.
    """
    meta = cls.staticMetaObject
    table = {}
    for index in range(meta.propertyCount()):
        prop = meta.property(index)
        name = prop.name()
        owner = next((c for c in cls.__mro__ if name in c.__dict__), None)
        definition = owner.__dict__[name] if owner is not None else None
        if isinstance(definition, types.FunctionType):
            continue
        is_reader = callable(definition) and not isinstance(definition, staticmethod | QtCore.Property)
        if cls.__name__ == "QTimer" or issubclass(cls, QtCore.QTimer):
            is_reader = is_reader and name != "singleShot"  # a static function, not the property's reader
        table[name] = (is_reader, prop.isWritable())
    return table


def _make_getattribute(cls: type) -> Callable[[Any, str], Any]:
    raw = raw_lookups[cls]

    def __getattribute__(self: Any, name: str) -> Any:
        if name.startswith("_"):
            return raw(self, name)
        kind = type(self)
        name = _ALIASES.get(name, name)
        entry = _properties(kind).get(name)
        if entry is not None:
            value = raw(self, name)() if entry[0] else raw(self, "property")(name)
            return tuple(value) if type(value) is list else value
        if name in _METHODS and not _defined_in_python(kind, name):
            return types.MethodType(_METHODS[name], self)
        value = raw(self, name)
        if isinstance(value, QtCore.SignalInstance):
            return BoundSignal(self, name, value)
        if isinstance(value, types.BuiltinMethodType):
            return Slot(value)
        return value

    return __getattribute__


@functools.cache
def _owner(cls: type, name: str) -> type | None:
    return next((c for c in cls.__mro__ if name in c.__dict__), None)


def _defined_in_python(cls: type, name: str) -> bool:
    owner = _owner(cls, name)
    return owner is not None and not is_native(owner)


@functools.cache
def _definition(cls: type, name: str) -> Any:
    return inspect.getattr_static(cls, name, None)


def _setattr(self: Any, name: str, value: Any) -> None:
    kind = type(self)
    name = _ALIASES.get(name, name)
    entry = _properties(kind).get(name)
    if entry is not None:
        if not entry[1]:
            raise AttributeError(f"Property '{name}' of {kind.__name__} is not writable")
        if not self.setProperty(name, list(value) if isinstance(value, tuple) else value):
            raise AttributeError(f"Property '{name}' of {kind.__name__} does not accept {value!r}")
        return
    definition = _definition(kind, name)
    if definition is not None and hasattr(type(definition), "__set__"):
        type(definition).__set__(definition, self, value)
        return
    if is_native(kind) and not name.startswith("_"):
        if isinstance(value, QtCore.SignalInstance):  # PySide caches a signal on first use
            self.__dict__[name] = value
            return
        if loading.active and isinstance(value, QtCore.QObject):
            return
        if definition is not None:
            raise AttributeError(f"Slot '{name}' can not be overwritten on {kind.__name__} object")
        if self.property(name) is None:
            raise AttributeError(
                f"'{name}' does not exist on {kind.__name__} and creating new attributes on C++ objects is not allowed"
            )
        self.setProperty(name, value)  # a dynamic property
        return
    self.__dict__[name] = value


def _make_init(cls: type) -> Callable[..., None] | None:
    raw = cls.__dict__.get("__init__")
    if raw is None:
        return None

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        refuse_keywords(cls.__name__, kwargs)
        raw(self, *(unwrap(a) for a in args))

    return __init__


def dress(*classes: type) -> None:
    """Put PythonQt's dialect on ``classes`` (of PySide6, or the host's own)."""
    # All the originals are taken before any is replaced: a class without its own lookup shows its base's.
    fresh = [c for c in classes if c not in raw_lookups]
    for cls in fresh:
        raw_lookups[cls] = raw_lookup(cls) if _is_dressed_base(cls) else cls.__getattribute__
    for cls in fresh:
        initializer = _make_init(cls)
        if initializer is not None:
            cls.__init__ = initializer
        if issubclass(cls, QtCore.QObject):
            cls.__getattribute__ = _make_getattribute(cls)
            cls.__setattr__ = _setattr


def _is_dressed_base(cls: type) -> bool:
    return not cls.__module__.startswith("PySide6") and any(c in raw_lookups for c in cls.__mro__)
