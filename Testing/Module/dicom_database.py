"""A stand-in for Slicer's DICOM database, and volumes as Slicer's DICOM module loads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from Testing.Lib.dicom.test_registration import PATIENT, folder_of

from . import cases  # noqa: F401 - starts the host

import slicer  # isort: skip
from DeepRegistrationLib.geometry.image import read_image  # isort: skip
from DeepRegistrationSlicer.scene import nodes  # isort: skip


class Database:
    """Knows the file of each instance."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}

    def fileForInstance(self, uid: str) -> str:
        return self._files.get(uid, "")

    def load(self, folder: Path, number: str, name: str, array: np.ndarray, patient: str = "17") -> Any:
        """A series made of ``array``, in a frame of reference and a study of its own, as a volume node."""
        import pydicom

        of = {**PATIENT, "t0010_0020": patient}
        where = folder_of(folder / name, number, f"5{number}", of, study=f"1{number}", volume=array)
        found = {str(pydicom.dcmread(path).SOPInstanceUID): str(path) for path in sorted(where.iterdir())}
        self._files.update(found)
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        nodes.setVolume(node, read_image(where).to_sitk())
        node.SetAttribute("DICOM.instanceUIDs", " ".join(found))
        return node
