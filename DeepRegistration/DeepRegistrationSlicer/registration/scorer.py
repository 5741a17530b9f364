"""Scores a transform with what the user knows: labels (Dice) and landmarks (distance), before and after."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import Any

from ..errors import SceneInputError
from ..scene import derived, landmarks, masks, nodes
from ..scene.nodes import Node
from ..texts import tr as _
from ..texts import volumesGone
from ..worker.process import LibraryProcess, Process, Ticker, newFolder
from ..worker.signals import Signal
from ..worker.worker_run import Answer
from . import report_words, results
from .meanwhile import Witness, changedSince, namesOf
from .request import writeLabels


class Scorer:
    """Asks the library to evaluate; then the transform's report has the scores. Or ``failed(sentence)``."""

    def __init__(self, makeProcess: Callable[[], Process] = LibraryProcess, ticker: Ticker | None = None) -> None:
        self.finished = Signal("transformNode")
        self.failed = Signal("sentence")
        self.answer = Answer(makeProcess, ticker)
        self.answer.finished.connect(self._onAnswer)
        self.answer.failed.connect(self.failed.emit)
        self._transformNode: Node | None = None
        self._seen: list[Witness] = []
        self._numbers: dict[str, int] = {}
        self._pairs: landmarks.LandmarkPairs | None = None

    def score(
        self,
        transformNode: Node,
        fixedLabels: Node | None,
        movingLabels: Node | None,
        fixedLandmarks: Node | None,
        movingLandmarks: Node | None,
    ) -> None:
        """Start; returns at once.

        Raises:
            SceneInputError: if there is nothing to score with, or it does not fit.
        """
        if not any((fixedLabels, movingLabels, fixedLandmarks, movingLandmarks)):
            raise SceneInputError(_("Choose labels or landmarks of both volumes under Advanced first."))
        fixedNode, movingNode = nodes.fixedOf(transformNode), nodes.movingOf(transformNode)
        if fixedNode is None or movingNode is None:
            raise SceneInputError(volumesGone())
        images = nodes.imageOf(fixedNode), nodes.imageOf(movingNode, transformNode)
        folder = newFolder()
        try:
            arguments = ["evaluate", "--transform", derived.writeMap(transformNode, folder, "transform"), "--json"]
            for side, image in zip(("fixed", "moving"), images, strict=True):  # their voxels are the tolerance
                nodes.write(image, folder / f"{side}.nrrd")
                arguments += [f"--{side}", f"{side}.nrrd"]
            inverseNode = transformNode.GetNodeReference(results.INVERSE_ROLE)
            if inverseNode is not None:
                arguments += ["--inverse", derived.writeMap(inverseNode, folder, "inverse")]
            self._pairs = landmarks.pairsOf(fixedLandmarks, movingLandmarks)
            arguments += landmarks.writePairs(self._pairs, folder)
            arguments += writeLabels(
                (fixedLabels, movingLabels), images, (fixedNode, movingNode), folder, inLayers=True
            )
            self._numbers = masks.commonLabels(fixedLabels, movingLabels) if fixedLabels is not None else {}
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._transformNode = transformNode
        given = (transformNode, fixedNode, movingNode, fixedLabels, movingLabels, fixedLandmarks, movingLandmarks)
        self._seen = [Witness(node) for node in given if node is not None]
        self.answer.ask(arguments, folder)

    def _onAnswer(self, text: str) -> None:
        try:
            scores: Any = json.loads(text)
        except ValueError:
            self.failed.emit(_("The scores could not be read; try again."))
            return
        node = self._transformNode
        if node is None or node.GetScene() is None:
            return
        other = changedSince(self._seen)
        if other:
            form = _("Changed while this was measured: {names}; score the result again.")
            self.failed.emit(form.format(names=namesOf(other)))
            return
        results.setReport(node, report_words.withScores(results.reportOf(node), scores, self._numbers, self._pairs))
        self.finished.emit(node)
