"""Translation of texts: Slicer's own, or the text itself where Slicer's application is absent."""

try:
    from slicer.i18n import tr
except ImportError:

    def tr(text: str) -> str:
        """The text as it is."""
        return text


__all__ = ["tr"]
