"""Puts the panel together."""

from __future__ import annotations

from typing import Any

from ..registration.following import Following
from ..registration.logic import RegistrationLogic
from ..registration.motion import MotionMaker
from ..registration.scorer import Scorer
from ..registration.series import Series
from ..viewing.looks import Viewer
from ..viewing.mover import Mover
from ..worker.devices import DeviceFinder
from ..worker.methods import MethodCatalog
from .again_section import AgainSection
from .dicom_section import DicomSection
from .hint_section import HintSection
from .live_section import LiveSection
from .motion_section import MotionSection
from .other_sections import DeviceSection, ModelsSection, SeveralSection
from .panel import RegistrationPanel
from .procedure_section import ProcedureSection
from .result_sections import ApplyToSection, JudgmentSection, LookSection


def buildPanel(ui: Any, logic: RegistrationLogic, catalog: MethodCatalog | None = None) -> RegistrationPanel:
    """The panel and its sections on the widgets of ``ui``."""
    series = Series()
    panel = RegistrationPanel(ui, logic, catalog or MethodCatalog(), series)
    panel.sections = [
        JudgmentSection(ui, Scorer()),
        LookSection(ui, Viewer()),
        ApplyToSection(ui, Mover()),
        SeveralSection(ui, series, logic, panel.catalog),
        ModelsSection(ui, panel.catalog),
        DeviceSection(ui, DeviceFinder()),
        AgainSection(ui, logic, panel.catalog),
        LiveSection(ui, logic),
        MotionSection(ui, series, MotionMaker()),
        DicomSection(ui),
        ProcedureSection(ui, Following(), panel.catalog),
        HintSection(ui),
    ]
    return panel
