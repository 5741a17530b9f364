"""What is asked of the library: a plain description, its files in a folder, and the command line for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import vtk

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.settings import NAMES, Settings

from ..errors import SceneInputError
from ..scene import landmarks, masks, nodes
from ..scene.nodes import Node
from ..texts import fixedMissing, noVoxels, volumesAlike
from ..texts import tr as _
from .meanwhile import Witness, sentences

FIXED = "fixed.nrrd"
"""The fixed volume as it was registered, in the folder of a run."""
FILES = {"volume": "warped.nrrd", "doubt": "doubt.nrrd"}
"""What the worker writes for each output; the others are made of these and the transform."""
WITHOUT_EFFECT = ("device",)
"""Settings that do not decide what comes out."""


def inSlicer(name: str) -> str:
    """The library's name of a setting in camelCase."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


SETTINGS = {inSlicer(name): name for name in NAMES}
"""The library's settings by their names in Slicer."""


def settingsFrom(chosen: Mapping[str, Any], others: Iterable[str] = ()) -> Settings:
    """The library's settings from names in camelCase; ``others`` are further keywords that a user may have meant.

    Raises:
        SceneInputError: if there is no such name, or a value cannot be used.
    """
    for name in chosen:
        if name not in SETTINGS:
            near = get_close_matches(name, [*SETTINGS, *others], 1)
            if near:
                raise SceneInputError(_("There is no {name}; did you mean {near}?").format(name=name, near=near[0]))
            raise SceneInputError(
                _("There is no {name}; what can be set is {names}.").format(name=name, names=", ".join(SETTINGS))
            )
    try:
        return Settings.of({SETTINGS[name]: value for name, value in chosen.items()})
    except InputError as error:
        sentence = str(error)
        for name, inLibrary in SETTINGS.items():
            sentence = sentence.replace(inLibrary, name)
        raise SceneInputError(sentence) from error


@dataclass
class Request:
    """What the library's ``register`` takes, with nodes where it takes images.

    Attributes:
        settings: what was chosen besides nodes.
        outputs: which of "volume", "inverse", "jacobian", "magnitude", "doubt", "report" are wanted besides the
            transform.
        replaced: the node that will receive the transform; if the moving volume is under it, as after an earlier run,
            that does not count as its position.
        notes: sentences about the input for the report; known once it is written.
        identity: of each volume as it was registered its name and the SHA-256 of its voxels; likewise.
        original: the frame of a sequence that the moving volume is a copy of.
        renewed: those of the nodes that are registered again when this is done, so that their changes are not told.
        seen: the nodes as they were registered; likewise.
    """

    fixedNode: Node
    movingNode: Node
    settings: Settings = field(default_factory=Settings)
    fixedMask: Node | None = None
    movingMask: Node | None = None
    fixedLandmarks: Node | None = None
    movingLandmarks: Node | None = None
    fixedLabels: Node | None = None
    movingLabels: Node | None = None
    rigidLabels: Node | None = None
    initialTransform: Node | None = None
    outputs: tuple[str, ...] = ("volume",)
    replaced: Node | None = None
    notes: list[str] = field(default_factory=list)
    identity: dict[str, dict[str, str]] = field(default_factory=dict)
    original: Node | None = None
    renewed: Callable[[], Iterable[Node]] = tuple
    seen: list[Witness] = field(default_factory=list)

    def problem(self) -> str:
        """Why this cannot be registered, as far as the scene shows it; empty if nothing speaks against it."""
        return volumesProblem(self.fixedNode, self.movingNode)

    def inputs(self) -> list[Node]:
        """Every node that is read."""
        found = [self.fixedNode, self.movingNode, self.fixedMask, self.movingMask, self.initialTransform]
        found += [self.fixedLandmarks, self.movingLandmarks, self.fixedLabels, self.movingLabels, self.rigidLabels]
        return [node for node in found if node is not None]

    def changes(self) -> list[str]:
        """What to tell of nodes that changed since this was written."""
        renewed = list(self.renewed())
        return sentences(one for one in self.seen if one.node not in renewed)

    def key(self) -> str:
        """All that decides what one moving volume becomes, as text: two runs that differ in it are not the same."""
        values = self.settings.as_dict()
        chosen = {
            n: values[name] for n, name in SETTINGS.items() if name not in WITHOUT_EFFECT and values[name] is not None
        }
        # Left out at their defaults, so that keys from before these were settings stay equal.
        for name in ("untrained", "result", "fromHere"):
            if chosen[name] == getattr(Settings(), SETTINGS[name]):
                del chosen[name]
        given = {"fixedMask": self.fixedMask, "movingMask": self.movingMask, "initialTransform": self.initialTransform}
        given |= {"fixedLandmarks": self.fixedLandmarks, "movingLandmarks": self.movingLandmarks}
        given |= {"fixedLabels": self.fixedLabels, "movingLabels": self.movingLabels, "rigidLabels": self.rigidLabels}
        return json.dumps(chosen | {name: node.GetID() for name, node in given.items() if node is not None})

    def files(self) -> dict[str, str]:
        """The outputs that the worker has to write, and their names: fields as images, a matrix as it is."""
        ending = ".h5" if self.settings.is_linear else ".nrrd"
        found = {"transform": f"transform{ending}"}
        if "inverse" in self.outputs:
            found["inverse"] = f"inverse{ending}"
        return found | {kind: name for kind, name in FILES.items() if kind in self.outputs}

    def write(self, folder: Path) -> list[str]:
        """Write the inputs into ``folder``; returns the command line that registers them.

        Raises:
            SceneInputError: if they cannot be registered.
            RegistrationError: if they cannot be written.
        """
        problem = self.problem()
        if problem:
            raise SceneInputError(problem)
        fixed = nodes.fixedImageOf(self.fixedNode)
        moving = nodes.imageOf(self.movingNode, self.replaced)
        volumes = {"fixed image": self.fixedNode, "moving image": self.movingNode}  # as the library names them
        self.seen = [Witness(node, self.replaced if node is self.movingNode else None) for node in self.inputs()]
        if self.original is not None:
            self.seen.append(Witness(self.original, frame=self.movingNode.GetName()))
        sha256 = {one.node: one.content[1] for one in self.seen[:2]}
        self.identity = {what: {"name": n.GetName(), "sha256": sha256[n]} for what, n in volumes.items()}
        arguments = ["register", FIXED, "moving.nrrd", "--no-compression"]
        nodes.write(fixed, folder / FIXED)
        nodes.write(moving, folder / "moving.nrrd")
        for kind, name in self.files().items():
            arguments += [f"--output-{kind}", name]
        for kind, node, reference, volume in (
            ("fixed", self.fixedMask, fixed, self.fixedNode),
            ("moving", self.movingMask, moving, self.movingNode),
        ):
            if node is not None:
                nodes.write(masks.maskOf(node, reference, volume.GetName()), folder / f"{kind}-mask.nrrd")
                arguments += [f"--{kind}-mask", f"{kind}-mask.nrrd"]
        pairs = landmarks.pairsOf(self.fixedLandmarks, self.movingLandmarks)
        self.notes = remarks([self.fixedNode, self.movingNode]) + (pairs.notes if pairs is not None else [])
        arguments += landmarks.writePairs(pairs, folder)
        arguments += writeLabels(
            (self.fixedLabels, self.movingLabels),
            (fixed, moving),
            (self.fixedNode, self.movingNode),
            folder,
            notes=self.notes,
        )
        if self.rigidLabels is not None:
            nodes.write(masks.partsOf(self.rigidLabels, fixed, self.fixedNode.GetName()), folder / "rigid-labels.nrrd")
            arguments += ["--rigid-labels", "rigid-labels.nrrd"]
        if self.initialTransform is not None:
            arguments += ["--initial-transform", nodes.writeTransform(self.initialTransform, fixed, folder)]
        return [*arguments, *self.settings.arguments(), "--progress", "json"]


def writeLabels(
    labelNodes: tuple[Node | None, Node | None],
    images: tuple[Any, Any],
    volumeNodes: tuple[Node, Node],
    folder: Path,
    inLayers: bool = False,
    notes: list[str] | None = None,
) -> list[str]:
    """Label maps or segmentations of both volumes; the command line options for them.

    Args:
        inLayers: segments that overlap each as it is, which ``evaluate`` takes; else later ones cover earlier ones.
        notes: gets a sentence on those of which nothing is left then.

    Raises:
        SceneInputError: if only one is given, or they have nothing in common.
    """
    if labelNodes == (None, None):
        return []
    if None in labelNodes:
        raise SceneInputError(_("Labels come in pairs: choose a segmentation for the fixed and for the moving volume."))
    numbers = masks.commonLabels(*labelNodes)
    names = [volume.GetName() for volume in volumeNodes]
    if inLayers:
        layers = masks.layersOf(labelNodes, images, (names[0], names[1]), numbers)
    else:
        given = zip(labelNodes, images, names, strict=True)
        layers = [tuple(masks.labelsOf(*one, numbers) for one in given)]
        lost = [name for name, number in numbers.items() if not all(masks.holds(image, number) for image in layers[0])]
        if lost and notes is not None:
            said = _(
                "Not used to guide: {names}; other segments cover it, or it lies outside. Give it a segmentation alone."
            )
            notes.append(said.format(names=", ".join(lost)))
    arguments = []
    for number, layer in enumerate(layers):
        files = [f"{side}-labels{number or ''}.nrrd" for side in ("fixed", "moving")]
        for image, name in zip(layer, files, strict=True):
            nodes.write(image, folder / name)
        arguments += ["--more-labels", *files] if number else ["--fixed-labels", files[0], "--moving-labels", files[1]]
    return arguments


def volumesProblem(fixedNode: Node | None, movingNode: Node | None) -> str:
    """Why these two cannot be registered; empty if nothing speaks against it. Cheap: the voxels are not looked at."""
    if fixedNode is None:
        return fixedMissing()
    if movingNode is None:
        return _("Choose the moving volume: the image that is brought onto the fixed one.")
    if fixedNode is movingNode:
        return volumesAlike()
    for node in (fixedNode, movingNode):
        if node.GetImageData() is None:
            return noVoxels(node.GetName())
        if node.GetImageData().GetNumberOfScalarComponents() > 1 and not isColor(node):
            return _("{name} holds several values a voxel and is no color image; choose a volume of one value.").format(
                name=node.GetName()
            )
    return ""


def isColor(volumeNode: Node) -> bool:
    """Whether the voxels are colors: three or four whole numbers from 0."""
    imageData = volumeNode.GetImageData()
    isWhole = imageData.GetScalarType() in (vtk.VTK_UNSIGNED_CHAR, vtk.VTK_UNSIGNED_SHORT)
    isPlain = volumeNode.GetClassName() == "vtkMRMLVectorVolumeNode"
    return isPlain and isWhole and imageData.GetNumberOfScalarComponents() in (3, 4)


def remarks(volumeNodes: list[Node]) -> list[str]:
    """What a user should know of volumes that can be registered."""
    said = _("{name} is a color image: the mean of red, green and blue is registered.")
    return [said.format(name=node.GetName()) for node in volumeNodes if isColor(node)]
