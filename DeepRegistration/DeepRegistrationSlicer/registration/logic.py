"""Registers two volumes of the scene in a worker process; for the panel and for scripts alike."""

from __future__ import annotations

import inspect
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer

from ..errors import CancelledError, RegistrationError, SceneInputError
from ..scene.nodes import Node
from ..texts import registrationRuns
from ..texts import tr as _
from ..worker.install import Installer, TorchInstaller
from ..worker.process import POLL_SECONDS, Process, QtTicker, Ticker, newFolder, processEvents
from ..worker.signals import Signal
from ..worker.staying import StayingProcess
from ..worker.worker_run import WorkerRun
from .again import againFrom
from .preview import PreviewView
from .request import Request, settingsFrom
from .results import ResultNodes, load
from .showing import showResult

LOGGER = logging.getLogger(__name__)


class RegistrationLogic:
    """One registration at a time.

    Example:
        >>> logic = RegistrationLogic()
        >>> transformNode = logic.register(fixedNode, movingNode)               # waits, Slicer stays usable
        >>> logic.finished.connect(lambda result: print(result.report))
        >>> logic.register(fixedNode, movingNode, waitForCompletion=False)      # returns at once

    Signals:
        started(): the worker runs.
        progressed(stage, fraction, message): the library's name of the stage, 0 to 1 of the whole run, what it does.
        finished(result): a ``ResultNodes``; the nodes are in the scene.
        failed(sentence), cancelled(): nothing was changed.
    """

    def __init__(
        self,
        makeProcess: Callable[[], Process] = StayingProcess,
        ticker: Ticker | None = None,
        installer: Installer | None = None,
    ) -> None:
        self.started = Signal()
        self.progressed = Signal("stage", "fraction", "message")
        self.finished = Signal("result")
        self.failed = Signal("sentence")
        self.cancelled = Signal()
        self.makeProcess = makeProcess
        self._ticker = ticker or QtTicker()
        self.installer = installer or TorchInstaller()
        self._run: WorkerRun | None = None
        self._request: Request | None = None
        self._last: tuple[Request, Node] | None = None
        self._folder: Path | None = None
        self._into: dict[str, Node | None] = {}
        self._show = True
        self._preview: PreviewView | None = None
        self._sceneObservation: tuple[Any, int] | None = None
        self._error: RegistrationError | None = None
        self.lastResult: ResultNodes | None = None

    @property
    def isRunning(self) -> bool:
        return self._run is not None

    def register(
        self,
        fixedNode: Node,
        movingNode: Node,
        *,
        fixedMask: Node | None = None,
        movingMask: Node | None = None,
        initialTransform: Node | None = None,
        fixedLandmarks: Node | None = None,
        movingLandmarks: Node | None = None,
        fixedLabels: Node | None = None,
        movingLabels: Node | None = None,
        rigidLabels: Node | None = None,
        outputTransform: Node | None = None,
        outputVolume: Node | bool = True,
        outputInverse: Node | bool = False,
        outputJacobian: Node | bool = False,
        outputMagnitude: Node | bool = False,
        outputDoubt: Node | bool = False,
        outputReport: Node | bool = False,
        showResult: bool = True,
        waitForCompletion: bool = True,
        **chosen: Any,
    ) -> Node | None:
        """Bring ``movingNode`` onto ``fixedNode``.

        Args:
            fixedNode: the volume that stays.
            movingNode: the volume that is moved; it is not changed. Linear transforms above either are honored.
            fixedMask: label map or segmentation (its visible segments): only what is inside counts.
            movingMask: the same for the moving volume.
            initialTransform: a transform node from moving to fixed to begin with.
            fixedLandmarks: list of points in the fixed volume ...
            movingLandmarks: ... that belong to these points of the moving volume, in the same order.
            fixedLabels: segmentation or label map of the fixed volume ...
            movingLabels: ... and of the moving volume; segments of the same name are drawn onto each other.
            rigidLabels: parts of the fixed volume that must not bend, as a label map or the visible segments of a
                segmentation; each moves as one piece.
            outputTransform: node to put the transform into; a new one if None.
            outputVolume: node for the moved volume on the fixed grid; True makes one, False makes none.
            outputInverse: the same for the transform from fixed to moving.
            outputJacobian: the same for the map of volume change.
            outputMagnitude: the same for the length of the displacement in mm.
            outputDoubt: the same for the map of where not to trust the result.
            outputReport: table node for what was measured; True makes one.
            showResult: show fixed and moved volume over each other in the slice views.
            waitForCompletion: return when it is done. Events are processed meanwhile.
            **chosen: what ``DeepRegistrationLib.settings.Settings`` holds, in camelCase, with the library's defaults:
                method, variant, fineTune, untrained, result, refine, fromHere, affine, similarity, smoothness, device,
                seed.

        Returns:
            The transform node, or None if this does not wait.

        Raises:
            SceneInputError: if the input or a setting cannot be used.
            RegistrationError: if it fails; nothing is left in the scene.
            CancelledError: if the user stops it.
        """
        wanted = {
            "volume": outputVolume,
            "inverse": outputInverse,
            "jacobian": outputJacobian,
            "magnitude": outputMagnitude,
            "doubt": outputDoubt,
            "report": outputReport,
        }
        into = {kind: node for kind, node in wanted.items() if node is not True and node is not False}
        request = Request(
            fixedNode,
            movingNode,
            settingsFrom(chosen, inspect.signature(self.register).parameters),
            fixedMask=fixedMask,
            movingMask=movingMask,
            fixedLandmarks=fixedLandmarks,
            movingLandmarks=movingLandmarks,
            fixedLabels=fixedLabels,
            movingLabels=movingLabels,
            rigidLabels=rigidLabels,
            initialTransform=initialTransform,
            outputs=tuple(kind for kind, node in wanted.items() if node is not False and node is not None),
            replaced=outputTransform,
        )
        self.start(request, {"transform": outputTransform, **into}, showResult, tick=not waitForCompletion)
        return self.wait() if waitForCompletion else None

    def again(self, movingNode: Node, transformNode: Node | None = None, waitForCompletion: bool = True) -> Node | None:
        """Register a new moving volume with the settings of the last registration, from where that ended.

        Args:
            movingNode: the new image, such as the next one of a procedure.
            transformNode: the result to begin at; the last one if None.
            waitForCompletion: as of ``register``.

        Returns:
            The new transform node; None if it does not wait.

        Raises:
            SceneInputError: if there was no registration yet, or the volume is not new.
            RegistrationError: as of ``register``.
        """
        if self._last is None:
            raise SceneInputError(_("There is no registration to go on from; call register first."))
        request, transform = self._last
        request = againFrom(request, transformNode or transform, movingNode)
        self.start(request, {}, self._show, tick=not waitForCompletion)
        return self.wait() if waitForCompletion else None

    def start(self, request: Request, into: dict[str, Node | None], show: bool = True, tick: bool = True) -> None:
        """Start ``request``; ``tick`` polls from Qt's event loop, otherwise ``wait`` has to be called.

        Raises:
            SceneInputError: if the input cannot be used.
            RegistrationError: if a registration is running, PyTorch is refused or the files cannot be written.
        """
        if self.isRunning:
            raise RegistrationError(registrationRuns())
        self._check(request, into)
        self.installer.ensure()
        self._folder = newFolder()
        try:
            arguments = request.write(self._folder)
        except BaseException:
            self._removeFolder()
            raise
        self._request, self._into, self._show, self._error, self.lastResult = request, into, show, None, None
        self._run = run = WorkerRun(self.makeProcess())
        run.progressed.connect(self.progressed.emit)
        if show:
            self._preview = PreviewView(request.fixedNode, request.movingNode, request.replaced)
            run.previewed.connect(self._onPreview)
            arguments.append("--previews")
        run.finished.connect(self._onFinished)
        run.failed.connect(self._onFailed)
        run.cancelled.connect(self._onCancelled)
        scene = slicer.mrmlScene
        self._sceneObservation = (scene, scene.AddObserver(scene.StartCloseEvent, lambda *_: self.cancel()))
        self.started.emit()
        run.start(arguments, self._folder)
        if tick and self.isRunning:
            self._ticker.start(self.poll)

    def wait(self) -> Node:
        """Wait for the running registration while Slicer stays usable; its transform node.

        Raises:
            RegistrationError: if it failed (``CancelledError`` if it was stopped).
        """
        try:
            while self.isRunning:
                self.poll()
                processEvents()
                time.sleep(POLL_SECONDS)
        except BaseException:  # Ctrl+C in the console
            self.cancel()
            raise
        if self._error is not None:
            raise self._error
        assert self.lastResult is not None
        return self.lastResult.transform

    def poll(self) -> None:
        """Look once after the worker."""
        if self._run is not None:
            self._run.poll()
        if self._preview is not None:
            self._preview.update()

    def cancel(self) -> None:
        """Stop at once; when this returns the worker is gone and nothing was changed."""
        if self._run is not None:
            self._run.cancel()

    def finishEarly(self) -> bool:
        """Stop here and keep: what the refinement has found so far becomes the result, in some seconds.

        False if that cannot be asked for: nothing runs, or it runs in a process that does not listen.
        """
        return self._run is not None and self._run.finishEarly()

    def _onPreview(self, fileName: str, level: str) -> None:
        if self._preview is not None and self._folder is not None:
            self._preview.offer(self._folder / fileName, level)

    # --- The ends of a run ---

    def _onFinished(self, report: dict[str, Any]) -> None:
        assert self._request is not None
        assert self._folder is not None
        try:
            result = load(self._request, self._folder, report, self._into)
        except RegistrationError as error:
            self._onFailed(str(error))
            return
        except Exception:
            LOGGER.exception("Loading the result of the registration")
            self._onFailed(_("The result could not be loaded; the details are in the application log."))
            return
        request, show = self._request, self._show
        isSeen = self._preview is not None and self._preview.isShown and result.volume is not None
        self._cleanUp(restoresViews=not isSeen)
        self.lastResult, self._last = result, (request, result.transform)
        if show:
            try:
                showResult(request.fixedNode, request.movingNode, result, fit=not isSeen)
            except Exception:  # a picture that fails must not cost the result
                LOGGER.exception("Showing the result of the registration")
        self.finished.emit(result)

    def _onFailed(self, sentence: str) -> None:
        self._cleanUp()
        self._error = RegistrationError(sentence)
        self.failed.emit(sentence)

    def _onCancelled(self) -> None:
        self._cleanUp()
        self._error = CancelledError(_("The registration was cancelled; nothing was changed."))
        self.cancelled.emit()

    def _cleanUp(self, restoresViews: bool = True) -> None:
        self._ticker.stop()
        if self._preview is not None:
            self._preview.close(restoresViews)
            self._preview = None
        self._run = self._request = None
        self._into = {}
        if self._sceneObservation is not None:
            scene, tag = self._sceneObservation
            scene.RemoveObserver(tag)
            self._sceneObservation = None
        self._removeFolder()

    def _removeFolder(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    @staticmethod
    def _check(request: Request, into: dict[str, Node | None]) -> None:
        inputs = request.inputs()
        given = [node for node in into.values() if node is not None]
        for index, node in enumerate(given):
            if node in inputs or node in given[:index]:
                raise RegistrationError(
                    _("{name} would be overwritten by the result; choose another output.").format(name=node.GetName())
                )
