"""Fields that something outside of the engine proposes, as a network does: made only where the guard asks for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from ..fields import resize
from .hypotheses import Fields
from .levels import Level, Window


@dataclass(eq=False)
class Proposal:
    """What ``make`` gives: the fields there and back, (1, ndim, *S) voxels of the grid that ``window`` is cut of."""

    make: Callable[[], Fields]
    window: Window

    @cached_property
    def fields(self) -> Fields:
        """There and back on the window."""
        there, back = self.make()
        return self.window.cut(there), self.window.cut(back)

    def on(self, level: Level) -> Fields:
        """The same in voxels of ``level``."""
        there, back = (resize(u, level.shape).contiguous() for u in self.fields)
        return there, back
