"""Pictures of the panel, of every look and of each wish: ``python -m Testing.screenshots [FOLDER [NAME ...]]``.

NAME: only these of ``Testing.wish_pictures``; "walk": the generated pair from the first click on. The panel is drawn by
the test host, so frames and fonts are not Slicer's; what it says and where is.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from Testing import browser, host, wish_pictures
from Testing.camera import Camera
from Testing.host import interact, plot_view

ROOT = Path(__file__).resolve().parents[1]


def main(folder: Path, names: list[str]) -> None:
    """Take the pictures of these names, or all."""
    running = host.boot()
    import slicer

    host.load_module(ROOT / "DeepRegistration" / "DeepRegistration.py")
    folder = folder.resolve()  # some go into a folder of their own meanwhile
    folder.mkdir(parents=True, exist_ok=True)
    slicer.util.selectModule("DeepRegistration")
    widget = slicer.modules.deepregistration.widgetRepresentation()
    ui, panel = slicer.modules.DeepRegistrationWidget.ui, slicer.modules.DeepRegistrationWidget.panel
    widget.show()
    camera = Camera(running, widget, folder)
    interact.wait_until(lambda: not panel.catalog.answer.isRunning, 60)
    for name, take in {"walk": walk, **wish_pictures.PICTURES}.items():
        if not names or name in names:
            print(name)
            take(camera, ui, panel)
    panel.close()


def walk(camera: Camera, ui: Any, panel: Any) -> None:
    """Register the generated pair by clicks and take pictures on the way."""
    camera.panel("panel-first")
    interact.click(ui.hintButton)
    opened = time.monotonic()
    set_up(camera, ui, panel)
    started = time.monotonic()
    register(camera, ui, panel)
    finished = time.monotonic()
    look_at(camera, ui, panel)
    report(camera, panel)
    follow(camera, ui, panel)
    ui.imagesButton.collapsed, ui.lookButton.collapsed, ui.judgmentButton.collapsed = False, True, True
    interact.choose(ui.movingSelector, "Head T1")
    camera.panel("panel-error")
    over_time(camera, ui, panel)
    print(f"panel opened to overlay: {finished - opened:.0f} s, of which {finished - started:.0f} s after Apply")
    print(ui.verdictLabel.text)


def report(camera: Camera, panel: Any) -> None:
    """The exported page, as a browser shows it once its slices are drawn."""
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "report.html"
        panel.sections["judgment"].export(path)
        with browser.Page(path, Path(made) / "profile") as page:
            page.wait_for("document.querySelector('.viewer')?.dataset.ready === 'yes'")
            camera.picture("report", page.photograph())
            first = "[...document.querySelectorAll('tr')].find(row => row.innerText.startsWith('TG-132'))"
            page.ask(f"{first}.scrollIntoView()")
            camera.picture("report-tg132", page.photograph())


def follow(camera: Camera, ui: Any, panel: Any) -> None:
    """A target that is moved by hand: before, after, and the grid."""
    import slicer

    fixed, moving = panel.parameters.fixedLandmarks, panel.parameters.movingLandmarks
    interact.click(ui.beforeButton)  # it was on
    for button in (ui.lookButton, ui.judgmentButton, ui.outputsButton):
        button.collapsed = True
    ui.procedureButton.collapsed = False
    target = np.array(fixed.GetNthControlPointPosition(0))
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    red.JumpSliceByCentering(*target)
    width, height, depth = red.GetFieldOfView()
    red.SetFieldOfView(110, 110 * height / width, depth)
    moving.SetDisplayVisibility(False)
    fixed.CreateDefaultDisplayNodes()
    fixed.SetDisplayVisibility(True)
    before = camera.now()
    interact.click(ui.followButton)
    place = np.array(moving.GetNthControlPointPosition(0))
    moving.SetNthControlPointPosition(0, *np.add(place, (0, 10, 0)))
    moving.InvokeEvent(slicer.vtkMRMLMarkupsNode.PointEndInteractionEvent)
    section = panel.sections["procedure"]
    interact.wait_until(lambda: section.following.done, 300)
    pictures = [before, camera.now()]
    ui.lookButton.collapsed = False
    interact.click(ui.gridButton)
    panel.parameters.outputTransform.GetDisplayNode().SetGridSpacingMm(5)
    camera.pictures("follow", [*pictures, camera.now()])
    interact.click(ui.overlayButton)
    ui.lookButton.collapsed = True
    interact.click(ui.followButton)
    ui.procedureButton.collapsed = True
    for node in (fixed, moving):
        node.SetDisplayVisibility(False)


def set_up(camera: Camera, ui: Any, panel: Any) -> None:
    """The method and the outputs; the panel as it opens, and its advanced settings."""
    import slicer

    interact.wait_until(lambda: not panel.catalog.answer.isRunning, 60)
    camera.panel("panel")
    interact.choose(ui.methodComboBox, panel.catalog.find("universal").title)
    ui.outputsButton.collapsed = True
    interact.click(ui.advancedButton)
    interact.wait_until(lambda: ui.deviceLabel.text, 60)
    camera.panel("panel-advanced")
    interact.click(ui.advancedButton)
    values = {"fixedLabels": "Head T1 labels", "movingLabels": "Head T2 labels"}
    values |= {"fixedLandmarks": "Head T1 points", "movingLandmarks": "Head T2 points"}
    for name, node in values.items():
        setattr(panel.parameters, name, slicer.util.getNode(node))
    panel.parameters.useGuidance = False  # for judging only
    panel.parameters.wantInverse = True


def over_time(camera: Camera, ui: Any, panel: Any) -> None:
    """A breath in a sequence, and a volume that is watched."""
    import slicer

    from Testing.Lib.motion.breath import Breath
    from Testing.Module.cases import PLAIN, addVolume

    body = Breath((28, 32, 30), count=6, noise=0.02, depth=6.0)
    fixed = addVolume(body.fixed.array, PLAIN, "Lung")
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "Breath")
    sequence.SetIndexName("time")
    for index, frame in enumerate(body.frames):
        volume = addVolume(frame.array, PLAIN, "Phase")
        sequence.SetDataNodeAtValue(volume, str(index))
        slicer.mrmlScene.RemoveNode(volume)
    phase = addVolume(body.frames[2].array, PLAIN, "Phase")
    panel.parameters.method = "none"
    for name in ("fixedLabels", "movingLabels", "fixedLandmarks", "movingLandmarks"):
        setattr(panel.parameters, name, None)
    panel.parameters.fixedVolume, panel.parameters.movingVolume = fixed, phase
    labels = addVolume(body.body.astype(np.uint8), PLAIN, "Lung labels", "vtkMRMLLabelMapVolumeNode")
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Bifurcations")
    for place in ([8, 16, 14], [20, 15, 14]):
        points.AddControlPoint(*(float(v) for v in place))
    panel.parameters.fixedLabels, panel.parameters.fixedLandmarks = labels, points
    ui.imagesButton.collapsed = True
    ui.severalButton.collapsed = False
    interact.choose(ui.severalSequenceSelector, "Breath")
    interact.click(ui.cyclicCheckBox)
    ui.smoothInTimeSlider.value = 1.0
    interact.click(ui.registerAllButton)
    interact.wait_until(lambda: not panel.series.isRunning, 600)
    interact.click(ui.motionButton)
    interact.wait_until(lambda: not panel.sections["motion"].maker.answer.isRunning, 120)
    camera.panel("panel-sequence")
    charts = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    camera.pictures("motion", [plot_view.draw(chart) for chart in charts])
    ui.severalButton.collapsed = True
    interact.click(ui.applyButton)
    interact.wait_until(lambda: not panel.logic.isRunning, 600)
    ui.judgmentButton.collapsed = ui.lookButton.collapsed = True
    ui.procedureButton.collapsed = False
    interact.choose(ui.watchSelector, "Phase")
    interact.click(ui.watchButton)
    slicer.util.updateVolumeFromArray(phase, body.frames[3].array)
    interact.wait_until(lambda: panel.sections["procedure"].following.done, 120)
    camera.panel("panel-procedure")
    interact.click(ui.watchButton)


def register(camera: Camera, ui: Any, panel: Any) -> None:
    """Apply, with the panel and the views on the way."""
    import slicer

    shown: list[np.ndarray] = []
    seen = 0

    def looked() -> bool:
        """One more picture whenever the views show something newer."""
        nonlocal seen
        node = next(iter(slicer.util.getNodes("Registration on its way").values()), None)
        now = node.GetTransformFromParent().GetMTime() if node is not None else seen
        if now != seen:
            print(f"{time.monotonic() - started:5.1f} s after Apply: {ui.statusLabel.text}")
            shown.append(camera.now())
            if len(shown) == 2:
                camera.panel("panel-running")
        seen = now
        return not panel.logic.isRunning

    started = time.monotonic()
    interact.click(ui.applyButton)
    interact.wait_until(looked, 600)
    camera.pictures("preview", [shown[0], shown[len(shown) // 2], camera.now()])


def look_at(camera: Camera, ui: Any, panel: Any) -> None:
    """The overlay, the finished panel and every other look; the overlay without the transform at the end."""
    from DeepRegistrationSlicer.viewing.looks import Look

    camera.views("overlay-after")
    interact.wait_until(lambda: not panel.sections["judgment"].scorer.answer.isRunning, 120)
    ui.imagesButton.collapsed = True
    camera.panel("panel-finished")
    for look in Look:
        if look is Look.OVERLAY:  # taken already
            continue
        button = panel.sections["look"].buttons[look]
        if not button.checked:
            interact.click(button)
        panel.sections["look"].viewer.wait()  # doubt is made by the worker
        camera.views(f"look-{look.value}", *(("Red", "Yellow") if look is Look.SIDE_BY_SIDE else ()))
    interact.click(ui.overlayButton)
    interact.click(ui.beforeButton)
    camera.views("overlay-before")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "Resources" / "Screenshots", sys.argv[2:])
