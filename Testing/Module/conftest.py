"""Fixtures of the tests that run a Slicer module on the test host (see ``Testing/host/__init__.py``).

A test file that imports ``slicer``, ``qt`` or ``ctk`` at its top first says::

    from Testing.host import boot

    boot()
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest

from Testing.host import Host, boot
from Testing.host import load_module as load_module_file

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE_FILE = REPOSITORY / "DeepRegistration" / "DeepRegistration.py"
SET_CHILD_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2)."""


@pytest.fixture(scope="session", autouse=True)
def _what_ended_is_taken_back_at_once() -> Iterator[None]:
    """The init of many a container leaves killed orphans in the table of processes for seconds, or for good."""
    if not sys.platform.startswith("linux"):
        yield
        return
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    previous = signal.signal(signal.SIGCHLD, _take_back_orphans)
    signal.siginterrupt(signal.SIGCHLD, False)
    yield
    signal.signal(signal.SIGCHLD, previous)
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _take_back_orphans(*_arguments: Any) -> None:
    """Of our own children each leads its group or is in ours; somebody waits for those."""
    for child in psutil.Process().children():
        with contextlib.suppress(OSError):
            if os.getpgid(child.pid) not in (child.pid, os.getpgrp()):
                os.waitpid(child.pid, os.WNOHANG)


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
def asking(load_module: Callable[..., ModuleType]) -> Any:
    """The Python side of the module's panel, opened and entered as a user does; ``asking.parent`` is shown.

    It asks the library for its methods, in a worker that loads PyTorch for that.
    """
    return _opened(load_module)


@pytest.fixture
def panel(load_module: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The same, where nobody was asked: PyTorch, which takes seconds to load, seemed not to be there yet."""
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "torch", None)
        return _opened(load_module)


def _opened(load_module: Callable[..., ModuleType]) -> Any:
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
