"""C++ methods as PythonQt shows them to Python: positional arguments, tuples for lists."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

from .connections import BoundSignal


def refuse_keywords(what: str, kwargs: dict[str, Any]) -> None:
    if kwargs:
        raise ValueError(f"{what}: PythonQt takes positional arguments only, got {sorted(kwargs)}")


def positional(function: types.FunctionType) -> Callable[..., Any]:
    """``function``, refusing keyword arguments."""

    @functools.wraps(function)
    def method(*args: Any, **kwargs: Any) -> Any:
        refuse_keywords(function.__qualname__, kwargs)
        return function(*args)

    return method


class Slot:
    """A bound C++ method: positional arguments only, sequences come back as tuples, as PythonQt returns them."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        refuse_keywords(self._function.__qualname__, kwargs)
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


def unwrap(value: Any) -> Any:
    """The PySide object behind a :class:`Slot` or :class:`BoundSignal`; anything else unchanged."""
    if isinstance(value, Slot):
        return value._function
    if isinstance(value, BoundSignal):
        return value._instance
    return value
