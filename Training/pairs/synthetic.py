"""Synthetic pairs as a source of batches."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..synthesis import SynthesisPlan, draw, generate
from .batch import VALIDATION, Batch

SMALL = 40**3
"""Voxels."""


class SyntheticSource:
    """Recipes drawn by number; label maps of real data may be among them (``given``)."""

    def __init__(
        self, plan: SynthesisPlan, seed: int, device: torch.device, given: Sequence[Tensor] = (), signed: bool = False
    ) -> None:
        self.plan, self.seed, self.device, self.given, self.signed = plan, seed, device, given, signed
        self.both_ways = False
        self.ndim, self.shape = len(plan.shape), plan.shape
        # Large pairs would only fight with the network for the same cores; small ones take mostly Python's time.
        self.reads = math.prod(plan.shape) <= SMALL

    def batch(self, items: Sequence[int], fade: float = 1.0) -> Batch:
        recipes = [draw(self.plan, self._number(item), len(self.given), fade) for item in items]
        made = generate(recipes, self.device, self.given)
        fixed, moving = made.fixed, made.moving
        if self.signed:  # for networks whose images live in [-1, 1]
            fixed, moving = fixed * 2 - 1, moving * 2 - 1
        return Batch(
            fixed,
            moving,
            made.fixed_labels,
            made.moving_labels,
            made.displacement,
            made.weight,
            tuple(f"{recipe['family']} {recipe['seed']}" for recipe in recipes),
        )

    def validation(self, count: int) -> list[Batch]:
        return [self.batch([VALIDATION + k]) for k in range(count)]

    def describe(self) -> dict[str, object]:
        return {"kind": "synthetic", "shape": list(self.plan.shape), "families": dict(self.plan.families)}

    def fingerprint(self) -> str:
        if not self.given:
            return ""
        digest = hashlib.sha256()
        for labels in self.given:
            digest.update(str(tuple(labels.shape)).encode() + labels.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def without_labels(self) -> str:
        return ""

    def _number(self, item: int) -> int:
        return self.seed * (1 << 42) + item
