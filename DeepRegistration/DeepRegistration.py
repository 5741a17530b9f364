"""Deep Registration: two images in, a transform you can trust out.

This file is what Slicer loads when it starts. It imports nothing of its own until the module is used; PyTorch is never
imported into Slicer at all.
"""

import sys
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

TUTORIAL = "https://github.com/SlicerDeepRegistration/SlicerDeepRegistration/blob/main/docs/tutorial.md"


def findPackages():
    """Put the packages of this module on Python's path.

    Installed, all lie beside this file, on a path that Slicer knows. Added by hand as an additional module path, the
    library lies one folder higher.
    """
    here = Path(__file__).resolve()
    for folder in (here.parent, here.parents[1]):
        if str(folder) not in sys.path and any((folder / f"DeepRegistration{n}").is_dir() for n in ("Slicer", "Lib")):
            sys.path.append(str(folder))


class DeepRegistration(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        findPackages()
        parent.title = _("Deep Registration")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Registration")]
        parent.dependencies = ["Volumes", "Transforms", "Segmentations", "Markups"]
        parent.contributors = ["Deep Registration Developers (SlicerDeepRegistration)"]
        parent.helpText = _(
            "Brings a moving image onto a fixed one with a smooth, invertible transform, and judges the result. "
            "Works in a process of its own, on the graphics card or the processor; nothing is sent anywhere."
        )
        parent.helpText += f'<p><a href="{TUTORIAL}">{_("Tutorial")}</a></p>'
        parent.acknowledgementText = _("See the README for the papers this module is built on.")
        self.keeper = None
        slicer.app.connect("startupCompleted()", self.onStarted)

    def onStarted(self):
        """Once Slicer has started."""
        self.keepFieldsLinear()
        self.registerSampleData()

    def keepFieldsLinear(self):
        """Transforms of this module stay as they were measured when they are loaded, also before it is opened."""
        from DeepRegistrationSlicer.scene import interpolation

        if self.keeper is None:
            self.keeper = interpolation.Keeper(slicer.mrmlScene)

    def registerSampleData(self):
        """A generated pair to try the module on."""
        from DeepRegistrationSlicer.registration import samples

        samples.registerSamples(Path(self.resourcePath("Icons")))


class DeepRegistrationWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Hands the panel the scene's parameters, and takes them away when the scene closes."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None
        self.ui = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        from DeepRegistrationSlicer.panel.build import buildPanel

        uiWidget = slicer.util.loadUI(self.resourcePath("UI/DeepRegistration.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = DeepRegistrationLogic()
        self.panel = buildPanel(self.ui, self.logic.registration)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        self.showParameters()

    def cleanup(self):
        self.removeObservers()
        if self.panel is not None:
            self.panel.close()

    def enter(self):
        self.showParameters()
        self.panel.chooseVolumes()
        self.panel.catalog.refresh()

    def onSceneStartClose(self, _caller, _event):
        self.panel.setParameters(None)

    def onSceneEndClose(self, _caller, _event):
        self.showParameters()

    def onSceneEndImport(self, _caller, _event):
        # The parameters came before the nodes they refer to: read them again.
        self.panel.setParameters(self.logic.getParameterNode())

    def showParameters(self):
        parameters = self.logic.getParameterNode()
        if self.panel.parameters is None or self.panel.parameters.parameterNode is not parameters.parameterNode:
            self.panel.setParameters(parameters)

    def onReload(self):
        """Developers: forget the packages too, not only this file."""
        packages = ("DeepRegistrationSlicer", "DeepRegistrationLib")
        for name in [n for n in sys.modules if n.partition(".")[0] in packages]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)


class DeepRegistrationLogic(ScriptedLoadableModuleLogic):
    """For scripts:

    >>> import DeepRegistration
    >>> transformNode = DeepRegistration.DeepRegistrationLogic().register(fixedNode, movingNode)
    """

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        from DeepRegistrationSlicer.registration.logic import RegistrationLogic

        self.registration = RegistrationLogic()

    def getParameterNode(self):
        """The panel's parameters, kept in the scene."""
        from DeepRegistrationSlicer.panel.parameters import DeepRegistrationParameterNode

        return DeepRegistrationParameterNode(super().getParameterNode())

    def register(self, fixedNode, movingNode, **options):
        """See ``RegistrationLogic.register`` (registration/logic.py): the library's keywords, in camelCase."""
        return self.registration.register(fixedNode, movingNode, **options)

    def again(self, movingNode, **options):
        """See ``RegistrationLogic.again``: the next moving volume, from where the last registration ended."""
        return self.registration.again(movingNode, **options)


class DeepRegistrationTest(ScriptedLoadableModuleTest):
    """Slicer's own test: what can be tested without PyTorch, then a small registration if PyTorch is there."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_registration()

    def test_registration(self):
        from DeepRegistrationSlicer.selftest import runSelfTest

        runSelfTest(self, DeepRegistrationLogic())
