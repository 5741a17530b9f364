"""``python -m Testing.system_libraries`` says in one line what is missing, and installs it where it may."""

from __future__ import annotations

import sys

import pytest

from Testing import system_libraries

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux needs system libraries")


@pytest.fixture
def without_xkb(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without libxkbcommon, used by an ordinary user."""
    monkeypatch.setattr(system_libraries, "_loads", lambda name: "xkb" not in name)
    monkeypatch.setattr(system_libraries.os, "geteuid", lambda: 1000)


def test_nothing_is_said_where_all_is_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(system_libraries, "_loads", lambda name: True)
    assert system_libraries.main(["qt", "gl"]) == 0
    assert capsys.readouterr() == ("", "")


def test_one_line_names_the_command_to_type(without_xkb: None, capsys: pytest.CaptureFixture) -> None:
    assert system_libraries.main(["qt"]) == 1
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    assert said.startswith("libxkbcommon.so.0 missing; type: sudo apt-get install libxkbcommon0")


def test_only_what_is_asked_for_is_looked_for(without_xkb: None) -> None:
    assert system_libraries.main(["gl"]) == 0


def test_root_gets_the_packages_installed(without_xkb: None, monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[str] = []

    def install(packages: list[str]) -> bool:
        installed.extend(packages)
        monkeypatch.setattr(system_libraries, "_loads", lambda name: True)
        return True

    monkeypatch.setattr(system_libraries.os, "geteuid", lambda: 0)
    monkeypatch.setattr(system_libraries.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(system_libraries, "_install", install)
    assert system_libraries.main(["qt", "gl"]) == 0
    assert installed == ["libxkbcommon0", "fonts-dejavu-core", "libgl1-mesa-dri"]


def test_a_failed_installation_names_the_command(
    without_xkb: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(system_libraries.os, "geteuid", lambda: 0)
    monkeypatch.setattr(system_libraries, "_install", lambda packages: False)
    assert system_libraries.main(["qt"]) == 1
    assert "apt-get install" in capsys.readouterr().err
