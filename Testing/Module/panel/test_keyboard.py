"""The whole panel by keyboard and by ear: Tab reaches every control in the order of sight, and each is named."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET

import pytest
from PySide6 import QtCore, QtTest, QtWidgets

from Testing.camera import tab_order
from Testing.host import interact

from ..cases import MODULE, addVolume, blobs

from DeepRegistrationSlicer.errors import RegistrationError  # isort: skip
from DeepRegistrationSlicer.registration import samples  # isort: skip

pytestmark = pytest.mark.usefixtures("host")
UI = MODULE / "Resources" / "UI" / "DeepRegistration.ui"
SILENT = {"QLabel", "qMRMLWidget", "QWidget"}


def controls():
    """Names and classes of what can be used, in the order of the file."""
    widgets = ET.parse(UI).getroot().iter("widget")
    return {w.get("name"): w for w in widgets if w.get("class") not in SILENT}


def test_every_control_has_a_name_to_be_read_out():
    silent = []
    for name, widget in controls().items():
        said = {p.get("name"): (p.findtext("string") or "").strip() for p in widget.findall("property")}
        if not (said.get("text") or said.get("title") or said.get("accessibleName")):
            silent.append(name)
    assert silent == []


def test_every_caption_leads_to_its_control():
    for label in ET.parse(UI).getroot().iter("widget"):
        if label.get("name").endswith("Caption"):
            buddies = [p.findtext("cstring") for p in label.findall("property") if p.get("name") == "buddy"]
            assert buddies == [label.get("name").removesuffix("Caption")]


def opened(panel):
    """All sections open and everything enabled, in a window that is high enough to show it."""
    ui = panel.ui
    for name, widget in controls().items():
        if widget.get("class") == "ctkCollapsibleButton":
            getattr(ui, name).collapsed = False
    for name in controls():
        getattr(ui, name).enabled = True
    panel.parent.resize(480, 4000)
    interact.process_events(50)
    return ui


def test_tab_goes_through_all_of_it_in_the_order_in_which_it_is_seen(panel):
    for name in ("A", "B"):
        addVolume(blobs((8, 8, 8)), name=name)
    ui = opened(panel)
    found = {name: getattr(ui, name) for name in controls()}
    visible = {name: w for name, w in found.items() if w.isVisible() and name != "progressBar"}
    assert set(found) - set(visible) <= {"progressBar", "hintButton", "stopHereButton", "placeButton"}

    def owner(widget):
        while widget is not None and widget not in visible.values():
            widget = widget.parentWidget()
        return next((name for name, w in visible.items() if w is widget), None)

    order, widget = [], found["imagesButton"]
    for _ in range(2000):
        takesTab = bool(widget.focusPolicy.value & QtCore.Qt.FocusPolicy.TabFocus.value)
        name = owner(widget) if takesTab and widget.isVisible() else None
        if name and name not in order:
            order.append(name)
        widget = widget.nextInFocusChain()
        if widget is found["imagesButton"]:
            break
    assert set(visible) - set(order) == set()
    inside = [name for name in order if controls()[name].get("class") != "ctkCollapsibleButton"]
    places = {}
    for name in inside:
        corner = visible[name].mapTo(panel.parent, QtCore.QPoint(0, 0))
        places[name] = (corner.x(), corner.y() + visible[name].height // 2)

    def goesBack(one, other):
        across, down = (b - a for a, b in zip(places[one], places[other], strict=True))
        return down < -12 or (abs(down) <= 12 and across < 0)

    assert [pair for pair in itertools.pairwise(inside) if goesBack(*pair)] == []
    assert len(inside) > 50
    # That was Qt's plan; now the key itself, pressed all the way round, and backwards.
    reached = tab_order(found["imagesButton"], list(visible.values()))
    order = [name for name in order if visible[name].enabled]  # a model of the box, once it is reached, stays
    assert reached == [visible[name] for name in order]
    QtTest.QTest.keyClick(found["imagesButton"], QtCore.Qt.Key.Key_Backtab)
    assert owner(QtWidgets.QApplication.focusWidget()) == order[-1]


def test_space_presses_what_has_the_focus(faked, ui):
    ui.applyButton.setFocus()
    QtTest.QTest.keyClick(ui.applyButton, QtCore.Qt.Key.Key_Space)
    interact.wait_until(lambda: ui.applyButton.text == "Apply", 60)
    assert ui.outputTransformSelector.currentNode() is not None


def test_without_images_the_panel_says_what_to_do_first(panel, monkeypatch):
    """The pair is made by the real library, smaller than usual."""
    ui = panel.ui
    assert ui.hintLabel.isVisible()
    assert "generated pair" in ui.hintLabel.text
    monkeypatch.setattr(samples.TorchInstaller, "ensure", lambda _self: None)
    small = samples.MAKE.replace("demo_pair()", "demo_pair(shape=(16, 20, 16), spacing=11)")
    monkeypatch.setattr(samples, "MAKE", small)
    interact.click(ui.hintButton)
    assert not ui.hintLabel.isVisible()
    assert not ui.hintButton.isVisible()
    assert ui.fixedSelector.currentNode().GetName() == "Head T1"
    assert ui.movingSelector.currentNode().GetName() == "Head T2"
    assert ui.applyButton.enabled


def test_a_sample_that_cannot_be_made_is_a_sentence(panel, monkeypatch):
    def refuse(_self):
        raise RegistrationError("PyTorch is needed.")

    monkeypatch.setattr(samples.TorchInstaller, "ensure", refuse)
    interact.click(panel.ui.hintButton)
    assert panel.ui.statusLabel.text == "PyTorch is needed."
    assert panel.ui.hintButton.enabled
