"""Puts the panel together."""

from __future__ import annotations

from typing import Any

from .applying import Mover
from .devices import DeviceFinder
from .logic import RegistrationLogic
from .looks import Viewer
from .methods import MethodCatalog
from .more_sections import DeviceSection, ModelsSection, SeveralSection
from .panel import RegistrationPanel
from .scoring import Scorer
from .sections import ApplyToSection, JudgmentSection, LookSection
from .several import Series


def buildPanel(ui: Any, logic: RegistrationLogic, catalog: MethodCatalog | None = None) -> RegistrationPanel:
    """The panel and its sections on the widgets of ``ui``."""
    panel = RegistrationPanel(ui, logic, catalog or MethodCatalog())
    panel.sections = [
        JudgmentSection(ui, Scorer()),
        LookSection(ui, Viewer()),
        ApplyToSection(ui, Mover()),
        SeveralSection(ui, Series()),
        ModelsSection(ui, panel.catalog),
        DeviceSection(ui, DeviceFinder()),
    ]
    return panel
