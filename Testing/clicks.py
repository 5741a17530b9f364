"""Clicks and seconds from opening the panel to a finished overlay: ``python -m Testing.clicks [--write FILE]``.

Ours are counted while a program clicks; those of two other modules of Slicer are the steps of their own pages. A choice
from a list is two clicks (open it, choose), a button one. Going to a module is not counted, for nobody.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from Testing import host
from Testing.host import interact

ROOT = Path(__file__).resolve().parents[1]
LIST, BUTTON = 2, 1


@dataclass(frozen=True)
class Guide:
    """What a module's page tells its user to do: (step, clicks); ``seconds`` in the words of the page."""

    name: str
    page: str
    steps: tuple[tuple[str, int], ...]
    seconds: str
    overlay: str

    @property
    def clicks(self) -> int:
        return sum(clicks for _step, clicks in self.steps)


GUIDES = (
    Guide(
        "Elastix",
        "https://github.com/lassoan/SlicerElastix#register-two-volumes",
        (
            ("fixed volume", LIST),
            ("moving volume", LIST),
            ("preset", LIST),
            ("new output volume", LIST),
            ("new output transform", LIST),
            ("Apply", BUTTON),
        ),
        "“a couple of minutes”, no images or computer stated",
        "by hand: fixed volume as foreground in the slice viewers, then fade (clicks not stated)",
    ),
    Guide(
        "UniGradICON",
        "https://github.com/uncbiag/SlicerUniGradICON#user-guide",
        (
            ("fixed image", LIST),
            ("moving image", LIST),
            ("modality", LIST),
            ("model", LIST),
            ("output transform", LIST),
            ("output image", LIST),
            ("Run Registration", BUTTON),
        ),
        "“may take a few minutes”, no images or computer stated",
        "by hand: in the Data module; a checkerboard with the CheckerBoard Filter module (clicks not stated)",
    ),
)


def count() -> tuple[list[str], float, float, str]:
    """Steps, seconds to the overlay, seconds of them after Apply, and the verdict, on the generated pair."""
    running = host.boot()
    import slicer

    host.load_module(ROOT / "DeepRegistration" / "DeepRegistration.py")
    from DeepRegistrationSlicer.registration import results, samples

    samples.load()
    opened = time.monotonic()
    slicer.util.selectModule("DeepRegistration")
    slicer.modules.deepregistration.widgetRepresentation().show()
    widget = slicer.modules.DeepRegistrationWidget
    ui, steps = widget.ui, []
    for selector, name in ((ui.fixedSelector, "Head T1"), (ui.movingSelector, "Head T2")):
        if selector.currentNode() is None or selector.currentNode().GetName() != name:
            interact.choose(selector, name)
            steps += [name] * LIST
    steps.append("Apply")
    applied = time.monotonic()
    interact.click(ui.applyButton)
    interact.wait_until(lambda: not widget.panel.logic.isRunning, 1800)
    finished = time.monotonic()
    composite = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    moved = widget.panel.parameters.outputVolume
    assert moved is not None, ui.statusLabel.text
    assert composite.GetForegroundVolumeID() == moved.GetID(), "the overlay is not shown"
    verdict = results.reportOf(widget.panel.parameters.outputTransform)["verdict"]
    widget.panel.close()
    running.reset()
    return steps, finished - opened, finished - applied, verdict


def first_walk() -> list[tuple[str, int, float, float]]:
    """From an empty scene to the first result, after the installation: (step, clicks, seconds, seconds of a core)."""
    running = host.boot()
    import slicer

    host.load_module(ROOT / "DeepRegistration" / "DeepRegistration.py")
    walked, began, used = [], time.monotonic(), _core_seconds()

    def step(what: str, clicks: int) -> None:
        nonlocal began, used
        now, by_now = time.monotonic(), _core_seconds()
        walked.append((what, clicks, now - began, by_now - used))
        began, used = now, by_now

    slicer.util.selectModule("DeepRegistration")
    slicer.modules.deepregistration.widgetRepresentation().show()
    widget = slicer.modules.DeepRegistrationWidget
    step("the module Deep Registration is opened", LIST)
    interact.click(widget.ui.hintButton)
    step(widget.ui.hintButton.text, BUTTON)
    interact.click(widget.ui.applyButton)
    interact.wait_until(lambda: not widget.panel.logic.isRunning, 1800)
    assert widget.panel.parameters.outputVolume is not None, widget.ui.statusLabel.text
    step("Apply, to the overlay and the judgment", BUTTON)
    widget.panel.close()
    running.reset()
    return walked


def again(shape: tuple[int, int, int], times: int = 5) -> list[tuple[float, float]]:
    """Seconds of a core, panel and worker together, from the click on "again, from here": to seeing, and to judging.

    Args:
        shape: voxels of the generated images: one breath of a body, frame after frame.
        times: that it is clicked.
    """
    running = host.boot()
    import slicer

    from Testing.Lib.motion.breath import Breath

    host.load_module(ROOT / "DeepRegistration" / "DeepRegistration.py")
    breath, spent = Breath(shape, count=times + 3, depth=6.0, noise=0.02), list[tuple[float, float]]()

    def load(array: np.ndarray, name: str) -> None:
        slicer.util.addVolumeFromArray(array, name=name)

    load(breath.fixed.array, "still")
    load(breath.frames[1].array, "breath")
    slicer.util.selectModule("DeepRegistration")
    slicer.modules.deepregistration.widgetRepresentation().show()
    widget = slicer.modules.DeepRegistrationWidget
    ui, logic, seen = widget.ui, widget.panel.logic, list[float]()
    interact.choose(ui.fixedSelector, "still")
    interact.choose(ui.movingSelector, "breath")
    interact.click(ui.applyButton)
    interact.wait_until(lambda: not logic.isRunning, 1800)

    def look() -> bool:
        view = logic._preview
        if not seen and view is not None and view.isShown and view._isLast and view._waiting is None:
            seen.append(_core_seconds())
        return not logic.isRunning

    for number, frame in enumerate(breath.frames[2 : times + 2]):
        load(frame.array, f"breath {number + 1}")
        interact.process_events(200)
        seen.clear()
        began = _core_seconds()
        interact.click(ui.againButton)
        interact.wait_until(look, 1800)
        judged = _core_seconds()
        spent.append(((seen or [judged])[0] - began, judged - began))
        assert logic.lastResult is not None, ui.statusLabel.text
    widget.panel.close()
    running.reset()
    return spent


def _core_seconds() -> float:
    """Of this program and of what it started, ended or not: the same on a busy computer."""
    own = psutil.Process()
    spent = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return sum(t.user + t.system + t.children_user + t.children_system for t in spent)


def table(steps: list[str], seconds: float) -> str:
    """The comparison in Markdown."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    ours = f"{seconds:.0f} s, generated pair, {cores} {platform.machine()} processor cores, no graphics card"
    if hasattr(os, "getloadavg") and cores and os.getloadavg()[0] > cores + 1:
        ours = "not measured: the computer was busy with other programs"
    lines = [
        "| module | clicks to the result | which | time | overlay |",
        "|---|---|---|---|---|",
        f"| Deep Registration (counted) | {len(steps)} | {', '.join(dict.fromkeys(steps))} | {ours} | shown at once |",
    ]
    for guide in GUIDES:
        which = ", ".join(f"{step} ({clicks})" for step, clicks in guide.steps)
        cells = [f"{guide.name} ([its page]({guide.page}))", str(guide.clicks), which, guide.seconds, guide.overlay]
        lines.append(f"| {' | '.join(cells)} |")
    note = (
        "A choice from a list is two clicks, a button one; opening the module is not counted. Volumes that are already "
        "chosen when the panel opens need no click here; the other modules' pages do not say whether theirs are. Times "
        "of different pages were measured on different images and computers: they are no race."
    )
    return "\n".join([*lines, "", note])


def write(path: Path, text: str) -> None:
    """Put ``text`` between the marks of a document."""
    before = path.read_text(encoding="utf-8")
    marks = re.compile(r"(<!-- clicks -->\n).*?(<!-- /clicks -->)", re.DOTALL)
    after = marks.sub(lambda found: f"{found[1]}{text}\n{found[2]}", before)
    path.write_text(after, encoding="utf-8")


def main() -> None:
    """Count, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, metavar="FILE")
    parser.add_argument("--walk", action="store_true", help="from an empty scene to the first result instead")
    parser.add_argument("--again", metavar="48x56x48", help="click on again, from here, on images of that size instead")
    options = parser.parse_args()
    if options.again:
        spent = again(tuple(int(n) for n in options.again.split("x")))
        for what, seconds in zip(("seen", "judged"), zip(*spent, strict=True), strict=True):
            each = ", ".join(f"{value:.2f}" for value in seconds)
            print(f"{what} after {min(seconds):.2f} s of a core, the smallest of {each}")
        return
    if options.walk:
        for what, clicks, seconds, core in first_walk():
            print(f"| {what} | {clicks} | {seconds:.1f} s | {core:.1f} s |")
        print("load of the computer:", *(f"{value:.1f}" for value in os.getloadavg()))
        return
    steps, seconds, working, verdict = count()
    text = table(steps, seconds)
    print(text)
    print(f"{seconds:.1f} s from opening the panel, {working:.1f} s of them after Apply; verdict {verdict}")
    if options.write:
        write(options.write, text)


if __name__ == "__main__":
    main()
