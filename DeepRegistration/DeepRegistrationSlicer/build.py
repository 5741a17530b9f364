"""Puts the panel together."""

from __future__ import annotations

from typing import Any

from .logic import RegistrationLogic
from .methods import MethodCatalog
from .panel import RegistrationPanel


def buildPanel(ui: Any, logic: RegistrationLogic, catalog: MethodCatalog | None = None) -> RegistrationPanel:
    """The panel and its sections on the widgets of ``ui``."""
    return RegistrationPanel(ui, logic, catalog or MethodCatalog())
