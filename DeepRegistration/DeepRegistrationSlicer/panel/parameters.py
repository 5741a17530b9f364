"""Everything the user can set, kept in the scene.

Imported when the panel opens, not with the module: the node classes of other modules exist only then. Enumerations are
stored by the names of their members, so renaming one breaks old scenes.
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

from ..registration.request import Request
from ..registration.results import TABLE_ROLE
from ..scene.nodes import isSlice
from ..texts import tr as _
from ..worker.methods import BEST, NO_NETWORK, resolve

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
        """The library's name of the measure that fits."""
        return {
            ImageKind.AUTOMATIC: "auto",
            ImageKind.SAME_CONTRAST: "lncc",
            ImageKind.DIFFERENT_CONTRAST: "mind",
            ImageKind.CT_MR: "mind",
            ImageKind.XRAY: "lncc",
        }[self]


class Quality(enum.Enum):
    """How long it may take."""

    FAST = "fast"
    ACCURATE = "accurate"

    def label(self) -> str:
        return {Quality.FAST: _("Fast"), Quality.ACCURATE: _("Accurate")}[self]


class Device(enum.Enum):
    """Where to compute."""

    AUTOMATIC = "auto"
    CPU = "cpu"
    CUDA = "cuda"

    def label(self) -> str:
        return {
            Device.AUTOMATIC: _("Automatic"),
            Device.CPU: _("Processor (CPU)"),
            Device.CUDA: _("NVIDIA graphics card (GPU)"),
        }[self]


@parameterNodeWrapper
class DeepRegistrationParameterNode:
    """The panel's parameters; each widget names its own in ``SlicerParameterName``."""

    fixedVolume: vtkMRMLScalarVolumeNode
    movingVolume: vtkMRMLScalarVolumeNode
    imageKind: ImageKind = ImageKind.AUTOMATIC
    method: str = BEST
    quality: Quality = Quality.FAST

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
    fineTuneNetwork: bool = False
    smoothness: Annotated[float, WithinRange(0.2, 5.0)] = 1.0
    fixedMask: MaskNode
    movingMask: MaskNode
    initialTransform: vtkMRMLTransformNode
    fixedLandmarks: vtkMRMLMarkupsFiducialNode
    movingLandmarks: vtkMRMLMarkupsFiducialNode
    fixedLabels: MaskNode
    movingLabels: MaskNode
    useGuidance: bool = True
    device: Device = Device.AUTOMATIC
    seed: Annotated[int, Minimum(0)] = 0

    opacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.5


OUTPUTS = {
    "transform": "outputTransform",
    "volume": "outputVolume",
    "inverse": "outputInverse",
    "jacobian": "outputJacobian",
    "magnitude": "outputMagnitude",
    "doubt": "outputDoubt",
}
"""What a registration makes, and the parameter that names the node for it."""


def requestFrom(parameters: DeepRegistrationParameterNode) -> tuple[Request, dict[str, Any]]:
    """The request that the panel's settings describe, and the chosen node (or None) for each output."""
    wanted = {
        "volume": parameters.wantVolume,
        "inverse": parameters.wantInverse,
        "jacobian": parameters.wantJacobian,
        "magnitude": parameters.wantMagnitude,
        "doubt": parameters.wantDoubt,
    }
    into = {kind: getattr(parameters, name) for kind, name in OUTPUTS.items() if wanted.get(kind, True)}
    if parameters.outputTransform is not None:
        into["report"] = parameters.outputTransform.GetNodeReference(TABLE_ROLE)
    guided = parameters.useGuidance
    # Without a network, refinement is all there is.
    isFlat = parameters.fixedVolume is not None and isSlice(parameters.fixedVolume)
    isAlone = resolve(parameters.method, isFlat) == NO_NETWORK
    request = Request(
        parameters.fixedVolume,
        parameters.movingVolume,
        method=parameters.method,
        refine=parameters.quality.value if parameters.useRefinement or isAlone else "none",
        fineTune=parameters.fineTuneNetwork,
        affine="auto" if parameters.useAffine else "none",
        similarity=parameters.imageKind.similarity,
        smoothness=parameters.smoothness,
        device=parameters.device.value,
        seed=parameters.seed,
        fixedMask=parameters.fixedMask,
        movingMask=parameters.movingMask,
        fixedLandmarks=parameters.fixedLandmarks if guided else None,
        movingLandmarks=parameters.movingLandmarks if guided else None,
        fixedLabels=parameters.fixedLabels if guided else None,
        movingLabels=parameters.movingLabels if guided else None,
        initialTransform=parameters.initialTransform,
        outputs=(*(kind for kind, on in wanted.items() if on), "report"),
        replaced=parameters.outputTransform,
    )
    return request, into
