"""Every text that a user reads can be translated."""

from __future__ import annotations

import ast
import xml.etree.ElementTree as ET

import pytest

from .cases import MODULE

FILES = sorted(MODULE.rglob("*.py"))
SHOWN = {"text", "toolTip", "title"}


def untranslated(source: str) -> list[str]:
    """Line and text of literals that are raised at the user or put into a widget without ``_()``."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            name = getattr(node.exc.func, "id", "")
            if name in ("RegistrationError", "InputError", "CancelledError"):
                found += [f"{node.lineno}: raise {name}" for a in node.exc.args if _literal(a)]
        isShown = isinstance(node, ast.Assign) and any(getattr(t, "attr", "") in SHOWN for t in node.targets)
        if isShown and _literal(node.value):
            found.append(f"{node.lineno}: shown")
    return found


def _literal(node: ast.AST) -> bool:
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(v, ast.Constant) and any(c.isalpha() for c in str(v.value)) for v in node.values)
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and any(c.isalpha() for c in node.value)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_no_text_is_left_out(path):
    assert untranslated(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("source", ['raise InputError("no")', 'ui.label.text = "no"', 'ui.label.toolTip = f"no {x}"'])
def test_the_check_finds(source):
    assert untranslated(source)


def test_format_strings_are_filled_after_translation():
    """``_(f"...")`` could never be found in a dictionary."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_":
                assert isinstance(node.args[0], ast.Constant), f"{path.name}:{node.lineno}"


def test_every_control_has_a_tool_tip():
    root = ET.parse(MODULE / "Resources" / "UI" / "DeepRegistration.ui").getroot()
    silent = {"QLabel", "qMRMLWidget", "ctkCollapsibleButton", "QProgressBar", "QWidget"}
    for widget in root.iter("widget"):
        names = {p.get("name") for p in widget.findall("property")}
        if widget.get("class") not in silent:
            assert "toolTip" in names, widget.get("name")
