"""The generated head pair as sample data of Slicer: computed on this computer, nothing is downloaded."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import slicer

from ..errors import RegistrationError
from ..scene import nodes
from ..scene.nodes import Node
from ..texts import tr as _
from ..worker.install import TorchInstaller
from ..worker.process import LibraryProcess, Process, newFolder, waitFor
from ..worker.worker_run import explain

CATEGORY, NAME = "Registration", "DeepRegistrationHeads"
MAKE = """
from DeepRegistrationLib.phantom.demo_pair import demo_pair
pair = demo_pair()
for name in ("fixed", "moving", "fixed_labels", "moving_labels"):
    getattr(pair, name).save(name + ".nrrd")
for side in ("fixed", "moving"):
    rows = ["label,x,y,z"]
    for name, point in zip(pair.names, getattr(pair, side + "_points")):
        rows.append(",".join([name.replace(",", " "), *(f"{v:.4f}" for v in point)]))
    open(side + "_points.csv", "w", encoding="utf-8").write("\\n".join(rows))
"""


def registerSamples(iconFolder: Path) -> None:
    """Offer the pair in the Sample Data module; called once Slicer has started."""
    try:
        from SampleData import SampleDataLogic
    except ImportError:
        return
    SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=NAME,
        uris=[],  # Slicer asks for their number
        fileNames=[],
        thumbnailFileName=str(iconFolder / f"{NAME}.png"),
        customDownloader=_onDownload,
    )


def _onDownload(_source: Any) -> list[Node]:
    """What a click on the sample does; what went wrong is said in a window, not in the console."""
    try:
        return load()
    except RegistrationError as error:
        slicer.util.errorDisplay(str(error))
        return []


def sampleProcess() -> Process:
    return LibraryProcess(code=MAKE)


def load(process: Process | None = None) -> list[Node]:
    """Make the pair and load it: two volumes, their segment labels and landmarks. Slicer stays usable meanwhile.

    Raises:
        RegistrationError: if it cannot be made.
    """
    TorchInstaller().ensure()
    folder, running = newFolder(), process or sampleProcess()
    try:
        try:
            running.start([], folder)
        except OSError as error:
            raise RegistrationError(
                _("The sample could not be made ({reason}); reinstall Slicer.").format(reason=error)
            ) from error
        code = waitFor(running)
        if code != 0:
            raise RegistrationError(explain(code, running.errorText()))
        return _load(folder)
    finally:
        running.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _load(folder: Path) -> list[Node]:
    made: list[Any] = []
    for side, title in (("fixed", _("Head T1")), ("moving", _("Head T2"))):
        for ending, className, form in (
            ("", "vtkMRMLScalarVolumeNode", "{title}"),
            ("_labels", "vtkMRMLLabelMapVolumeNode", _("{title} labels")),
        ):
            node = slicer.mrmlScene.AddNewNodeByClass(className, form.format(title=title))
            nodes.setVolume(node, nodes.read(folder / f"{side}{ending}.nrrd"))
            node.CreateDefaultDisplayNodes()
            made.append(node)
        points = slicer.mrmlScene.AddNewNodeByClass(
            "vtkMRMLMarkupsFiducialNode", _("{title} points").format(title=title)
        )
        points.CreateDefaultDisplayNodes()
        points.SetDisplayVisibility(False)
        for row in (folder / f"{side}_points.csv").read_text(encoding="utf-8").splitlines()[1:]:
            name, *position = row.split(",")
            x, y, z = (float(value) for value in position)
            points.AddControlPoint([-x, -y, z], name)
        made.append(points)
    return made
