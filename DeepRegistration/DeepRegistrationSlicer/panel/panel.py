"""The panel: shows the parameters, starts and stops the work, and says how it goes. It computes nothing itself."""

from __future__ import annotations

import weakref
from typing import Any

import qt
import slicer
import vtk

from ..errors import RegistrationError
from ..registration.logic import RegistrationLogic
from ..registration.report_words import stageTitle, summary
from ..registration.request import remarks, volumesProblem
from ..registration.results import ResultNodes
from ..registration.series import Series
from ..scene.nodes import fixedOf, movingOf
from ..texts import seriesRuns
from ..texts import tr as _
from ..worker.install import platformProblem
from ..worker.methods import MethodCatalog
from ..worker.staying import SHARED
from .buttons import setText
from .parameters import (
    DEFAULTS,
    OUTPUT_PARAMETERS,
    DeepRegistrationParameterNode,
    dimensionsOf,
    requestFrom,
    wantsMatrix,
)
from .section import Section


class RegistrationPanel:
    """Binds the widgets of ``ui`` (as from ``childWidgetVariables``) to a logic and a parameter node.

    ``series`` is the work on several volumes: only one thing runs at a time.
    ``sections`` are further parts by their names; the panel tells each what ``Section`` lists.
    """

    def __init__(self, ui: Any, logic: RegistrationLogic, catalog: MethodCatalog, series: Series) -> None:
        self.ui, self.logic, self.catalog, self.series = ui, logic, catalog, series
        self.parameters: DeepRegistrationParameterNode | None = None
        self.sections: dict[str, Section] = {}
        self._guiTag: int | None = None
        self._observation: tuple[Any, int] | None = None
        self._fillingMethods = False
        self._shownDimensions: int | None = None
        self._isChosenGoing = False
        self._message = ""
        ui.applyButton.connect("clicked(bool)", self.onApply)
        ui.methodComboBox.connect("currentIndexChanged(int)", self._onMethodChosen)
        logic.started.connect(self._onStarted)
        logic.progressed.connect(self._onProgress)
        logic.finished.connect(self._onFinished)
        logic.failed.connect(self._onFailed)
        logic.cancelled.connect(self._onCancelled)
        catalog.changed.connect(self._fillMethods)
        self._sceneTags = self._watchScene()
        series.started.connect(self.update)
        series.finished.connect(lambda _table: self.update())
        series.cancelled.connect(self.update)

    # --- The parameter node ---

    def setParameters(self, parameters: DeepRegistrationParameterNode | None) -> None:
        """Show these parameters, and write what the user changes into them; None lets go of the old ones."""
        if self.parameters is not None:
            self.parameters.disconnectGui(self._guiTag)
            node, tag = self._observation
            node.RemoveObserver(tag)
        self.parameters, self._guiTag, self._observation = parameters, None, None
        if parameters is not None:
            self.chooseVolumes()
            # connectGui of some Slicers does not return what disconnectGui needs.
            named = {w.property("SlicerParameterName"): w for w in vars(self.ui).values()}
            self._guiTag = parameters.connectParametersToGui({n: w for n, w in named.items() if n})
            node = parameters.parameterNode
            self._observation = (node, node.AddObserver("ModifiedEvent", self._onParametersChanged))
        self._fillMethods()
        self.update()

    def _onParametersChanged(self, *_arguments: Any) -> None:
        self._message = ""
        if not self.logic.isRunning:
            self.ui.progressBar.setValue(0)
        self.update()

    def _watchScene(self) -> list[int]:
        goes, gone = weakref.WeakMethod(self._onNodeGoes), weakref.WeakMethod(self._onNodeGone)

        def aboutToGo(_scene: Any, _event: str, node: Any) -> None:
            method = goes()
            if method is not None:
                method(node)

        def hasGone(*_arguments: Any) -> None:
            method = gone()
            if method is not None:
                method()

        aboutToGo.CallDataType = vtk.VTK_OBJECT  # type: ignore[attr-defined]
        scene = slicer.mrmlScene
        # Before the selectors, which take the node out of their lists at the same event.
        return [
            scene.AddObserver(scene.NodeAboutToBeRemovedEvent, aboutToGo, 10.0),
            scene.AddObserver(scene.NodeRemovedEvent, hasGone),
        ]

    def _onNodeGoes(self, node: Any) -> None:
        """A chosen node is about to be removed: choose none. Selectors by themselves take its neighbor, silently."""
        if node is None or self.parameters is None or not node.GetID():
            return
        result = self.parameters.outputTransform
        if result is not None and node in (fixedOf(result), movingOf(result)):
            self._isChosenGoing = True
        for widget in vars(self.ui).values():
            if widget.className() == "qMRMLNodeComboBox" and widget.currentNodeID == node.GetID():
                widget.setCurrentNode(None)
                self._isChosenGoing = True

    def _onNodeGone(self) -> None:
        """What was said of a node while it was still there may be otherwise now."""
        if self._isChosenGoing:
            self._isChosenGoing = False
            self.update()

    def chooseVolumes(self) -> None:
        """The images in the slice views, else the first two: most scenes hold just those. A choice stays."""
        if self.parameters is None:
            return
        if self.parameters.fixedVolume is not None or self.parameters.movingVolume is not None:
            return
        composite = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
        shown = []
        if composite is not None:
            shown = [composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID()]
        candidates = [slicer.mrmlScene.GetNodeByID(i) for i in shown if i]
        candidates += slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        volumes: list[Any] = []
        for node in candidates:
            if node not in volumes and not node.IsA("vtkMRMLLabelMapVolumeNode") and not node.GetHideFromEditors():
                volumes.append(node)
        if len(volumes) >= 2:
            self.parameters.fixedVolume, self.parameters.movingVolume = volumes[:2]

    def close(self) -> None:
        """Stop whatever runs and let go of the scene."""
        for tag in self._sceneTags:
            slicer.mrmlScene.RemoveObserver(tag)
        self.logic.cancel()
        self.catalog.stop()
        for section in self.sections.values():
            section.close()
        SHARED.end()
        self.setParameters(None)

    # --- Methods ---

    def _fillMethods(self) -> None:
        combo, chosen = self.ui.methodComboBox, self._chosenMethod()
        dimensions = dimensionsOf(self.parameters) if self.parameters is not None else None
        self._fillingMethods, self._shownDimensions = True, dimensions
        combo.clear()
        for index, method in enumerate(self.catalog.methods):
            problem = method.problem(dimensions)
            combo.addItem(method.titleFor(dimensions), method.name)
            about = " ".join(filter(None, [method.purpose, method.worthFor(dimensions)]))
            combo.setItemData(index, problem or about, qt.Qt.ToolTipRole)
            combo.model().item(index).setEnabled(not problem)
        if self.catalog.find(chosen) is None:
            combo.addItem(_("{name} (not here)").format(name=chosen), chosen)
        combo.setCurrentIndex(combo.findData(chosen))
        self._fillingMethods = False
        self.update()

    def _chosenMethod(self) -> str:
        return self.parameters.method if self.parameters is not None else DEFAULTS.method

    def _onMethodChosen(self, index: int) -> None:
        if not self._fillingMethods and self.parameters is not None and index >= 0:
            self.parameters.method = self.ui.methodComboBox.itemData(index)

    def _showMethod(self) -> None:
        name, dimensions = self.parameters.method, dimensionsOf(self.parameters)
        if self.ui.methodComboBox.currentData != name or dimensions != self._shownDimensions:
            self._fillMethods()
        similarity = self.parameters.imageKind.similarity
        method, taken = self.catalog.find(name), self.catalog.taken(name, dimensions, similarity)
        text = method.purpose if method is not None else ""
        if taken is not None and taken is not method and dimensions is not None:
            text = _("{purpose} For these images: {title}.").format(purpose=text, title=taken.title)
        self.ui.methodLabel.text = " ".join(filter(None, [text, taken.worthFor(dimensions) if taken else ""]))
        isLinear = wantsMatrix(self.parameters)
        for widget in (self.ui.methodComboBox, self.ui.imageKindComboBox, self.ui.qualityComboBox):
            widget.enabled = not isLinear
        self.ui.smoothnessSlider.enabled = not isLinear
        if isLinear:
            self.ui.methodLabel.text = _("Both images are aligned as a whole, whatever their contrast.")
        hasNetwork = self.catalog.hasNetwork(name, dimensions, similarity) and not isLinear
        self.ui.refineCheckBox.enabled = self.ui.fineTuneCheckBox.enabled = hasNetwork

    # --- What can be done now ---

    def problem(self) -> str:
        """Why Apply cannot be pressed; empty if it can."""
        if self.parameters is None:
            return _("The scene is being closed.")
        if self.series.isRunning:
            return seriesRuns()
        problem = volumesProblem(self.parameters.fixedVolume, self.parameters.movingVolume)
        if problem:
            return problem
        problem = platformProblem()
        if problem:
            return problem
        if wantsMatrix(self.parameters):
            return ""  # no method is needed
        method = self.catalog.find(self.parameters.method)
        if method is None:
            return _(
                "There are no weights for the method {name} here; choose another method, or import its model."
            ).format(name=self.parameters.method)
        return method.problem(dimensionsOf(self.parameters))

    def _remarks(self) -> list[str]:
        return remarks([self.parameters.fixedVolume, self.parameters.movingVolume])

    def update(self) -> None:
        """Bring buttons, tool tips and the status up to date."""
        ui, problem = self.ui, self.problem()
        if self.logic.isRunning:
            setText(ui.applyButton, _("Cancel"))
            ui.applyButton.enabled = True
            ui.applyButton.toolTip = _("Stop the registration at once; nothing is changed.")
        else:
            setText(ui.applyButton, _("Apply"))
            ui.applyButton.enabled = not problem
            ui.applyButton.toolTip = problem or _("Bring the moving volume onto the fixed one (Ctrl+Return).")
            ui.statusLabel.text = self._message or problem or " ".join([_("Ready."), *self._remarks()])
        if self.parameters is not None:
            self._showMethod()
            for kind in ("Volume", "Inverse", "Jacobian", "Magnitude", "Doubt"):
                wanted = getattr(self.parameters, f"want{kind}")
                getattr(ui, f"output{kind}Selector").enabled = wanted
        for section in self.sections.values():
            section.show(self.parameters)

    # --- Running ---

    def onApply(self, _checked: bool = False) -> None:
        """Start, or stop what runs."""
        if self.logic.isRunning:
            self.logic.cancel()
            return
        problem = self.problem()  # also a script may press the button
        if problem:
            self._say(problem)
            return
        self._message = ""
        try:
            self.logic.start(*requestFrom(self.parameters, self.catalog))
        except RegistrationError as error:
            self._say(str(error))

    def _onStarted(self) -> None:
        self.ui.progressBar.setValue(0)
        self.ui.statusLabel.text = _("Starting...")
        self.update()

    def _onProgress(self, stage: str, fraction: float, message: str) -> None:
        self.ui.progressBar.setValue(round(100 * fraction))
        title = stageTitle(stage)
        self.ui.statusLabel.text = _("{stage}: {message}").format(stage=title, message=message) if message else title

    def _onFinished(self, result: ResultNodes) -> None:
        if self.parameters is not None:
            with slicer.util.NodeModify(self.parameters.parameterNode):
                for kind, name in OUTPUT_PARAMETERS.items():
                    node = getattr(result, kind)
                    if node is not None:
                        setattr(self.parameters, name, node)
        self.ui.progressBar.setValue(100)
        self._say(summary(result.report))
        for section in self.sections.values():
            section.onFinished()

    def _onFailed(self, sentence: str) -> None:
        self.ui.progressBar.setValue(0)
        self._say(sentence)

    def _onCancelled(self) -> None:
        self.ui.progressBar.setValue(0)
        self._say(_("Cancelled; nothing was changed."))

    def _say(self, message: str) -> None:
        self._message = message
        self.update()
