"""Whether new weights are better than those they began with, on held-out pairs of a cohort."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from DeepRegistrationLib import fields, register
from DeepRegistrationLib.geometry.image import Image, read_image
from DeepRegistrationLib.geometry.transform import displacement_on, lps_to_voxels
from DeepRegistrationLib.losses.objectives import voxelmorph
from DeepRegistrationLib.models.bundle import Model
from DeepRegistrationLib.models.header import Normalization
from DeepRegistrationLib.models.predict import normalize_image, predict
from DeepRegistrationLib.models.worth import HARM, Worth
from DeepRegistrationLib.quality import metrics

from ..pairs.manifest import Case
from ..synthesis.anatomy import pick

PAIRS = 6
PERCENTILES = Normalization()


@dataclass(frozen=True)
class Verdict:
    """What was found; ``better`` decides.

    Attributes:
        worth: the row for the header; None without label maps.
        gain, error: of the network alone over the weights it began with (Dice, or how much less its objective is), the
            mean over pairs and its standard error.
        folds: percent of folded voxels, network alone: new, and of those it began with.
        text: figures in words.
    """

    worth: Worth | None
    gain: float
    error: float
    folds: tuple[float, float]
    text: str

    @property
    def better(self) -> bool:
        """Alone, beyond chance and without more folds; and no harm as a start of the refinement."""
        alone = self.gain > max(self.error, HARM) and self.folds[0] <= self.folds[1] + 0.5
        return alone and (self.worth is None or self.worth.gain >= -HARM)


def judge(new: Model, path: Path, old: Model, held: Sequence[Case], name: str, tell: Callable[[str], None]) -> Verdict:
    """Compare on pairs of neighbors in ``held``: images aligned as a whole, on one grid, with label maps or without.

    Args:
        path: of the file of ``new``, which ``register`` takes.
        name: of the images, in words.
    """
    rows, folds = [], []
    n = len(held)
    pairs = [(k, (k + step) % n) for step in range(1, n) for k in range(n)][:PAIRS]  # each image as often as the others
    for number, (first, second) in enumerate(pairs, 1):
        tell(f"judging pair {number} of {len(pairs)}")
        one, other = held[first], held[second]
        fixed, moving = (read_image(case.image, "image") for case in (one, other))
        found = [predict(model, fixed, moving) for model in (old, new)]
        folds.append([float(metrics.folding_percent(u)) for u in reversed(found)])
        if one.label is None or other.label is None:
            rows.append([_objective(fixed, moving, u) for u in found])
            continue
        labels = [read_image(case.label, "label map") for case in (one, other) if case.label is not None]
        for method in ("none", str(path)):
            result = register(fixed, moving, method=method, affine="none", refine="fast", device="cpu")
            u = lps_to_voxels(displacement_on(result.transform, fixed.grid), fixed.grid)
            found.append(u)
        still = torch.zeros_like(found[0])
        rows.append([_dice(u, labels) for u in (still, *found)])
    share = np.mean(folds, 0)
    table = np.array(rows)
    if table.shape[1] == 2:
        gains = table[:, 0] - table[:, 1]
        text = f"objective {table[:, 0].mean():.4f} -> {table[:, 1].mean():.4f}"
        return Verdict(None, float(gains.mean()), _error(gains), (float(share[0]), float(share[1])), text)
    before, was, alone, none, begun = (float(v) for v in table.mean(0))
    worth = Worth(name, 0, "dice", len(rows), *(round(v, 5) for v in (before, alone, none, begun)))
    text = (
        f"Dice {before:.3f} before, {was:.3f} by the weights it began with, {alone:.3f} by the new ones; refined "
        f"{none:.3f} without a network, {begun:.3f} with the new one as the start"
    )
    gains = table[:, 2] - table[:, 1]
    return Verdict(worth, float(gains.mean()), _error(gains), (float(share[0]), float(share[1])), text)


def _error(gains: np.ndarray) -> float:
    return float(gains.std(ddof=1) / math.sqrt(len(gains))) if len(gains) > 1 else 0.0


def _objective(fixed: Image, moving: Image, u: torch.Tensor) -> float:
    """What the weights learn by: unlikeness and roughness."""
    one, other = (normalize_image(image, PERCENTILES) for image in (fixed, moving))
    return float(sum(voxelmorph(fields.warp(other, u), one, u, signed=True).values()))


def _dice(u: torch.Tensor, labels: Sequence[Image]) -> float:
    fixed, moving = (torch.from_numpy(image.array.astype(np.int16))[None, None] for image in labels)
    warped = pick(moving, fields.identity(u.shape[2:]) + u)
    return float(metrics.mean(metrics.dice(fixed[0, 0].numpy(), warped[0, 0].numpy())))
