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


def volumesGone() -> str:
    return _("The volumes that this transform was made for are no longer in the scene.")
