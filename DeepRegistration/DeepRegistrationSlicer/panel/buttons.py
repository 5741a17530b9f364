"""Buttons whose text changes."""

from __future__ import annotations

from typing import Any


def setText(button: Any, text: str) -> None:
    """A new text, with the same shortcut: Qt takes a button's shortcut away when its text changes."""
    if button.text != text:
        keys = button.shortcut
        button.text = text
        button.shortcut = keys
