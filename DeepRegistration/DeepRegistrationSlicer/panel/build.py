"""Puts the panel together."""

from __future__ import annotations

from typing import Any

from ..registration.atlas import AtlasMaker
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
from .apply_to_section import ApplyToSection
from .atlas_section import AtlasSection
from .device_section import DeviceSection
from .dicom_section import DicomSection
from .hint_section import HintSection
from .judgment_section import JudgmentSection
from .look_section import LookSection
from .models_section import ModelsSection
from .motion_section import MotionSection
from .panel import RegistrationPanel
from .procedure_section import ProcedureSection
from .several_section import SeveralSection
from .stop_here_section import StopHereSection


def buildPanel(ui: Any, logic: RegistrationLogic, catalog: MethodCatalog | None = None) -> RegistrationPanel:
    """The panel and its sections on the widgets of ``ui``."""
    series = Series()
    panel = RegistrationPanel(ui, logic, catalog or MethodCatalog(), series)
    panel.sections = {
        "judgment": JudgmentSection(ui, Scorer()),
        "look": LookSection(ui, Viewer()),
        "apply_to": ApplyToSection(ui, Mover()),
        "several": SeveralSection(ui, series, logic, panel.catalog),
        "models": ModelsSection(ui, panel.catalog),
        "device": DeviceSection(ui, DeviceFinder()),
        "again": AgainSection(ui, logic, panel.catalog),
        "stop_here": StopHereSection(ui, logic),
        "motion": MotionSection(ui, series, MotionMaker()),
        "atlas": AtlasSection(ui, AtlasMaker(), logic, panel.catalog),
        "dicom": DicomSection(ui),
        "procedure": ProcedureSection(ui, Following(), panel.catalog),
        "hint": HintSection(ui),
    }
    return panel
