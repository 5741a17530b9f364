"""The library's map of doubt for a transform that came without one, made in a process of its own: it takes seconds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..registration.results import INVERSE_ROLE
from ..scene import derived, nodes
from ..scene.nodes import Node
from ..worker.process import LibraryProcess, Process, Ticker, newFolder
from ..worker.worker_run import Answer

MAKE = """
from pathlib import Path
import numpy as np
import SimpleITK as sitk
from DeepRegistrationLib.geometry.image import read_image
from DeepRegistrationLib.quality.doubt import measure_doubt
from DeepRegistrationLib.quality.there_and_back import missed_by_transforms

def map_of(name):
    if Path(name + ".h5").exists():
        return sitk.ReadTransform(name + ".h5")
    if not Path(name + ".nrrd").exists():
        return None
    return sitk.DisplacementFieldTransform(sitk.ReadImage(name + ".nrrd", sitk.sitkVectorFloat64))

fixed, moving = (read_image(sitk.ReadImage(name)) for name in ("fixed.nrrd", "moving.nrrd"))
there, back = map_of("there"), map_of("back")
missed = missed_by_transforms(there, back, fixed.grid) if there is not None and back is not None else None
np.save("doubt.npy", measure_doubt(fixed, moving, there, missed).on(fixed.grid).array)
"""


def doubtProcess() -> Process:
    return LibraryProcess(code=MAKE)


class DoubtMaker:
    """``answer.finished`` sends the map (k, j, i) on the fixed volume's grid."""

    def __init__(self, makeProcess: Callable[[], Process] = doubtProcess, ticker: Ticker | None = None) -> None:
        self.answer = Answer(makeProcess, ticker)

    def make(self, fixedNode: Node, movingNode: Node, transformNode: Node | None, ignore: Node | None = None) -> None:
        """Start; returns at once.

        Args:
            fixedNode, movingNode: the volumes.
            transformNode: from moving to fixed; None gives the doubt of doing nothing.
            ignore: a transform that does not count as where the moving volume lies.

        Raises:
            SceneInputError: if the transform is none of ours, or a volume cannot be used.
            RegistrationError: if the files cannot be written.
        """
        fixed, folder = nodes.imageOf(fixedNode), newFolder()
        shape = tuple(reversed(fixed.GetSize()))
        try:
            nodes.write(fixed, folder / "fixed.nrrd")
            nodes.write(nodes.imageOf(movingNode, ignore or transformNode), folder / "moving.nrrd")
            if transformNode is not None:
                derived.writeMap(transformNode, folder, "there")
                inverseNode = transformNode.GetNodeReference(INVERSE_ROLE)
                if inverseNode is not None and not transformNode.IsLinear():  # that of a matrix misses nothing
                    derived.writeMap(inverseNode, folder, "back")
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

        def fetch(folder: Path) -> Any:
            return np.load(folder / "doubt.npy").reshape(shape)

        self.answer.ask([], folder, fetch)
