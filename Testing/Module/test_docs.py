"""What the documents say can be done, and what they show exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from . import cases  # noqa: F401 - starts the host

import slicer  # isort: skip
from DeepRegistrationSlicer.registration import samples  # isort: skip

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


@pytest.mark.usefixtures("host")
def test_every_call_in_the_console_document_runs(monkeypatch, load_module, capsys):
    load_module()
    small = samples.MAKE.replace("demo_pair()", "demo_pair(shape=(16, 20, 16), spacing=11)")
    monkeypatch.setattr(samples, "MAKE", small)
    names: dict = {"slicer": slicer}
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "console.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) > 10
    for number, block in enumerate(blocks):
        exec(compile(block, f"docs/console.md, block {number + 1}", "exec"), names)
    said = capsys.readouterr().out
    assert "cancelled" in said
    assert "are the same" in said
    assert names["kind"] in ("good", "check", "bad")
    assert slicer.util.getNode("breathing transforms").GetNumberOfDataNodes() == 1
    names["viewer"].clear()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_every_picture_and_page_that_a_document_names_exists(path):
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if not re.match(r"[a-z]+:", target):
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_a_document_names_no_path_of_a_computer(path):
    assert not re.search(r"(?<![\w.])/(?:work|home|root|tmp)/", path.read_text(encoding="utf-8"))


def test_each_wish_has_its_tests_by_clicks_and_from_the_console_and_a_picture():
    text = (ROOT / "docs" / "wishes.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if re.match(r"\| \d", line)]
    assert [int(row[0]) for row in rows] == list(range(1, 21))
    for number, _wish, _before, now, clicks, console, pictures in rows:
        assert re.match(r"yes$|partly: .", now), number
        assert "click(" in "".join(source(clicks)) or "keyClick(" in "".join(source(clicks)), number
        if number != "18":  # the keyboard is a matter of the panel
            assert console.startswith("same") or source(console), number
        assert re.findall(r"\.png\)", pictures), number  # that they exist is tested above


def source(cell: str) -> list[str]:
    """The text of each file that a cell names; each test that it names is one."""
    found = []
    for path, name in re.findall(r"`([\w/]+\.py)::(\w+)`", cell):
        text = (ROOT / "Testing" / path).read_text(encoding="utf-8")
        assert f"def {name}(" in text, f"{path}::{name}"
        found.append(text)
    return found


def test_the_tutorial_names_controls_as_the_panel_does():
    """What stands in bold is a text of the panel, or of Slicer's own menus."""
    panel = (ROOT / "DeepRegistration" / "Resources" / "UI" / "DeepRegistration.ui").read_text(encoding="utf-8")
    known = {t.strip(": .").lower() for t in re.findall(r"<string[^>]*>([^<]*)</string>", panel)}
    sources = (ROOT / "DeepRegistration" / "DeepRegistrationSlicer").rglob("*.py")
    known |= {t.strip(": .").lower() for p in sources for t in re.findall(r'_\("([^"]*)"\)', p.read_text("utf-8"))}
    known |= {"sample data", "deep registration", "python console", "save", "extensions manager", "pytorch"}
    known |= {"mrbraintumor1", "mrbraintumor2", "ctmrbrain", "deepregistrationheads", "good", "check it"}
    known |= {"ctbrain", "mrbraint1", "mrbraint2"}
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    bold = [" ".join(t.split()) for t in re.findall(r"\*\*([^*]+)\*\*", text)]
    assert len(bold) > 20
    assert [t for t in bold if t.strip(": .").lower() not in known] == []
