"""One convention for all sections of the panel."""

from __future__ import annotations

import re
from pathlib import Path

import slicer  # isort: skip

PANEL = Path(__file__).resolve().parents[3] / "DeepRegistration" / "DeepRegistrationSlicer" / "panel"


def test_each_section_is_one_file_and_is_found_by_its_name(panel):
    from DeepRegistrationSlicer.panel.section import Section

    sections = panel.panel.sections
    assert sorted(path.stem for path in PANEL.glob("*_section.py")) == sorted(f"{name}_section" for name in sections)
    for name, section in sections.items():
        assert isinstance(section, Section)
        assert re.sub(r"(?<=.)([A-Z])", r"_\1", type(section).__name__).lower() == f"{name}_section"
        assert type(section).__module__.rsplit(".", 1)[1] == f"{name}_section"


def test_every_section_hears_of_parameters_results_and_the_end(panel, monkeypatch):
    heard = []
    for name, section in panel.panel.sections.items():
        for event in ("show", "onFinished", "close"):
            monkeypatch.setattr(section, event, lambda *_, said=(name, event): heard.append(said))
    panel.panel.update()
    assert heard == [(name, "show") for name in panel.panel.sections]
    heard.clear()
    slicer.mrmlScene.Clear(0)
    panel.panel.close()
    assert [name for name, event in heard if event == "close"] == list(panel.panel.sections)
