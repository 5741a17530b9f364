"""Deformable registration: images in, a displacement field out, a transform the user can trust.

Importing this package does nothing; names are loaded when they are first used, so that torch is too.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # that of typing, without its 8 ms: the command line hears Ctrl+C only once this is loaded
if TYPE_CHECKING:
    from typing import Any

    from .errors import Cancelled, DeepRegistrationError, InputError, RegistrationFailed
    from .geometry.image import Grid, Image, read_image
    from .geometry.transform import Transform, read_transform
    from .models.bundle import load_model, save_bundle
    from .models.methods import methods
    from .pipeline import register
    from .progress import CancelToken
    from .quality.scores import score_labels, score_points
    from .result import Result
    from .settings import Settings

__version__ = "0.1.0"

_HOMES = {
    "CancelToken": "progress",
    "Cancelled": "errors",
    "DeepRegistrationError": "errors",
    "Grid": "geometry.image",
    "Image": "geometry.image",
    "InputError": "errors",
    "RegistrationFailed": "errors",
    "Result": "result",
    "Settings": "settings",
    "Transform": "geometry.transform",
    "load_model": "models.bundle",
    "methods": "models.methods",
    "read_image": "geometry.image",
    "read_transform": "geometry.transform",
    "register": "pipeline",
    "save_bundle": "models.bundle",
    "score_labels": "quality.scores",
    "score_points": "quality.scores",
}

__all__ = [
    "CancelToken",
    "Cancelled",
    "DeepRegistrationError",
    "Grid",
    "Image",
    "InputError",
    "RegistrationFailed",
    "Result",
    "Settings",
    "Transform",
    "load_model",
    "methods",
    "read_image",
    "read_transform",
    "register",
    "save_bundle",
    "score_labels",
    "score_points",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
