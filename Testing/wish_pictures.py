"""Pictures of what users wished for, each of a scene of its own; ``python -m Testing.screenshots`` takes them."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from Testing.camera import Camera
from Testing.host import interact

SMALL = "demo_pair(shape=(96, 112, 96), spacing=2.0)"
GERMAN = {
    "The field folds in {share} % of the image.": "Das Feld faltet sich in {share} % des Bildes.",
    "The images are more alike than before.": "Die Bilder gleichen sich mehr als zuvor.",
    "Check it.": "Bitte prüfen.",
    "Likeness": "Ähnlichkeit",
    "{0:.3f} before, {1:.3f} after": "{0:.3f} vorher, {1:.3f} nachher",
    "Result": "Ergebnis",
    "Folded": "Gefaltet",
    "Displacement": "Verschiebung",
    "{0} mean, {1} largest": "{0} im Mittel, {1} höchstens",
}
"""As a translation of Slicer's would have them; of the rest the words stay English."""


def new_pair(ui: Any, panel: Any, code: str = SMALL) -> tuple[Any, Any]:
    """An empty scene with the generated pair, refinement alone, and only the first section open."""
    import slicer
    from DeepRegistrationSlicer.registration import samples

    slicer.mrmlScene.Clear(0)
    interact.process_events(50)
    whole = samples.MAKE
    samples.MAKE = whole.replace("demo_pair()", code)
    try:
        fixed, _labels, _points, moving, *_rest = samples.load()
    finally:
        samples.MAKE = whole
    panel.parameters.fixedVolume, panel.parameters.movingVolume = fixed, moving
    panel.parameters.method = "none"
    close_all(ui)
    ui.imagesButton.collapsed = False
    return fixed, moving


def close_all(ui: Any) -> None:
    for name in vars(ui):
        if name.endswith("Button") and getattr(ui, name).className() == "ctkCollapsibleButton":
            getattr(ui, name).collapsed = True


def apply(ui: Any, panel: Any) -> Any:
    """Apply by click, to its end; the result."""
    interact.click(ui.applyButton)
    interact.wait_until(lambda: not panel.logic.isRunning, 600)
    assert ui.statusLabel.text.startswith("Done"), ui.statusLabel.text
    interact.wait_until(lambda: not panel.sections["judgment"].scorer.answer.isRunning, 120)
    return panel.parameters.outputTransform


def landmarks(camera: Camera, ui: Any, panel: Any) -> None:
    """A moving volume turned by 70 degrees, brought back by landmarks; one pair is wrong."""
    import slicer
    from DeepRegistrationSlicer.panel.parameters import ResultKind

    from Testing.Module.cases import geometry, linearTransform

    _fixed, moving = new_pair(ui, panel)
    here, there = (slicer.util.getNode(f"Head {side} points") for side in ("T1", "T2"))
    turn = linearTransform(geometry((0, 0, 70), (1, 1, 1), (1, 1, 1), (20, -15, 10)), "turn")
    for node in (moving, there):
        node.SetAndObserveTransformNodeID(turn.GetID())
        node.HardenTransform()
    there.SetNthControlPointPosition(2, *np.add(there.GetNthControlPointPosition(2), (25, 0, 10)))
    interact.click(ui.advancedButton)
    interact.choose(ui.fixedLandmarksSelector, here.GetName())
    interact.choose(ui.movingLandmarksSelector, there.GetName())
    interact.click(ui.advancedButton)
    interact.choose(ui.resultKindComboBox, ResultKind.RIGID.label())
    apply(ui, panel)
    after = camera.now()
    camera.panel("panel-landmarks")
    ui.lookButton.collapsed = False
    interact.click(ui.beforeButton)
    camera.pictures("landmarks", [camera.now(), after])
    interact.click(ui.beforeButton)


def rigid(camera: Camera, ui: Any, panel: Any) -> None:
    """A ball that must not bend: the warped grid without and with it."""
    import slicer

    from Testing.Module.cases import addVolume

    fixed, _moving = new_pair(ui, panel)
    interact.click(ui.advancedButton)
    shape = slicer.util.arrayFromVolume(fixed).shape
    k, j, i = np.indices(shape)
    ball = ((k - 56) ** 2 + (j - 62) ** 2 + (i - 34) ** 2 < 11**2).astype(np.uint8)
    matrix = slicer.util.arrayFromVTKMatrix(to_world(fixed))
    drawn = addVolume(ball, matrix, "drawn", "vtkMRMLLabelMapVolumeNode")
    implant = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Implant")
    implant.CreateDefaultDisplayNodes()
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(drawn, implant)
    slicer.mrmlScene.RemoveNode(drawn)
    implant.GetSegmentation().GetNthSegment(0).SetColor(1, 0.8, 0)
    implant.GetDisplayNode().SetVisibility2DFill(False)  # the grid is to be seen through it
    implant.GetDisplayNode().SetSliceIntersectionThickness(3)
    place = (matrix @ [34, 62, 56, 1])[:3]
    pictures = []
    for name in ("None", "Implant"):
        interact.choose(ui.rigidLabelsSelector, name)
        apply(ui, panel)
        ui.lookButton.collapsed = False
        for look in (ui.overlayButton, ui.gridButton):
            interact.click(look)
            node = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
            node.JumpSliceByCentering(*place)
            width, height, depth = node.GetFieldOfView()
            node.SetFieldOfView(80, 80 * height / width, depth)
            if look is ui.gridButton:
                panel.parameters.outputTransform.GetDisplayNode().SetGridSpacingMm(5)
            pictures.append(camera.now())
        interact.click(ui.overlayButton)
    camera.pictures("keep-rigid", [pictures[1], pictures[3], pictures[2]])
    close_all(ui)
    ui.judgmentButton.collapsed = False
    camera.panel("panel-keep-rigid")


def to_world(node: Any) -> Any:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


def dicom(camera: Camera, ui: Any, panel: Any) -> None:
    """A registration that was exported, and one that is refused: of two patients."""
    import qt
    import slicer

    from Testing.Lib.command_line.test_dicom import ball
    from Testing.Module.dicom_database import Database

    slicer.mrmlScene.Clear(0)
    close_all(ui)
    ui.imagesButton.collapsed = False
    panel.parameters.method = "none"
    database = slicer.dicomDatabase = Database()
    ask = qt.QFileDialog.getExistingDirectory
    qt.QFileDialog.getExistingDirectory = lambda *_: "exported"
    with tempfile.TemporaryDirectory() as made, _inside(Path(made)):
        panel.parameters.fixedVolume = database.load(Path(made), "1", "CT", ball(0))
        panel.parameters.movingVolume = database.load(Path(made), "2", "CT later", ball(2))
        apply(ui, panel)
        Path("exported").mkdir()
        close_all(ui)
        ui.imagesButton.collapsed = ui.dicomButton.collapsed = False
        interact.click(ui.exportDicomButton)
        assert list(Path("exported").iterdir())
        camera.panel("panel-dicom")
        database.load(Path(made), "2", "CT of another", ball(2), patient="18")
        interact.click(ui.exportDicomButton)
        camera.panel("panel-dicom-refused")
    qt.QFileDialog.getExistingDirectory = ask
    del slicer.dicomDatabase


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """No path of this computer is in the picture."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def models(camera: Camera, ui: Any, panel: Any) -> None:
    """What a network is worth, where it is chosen and in Models. The model is an example: it was never trained."""
    import torch

    from DeepRegistrationLib.models.bundle import save_bundle
    from DeepRegistrationLib.models.header import Header, NetworkGrid, Normalization
    from DeepRegistrationLib.models.worth import WORTH_KEY, Worth, as_scores
    from DeepRegistrationLib.networks.voxelmorph import VoxelMorph
    from Testing.Module.cases import setModelsFolder

    new_pair(ui, panel)
    rows = [
        Worth("T1 brains", 1, "dice", 8, 0.57, 0.74, 0.790, 0.801),
        Worth("abdominal CT", 1, "dice", 6, 0.31, 0.40, 0.460, 0.452),
    ]
    header = Header(
        method="voxelmorph-1",
        network="VoxelMorph",
        arguments={"ndim": 3, "variant": 1},
        dimensions=3,
        modality="an example, not trained",
        grid=NetworkGrid("LIA", (1.0, 1.0, 1.2), (32, 48, 32)),
        normalization=Normalization("percentile", 1.0, 99.0),
        scores={WORTH_KEY: as_scores(rows, "example")},
        license="Apache-2.0",
    )
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as made, _inside(Path(made)):
        save_bundle("example.safetensors", VoxelMorph(3, 1), header)
        setModelsFolder(Path(made) / "kept")
        close_all(ui)
        ui.imagesButton.collapsed = ui.modelsButton.collapsed = False
        panel.sections["models"].importModel(Path("example.safetensors"))
        interact.wait_until(lambda: not panel.catalog.answer.isRunning, 60)
        interact.choose(ui.methodComboBox, panel.catalog.find("voxelmorph-1").title)
        ui.modelLabel.text = "<br>".join(line for line in ui.modelLabel.text.split("<br>") if "File" not in line)
        camera.panel("panel-models")


def dose(camera: Camera, ui: Any, panel: Any) -> None:
    """A dose and a structure set of the moving volume on the fixed voxels, by one click."""
    import slicer

    from Testing.Module.cases import addVolume

    fixed, moving = new_pair(ui, panel)
    apply(ui, panel)
    shape = slicer.util.arrayFromVolume(moving).shape
    middle = [n / 2 for n in shape]
    distance = np.sqrt(sum(((a - m) / m) ** 2 for a, m in zip(np.indices(shape), middle, strict=True)))
    matrix = slicer.util.arrayFromVTKMatrix(to_world(moving))
    given = addVolume((60 * np.exp(-((distance / 0.35) ** 2))).astype(np.float32), matrix, "RTDOSE")
    given.SetAttribute("DicomRtImport.DoseVolume", "1")
    given.CreateDefaultDisplayNodes()
    given.GetDisplayNode().SetAndObserveColorNodeID("vtkMRMLColorTableNodeRainbow")
    given.GetDisplayNode().SetAutoWindowLevel(False)
    given.GetDisplayNode().SetWindowLevelMinMax(0, 60)
    given.GetDisplayNode().SetThreshold(15, 100)
    given.GetDisplayNode().SetApplyThreshold(True)
    targets = [(distance < 0.2).astype(np.uint8), ((distance > 0.45) & (distance < 0.55)).astype(np.uint8)]
    drawn = addVolume(targets[0] + 2 * targets[1], matrix, "drawn", "vtkMRMLLabelMapVolumeNode")
    structures = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "RTSTRUCT")
    structures.CreateDefaultDisplayNodes()
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(drawn, structures)
    slicer.mrmlScene.RemoveNode(drawn)
    for index, name in enumerate(("GTV", "Shell")):
        structures.GetSegmentation().GetNthSegment(index).SetName(name)
    close_all(ui)
    interact.click(ui.applyToButton)
    for name in ("RTDOSE", "RTSTRUCT"):
        interact.check(ui.applyToSelector, name)
    interact.click(ui.resampleButton)
    camera.panel("panel-dose")
    pictures = []
    for node in (structures, slicer.util.getNode("RTSTRUCT on Head T1")):
        node.GetDisplayNode().SetVisibility2DFill(False)  # the dose is to be seen through it
        node.GetDisplayNode().SetSliceIntersectionThickness(2)
    for below, above in ((moving, given), (fixed, slicer.util.getNode("RTDOSE on Head T1"))):
        slicer.util.setSliceViewerLayers(background=below, foreground=above, foregroundOpacity=0.5, fit=True)
        slicer.util.getNode("RTSTRUCT on Head T1").SetDisplayVisibility(below is fixed)
        structures.SetDisplayVisibility(below is moving)
        pictures.append(camera.now())
    camera.pictures("dose", pictures)


def again(camera: Camera, ui: Any, panel: Any) -> None:
    """The next image of a procedure, registered from the last result by one click."""
    import slicer

    _fixed, moving = new_pair(ui, panel)
    apply(ui, panel)
    slicer.vtkSlicerVolumesLogic.CloneVolume(slicer.mrmlScene, moving, "Head T2 later")
    close_all(ui)
    ui.imagesButton.collapsed = ui.outputsButton.collapsed = False
    interact.click(ui.againButton)
    interact.wait_until(lambda: not panel.logic.isRunning, 600)
    close_all(ui)
    ui.outputsButton.collapsed = ui.judgmentButton.collapsed = False
    camera.panel("panel-again")


def language(camera: Camera, ui: Any, panel: Any) -> None:
    """A verdict whose sentences have a translation, and some of the figures below."""
    from DeepRegistrationSlicer.registration import report_words
    from DeepRegistrationSlicer.registration.verdict_sentences import translated

    new_pair(ui, panel)
    apply(ui, panel)
    node = panel.parameters.outputTransform
    from DeepRegistrationSlicer.registration import results

    report = results.reportOf(node)
    reasons = ["The field folds in 0.0100 % of the image.", "The images are more alike than before."]
    results.setReport(node, report | {"verdict": "check", "reasons": reasons})
    known, words = report_words.translated, report_words._
    report_words.translated = lambda sentence: translated(sentence, lambda form: GERMAN.get(form, form))
    report_words._ = lambda text: GERMAN.get(text, text)
    try:
        close_all(ui)
        panel.sections["judgment"].show(panel.parameters)
        ui.judgmentButton.collapsed = False
        camera.panel("panel-translated")
    finally:
        report_words.translated, report_words._ = known, words


def keyboard(camera: Camera, ui: Any, panel: Any) -> None:
    """The panel with the number of each control on the way of the Tab key."""
    new_pair(ui, panel)
    ui.outputsButton.collapsed = False
    interact.process_events(100)
    kinds = ("Button", "Selector", "ComboBox", "CheckBox", "Slider", "List")
    controls = [getattr(ui, name) for name in vars(ui) if name.endswith(kinds)]
    camera.numbered("panel-keyboard", ui.imagesButton, [control for control in controls if control.isVisible()])


PICTURES = {made.__name__: made for made in (landmarks, rigid, dicom, models, dose, again, language, keyboard)}
