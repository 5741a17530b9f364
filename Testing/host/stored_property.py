"""A property of a widget that Qt knows, and that only keeps its value."""

from __future__ import annotations

from itertools import count
from typing import Any

from PySide6.QtCore import Property

_serial = count()


def stored(kind: str, default: Any, notify: str = "") -> Property:
    """A Qt property that only keeps its value; ``_property_changed`` of the widget is called when it changes."""
    key = f"_stored_{next(_serial)}"

    def read(self: Any) -> Any:
        return self.__dict__.get(key, default)

    def write(self: Any, value: Any) -> None:
        if value != read(self):
            self.__dict__[key] = value
            if notify:
                getattr(self, notify).emit(value)
            changed = getattr(type(self), "_property_changed", None)
            if changed is not None:
                changed(self)

    return Property(kind, read, write)
