"""Whether what a plan says for a setting is of the setting's type."""

from __future__ import annotations

import types
import typing
from collections.abc import Collection, Mapping
from dataclasses import is_dataclass
from typing import Any

from DeepRegistrationLib.errors import InputError

LARGEST = 1e18
"""Larger numbers, infinity and nan are no settings."""
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", types.NoneType: ""}


def check_setting(kind: type, key: str, value: Any, name: str) -> None:
    """Check ``value`` against the annotation of field ``key`` of the dataclass ``kind``; lists are given as tuples.

    Raises:
        InputError: a value of another type.
    """
    hint = typing.get_type_hints(kind)[key]
    if not _fits(value, hint):
        raise InputError(f"{name} cannot be {_shown(value)}; it should be {_said(hint)}.")
    check_numbers(value, name)


def check_known(name: str, table: Any, known: Collection[str]) -> None:
    """Check that ``table`` is one, with keys that are all ``known``.

    Raises:
        InputError: it is none, or another key.
    """
    if not isinstance(table, Mapping):
        raise InputError(f"{name} must be a table of settings, not {table!r}.")
    for key in table:
        if key not in known:
            raise InputError(f"{name}.{key} is not a setting; choose from {', '.join(sorted(known)) or 'none'}.")


def check_numbers(value: Any, name: str) -> None:
    """Refuse what TOML and JSON can say but nothing can be computed with, in ``value`` and the lists and tables in it.

    Raises:
        InputError: nan, infinity, and whole numbers beyond 64 bits.
    """
    if isinstance(value, Mapping):
        for key, one in value.items():
            check_numbers(one, f"{name}.{key}")
    elif isinstance(value, tuple | list):
        for one in value:
            check_numbers(one, name)
    elif isinstance(value, int | float) and not abs(value) < LARGEST:
        raise InputError(f"{name} cannot be {_shown(value)}; it should be a number that can be computed with.")


def _shown(value: Any) -> str:
    text = repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return any(_fits(value, one) for one in arguments)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if arguments[-1] is Ellipsis:
            return all(_fits(one, arguments[0]) for one in value)
        return len(value) == len(arguments) and all(map(_fits, value, arguments))
    if origin is not None and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(_fits(one, arguments[1]) for one in value.values())
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, int | float if hint is float else hint)


def _said(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(filter(None, map(_said, arguments)))
    if origin is tuple:
        how_many = "" if arguments[-1] is Ellipsis else f"{len(arguments)} "
        return f"a list of {how_many}{_said(arguments[0]).removeprefix('a ')}s"
    if is_dataclass(hint) or (origin is not None and issubclass(origin, Mapping)):
        return "a table of settings"
    return _WORDS.get(hint, str(hint))
