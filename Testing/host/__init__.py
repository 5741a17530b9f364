"""Slicer's application, as far as a scripted module notices, in a plain Python process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class Host:
    """The running stand-in: ``app`` is ``slicer.app``."""

    app: Any


_host: Host | None = None


def boot() -> Host:
    """Start the host (once a process; later calls return the same)."""
    global _host
    if _host is None:
        from . import qt_module

        qt_application, _qt = qt_module.install()
        from . import ctk_widgets

        ctk_widgets.install()
        from . import application, scripted_module

        app = application.install(qt_application)
        scripted_module.install()
        from . import parameter_node

        parameter_node.install()
        _host = Host(app)
    return _host


def load_module(path: Any) -> Any:
    from .scripted_module import load_module as load

    return load(path)
