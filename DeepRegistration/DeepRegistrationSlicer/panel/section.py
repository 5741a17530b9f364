"""What a section of the panel is. Each has a file of its own, NAME_section.py, and a line in build.py."""

from __future__ import annotations

from typing import Any


class Section:
    """What the panel asks of each of its parts; nothing by default."""

    def show(self, parameters: Any) -> None:
        """The parameters changed; None: the scene is being closed."""

    def onFinished(self) -> None:
        """A registration is finished."""

    def close(self) -> None:
        """The panel closes."""
