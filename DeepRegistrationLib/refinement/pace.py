"""How long the next step of the refinement is, and when to stop."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Pace:
    """The length of the next step: where the similarity no longer grows, back to the best field and half as far.

    Without the way back, steps that nothing asks for add up: where all is aligned the largest of them is still a voxel.
    """

    def __init__(self, step: float, u: Tensor | None, patience: int = 8) -> None:
        self.step, self._smallest, self._patience = step, step / 8, patience
        self._best, self._waited, self._field = -math.inf, 0, None if u is None else torch.empty_like(u)

    @property
    def over(self) -> bool:
        """Whether steps have become too short to be worth it."""
        return self.step <= self._smallest

    def turned_back(self, value: float, u: Tensor) -> bool:
        """Whether ``u``, of similarity ``value``, ended a row of steps in vain; it is set back in place to the best."""
        if self._best == -math.inf or value > self._best + 1e-5 * abs(self._best):
            self._best, self._waited = value, 0
            if self._field is not None:
                self._field.copy_(u)
            return False
        self._waited += 1
        if self._waited < self._patience:
            return False
        self.step = self.step / 2
        self.settle(u)
        self._waited = 0
        return True

    def settle(self, u: Tensor) -> None:
        """Set ``u`` back in place to the best field, if the last steps did not help."""
        if self._waited and self._field is not None:
            u.copy_(self._field)
