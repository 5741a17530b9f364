"""The settings as options of a command."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from ..settings import NAMES, Settings, option


def add_settings(parser: Any, names: Iterable[str] = NAMES) -> None:
    """Add an option for each setting of ``names``; without its option a setting keeps its default."""
    for each in fields(Settings):
        if each.name not in names:
            continue
        about = each.metadata["about"]
        if isinstance(each.default, bool):
            parser.add_argument(option(each.name), action="store_true", help=about)
            continue
        if each.default is not None:
            about += " (default: %(default)s)"
        bounds = each.metadata["bounds"]
        kind = str if bounds is None else type(each.default)
        choices = each.metadata["choices"] or None
        parser.add_argument(option(each.name), type=kind, choices=choices, default=each.default, help=about)


def settings_from(options: argparse.Namespace) -> Settings:
    """The settings that were typed.

    Raises:
        InputError: if a value cannot be used.
    """
    return Settings.of({name: getattr(options, name) for name in NAMES if hasattr(options, name)})
