"""Many moving volumes, or a sequence, against one fixed volume: one after the other, resumable, none stops the rest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import slicer

from DeepRegistrationLib.settings import AFFINE_ALONE

from ..errors import RegistrationError, SceneInputError
from ..scene import masks, nodes
from ..scene.hidden import hiddenNode
from ..scene.nodes import Node
from ..texts import fixedMissing, registrationRuns, seriesRuns
from ..texts import tr as _
from ..worker.signals import Signal
from . import meanwhile, report_words, results
from .logic import RegistrationLogic
from .loop import loopGap
from .motion import FIXED_ROLE, SOURCE_ROLE, InTime
from .request import Request

FIXED_ATTRIBUTE = "DeepRegistration.fixed"


@dataclass
class Item:
    """One volume to register; ``index`` is its place in the sequence, "" for a volume of the scene.

    ``closes``: the first frame of a cycle once more, from the last one's result, to see how well the loop closes.
    """

    name: str
    node: Node
    index: str = ""
    closes: bool = False


class Series:
    """Registers a list with the settings of one request.

    What is there already is not done again: a transform in the scene that brings the same volumes together with the
    same settings, or an item in the sequence of results. So an interrupted series goes on where it stopped.

    Signals:
        started(): the first item is about to be registered.
        progressed(done, count, message): how many items are done, and what happens now.
        finished(tableNode): all is done; the table says how each went.
        cancelled(): what is finished stays.
    """

    def __init__(self, logic: RegistrationLogic | None = None) -> None:
        self.started = Signal()
        self.progressed = Signal("done", "count", "message")
        self.finished = Signal("tableNode")
        self.cancelled = Signal()
        self.logic = logic or RegistrationLogic()
        self.logic.progressed.connect(self._onProgress)
        self.logic.finished.connect(self._onFinished)
        self.logic.failed.connect(self._onFailed)
        self.logic.cancelled.connect(self._onCancelled)
        self.isRunning = False
        self._items: list[Item] = []
        self._rows: list[tuple[str, dict[str, Any], str]] = []
        self._template: Request | None = None
        self._sequence: Node | None = None
        self._outputs: dict[str, Node] = {}
        self._temporary: Node | None = None
        self._seen: list[meanwhile.Witness] = []
        self._made: list[tuple[int, list[meanwhile.Witness], Node]] = []
        self._inTime = InTime(neighbors=False)
        self.transforms: Node | None = None

    def start(
        self,
        template: Request,
        movingNodes: list[Node],
        sequenceNode: Node | None = None,
        inTime: InTime = InTime(neighbors=False),  # noqa: B008 - it is frozen
    ) -> None:
        """Start; returns at once.

        Args:
            template: the fixed volume and the settings. What belongs to one moving volume (its mask, landmarks, labels,
                initial transform) is not used.
            movingNodes: volumes of the scene.
            sequenceNode: a sequence of volumes, in place of ``movingNodes``; ``transforms`` is the sequence of its
                results then.
            inTime: whether the frames of a sequence begin at their neighbors' results, and are a cycle.

        Raises:
            SceneInputError: if there is nothing to register.
            RegistrationError: if a series or another registration is running, or PyTorch is refused; nothing is
                changed.
        """
        if self.isRunning:
            raise RegistrationError(seriesRuns())
        if self.logic.isRunning:
            raise RegistrationError(registrationRuns())
        if template.fixedNode is None:
            raise SceneInputError(fixedMissing())
        if sequenceNode is not None:
            items = self._itemsOf(sequenceNode)
        else:
            items = [Item(node.GetName(), node) for node in movingNodes if node is not template.fixedNode]
        if not items:
            raise SceneInputError(_("Check the moving volumes, or choose a sequence of volumes, first."))
        nodes.fixedImageOf(template.fixedNode)  # the same for all: refused once, before anything is made
        if template.fixedMask is not None:
            masks.maskOf(template.fixedMask, nodes.imageOf(template.fixedNode), template.fixedNode.GetName())
        self.logic.installer.ensure()
        outputs = tuple(kind for kind in template.outputs if kind == "volume")
        single = {"movingMask": None, "initialTransform": None, "fixedLandmarks": None, "movingLandmarks": None}
        labels = {"fixedLabels": None, "movingLabels": None}
        self._template = replace(template, outputs=outputs, replaced=None, **single, **labels)
        self._sequence, self._outputs, self._rows, self._items, self._made = sequenceNode, {}, [], items, []
        isFlat = nodes.isSlice(template.fixedNode)  # the library takes no start for single slices
        self._inTime = replace(inTime, neighbors=inTime.neighbors and sequenceNode is not None and not isFlat)
        if self._inTime.neighbors and inTime.isCyclic and len(items) > 2:
            self._items.append(Item(_("{name}, once round").format(name=items[0].name), items[0].node, closes=True))
        if sequenceNode is not None:
            self._outputs = {
                "transform": self._resultSequence(sequenceNode, _("{name} transforms")),
                **({"volume": self._resultSequence(sequenceNode, _("{name} registered"))} if outputs else {}),
            }
        self.transforms = self._outputs.get("transform")
        self.isRunning = True
        self.started.emit()
        self._next()

    def cancel(self) -> None:
        """Stop now; what is finished stays."""
        if self.isRunning:
            self.logic.cancel()

    def wait(self) -> None:
        """Until all is done."""
        while self.isRunning:
            try:
                self.logic.wait()
            except RegistrationError:
                continue  # it is in the table

    # --- One item after the other ---

    def _next(self) -> None:
        while len(self._rows) < len(self._items):
            item = self._items[len(self._rows)]
            done = self._alreadyDone(item)
            if done is None:
                break
            self._rows.append((item.name, done, ""))
        else:
            self._finish()
            return
        try:
            assert self._template is not None
            self._say(item.name)
            begin = {"initialTransform": self._neighbor()} if self._inTime.neighbors else {}
            original = item.node if self._sequence is not None else None
            asked = replace(self._template, movingNode=self._nodeOf(item), original=original, **begin)
            self.logic.start(asked, {}, show=False)
            self._seen = [one for one in asked.seen if one.node in (asked.fixedNode, asked.fixedMask)]
        except RegistrationError as error:
            self._onFailed(str(error))

    def _onProgress(self, stage: str, _fraction: float, message: str) -> None:
        if not self.isRunning:  # the logic is also used for something else
            return
        name = self._items[len(self._rows)].name
        self._say(_("{name}: {stage}").format(name=name, stage=report_words.stageTitle(stage)))

    def _say(self, message: str) -> None:
        self.progressed.emit(len(self._rows), len(self._items), message)

    def _onFinished(self, result: results.ResultNodes) -> None:
        if not self.isRunning:  # the logic is also used for something else
            return
        item = self._items[len(self._rows)]
        for kind, sequence in self._outputs.items():
            node = getattr(result, kind)
            if not item.closes:
                sequence.SetDataNodeAtValue(node, item.index)
            elif kind == "transform":
                assert self._template is not None
                first = sequence.GetDataNodeAtValue(self._items[0].index)
                item.name = _("{name}: {gap:.2f} mm from closed").format(
                    name=item.name, gap=loopGap(first, node, self._template.fixedNode)
                )
            results.remove(node)
        self._forgetTemporary()
        self._rows.append((item.name, result.report, ""))
        if not item.closes:
            self._made.append((len(self._rows) - 1, self._seen, result.transform))
        self._next()

    def _onFailed(self, sentence: str) -> None:
        if not self.isRunning:  # the logic is also used for something else
            return
        self._forgetTemporary()
        self._rows.append((self._items[len(self._rows)].name, {}, sentence))
        self._next()

    def _onCancelled(self) -> None:
        if not self.isRunning:  # the logic is also used for something else
            return
        self._forgetTemporary()
        self.isRunning = False
        self._tellOfFixed()
        self.cancelled.emit()

    def _finish(self) -> None:
        self.isRunning = False
        assert self._template is not None
        self._tellOfFixed()
        name = _("Registrations to {fixed}").format(fixed=self._template.fixedNode.GetName())
        table = nodes.newNode("vtkMRMLTableNode", name)
        fillSeriesTable(table, self._rows)
        self.finished.emit(table)

    def _tellOfFixed(self) -> None:
        """Results for the fixed volume as it was earlier in this series say so."""
        for row, seen, made in self._made:
            name, report, sentence = self._rows[row]
            new = meanwhile.told(report, meanwhile.sentences(seen))
            node = self._outputs["transform"].GetDataNodeAtValue(self._items[row].index) if self._outputs else made
            if new is not report and node is not None:
                self._rows[row] = name, new, sentence
                results.setReport(node, new)

    # --- Where items come from and results go ---

    def _alreadyDone(self, item: Item) -> dict[str, Any] | None:
        """The report of an earlier run with the same settings."""
        assert self._template is not None
        if item.closes:
            return None
        if self._sequence is not None:
            found = self._outputs["transform"].GetDataNodeAtValue(item.index)
            report = results.reportOf(found) if found is not None else {}
            return report if found is not None and meanwhile.CHANGED not in report else None
        key = self._template.key()
        for node in slicer.util.getNodesByClass("vtkMRMLTransformNode"):
            report = results.reportOf(node)
            isOurs = nodes.fixedOf(node) is self._template.fixedNode
            if not report or meanwhile.CHANGED in report or not isOurs:
                continue
            if nodes.movingOf(node) is item.node and node.GetAttribute(results.SETTINGS_ATTRIBUTE) == key:
                return report
        return None

    def _neighbor(self) -> Node | None:
        """The result of the frame before, to begin at; None if there is none, it is bad, or no field was confirmed."""
        if not self._rows or self._rows[-1][2]:
            return None
        report = self._rows[-1][1]
        if report.get("verdict") == "bad" or report.get("chosen") == AFFINE_ALONE:
            return None
        return self._outputs["transform"].GetDataNodeAtValue(self._items[len(self._rows) - 1].index)

    def _nodeOf(self, item: Item) -> Node:
        """The volume to register; that of a sequence is put into the scene, hidden, for as long as it takes."""
        if self._sequence is None:
            return item.node
        self._temporary = hiddenNode(item.node.GetClassName(), item.name, item.node)
        return self._temporary

    def _forgetTemporary(self) -> None:
        results.remove(self._temporary)
        self._temporary = None

    @staticmethod
    def _itemsOf(sequenceNode: Node) -> list[Item]:
        items = []
        for index in range(sequenceNode.GetNumberOfDataNodes()):
            node, value = sequenceNode.GetNthDataNode(index), sequenceNode.GetNthIndexValue(index)
            if node is not None and node.IsA("vtkMRMLScalarVolumeNode"):
                items.append(Item(f"{sequenceNode.GetName()} {value}", node, value))
        return items

    def _resultSequence(self, sequenceNode: Node, form: str) -> Node:
        """The sequence for results of ``sequenceNode``, that of an earlier run if there is one."""
        assert self._template is not None
        name = form.format(name=sequenceNode.GetName())
        key = f"{self._template.fixedNode.GetID()} {self._template.key()}"
        key += " neighbors" if self._inTime.neighbors else ""
        for node in slicer.util.getNodesByClass("vtkMRMLSequenceNode"):
            isOurs = node.GetNodeReference(SOURCE_ROLE) is sequenceNode and node.GetAttribute(FIXED_ATTRIBUTE) == key
            if isOurs and node.GetName().startswith(name):
                return node
        made = nodes.newNode("vtkMRMLSequenceNode", name)
        made.SetIndexName(sequenceNode.GetIndexName())
        made.SetIndexUnit(sequenceNode.GetIndexUnit())
        made.SetIndexType(sequenceNode.GetIndexType())
        made.SetNodeReferenceID(SOURCE_ROLE, sequenceNode.GetID())
        made.SetAttribute(FIXED_ATTRIBUTE, key)
        made.SetNodeReferenceID(FIXED_ROLE, self._template.fixedNode.GetID())
        for browser in slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode"):
            if browser.IsSynchronizedSequenceNode(sequenceNode, True):
                browser.AddSynchronizedSequenceNode(made)
        return made


def fillSeriesTable(tableNode: Node, rows: list[tuple[str, dict[str, Any], str]]) -> None:
    """One row a volume: its name, how it went, the numbers; (name, report, sentence of what went wrong)."""
    numbers = {
        "similarity_before": _("Likeness before"),
        "similarity_after": _("Likeness after"),
        "folding_percent": _("Folded (%)"),
        "max_displacement_mm": _("Largest displacement (mm)"),
        "total_seconds": _("Seconds"),
    }
    tableNode.RemoveAllColumns()
    for title in (_("Volume"), _("Verdict"), *numbers.values()):
        tableNode.AddColumn().SetName(title)
    for name, report, sentence in rows:
        row = tableNode.AddEmptyRow()
        cells = [name, sentence or report_words.verdict(report)[1]]
        cells += [f"{report[k]:.4g}" if report_words.isMeasured(report.get(k)) else "" for k in numbers]
        for column, cell in enumerate(cells):
            tableNode.SetCellText(row, column, cell)
    tableNode.SetUseColumnTitleAsColumnHeader(True)
    tableNode.Modified()
