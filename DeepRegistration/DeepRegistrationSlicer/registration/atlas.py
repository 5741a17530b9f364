"""An atlas of several volumes: their mean image, whose shape is nobody's, and the transforms between it and each."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer

from DeepRegistrationLib.settings import Settings

from ..errors import RegistrationError, SceneInputError
from ..scene import derived, nodes
from ..scene.nodes import Node
from ..texts import imagesNotWritten
from ..texts import tr as _
from ..worker.process import LibraryProcess, Process, Ticker, newFolder
from ..worker.signals import Signal
from ..worker.worker_run import Answer, parse
from .meanwhile import Witness, sentences, told
from .results import REPORT_ATTRIBUTE
from .series import fillSeriesTable

ROUNDS = 4


@dataclass
class AtlasNodes:
    """What came out: nodes of the scene; ``transforms`` bring each volume onto the atlas, in the order given."""

    volume: Node
    change: Node
    transforms: list[Node] = field(default_factory=list)
    table: Node | None = None


class AtlasMaker:
    """Asks the library for a template, in a process of its own.

    What was cancelled goes on from there, as long as the module is open: the library compares contents.

    Signals:
        progressed(message): what it is at.
        finished(atlas): it is in the scene.
        failed(sentence): nothing was changed.
    """

    def __init__(self, makeProcess: Callable[[], Process] = LibraryProcess, ticker: Ticker | None = None) -> None:
        self.progressed = Signal("message")
        self.finished = Signal("atlas")
        self.failed = Signal("sentence")
        self.answer = Answer(makeProcess, ticker)
        self.answer.heard.connect(self._onLine)
        self.answer.finished.connect(self._onAnswer)
        self.answer.failed.connect(self.failed.emit)
        self._folder: Path | None = None
        self._volumes: list[Node] = []
        self._seen: list[Witness] = []
        self._rounds = 1

    @property
    def isRunning(self) -> bool:
        return self.answer.isRunning

    def start(self, volumeNodes: Sequence[Node], settings: Settings = Settings()) -> None:  # noqa: B008 - it is frozen
        """Start; returns at once.

        Args:
            volumeNodes: two or more of one kind; the atlas lies on the grid and in the pose of the first one.
            settings: of every registration.

        Raises:
            SceneInputError: if no atlas can be made of them.
            RegistrationError: if one is being made, or a file cannot be written.
        """
        if self.isRunning:
            raise RegistrationError(_("An atlas is being made; wait until it is done, or cancel it."))
        volumes = list(dict.fromkeys(volumeNodes))
        if len(volumes) < 2:
            raise SceneInputError(_("An atlas needs two volumes or more; check some more."))
        flat = next((node for node in volumes if nodes.isSlice(node)), None)
        if flat is not None:
            raise SceneInputError(
                _("An atlas is made of volumes, and {name} is one slice.").format(name=flat.GetName())
            )
        if settings.is_linear or settings.refine == "none" or settings.affine == "none":
            raise SceneInputError(
                _("An atlas needs a deformable result with its affine stage and refinement; choose them above.")
            )
        images = [nodes.fixedImageOf(volumes[0]), *(nodes.imageOf(node) for node in volumes[1:])]
        if self._folder is None:
            self._folder = newFolder()
        running = newFolder()
        names = _names(volumes)
        try:
            for name, image in zip(names, images, strict=True):
                nodes.write(image, self._folder / f"{name}.nrrd")
            with (self._folder / "list.csv").open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([("name", "image"), *((name, f"{name}.nrrd") for name in names)])
        except RegistrationError:
            shutil.rmtree(running, ignore_errors=True)
            raise
        except OSError as error:
            shutil.rmtree(running, ignore_errors=True)
            raise RegistrationError(imagesNotWritten(self._folder)) from error
        self._volumes, self._seen, self._rounds = volumes, [Witness(node) for node in volumes], 1
        arguments = ["template", str(self._folder / "list.csv"), "--output", str(self._folder / "out")]
        arguments += ["--rounds", str(ROUNDS), *settings.arguments(), "--progress", "json"]
        self.answer.ask(arguments, running, lambda _running: self._read(names))

    def cancel(self) -> None:
        """Stop now; what is done is kept for another start."""
        self.answer.end()

    def close(self) -> None:
        """Stop, and keep nothing."""
        self.answer.end()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _onLine(self, line: str) -> None:
        event = parse(line)
        if event is None:
            return
        if event["stage"] == "template":
            self._rounds += 1
            return
        done = round(event["fraction"] * len(self._volumes))
        form = _("Round {round} of {rounds}: {done} of {count} volumes.")
        self.progressed.emit(form.format(round=self._rounds, rounds=ROUNDS + 1, done=done, count=len(self._volumes)))

    def _read(self, names: Sequence[str]) -> dict[str, Any]:
        assert self._folder is not None
        out = self._folder / "out"
        volume = nodes.read(out / "template.nii.gz")
        found = {"volume": volume, "change": nodes.read(out / "mean_jacobian.nii.gz"), "fields": [], "reports": []}
        for name in names:
            own = out / "subjects" / name
            found["fields"].append(derived.asField(nodes.readAny(own / "transform.h5"), volume))
            found["reports"].append(json.loads((own / "report.json").read_text(encoding="utf-8")))
        return found

    def _onAnswer(self, answer: Any) -> None:
        gone = next((node for node in self._volumes if node.GetScene() is not slicer.mrmlScene), None)
        if gone is not None:
            form = _("{name} was removed from the scene while the atlas was made; nothing was changed.")
            self.failed.emit(form.format(name=gone.GetName()))
            return
        try:
            atlas = self._made(answer)
        except RegistrationError as error:
            self.failed.emit(str(error))
            return
        self.close()
        self.finished.emit(atlas)

    def _made(self, answer: dict[str, Any]) -> AtlasNodes:
        volume = nodes.newNode("vtkMRMLScalarVolumeNode", _("Atlas of {count}").format(count=len(self._volumes)))
        name = volume.GetName()
        atlas = AtlasNodes(
            volume, nodes.newNode("vtkMRMLScalarVolumeNode", _("{name} volume change").format(name=name))
        )
        nodes.setVolume(atlas.volume, answer["volume"])
        nodes.setVolume(atlas.change, answer["change"])
        rows = []
        made = zip(self._volumes, self._seen, answer["fields"], answer["reports"], strict=True)
        for node, seen, image, known in made:
            report = told(known, sentences([seen]))
            transform = nodes.newNode(
                "vtkMRMLTransformNode", _("{moving} to {fixed}").format(moving=node.GetName(), fixed=name)
            )
            nodes.setField(transform, image)
            nodes.setRoles(transform, atlas.volume, node)
            transform.SetAttribute(REPORT_ATTRIBUTE, json.dumps(report))
            atlas.transforms.append(transform)
            rows.append((node.GetName(), report, ""))
        atlas.table = nodes.newNode("vtkMRMLTableNode", _("Registrations to {fixed}").format(fixed=name))
        fillSeriesTable(atlas.table, rows)
        return atlas


def _names(volumeNodes: Sequence[Node]) -> list[str]:
    """A folder's name for each, by which the user knows it again in a sentence of the library's."""
    found: list[str] = []
    for number, node in enumerate(volumeNodes, 1):
        name = "".join(c if c.isascii() and (c.isalnum() or c in " -_") else "_" for c in node.GetName())
        found.append(f"{name.strip()[:60] or 'volume'} ({number})")
    return found
