"""A result that is kept up to date: with each new frame of a watched node, or with each landmark that was dragged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import slicer

from ..errors import RegistrationError, SceneInputError
from ..scene import nodes
from ..scene.hidden import hiddenNode, hide
from ..scene.nodes import Node
from ..texts import tr as _
from ..worker.signals import Signal
from . import results
from .logic import RegistrationLogic
from .request import Request


class Following:
    """One transform node, registered again from its last state whenever something is new. One at a time.

    What comes while a registration runs waits; of several only the newest is done, the others are dropped.

    Signals:
        updated(report): the transform node has the new result.
        failed(sentence): it stays as it was; the next one is awaited.
        stopped(): nothing is watched any more.
    """

    def __init__(self, logic: RegistrationLogic | None = None) -> None:
        self.updated = Signal("report")
        self.failed = Signal("sentence")
        self.stopped = Signal()
        self.logic = logic or RegistrationLogic()
        self.logic.finished.connect(self._onFinished)
        self.logic.failed.connect(self._onFailed)
        self.isFollowing = False
        self.done = self.dropped = 0
        self._isWaiting = False
        self._transform: Node | None = None
        self._start: Node | None = None
        self._frame: Node | None = None
        self._ask: Callable[[], Request] | None = None
        self._observed: list[tuple[Any, int]] = []

    def watch(self, ask: Callable[[], Request], transformNode: Node, watchedNode: Node) -> None:
        """Register each new image of ``watchedNode``, as OpenIGTLink or a recording fills it.

        Args:
            ask: what would be registered now; its moving volume is replaced by the frame.
            transformNode: an accepted result, where the first frame begins; it is changed.
            watchedNode: a volume whose voxels change, or a sequence that grows.

        Raises:
            SceneInputError: if there is no result to begin at, or the node cannot be watched.
        """
        if watchedNode is transformNode.GetNodeReference(transformNode.GetFixedNodeReferenceRole()):
            raise SceneInputError(_("The fixed volume stays as it is; choose what changes."))
        isSequence = watchedNode.IsA("vtkMRMLSequenceNode")
        count = watchedNode.GetNumberOfDataNodes() if isSequence else 0

        def fresh() -> Request:
            moving = self._newestOf(watchedNode) if isSequence else watchedNode
            nothing = dict.fromkeys(
                ("movingMask", "fixedLandmarks", "movingLandmarks", "fixedLabels", "movingLabels", "rigidLabels")
            )
            return replace(ask(), movingNode=moving, renewed=lambda: self._isWaiting * (watchedNode,), **nothing)

        def grown(*_arguments: Any) -> None:
            nonlocal count
            now = watchedNode.GetNumberOfDataNodes()
            if now > count:
                self.wake(now - count)
            count = now

        self._begin(fresh, transformNode)
        if isSequence:
            self._observe(watchedNode, "ModifiedEvent", grown)
        else:
            self._observe(watchedNode, slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent, lambda *_: self.wake())

    def follow(self, ask: Callable[[], Request], transformNode: Node, pointNodes: list[Node]) -> None:
        """Let the field follow landmarks: whenever one was dragged, the pairs draw the accepted result on.

        Args:
            ask: what would be registered now; its landmarks are ``pointNodes``, also where they only judge otherwise.
            transformNode: an accepted result, where it begins; it is changed.
            pointNodes: the fixed and the moving landmarks, whose points may be dragged.

        Raises:
            SceneInputError: if there is no result to begin at.
        """
        first, second = pointNodes

        def fresh() -> Request:
            renewed = lambda: self._isWaiting * (first, second)  # noqa: E731
            return replace(ask(), fixedLandmarks=first, movingLandmarks=second, renewed=renewed)

        self._begin(fresh, transformNode)
        for node in pointNodes:
            self._observe(node, slicer.vtkMRMLMarkupsNode.PointEndInteractionEvent, lambda *_: self.wake())

    def wake(self, count: int = 1) -> None:
        """So many new things are there: register the newest, now or once what runs is done."""
        if not self.isFollowing:
            return
        self.dropped += count - 1 + self._isWaiting
        self._isWaiting = True
        self._next()

    def stop(self) -> None:
        """Let go of what is watched; what runs is cancelled, and the result stays."""
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._observed, wasFollowing = [], self.isFollowing
        self.isFollowing = self._isWaiting = False
        if wasFollowing:
            self.logic.cancel()
        self._forget()
        results.remove(self._start)
        self._start = self._transform = self._ask = None
        if wasFollowing:
            self.stopped.emit()

    # --- One after the other ---

    def _begin(self, ask: Callable[[], Request], transformNode: Node) -> None:
        if not results.reportOf(transformNode) or nodes.fixedOf(transformNode) is None:
            raise SceneInputError(_("Choose a result of this module first: that is where it begins."))
        self.stop()
        self._ask, self._transform, self.done, self.dropped = ask, transformNode, 0, 0
        name = _("{name}, accepted").format(name=transformNode.GetName())
        self._start = hiddenNode(transformNode.GetClassName(), name)
        self._accept()
        self.isFollowing = True
        scene = slicer.mrmlScene
        self._observe(scene, scene.StartCloseEvent, lambda *_: self.stop())

    def _observe(self, node: Any, event: Any, slot: Callable[..., None]) -> None:
        self._observed.append((node, node.AddObserver(event, slot)))

    def _accept(self) -> None:
        """What the transform node holds now is where the next one begins."""
        assert self._start is not None
        assert self._transform is not None
        self._start.CopyContent(self._transform, True)
        hide(self._start)

    def _next(self) -> None:
        if not self._isWaiting or self.logic.isRunning or self._ask is None:
            return
        self._isWaiting = False
        gone = self._transform is None or self._transform.GetScene() is None
        if gone:
            self.stop()
            return
        try:
            request = self._ask()
            settings = replace(request.settings, from_here=True)
            shown = self._transform.GetNodeReference(results.VOLUME_ROLE)  # what the slice views have of it
            request = replace(
                request,
                settings=settings,
                initialTransform=self._start,
                replaced=self._transform,
                outputs=("volume",) if shown is not None else (),
                notes=[],
            )
            self.logic.start(request, {"transform": self._transform, "volume": shown}, show=False)
        except RegistrationError as error:
            self._onFailed(str(error))

    def _onFinished(self, result: results.ResultNodes) -> None:
        self._forget()
        if not self.isFollowing:
            return
        self.done += 1
        if result.report.get("verdict") != "bad":
            self._accept()
        self.updated.emit(result.report)
        self._next()

    def _onFailed(self, sentence: str) -> None:
        self._forget()
        if self.isFollowing:
            self.failed.emit(sentence)
            self._next()

    def _newestOf(self, sequenceNode: Node) -> Node:
        """The last frame, in the scene and hidden for as long as it takes."""
        self._forget()
        frame = sequenceNode.GetNthDataNode(sequenceNode.GetNumberOfDataNodes() - 1)
        if frame is None or not frame.IsA("vtkMRMLScalarVolumeNode"):
            raise SceneInputError(
                _("{name} holds no volumes; choose another sequence.").format(name=sequenceNode.GetName())
            )
        self._frame = hiddenNode(frame.GetClassName(), sequenceNode.GetName(), frame)
        return self._frame

    def _forget(self) -> None:
        results.remove(self._frame)
        self._frame = None
