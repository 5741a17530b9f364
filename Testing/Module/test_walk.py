"""The walk of ``docs/architecture.md``: `fixed` from Apply to the transform node, traced in a real registration."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

from Testing.architecture import FLOORS, ROOT
from Testing.host import interact

from .cases import MODULE, OBLIQUE, addVolume, blobs

assert MODULE.is_dir()
from DeepRegistrationLib.__main__ import main  # isort: skip
from DeepRegistrationLib.command_line.protocol import ERRORS_FILE, OUTPUT_FILE  # isort: skip
from DeepRegistrationSlicer.worker.process import LibraryProcess, Written  # isort: skip


class InThisProcess(LibraryProcess):
    """The library's command line in this process, so that one trace sees both sides."""

    processId = None

    def start(self, arguments: list[str], folder: Path) -> None:
        self._written = Written(folder)
        with (
            (folder / OUTPUT_FILE).open("w", encoding="utf-8") as output,
            (folder / ERRORS_FILE).open("w", encoding="utf-8") as errors,
            contextlib.chdir(folder),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(errors),
        ):
            self._code = main(arguments)

    def exitCode(self) -> int:
        return self._code

    def kill(self) -> None:
        pass


IMAGE = "fixed.nrrd"


class Walk:
    """A profiler that sees which functions of the house run, and to which of them `fixed` comes from another room.

    What is called so, and what a function returns that is called so, is followed by identity, whatever it is called
    further on; what carries it counts, too: a request, a pair, a command line.
    """

    def __init__(self) -> None:
        self.entered: dict[tuple[str, str], None] = {}
        self.called: dict[tuple[str, str], None] = {}
        self._kept: dict[int, Any] = {}
        self._files: dict[str, str] = {}

    def __call__(self, frame: FrameType, event: str, value: Any) -> None:
        if event not in ("call", "return"):  # most are of C
            return
        code = frame.f_code
        file = self._file(code.co_filename)
        if not file or code.co_name.startswith("<"):
            return
        if event == "return" and "fixed" in code.co_name.lower():
            for each in value if isinstance(value, tuple) else [value]:
                self._keep(each)
        if event != "call":
            return
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        given = [(name, frame.f_locals[name]) for name in names if name in frame.f_locals]
        for name, each in given:
            if name in ("fixed", "fixedNode", "fixedVolume"):
                self._keep(each)
        self.called.setdefault((file, code.co_name))
        if not any(self._is_fixed(each) for _, each in given):
            return
        caller = frame.f_back
        while caller is not None and not self._file(caller.f_code.co_filename):
            caller = caller.f_back
        before = self._file(caller.f_code.co_filename) if caller is not None else ""
        if before.split("/")[0] != file.split("/")[0]:
            self.entered.setdefault((file, code.co_name))

    def _file(self, name: str) -> str:
        if name not in self._files:
            inside = [floor for floor in FLOORS.values() if Path(name).is_relative_to(floor)]
            self._files[name] = Path(name).relative_to(inside[0]).as_posix() if inside else ""
        return self._files[name]

    def _keep(self, each: Any) -> None:
        if each is not None and not isinstance(each, bool | int | float):
            self._kept[id(each)] = each  # kept, so that nothing else gets its id

    def _is_fixed(self, each: Any) -> bool:
        if id(each) in self._kept:
            return True
        if isinstance(each, str | Path):
            return Path(each).name == IMAGE
        if isinstance(each, list | tuple):
            return any((isinstance(one, str) and one == IMAGE) or id(one) in self._kept for one in each[:100])
        held = getattr(each, "__dict__", None)
        return isinstance(held, dict) and any(name in ("fixed", "fixedNode") for name in held)


PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
SECTION = PAGE.split("\n## One walk")[1].split("\n## ")[0]
NOT_IN_THIS_RUN = {"serve": "the process that stays", "predict": "no network is here"}


def test_the_page_names_every_file_that_fixed_comes_to(panel: Any) -> None:
    registration = panel.logic.registration
    registration.makeProcess = InThisProcess
    registration.installer = SimpleNamespace(ensure=lambda: None)
    shape = (24, 24, 24)
    addVolume(blobs(shape), OBLIQUE, "one")
    addVolume(blobs(shape, shift=(1, 0, 0)), OBLIQUE, "two")
    interact.choose(panel.ui.fixedSelector, "one")
    interact.choose(panel.ui.movingSelector, "two")
    walk = Walk()
    sys.setprofile(walk)
    try:
        interact.click(panel.ui.applyButton)
        interact.wait_until(lambda: not registration.isRunning, 120)
    finally:
        sys.setprofile(None)
    assert registration.lastResult is not None, panel.ui.statusLabel.text
    named = set(re.findall(r"`([\w/]+\.py)`", SECTION))
    assert len(walk.entered) > 25  # the trace saw both sides
    missing = [f"{file}: {function}" for file, function in walk.entered if file not in named]
    assert not missing, missing
    stops = re.findall(r"^\| \d+ \| `([\w/]+\.py)`, `(?:\w+\.)?(\w+)`", SECTION, re.MULTILINE)
    assert len(stops) == len(re.findall(r"^\| \d+ \|", SECTION, re.MULTILINE))
    order = list(walk.called)
    places = [order.index(stop) for stop in stops if stop[1] not in NOT_IN_THIS_RUN]
    assert places == sorted(places), [stop for stop in stops if stop in walk.called]
