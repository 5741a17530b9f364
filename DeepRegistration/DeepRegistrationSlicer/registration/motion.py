"""The motion in a sequence of transforms: smoothed over time, and as curves in a table and charts."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer

from ..errors import RegistrationError, SceneInputError
from ..scene import derived, landmarks, masks, nodes, plots
from ..scene.nodes import Node
from ..texts import tr as _
from ..worker.process import Process, Ticker, newFolder
from ..worker.signals import Signal
from ..worker.staying import StayingProcess
from ..worker.worker_run import Answer
from .meanwhile import Witness, changedSince, namesOf
from .report_words import called

SOURCE_ROLE = "DeepRegistration.source"
FIXED_ROLE = "DeepRegistration.fixed"


@dataclass(frozen=True)
class InTime:
    """What is special about frames.

    Attributes:
        neighbors: each frame begins at the result of the one before.
        isCyclic: the last frame comes before the first.
        smooth: standard deviation in frames of the smoothing over time; 0 for none.
    """

    neighbors: bool = True
    isCyclic: bool = False
    smooth: float = 0.0


@dataclass
class Motion:
    """What came out: nodes of the scene."""

    table: Node
    charts: list[Node]
    smoothed: Node | None = None


class MotionMaker:
    """Asks the library for the curves of a sequence of ``Series``: ``finished(motion)`` or ``failed(sentence)``."""

    def __init__(self, makeProcess: Callable[[], Process] = StayingProcess, ticker: Ticker | None = None) -> None:
        self.finished = Signal("motion")
        self.failed = Signal("sentence")
        self.answer = Answer(makeProcess, ticker)
        self.answer.finished.connect(self._onAnswer)
        self.answer.failed.connect(self.failed.emit)
        self._transforms: Node | None = None
        self._seen: list[Witness] = []
        self._titles: dict[str, str] = {}

    def start(
        self,
        transformsNode: Node,
        inTime: InTime = InTime(),
        labelsNode: Node | None = None,
        pointsNode: Node | None = None,
    ) -> None:
        """Start; returns at once.

        Args:
            transformsNode: the sequence of transforms.
            inTime: whether it is smoothed, and is a cycle.
            labelsNode: segmentation or label map of the fixed volume: the curves of each part.
            pointsNode: points in the fixed volume: their paths.

        Raises:
            SceneInputError: if the sequence holds no transforms of ``Series``, or what is given does not fit.
            RegistrationError: if a file cannot be written.
        """
        fixedNode = transformsNode.GetNodeReference(FIXED_ROLE)
        frames = [transformsNode.GetNthDataNode(k) for k in range(transformsNode.GetNumberOfDataNodes())]
        if fixedNode is None or not frames or not all(n is not None and n.IsA("vtkMRMLTransformNode") for n in frames):
            raise SceneInputError(_("Register a sequence first: its transforms are what the motion is taken from."))
        folder = newFolder()
        try:
            fixed = nodes.fixedImageOf(fixedNode)
            nodes.write(fixed, folder / "fixed.nrrd")
            names = [derived.writeMap(node, folder, f"frame-{k:04d}") for k, node in enumerate(frames)]
            arguments = ["motion", "fixed.nrrd", *names, "--output", "out"]
            arguments += ["--cyclic"] if inTime.isCyclic else []
            arguments += ["--smooth-in-time", str(inTime.smooth)] if inTime.smooth else []
            self._titles = {}
            if labelsNode is not None:
                numbers = masks.commonLabels(labelsNode, labelsNode)
                labels = masks.labelsOf(labelsNode, fixed, fixedNode.GetName(), numbers)
                nodes.write(labels, folder / "labels.nrrd")
                arguments += ["--labels", "labels.nrrd"]
                self._titles = {f"label {number}": called(name) for name, number in numbers.items()}
            if pointsNode is not None and pointsNode.GetNumberOfControlPoints():
                arguments += ["--points", landmarks.writePoints(pointsNode, folder)]
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._transforms = transformsNode
        self._seen = [Witness(n) for n in (transformsNode, fixedNode, labelsNode, pointsNode) if n is not None]
        self.answer.ask(arguments, folder, self._read)

    @staticmethod
    def _read(folder: Path) -> tuple[list[dict[str, str]], list[Any]]:
        text = (folder / "out" / "motion.csv").read_text(encoding="utf-8")
        return list(csv.DictReader(text.splitlines())), [
            nodes.readAny(path) for path in sorted((folder / "out").glob("smooth_*.nrrd"))
        ]

    def _onAnswer(self, answer: Any) -> None:
        source = self._transforms
        if source is None or source.GetScene() is not slicer.mrmlScene:
            return
        other = changedSince(self._seen)
        if other:
            form = _("Changed while the curves were made: {names}; ask for them again.")
            self.failed.emit(form.format(names=namesOf(other)))
            return
        if not isinstance(answer, tuple):
            self.failed.emit(_("The curves could not be read; try again."))
            return
        try:
            self.finished.emit(self._made(source, *answer))
        except RegistrationError as error:
            self.failed.emit(str(error))

    def _made(self, source: Node, rows: list[dict[str, str]], fields: list[Any]) -> Motion:
        curves = {self._title(title): [float(row[title]) for row in rows] for title in rows[0] if title != "Frame"}
        name, unit = source.GetIndexName() or _("frame"), source.GetIndexUnit()
        xTitle = f"{name} ({unit})" if unit else name
        table = nodes.newNode("vtkMRMLTableNode", _("{name} motion").format(name=source.GetName()))
        plots.fillCurves(table, (xTitle, _times(source)), curves)
        charts = []
        for ending, form, yTitle in (
            ("(mm)", _("{name} displacement"), _("Displacement (mm)")),
            ("(ml)", _("{name} volume"), _("Volume (ml)")),
        ):
            columns = [title for title in curves if title.endswith(ending) and "(LPS" not in title]
            if columns:
                charts.append(plots.chartOf(table, form.format(name=source.GetName()), xTitle, yTitle, columns))
        return Motion(table, charts, self._smoothed(source, fields) if fields else None)

    def _title(self, title: str) -> str:
        label, colon, rest = title.partition(":")
        return f"{self._titles[label]}{colon}{rest}" if label in self._titles else title

    @staticmethod
    def _smoothed(source: Node, fields: list[Any]) -> Node:
        """A sequence of its own: what was registered stays."""
        made = nodes.newNode("vtkMRMLSequenceNode", _("{name} smoothed").format(name=source.GetName()))
        for get, put in (("GetIndexName", "SetIndexName"), ("GetIndexUnit", "SetIndexUnit")):
            getattr(made, put)(getattr(source, get)())
        made.SetIndexType(source.GetIndexType())
        made.SetNodeReferenceID(FIXED_ROLE, source.GetNodeReferenceID(FIXED_ROLE))
        for index, field in enumerate(fields):
            node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", source.GetNthDataNode(index).GetName())
            nodes.setMap(node, field)
            made.SetDataNodeAtValue(node, source.GetNthIndexValue(index))
            slicer.mrmlScene.RemoveNode(node)
        for browser in slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode"):
            if browser.IsSynchronizedSequenceNode(source, True):
                browser.AddSynchronizedSequenceNode(made)
        return made


def _times(sequenceNode: Node) -> list[float]:
    """The index values where they are numbers, else 0, 1, 2, ..."""
    values = [sequenceNode.GetNthIndexValue(k) for k in range(sequenceNode.GetNumberOfDataNodes())]
    try:
        return [float(value) for value in values]
    except ValueError:
        return [float(k) for k in range(len(values))]
