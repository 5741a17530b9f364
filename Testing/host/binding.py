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

import contextlib
import functools
import inspect
import sys
import types
import weakref
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore

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
            setattr(cls, name, _positional(member))
    dress(cls)
    return cls


def is_native(cls: type) -> bool:
    """Whether ``cls`` plays a C++ class, i.e. is not a Python subclass made by module code."""
    return cls in _native_classes or cls.__module__.startswith(("PySide6", "Shiboken", "shiboken6"))


def _positional(function: types.FunctionType) -> Callable[..., Any]:
    @functools.wraps(function)
    def method(*args: Any, **kwargs: Any) -> Any:
        _refuse_keywords(function.__qualname__, kwargs)
        return function(*args)

    return method


# ---------------------------------------------------------------------------------------------------------------------
# Methods and signals as seen from module code


class Slot:
    """A bound C++ method: positional arguments only, sequences come back as tuples, as PythonQt returns them."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        _refuse_keywords(self._function.__qualname__, kwargs)
        result = self._function(*(unwrap(a) for a in args))
        return tuple(result) if type(result) is list else result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slot) and self._function == other._function

    def __hash__(self) -> int:
        return hash(self._function)

    def __repr__(self) -> str:
        return f"<qt slot {self._function.__qualname__}>"


class BoundSignal:
    """A signal of an object, as ``obj.clicked`` gives it: connect, disconnect, emit or call."""

    __slots__ = ("_instance", "_name", "_owner")

    def __init__(self, owner: QtCore.QObject, name: str, instance: QtCore.SignalInstance) -> None:
        self._owner, self._name, self._instance = owner, name, instance

    def connect(self, target: Callable[..., Any]) -> bool:
        return _link(self._owner, self._name, self._instance, target)

    def disconnect(self, target: Callable[..., Any] | None = None) -> bool:
        return _unlink(self._owner, self._name, target)

    def emit(self, *args: Any) -> None:
        self._instance.emit(*args)

    __call__ = emit

    def __getitem__(self, overload: Any) -> BoundSignal:
        raise TypeError("PythonQt signals have no overload brackets: connect('signal(args)', f) selects one")

    def __repr__(self) -> str:
        return f"<qt signal {self._name} of {type(self._owner).__name__}>"


def unwrap(value: Any) -> Any:
    """The PySide object behind a :class:`Slot` or :class:`BoundSignal`; anything else unchanged."""
    if isinstance(value, Slot):
        return value._function
    if isinstance(value, BoundSignal):
        return value._instance
    return value


def _refuse_keywords(what: str, kwargs: dict[str, Any]) -> None:
    if kwargs:
        raise ValueError(f"{what}: PythonQt takes positional arguments only, got {sorted(kwargs)}")


# ---------------------------------------------------------------------------------------------------------------------
# Connections

# The connections of an object, kept in its own __dict__: [(signal, target, signal instance, connected wrapper)].
_LINKS = "_host_links"


def _accepted_arguments(target: Callable[..., Any]) -> int | None:
    """How many arguments PythonQt passes to ``target``: trimmed for Python functions and methods, else all (None)."""
    if not isinstance(target, types.FunctionType | types.MethodType):
        return None
    parameters = inspect.signature(target).parameters.values()
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def guarded(target: Callable[..., Any], count: int | None = None) -> Callable[..., None]:
    """``target`` as the event loop calls it: arguments trimmed, an exception reported instead of thrown into C++."""
    accepted = _accepted_arguments(target)
    limit = accepted if count is None else count if accepted is None else min(count, accepted)

    def call(*args: Any) -> None:
        try:
            target(*(args if limit is None else args[:limit]))
        except Exception:
            sys.excepthook(*sys.exc_info())

    return call


def _link(
    owner: QtCore.QObject, name: str, signal: QtCore.SignalInstance, target: Any, count: int | None = None
) -> bool:
    if not callable(target):
        raise TypeError(f"{type(owner).__name__}.{name}: connect needs a callable, got {target!r}")
    wrapper = guarded(target, count)
    signal.connect(wrapper)
    owner.__dict__.setdefault(_LINKS, []).append((name, target, signal, wrapper))
    return True


def connect_weakly(owner: QtCore.QObject, signature: str, method: Callable[..., Any]) -> None:
    """Connect a signal to a method of a host widget without keeping that widget alive.

    Module code has no such choice: as in PythonQt, what it connects lives as long as the sender.
    """
    _, instance, count = _find_signal(owner, signature)
    reference = weakref.WeakMethod(method)
    wanted = _accepted_arguments(method)
    limit = count if wanted is None else min(count, wanted)

    def call(*args: Any) -> None:
        target = reference()
        if target is not None and is_alive(target.__self__):
            guarded(target, limit)(*args)

    instance.connect(call)


def _unlink(owner: QtCore.QObject, name: str, target: Any) -> bool:
    entries = owner.__dict__.get(_LINKS, [])
    found = [e for e in entries if e[0] == name and (target is None or e[1] == target)]
    for entry in found if target is None else found[:1]:
        entry[2].disconnect(entry[3])
        entries.remove(entry)
    return bool(found)


def _signatures(obj: QtCore.QObject) -> dict[str, str]:
    """Normalized C++ signature -> name of the attribute that holds the signal, for every signal of ``obj``."""
    meta = obj.metaObject()
    known = {}
    for index in range(meta.methodCount()):
        method = meta.method(index)
        if method.methodType() == QtCore.QMetaMethod.MethodType.Signal:
            signature = method.methodSignature().data().decode()
            known[signature] = signature.partition("(")[0]
    for cls in reversed(type(obj).__mro__):
        known.update(cls.__dict__.get("host_signals", {}))
    return known


def _find_signal(obj: QtCore.QObject, signature: str) -> tuple[str, QtCore.SignalInstance, int]:
    """(normalized signature, signal, number of arguments) of the signal that ``signature`` names, else RuntimeError."""
    normal = QtCore.QMetaObject.normalizedSignature(signature).data().decode()
    known = _signatures(obj)
    if normal not in known:
        name = normal.partition("(")[0]
        similar = sorted(s for s in known if s.startswith(name + "("))
        raise RuntimeError(f"{type(obj).__name__} has no signal {signature}; it has {similar or sorted(known)}")
    arguments = normal.partition("(")[2].rstrip(")")
    attribute = known[normal]
    instance = _raw_getattribute(type(obj))(obj, attribute)
    overloaded = sum(s.startswith(attribute + "(") for s in known) > 1
    if arguments and overloaded and attribute == normal.partition("(")[0]:
        with contextlib.suppress(KeyError, IndexError, TypeError):
            instance = instance[arguments]
    return normal, instance, arguments.count(",") + 1 if arguments else 0


def _connect(self: QtCore.QObject, signal: Any, target: Any = None, *rest: Any) -> Any:
    if isinstance(signal, QtCore.QObject) or not isinstance(signal, str):  # PySide's own glue (QTimer.singleShot)
        return _pyside_connect(signal, target, *rest)
    if rest:  # obj.connect("signal()", receiver, "slot()")
        target = getattr(target, str(rest[0]).partition("(")[0])
    normal, instance, count = _find_signal(self, signal)
    return _link(self, normal, instance, target, count)


def _disconnect(self: QtCore.QObject, signal: str, target: Any = None, *rest: Any) -> bool:
    if rest:
        target = getattr(target, str(rest[0]).partition("(")[0])
    return _unlink(self, _find_signal(self, signal)[0], target)


def _class_name(self: QtCore.QObject) -> str:
    return str(self.metaObject().className())


_METHODS: dict[str, Callable[..., Any]] = {"connect": _connect, "disconnect": _disconnect, "className": _class_name}
_pyside_connect = QtCore.QObject.connect

# ---------------------------------------------------------------------------------------------------------------------
# Attribute access

_raw: dict[type, Callable[[Any, str], Any]] = {}


def _raw_getattribute(cls: type) -> Callable[[Any, str], Any]:
    """PySide's own lookup for ``cls``: that of the nearest dressed class."""
    return next(_raw[c] for c in cls.__mro__ if c in _raw)


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
    raw = _raw[cls]

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
    definition = inspect.getattr_static(kind, name, None)
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
        _refuse_keywords(cls.__name__, kwargs)
        raw(self, *(unwrap(a) for a in args))

    return __init__


def dress(*classes: type) -> None:
    """Put PythonQt's dialect on ``classes`` (of PySide6, or the host's own)."""
    # All the originals are taken before any is replaced: a class without its own lookup shows its base's.
    fresh = [c for c in classes if c not in _raw]
    for cls in fresh:
        _raw[cls] = _raw_getattribute(cls) if _is_dressed_base(cls) else cls.__getattribute__
    for cls in fresh:
        initializer = _make_init(cls)
        if initializer is not None:
            cls.__init__ = initializer
        if issubclass(cls, QtCore.QObject):
            cls.__getattribute__ = _make_getattribute(cls)
            cls.__setattr__ = _setattr


def _is_dressed_base(cls: type) -> bool:
    return not cls.__module__.startswith("PySide6") and any(c in _raw for c in cls.__mro__)


def is_alive(obj: QtCore.QObject | None) -> bool:
    """Whether the C++ object behind ``obj`` still exists."""
    return obj is not None and shiboken6.isValid(obj)
