"""The panel: shows the parameters, starts and stops the work, and says how it goes. It computes nothing itself."""

from __future__ import annotations

from typing import Any

import slicer

from ..errors import RegistrationError
from ..registration.logic import RegistrationLogic
from ..registration.report_words import stageTitle, summary
from ..registration.request import volumesProblem
from ..registration.results import Result
from ..scene.nodes import isSlice
from ..texts import tr as _
from ..worker.methods import BEST, NO_NETWORK, MethodCatalog, resolve
from .parameters import OUTPUTS, DeepRegistrationParameterNode, requestFrom


class RegistrationPanel:
    """Binds the widgets of ``ui`` (as from ``childWidgetVariables``) to a logic and a parameter node.

    ``sections`` are further parts: ``show(parameters)`` tells them that the parameters changed, ``onFinished()`` that
    there is a new result, ``close()`` that the panel closes.
    """

    def __init__(self, ui: Any, logic: RegistrationLogic, catalog: MethodCatalog) -> None:
        self.ui, self.logic, self.catalog = ui, logic, catalog
        self.parameters: DeepRegistrationParameterNode | None = None
        self.sections: list[Any] = []
        self._guiTag: int | None = None
        self._observation: tuple[Any, int] | None = None
        self._fillingMethods = False
        self._message = ""
        ui.applyButton.connect("clicked(bool)", self.onApply)
        ui.methodComboBox.connect("currentIndexChanged(int)", self._onMethodChosen)
        logic.started.connect(self._onStarted)
        logic.progressed.connect(self._onProgress)
        logic.finished.connect(self._onFinished)
        logic.failed.connect(self._onFailed)
        logic.cancelled.connect(self._onCancelled)
        catalog.changed.connect(self._fillMethods)

    # --- The parameter node ---

    def setParameters(self, parameters: DeepRegistrationParameterNode | None) -> None:
        """Show these parameters, and write what the user changes into them; None lets go of the old ones."""
        if self.parameters is not None:
            self.parameters.disconnectGui(self._guiTag)
            node, tag = self._observation
            node.RemoveObserver(tag)
        self.parameters, self._guiTag, self._observation = parameters, None, None
        if parameters is not None:
            self._chooseVolumes()
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

    def _chooseVolumes(self) -> None:
        """The images in the slice views, else the first two: most scenes hold just those."""
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
        self.logic.cancel()
        self.catalog.stop()
        for section in self.sections:
            section.close()
        self.setParameters(None)

    # --- Methods ---

    def _fillMethods(self) -> None:
        combo, chosen = self.ui.methodComboBox, self.parameters.method if self.parameters is not None else BEST
        self._fillingMethods = True
        combo.clear()
        for method in self.catalog.methods:
            title = method.title if method.isAvailable else _("{title} (no weights yet)").format(title=method.title)
            combo.addItem(title, method.name)
        if self.catalog.find(chosen) is None:
            combo.addItem(_("{name} (not here)").format(name=chosen), chosen)
        combo.setCurrentIndex(combo.findData(chosen))
        self._fillingMethods = False
        self.update()

    def _onMethodChosen(self, index: int) -> None:
        if not self._fillingMethods and self.parameters is not None and index >= 0:
            self.parameters.method = self.ui.methodComboBox.itemData(index)

    def _showMethod(self) -> None:
        combo = self.ui.methodComboBox
        if combo.currentData != self.parameters.method:
            self._fillMethods()
        method = self.catalog.find(self.parameters.method)
        self.ui.methodLabel.text = method.purpose if method is not None else ""
        fixed = self.parameters.fixedVolume
        hasNetwork = resolve(self.parameters.method, fixed is not None and isSlice(fixed)) != NO_NETWORK
        self.ui.refineCheckBox.enabled = self.ui.fineTuneCheckBox.enabled = hasNetwork

    # --- What can be done now ---

    def problem(self) -> str:
        """Why Apply cannot be pressed; empty if it can."""
        if self.parameters is None:
            return _("The scene is being closed.")
        problem = volumesProblem(self.parameters.fixedVolume, self.parameters.movingVolume)
        if problem:
            return problem
        method = self.catalog.find(self.parameters.method)
        if method is None or not method.isAvailable:
            return _(
                "There are no weights for the method {name} here; choose another method, or import its model."
            ).format(name=method.title if method is not None else self.parameters.method)
        return ""

    def update(self) -> None:
        """Bring buttons, tool tips and the status up to date."""
        ui, problem = self.ui, self.problem()
        if self.logic.isRunning:
            ui.applyButton.text, ui.applyButton.enabled = _("Cancel"), True
            ui.applyButton.toolTip = _("Stop the registration at once; nothing is changed.")
        else:
            ui.applyButton.text, ui.applyButton.enabled = _("Apply"), not problem
            ui.applyButton.toolTip = problem or _("Bring the moving volume onto the fixed one (Ctrl+Return).")
            ui.statusLabel.text = self._message or problem or _("Ready.")
        if self.parameters is not None:
            self._showMethod()
            for kind in ("Volume", "Inverse", "Jacobian", "Magnitude", "Doubt"):
                wanted = getattr(self.parameters, f"want{kind}")
                getattr(ui, f"output{kind}Selector").enabled = wanted
        for section in self.sections:
            section.show(self.parameters)

    # --- Running ---

    def onApply(self, _checked: bool = False) -> None:
        """Start, or stop what runs."""
        if self.logic.isRunning:
            self.logic.cancel()
            return
        if self.parameters is None:
            return
        self._message = ""
        try:
            self.logic.start(*requestFrom(self.parameters))
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

    def _onFinished(self, result: Result) -> None:
        if self.parameters is not None:
            with slicer.util.NodeModify(self.parameters.parameterNode):
                for kind, name in OUTPUTS.items():
                    node = getattr(result, kind)
                    if node is not None:
                        setattr(self.parameters, name, node)
        self.ui.progressBar.setValue(100)
        self._say(summary(result.report))
        for section in self.sections:
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
