"""Everything the user can set, kept in the scene.

Imported when the panel opens, not with the module: the node classes of other modules exist only then. Enumerations are
stored by the names of their members, so renaming one breaks old scenes; their values are the library's choices.
"""

import enum
from typing import Annotated, Any, Union

from slicer import (
    vtkMRMLLabelMapVolumeNode,
    vtkMRMLMarkupsFiducialNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLTransformNode,
)
from slicer.parameterNodeWrapper import Minimum, WithinRange, parameterNodeWrapper

from DeepRegistrationLib.settings import (
    DEFORMABLE,
    DEVICES,
    REFINEMENTS,
    RESULTS,
    SEED,
    SMOOTH_IN_TIME,
    SMOOTHNESS,
    Settings,
)

from ..registration import results
from ..registration.motion import InTime
from ..registration.request import Request, settingsFrom
from ..registration.results import TABLE_ROLE
from ..scene.nodes import Node, isSlice
from ..texts import tr as _
from ..worker.methods import MethodCatalog

DEFAULTS = Settings()
MaskNode = Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007 - the wrapper knows no "|"


class ImageKind(enum.Enum):
    """What the two images are."""

    AUTOMATIC = "auto"
    SAME_CONTRAST = "same"
    DIFFERENT_CONTRAST = "different"
    CT_MR = "ctmr"
    XRAY = "xray"

    def label(self) -> str:
        return {
            ImageKind.AUTOMATIC: _("Find out automatically"),
            ImageKind.SAME_CONTRAST: _("Same contrast (T1 and T1, CT and CT)"),
            ImageKind.DIFFERENT_CONTRAST: _("Different contrast (T1 and T2, before and after contrast agent)"),
            ImageKind.CT_MR: _("CT and MR"),
            ImageKind.XRAY: _("X-ray or other 2-D images"),
        }[self]

    @property
    def similarity(self) -> str:
        """The library's name of the measure that fits: across contrasts MIND alone, as scenes saved so far mean it."""
        return {
            ImageKind.AUTOMATIC: DEFAULTS.similarity,
            ImageKind.SAME_CONTRAST: "lncc",
            ImageKind.DIFFERENT_CONTRAST: "mind",
            ImageKind.CT_MR: "mind",
            ImageKind.XRAY: "lncc",
        }[self]


class ResultKind(enum.Enum):
    """What comes out."""

    DEFORMABLE, AFFINE, SIMILARITY, RIGID = RESULTS

    def label(self) -> str:
        return {
            ResultKind.DEFORMABLE: _("Deformable (a field)"),
            ResultKind.AFFINE: _("Affine (turn, shift, scale and shear)"),
            ResultKind.SIMILARITY: _("Similarity (turn, shift and one scale)"),
            ResultKind.RIGID: _("Rigid (turn and shift)"),
        }[self]


class Quality(enum.Enum):
    """How long it may take."""

    FAST, ACCURATE = REFINEMENTS[1:]  # without it is another check box

    def label(self) -> str:
        return {Quality.FAST: _("Fast"), Quality.ACCURATE: _("Accurate")}[self]


class Device(enum.Enum):
    """Where to compute."""

    AUTOMATIC, CPU, CUDA, MPS = DEVICES

    def label(self) -> str:
        return {
            Device.AUTOMATIC: _("Automatic"),
            Device.CPU: _("Processor (CPU)"),
            Device.CUDA: _("NVIDIA graphics card (GPU)"),
            Device.MPS: _("Apple graphics processor (GPU)"),
        }[self]


@parameterNodeWrapper
class DeepRegistrationParameterNode:
    """The panel's parameters; each widget names its own in ``SlicerParameterName``."""

    fixedVolume: vtkMRMLScalarVolumeNode
    movingVolume: vtkMRMLScalarVolumeNode
    resultKind: ResultKind = ResultKind(DEFAULTS.result)
    imageKind: ImageKind = ImageKind.AUTOMATIC
    method: str = DEFAULTS.method
    quality: Quality = Quality(DEFAULTS.refine)

    outputTransform: vtkMRMLTransformNode
    wantVolume: bool = True
    outputVolume: vtkMRMLScalarVolumeNode
    wantInverse: bool = False
    outputInverse: vtkMRMLTransformNode
    wantJacobian: bool = False
    outputJacobian: vtkMRMLScalarVolumeNode
    wantMagnitude: bool = False
    outputMagnitude: vtkMRMLScalarVolumeNode
    wantDoubt: bool = False
    outputDoubt: vtkMRMLScalarVolumeNode

    useAffine: bool = True
    useRefinement: bool = True
    fineTuneNetwork: bool = DEFAULTS.fine_tune
    smoothness: Annotated[float, WithinRange(SMOOTHNESS.low, SMOOTHNESS.high)] = DEFAULTS.smoothness
    fixedMask: MaskNode
    movingMask: MaskNode
    initialTransform: vtkMRMLTransformNode
    fixedLandmarks: vtkMRMLMarkupsFiducialNode
    movingLandmarks: vtkMRMLMarkupsFiducialNode
    fixedLabels: MaskNode
    movingLabels: MaskNode
    useGuidance: bool = True
    rigidLabels: MaskNode
    device: Device = Device(DEFAULTS.device)
    seed: Annotated[int, Minimum(int(SEED.low))] = DEFAULTS.seed  # a spin box ends long before SEED.high

    beginAtNeighbor: bool = True
    isCyclic: bool = False
    smoothInTime: Annotated[float, WithinRange(SMOOTH_IN_TIME.low, SMOOTH_IN_TIME.high)] = SMOOTH_IN_TIME.low

    opacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.5


OUTPUT_PARAMETERS = {
    "transform": "outputTransform",
    "volume": "outputVolume",
    "inverse": "outputInverse",
    "jacobian": "outputJacobian",
    "magnitude": "outputMagnitude",
    "doubt": "outputDoubt",
}
"""What a registration makes, and the parameter that names the node for it."""


def dimensionsOf(parameters: DeepRegistrationParameterNode) -> int | None:
    """2 or 3 of the fixed volume, None while there is none."""
    fixed = parameters.fixedVolume
    return None if fixed is None else 2 if isSlice(fixed) else 3


def inTimeFrom(parameters: DeepRegistrationParameterNode) -> InTime:
    """What the panel says about the frames of a sequence."""
    return InTime(parameters.beginAtNeighbor, parameters.isCyclic, parameters.smoothInTime)


def resultOf(parameters: DeepRegistrationParameterNode | None) -> Node | None:
    """The transform node that is chosen under Results."""
    return None if parameters is None else parameters.outputTransform


def wantsMatrix(parameters: DeepRegistrationParameterNode) -> bool:
    """Whether a linear transform is asked for; by value, as Reload makes the enumeration anew."""
    return parameters.resultKind.value != DEFORMABLE


def requestFrom(parameters: DeepRegistrationParameterNode, catalog: MethodCatalog) -> tuple[Request, dict[str, Any]]:
    """The request that the panel's settings describe, and the chosen node (or None) for each output.

    Raises:
        SceneInputError: if a setting cannot be used.
    """
    wanted = {
        "volume": parameters.wantVolume,
        "inverse": parameters.wantInverse,
        "jacobian": parameters.wantJacobian,
        "magnitude": parameters.wantMagnitude,
        "doubt": parameters.wantDoubt,
    }
    into = {kind: getattr(parameters, name) for kind, name in OUTPUT_PARAMETERS.items() if wanted.get(kind, True)}
    isLinear = wantsMatrix(parameters)
    replaced = parameters.outputTransform
    if replaced is not None and results.reportOf(replaced) and bool(replaced.IsLinear()) is not isLinear:
        into = dict.fromkeys(into)  # an earlier result of the other kind stays as it is
    elif replaced is not None:
        into["report"] = parameters.outputTransform.GetNodeReference(TABLE_ROLE)
    guided = parameters.useGuidance
    similarity = parameters.imageKind.similarity
    hasNetwork = catalog.hasNetwork(parameters.method, dimensionsOf(parameters), similarity) and not isLinear
    chosen = {
        "method": DEFAULTS.method if isLinear else parameters.method,
        "result": parameters.resultKind.value,
        "refine": DEFAULTS.refine if isLinear else _refinement(parameters, hasNetwork),
        "fineTune": parameters.fineTuneNetwork and hasNetwork,
        "affine": DEFAULTS.affine if parameters.useAffine else "none",
        "similarity": DEFAULTS.similarity if isLinear else similarity,
        "smoothness": DEFAULTS.smoothness if isLinear else parameters.smoothness,
        "device": parameters.device.value,
        "seed": parameters.seed,
    }
    request = Request(
        parameters.fixedVolume,
        parameters.movingVolume,
        settingsFrom(chosen),
        fixedMask=parameters.fixedMask,
        movingMask=parameters.movingMask,
        fixedLandmarks=parameters.fixedLandmarks if guided else None,
        movingLandmarks=parameters.movingLandmarks if guided else None,
        fixedLabels=parameters.fixedLabels if guided and not isLinear else None,
        movingLabels=parameters.movingLabels if guided and not isLinear else None,
        rigidLabels=None if isLinear else parameters.rigidLabels,
        initialTransform=parameters.initialTransform,
        outputs=(*(kind for kind, on in wanted.items() if on), "report"),
        replaced=parameters.outputTransform,
    )
    return request, into


def _refinement(parameters: DeepRegistrationParameterNode, hasNetwork: bool) -> str:
    """Without a network, refinement is all there is."""
    return parameters.quality.value if parameters.useRefinement or not hasNetwork else "none"
