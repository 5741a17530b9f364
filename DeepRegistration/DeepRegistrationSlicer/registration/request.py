"""What is asked of the library: a plain description, its files in a folder, and the command line for them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..scene import masks, nodes
from ..scene.nodes import Node
from ..texts import tr as _
from ..worker.methods import NO_NETWORK, resolve

TRANSFORM = "transform.nrrd"
FILES = {"volume": "warped.nrrd", "inverse": "inverse.nrrd", "doubt": "doubt.nrrd"}
"""What the worker writes for each output; the others are made of these."""


@dataclass
class Request:
    """The keywords of the library's ``register``, in camelCase, with nodes where it takes images.

    Attributes:
        outputs: which of "volume", "inverse", "jacobian", "magnitude", "doubt", "report" are wanted besides the
            transform.
        replaced: the node that will receive the transform; if the moving volume is under it, as after an earlier run,
            that does not count as its position.
    """

    fixedNode: Node
    movingNode: Node
    method: str = "none"
    refine: str = "fast"
    fineTune: bool = False
    affine: str = "auto"
    device: str = "auto"
    similarity: str = "auto"
    smoothness: float = 1.0
    seed: int = 0
    fixedMask: Node | None = None
    movingMask: Node | None = None
    fixedLandmarks: Node | None = None
    movingLandmarks: Node | None = None
    fixedLabels: Node | None = None
    movingLabels: Node | None = None
    initialTransform: Node | None = None
    outputs: tuple[str, ...] = ("volume",)
    replaced: Node | None = None

    def problem(self) -> str:
        """Why this cannot be registered, as far as the scene shows it; empty if nothing speaks against it."""
        return volumesProblem(self.fixedNode, self.movingNode)

    def inputs(self) -> list[Node]:
        """Every node that is read."""
        found = [self.fixedNode, self.movingNode, self.fixedMask, self.movingMask, self.initialTransform]
        found += [self.fixedLandmarks, self.movingLandmarks, self.fixedLabels, self.movingLabels]
        return [node for node in found if node is not None]

    def settings(self) -> str:
        """All that decides what one moving volume becomes, as text: two runs that differ in it are not the same."""
        method = resolve(self.method, self.fixedNode is not None and nodes.isSlice(self.fixedNode))
        chosen = {
            "method": method,
            "fineTune": self.fineTune and method != NO_NETWORK,
            "refine": self.refine,
            "affine": self.affine,
            "similarity": self.similarity,
            "smoothness": self.smoothness,
            "seed": self.seed,
        }
        given = {"fixedMask": self.fixedMask, "movingMask": self.movingMask, "initialTransform": self.initialTransform}
        given |= {"fixedLandmarks": self.fixedLandmarks, "movingLandmarks": self.movingLandmarks}
        given |= {"fixedLabels": self.fixedLabels, "movingLabels": self.movingLabels}
        return json.dumps(chosen | {name: node.GetID() for name, node in given.items() if node is not None})

    def files(self) -> dict[str, str]:
        """The outputs that the worker has to write besides the transform, and their names."""
        return {kind: name for kind, name in FILES.items() if kind in self.outputs}

    def write(self, folder: Path) -> list[str]:
        """Write the inputs into ``folder``; returns the command line that registers them.

        Raises:
            InputError: if they cannot be registered.
            RegistrationError: if they cannot be written.
        """
        problem = self.problem()
        if problem:
            raise InputError(problem)
        fixed = nodes.fixedImageOf(self.fixedNode)
        moving = nodes.imageOf(self.movingNode, self.replaced)
        arguments = ["register", "fixed.nrrd", "moving.nrrd", "--no-compression", "--output-transform", TRANSFORM]
        nodes.write(fixed, folder / "fixed.nrrd")
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
        arguments += writeLandmarks(self.fixedLandmarks, self.movingLandmarks, folder)
        arguments += writeLabels(
            (self.fixedLabels, self.movingLabels), (fixed, moving), (self.fixedNode, self.movingNode), folder
        )
        if self.initialTransform is not None:
            arguments += ["--initial-transform", nodes.writeTransform(self.initialTransform, fixed, folder)]
        method = resolve(self.method, 1 in fixed.GetSize())
        if self.fineTune and method != NO_NETWORK:
            arguments += ["--fine-tune"]
        options: dict[str, Any] = {
            "method": method,
            "refine": self.refine,
            "affine": self.affine,
            "similarity": self.similarity,
            "smoothness": float(self.smoothness),
            "device": self.device,
            "seed": int(self.seed),
            "progress": "json",
        }
        for name, value in options.items():
            arguments += [f"--{name}", str(value)]
        return arguments


def writeLandmarks(fixedNode: Node | None, movingNode: Node | None, folder: Path) -> list[str]:
    """Two lists of points, pairs in the same order; the command line options for them.

    Raises:
        InputError: if only one is given, or they have not the same number of points.
    """
    if fixedNode is None and movingNode is None:
        return []
    if fixedNode is None or movingNode is None:
        raise InputError(_("Landmarks come in pairs: choose a list of points for the fixed and for the moving volume."))
    points = [masks.landmarksOf(node) for node in (fixedNode, movingNode)]
    for node, positions in zip((fixedNode, movingNode), points, strict=True):
        if not len(positions):
            raise InputError(
                _("{name} has no points; place them with the Markups module, or choose no landmarks.").format(
                    name=node.GetName()
                )
            )
    if len(points[0]) != len(points[1]):
        raise InputError(
            _(
                "Landmarks belong together in pairs, the first with the first and so on, but {fixed} has {fixedCount} "
                "and {moving} has {movingCount}; make them the same number."
            ).format(
                fixed=fixedNode.GetName(),
                fixedCount=len(points[0]),
                moving=movingNode.GetName(),
                movingCount=len(points[1]),
            )
        )
    arguments = []
    for side, positions in zip(("fixed", "moving"), points, strict=True):
        rows = [",".join(repr(float(value)) for value in position) for position in positions]
        (folder / f"{side}-points.csv").write_text("\n".join(["x,y,z", *rows]) + "\n", encoding="utf-8")
        arguments += [f"--{side}-points", f"{side}-points.csv"]
    return arguments


def writeLabels(
    labelNodes: tuple[Node | None, Node | None],
    images: tuple[Any, Any],
    volumeNodes: tuple[Node, Node],
    folder: Path,
) -> list[str]:
    """Label maps or segmentations of both volumes; the command line options for them.

    Raises:
        InputError: if only one is given, or they have nothing in common.
    """
    if labelNodes == (None, None):
        return []
    if None in labelNodes:
        raise InputError(_("Labels come in pairs: choose a segmentation for the fixed and for the moving volume."))
    numbers = masks.commonLabels(*labelNodes)
    arguments = []
    for side, node, image, volume in zip(("fixed", "moving"), labelNodes, images, volumeNodes, strict=True):
        nodes.write(masks.labelsOf(node, image, volume.GetName(), numbers), folder / f"{side}-labels.nrrd")
        arguments += [f"--{side}-labels", f"{side}-labels.nrrd"]
    return arguments


def volumesProblem(fixedNode: Node | None, movingNode: Node | None) -> str:
    """Why these two cannot be registered; empty if nothing speaks against it. Cheap: the voxels are not looked at."""
    if fixedNode is None:
        return _("Choose the fixed volume: the image that stays where it is.")
    if movingNode is None:
        return _("Choose the moving volume: the image that is brought onto the fixed one.")
    if fixedNode is movingNode:
        return _("The fixed and the moving volume are the same; choose two different volumes.")
    for node in (fixedNode, movingNode):
        if node.GetImageData() is None:
            return _("{name} has no voxels; load an image into it first.").format(name=node.GetName())
    return ""
