"""Fields that something outside of the engine proposes, as a network does: made only where the guard asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from ..fields import compose, resize
from .hypotheses import Fields
from .levels import Level, Window


@dataclass(eq=False)
class Proposal:
    """What ``make`` gives: the fields there and back, (1, ndim, *S) voxels of the grid that ``window`` is cut of.

    It is given a field by which the moving image is moved before; None: it is looked at as it is.
    """

    make: Callable[[Tensor | None], Fields]
    window: Window

    @cached_property
    def _first(self) -> Fields:
        return self.make(None)

    @cached_property
    def fields(self) -> Fields:
        """There and back on the window."""
        there, back = self._first
        return self.window.cut(there), self.window.cut(back)

    def rounds(self) -> Iterator[Tensor]:
        """The field there on the window; then, as often as asked, with what more is seen once the image is moved so."""
        there = self._first[0]
        while True:
            yield self.window.cut(there)
            there = compose(there, self.make(there)[0])

    def on(self, level: Level) -> Fields:
        """The same in voxels of ``level``."""
        there, back = (resize(u, level.shape).contiguous() for u in self.fields)
        return there, back
