"""How far a run is, for a program: one JSON line each time; and what it has found so far, as files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..preview import Preview


class JsonLines:
    """A progress callback; its ``preview`` is one for fields on the way."""

    def __init__(self) -> None:
        self._stage, self._fraction, self._count = "", 0.0, 0

    def __call__(self, stage: str, fraction: float, message: str, **more: object) -> None:
        self._stage, self._fraction = stage, round(fraction, 4)
        print(json.dumps({"stage": stage, "fraction": self._fraction, "message": message, **more}), flush=True)

    def preview(self, preview: Preview) -> None:
        """Write the field into the working folder, whole, and name the file."""
        self._count += 1
        name = f"preview-{self._count:03d}.nrrd"
        preview.save(name)
        self(self._stage, self._fraction, preview.level, preview=name)
