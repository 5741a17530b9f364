"""Signals and slots in PythonQt's dialect: what ``button.clicked`` and ``button.connect(...)`` are.

PythonQt passes a slot as many arguments as it takes, keeps what was connected as long as the sender lives, and prints
an exception that a slot raises. Here such an exception goes to ``sys.excepthook``, where the host records it.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import types
import weakref
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore

raw_lookups: dict[type, Callable[[Any, str], Any]] = {}
"""Class -> PySide's own attribute lookup, for every class that :mod:`.binding` has dressed."""


def raw_lookup(cls: type) -> Callable[[Any, str], Any]:
    """PySide's own attribute lookup for ``cls``: that of the nearest dressed class."""
    return next(raw_lookups[c] for c in cls.__mro__ if c in raw_lookups)


def is_alive(obj: QtCore.QObject | None) -> bool:
    """Whether the C++ object behind ``obj`` still exists."""
    return obj is not None and shiboken6.isValid(obj)


class BoundSignal:
    """A signal of an object, as ``obj.clicked`` gives it: connect, disconnect, emit or call."""

    __slots__ = ("_instance", "_name", "_owner")

    def __init__(self, owner: QtCore.QObject, name: str, instance: QtCore.SignalInstance) -> None:
        self._owner, self._name, self._instance = owner, name, instance

    def connect(self, target: Callable[..., Any]) -> bool:
        return link(self._owner, self._name, self._instance, target)

    def disconnect(self, target: Callable[..., Any] | None = None) -> bool:
        return unlink(self._owner, self._name, target)

    def emit(self, *args: Any) -> None:
        self._instance.emit(*args)

    __call__ = emit

    def __getitem__(self, overload: Any) -> BoundSignal:
        raise TypeError("PythonQt signals have no overload brackets: connect('signal(args)', f) selects one")

    def __repr__(self) -> str:
        return f"<qt signal {self._name} of {type(self._owner).__name__}>"


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


def link(
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
    _, instance, count = find_signal(owner, signature)
    reference = weakref.WeakMethod(method)
    wanted = _accepted_arguments(method)
    limit = count if wanted is None else min(count, wanted)

    def call(*args: Any) -> None:
        target = reference()
        if target is not None and is_alive(target.__self__):
            guarded(target, limit)(*args)

    instance.connect(call)


def unlink(owner: QtCore.QObject, name: str, target: Any) -> bool:
    entries = owner.__dict__.get(_LINKS, [])
    found = [e for e in entries if _same_signal(e[0], name) and (target is None or e[1] == target)]
    for entry in found if target is None else found[:1]:
        entry[2].disconnect(entry[3])
        entries.remove(entry)
    return bool(found)


def _same_signal(first: str, second: str) -> bool:
    """Whether two names mean one signal; a name without arguments (``button.clicked``) stands for any overload."""
    if "(" in first and "(" in second:
        return first == second
    return first.partition("(")[0] == second.partition("(")[0]


_known_signatures: dict[type, dict[str, str]] = {}


def _signatures(obj: QtCore.QObject) -> dict[str, str]:
    """Normalized C++ signature -> name of the attribute that holds the signal, for every signal of ``obj``."""
    kind = type(obj)
    if kind not in _known_signatures:
        meta = obj.metaObject()
        known = {}
        for index in range(meta.methodCount()):
            method = meta.method(index)
            if method.methodType() == QtCore.QMetaMethod.MethodType.Signal:
                signature = method.methodSignature().data().decode()
                known[signature] = signature.partition("(")[0]
        for cls in reversed(kind.__mro__):
            known.update(cls.__dict__.get("host_signals", {}))
        _known_signatures[kind] = known
    return _known_signatures[kind]


def find_signal(obj: QtCore.QObject, signature: str) -> tuple[str, QtCore.SignalInstance, int]:
    """(normalized signature, signal, number of arguments) of the signal that ``signature`` names, else RuntimeError."""
    normal = QtCore.QMetaObject.normalizedSignature(signature).data().decode()
    known = _signatures(obj)
    if normal not in known:
        name = normal.partition("(")[0]
        similar = sorted(s for s in known if s.startswith(name + "("))
        raise RuntimeError(f"{type(obj).__name__} has no signal {signature}; it has {similar or sorted(known)}")
    arguments = normal.partition("(")[2].rstrip(")")
    attribute = known[normal]
    instance = raw_lookup(type(obj))(obj, attribute)
    overloaded = sum(s.startswith(attribute + "(") for s in known) > 1
    if arguments and overloaded and attribute == normal.partition("(")[0]:
        with contextlib.suppress(KeyError, IndexError, TypeError):
            instance = instance[arguments]
    return normal, instance, arguments.count(",") + 1 if arguments else 0


def connect(self: QtCore.QObject, signal: Any, target: Any = None, *rest: Any) -> Any:
    if isinstance(signal, QtCore.QObject) or not isinstance(signal, str):  # PySide's own glue (QTimer.singleShot)
        return _pyside_connect(signal, target, *rest)
    if rest:  # obj.connect("signal()", receiver, "slot()")
        target = getattr(target, str(rest[0]).partition("(")[0])
    normal, instance, count = find_signal(self, signal)
    return link(self, normal, instance, target, count)


def disconnect(self: QtCore.QObject, signal: str, target: Any = None, *rest: Any) -> bool:
    if rest:
        target = getattr(target, str(rest[0]).partition("(")[0])
    return unlink(self, find_signal(self, signal)[0], target)


_pyside_connect = QtCore.QObject.connect
