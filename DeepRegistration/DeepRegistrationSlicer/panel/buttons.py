"""Buttons whose text changes, and what a button asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def setText(button: Any, text: str) -> None:
    """A new text, with the same shortcut: Qt takes a button's shortcut away when its text changes."""
    if button.text != text:
        keys = button.shortcut
        button.text = text
        button.shortcut = keys


def pathOf(chosen: Any) -> Path | None:
    """What a file dialog gave; None if it was cancelled. Some bindings add the chosen filter."""
    path = chosen if isinstance(chosen, str) else chosen[0]
    return Path(path) if path else None
