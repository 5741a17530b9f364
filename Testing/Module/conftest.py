"""Fixtures of the tests that run a Slicer module on the test host (see ``Testing/host/__init__.py``).

A test file that imports ``slicer``, ``qt`` or ``ctk`` at its top first says::

    from Testing.host import boot

    boot()
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from Testing.host import Host, boot
from Testing.host import load_module as load_module_file

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE_FILE = REPOSITORY / "DeepRegistration" / "DeepRegistration.py"


@pytest.fixture(scope="session")
def application() -> Iterator[Host]:
    """The host, started once."""
    running = boot()
    yield running
    running.close()


@pytest.fixture
def host(application: Host) -> Iterator[Host]:
    """The host with an empty scene and default settings.

    An exception that nobody could catch (in a slot, a timer, an observer) fails the test, unless the test takes note
    of it by emptying ``host.errors``.
    """
    application.reset()
    yield application
    errors = list(application.errors)
    application.reset()
    if errors:
        pytest.fail("in a slot, timer or observer: " + "; ".join(f"{type(e).__name__}: {e}" for e in errors))


@pytest.fixture
def load_module(host: Host) -> Iterator[Callable[..., ModuleType]]:
    """``load_module(path=the module of this repository)`` loads a scripted module; it is closed after the test."""
    loaded: list[str] = []

    def load(path: str | Path = MODULE_FILE) -> ModuleType:
        module = load_module_file(path)
        loaded.append(Path(path).stem)
        return module

    yield load
    for name in loaded:
        host.unload_module(name)


@pytest.fixture
def panel(load_module: Callable[..., ModuleType]) -> Any:
    """The Python side of the module's panel, opened and entered as a user does; ``panel.parent`` is shown."""
    load_module()
    import slicer

    slicer.util.selectModule(MODULE_FILE.stem)
    widget = getattr(slicer.modules, f"{MODULE_FILE.stem}Widget")
    widget.parent.resize(480, 1000)
    widget.parent.show()
    slicer.app.processEvents()
    return widget


@pytest.fixture
def faked(panel: Any) -> Any:
    """The open panel with two volumes, and a worker that only pretends."""
    from DeepRegistrationSlicer.worker import process

    from Testing.host import interact

    from . import cases

    panel.panel.catalog.stop()
    registration = panel.logic.registration
    registration.makeProcess = lambda: process.LibraryProcess(cases.FAKE)
    registration.installer = SimpleNamespace(ensure=lambda: None)
    cases.addVolume(cases.blobs(), cases.OBLIQUE, "T1")
    cases.addVolume(cases.blobs(shift=(2, 0, 0)), cases.OTHER, "T2")
    interact.choose(panel.ui.fixedSelector, "T1")
    interact.choose(panel.ui.movingSelector, "T2")
    return panel


@pytest.fixture
def ui(faked: Any) -> Any:
    return faked.ui
