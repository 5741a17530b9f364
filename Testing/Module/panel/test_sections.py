"""One convention for all sections of the panel."""

from __future__ import annotations

import re
from pathlib import Path

from Testing.host import interact

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


def test_no_words_are_cut_off_when_a_label_gets_more_of_them(panel):
    """A QFormLayout goes on giving a label the height that it had before."""
    widget, ui = slicer.modules.deepregistration.widgetRepresentation(), panel.ui
    wrapped = [label for label in vars(ui).values() if label.className() == "QLabel" and label.wordWrap]
    assert len(wrapped) > 8
    for button in vars(ui).values():
        if button.className() == "ctkCollapsibleButton":
            button.collapsed = False
    widget.show()
    for words in ("A few words.", "Measured as a start: better than no network. " * 8):
        for label in wrapped:
            label.text = words
        for _again in range(4):
            interact.process_events(30)
            widget.resize(440, widget.layout().totalHeightForWidth(440))
        for label in wrapped:
            if label.isVisible():
                assert label.height >= label.heightForWidth(label.width), label.objectName
