"""DICOM registrations out of Slicer and into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt

from ..errors import RegistrationError
from ..registration.dicom_export import exportDicom
from ..registration.dicom_import import importDicom
from ..texts import tr as _
from ..texts import transformMissing
from .buttons import pathOf
from .parameters import resultOf
from .section import Section


class DicomSection(Section):
    """Export the chosen result; import one for the chosen volumes."""

    def __init__(self, ui: Any) -> None:
        self.ui = ui
        self._parameters: Any = None
        ui.exportDicomButton.connect("clicked(bool)", self.onExport)
        ui.importDicomButton.connect("clicked(bool)", self.onImport)

    def show(self, parameters: Any) -> None:
        self._parameters = parameters
        hasResult = resultOf(parameters) is not None
        self.ui.exportDicomButton.enabled = hasResult
        self.ui.exportDicomButton.toolTip = (
            _("As a Spatial or Deformable Spatial Registration of the series that the volumes were loaded from.")
            if hasResult
            else transformMissing()
        )
        hasVolumes = parameters is not None and None not in (parameters.fixedVolume, parameters.movingVolume)
        self.ui.importDicomButton.enabled = hasVolumes
        self.ui.importDicomButton.toolTip = (
            _("A registration object that was made for the fixed and the moving volume's series.")
            if hasVolumes
            else _("Choose the fixed and the moving volume first.")
        )

    def onExport(self, _checked: bool = False) -> None:
        folder = qt.QFileDialog.getExistingDirectory(self.ui.exportDicomButton, _("Export the registration"))
        if folder:
            self.export(Path(folder))

    def export(self, folder: Path) -> None:
        """Write the chosen result into ``folder``, beside what is there."""
        node = self._parameters.outputTransform
        stem = "".join(c if c.isalnum() or c in " -_." else "_" for c in node.GetName()).strip(" .") or "registration"
        path, number = folder / f"{stem}.dcm", 1
        while path.exists():
            number += 1
            path = folder / f"{stem} {number}.dcm"
        try:
            exportDicom(node, path, self.ui.differentPatientsCheckBox.checked)
        except RegistrationError as error:
            self._say(str(error))
        else:
            self._say(_("Written to {path}.").format(path=path))

    def onImport(self, _checked: bool = False) -> None:
        chosen = qt.QFileDialog.getOpenFileName(
            self.ui.importDicomButton, _("Import a registration"), "", _("DICOM (*.dcm);;All files (*)")
        )
        path = pathOf(chosen)
        if path is not None:
            self.importFrom(path)

    def importFrom(self, path: Path) -> None:
        """Read ``path`` for the chosen volumes; it becomes the chosen result."""
        fixed, moving = self._parameters.fixedVolume, self._parameters.movingVolume
        try:
            node = importDicom(path, fixed, moving, self.ui.differentPatientsCheckBox.checked)
        except RegistrationError as error:
            self._say(str(error))
            return
        self._parameters.outputTransform = node
        self._say(_("{name} was made of it; it is chosen under Results.").format(name=node.GetName()))

    def _say(self, sentence: str) -> None:
        words = _("check {box} if that is meant").format(box=self.ui.differentPatientsCheckBox.text)
        for option in (
            "add differentPatients=True if that is meant",
            "allow it (differentPatients=True) if that is meant",
        ):
            sentence = sentence.replace(option, words)
        self.ui.dicomLabel.text = sentence
