"""Translation of texts: Slicer's own, or the text itself where that is absent; and sentences of several files."""

try:
    from slicer.i18n import tr
except ImportError:

    def tr(text: str) -> str:
        """The text as it is."""
        return text


_ = tr


def registrationRuns() -> str:
    return _("A registration is running; wait until it is done, or cancel it.")


def seriesRuns() -> str:
    return _("A series is running; wait until it is done, or cancel it.")


def fixedMissing() -> str:
    return _("Choose the fixed volume: the image that stays where it is.")


def volumesAlike() -> str:
    return _("The fixed and the moving volume are the same; choose two different volumes.")


def noVoxels(name: str) -> str:
    return _("{name} has no voxels; load an image into it first.").format(name=name)


def imagesNotWritten(folder: object) -> str:
    return _("The images could not be written to {folder}; is the disk full?").format(folder=folder)


def transformMissing() -> str:
    return _("Choose a transform under Results first.")


def nothingChecked() -> str:
    return _("Check what should be moved first.")


def volumesGone() -> str:
    return _("The volumes that this transform was made for are no longer in the scene.")
