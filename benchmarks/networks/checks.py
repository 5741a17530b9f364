"""What is asked of the universal model beyond scores: any contrast, an inverse, and motions beyond the refinement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from DeepRegistrationLib import fields, register
from DeepRegistrationLib.geometry.image import Image, read_image
from DeepRegistrationLib.geometry.transform import displacement_on
from DeepRegistrationLib.models.bundle import Model
from DeepRegistrationLib.models.predict import predict
from DeepRegistrationLib.phantom.demo_pair import DemoPair, demo_pair
from DeepRegistrationLib.quality import metrics

from ..kinds import BRAIN_LABELS
from ..worker import pseudo_t2

MOTIONS = {
    "30 mm": {"translation": 30.0, "rotation": 0.0, "elastic": 8.0},
    "30 degrees": {"translation": 0.0, "rotation": 30.0, "elastic": 8.0},
    "elastic, 40 mm": {"translation": 0.0, "rotation": 0.0, "elastic": 40.0},
}
"""Largest of each kind; the generated heads differ in shape besides, and in contrast (T1 and T2)."""
SHAPE, SPACING = (96, 120, 96), 2.0
RIGHT = 2.0
"""Voxels of mean error at which a case counts as solved."""


def brain_pair(data: Path) -> tuple[list[Image], list[Image]] | None:
    """``OAS1_0001`` and ``OAS1_0002``, images and labels; None where the data are absent."""
    folder = data / "brain_t1"
    if not folder.is_dir():
        return None
    names = ("OAS1_0001", "OAS1_0002")
    images = [read_image(folder / f"{n}_t1.nii.gz") for n in names]
    labels = [read_image(folder / f"{n}_labels.nii.gz") for n in names]
    grid = images[0].grid
    arrays = [image.array.astype(np.float32) for image in images]
    return [Image(a, grid) for a in arrays], [Image(x.array.astype(np.int16), grid) for x in labels]


def contrast(model: Model, data: Path, twice: bool = False) -> dict[str, Any]:
    """Dice of the network alone on one brain pair: as it is, one image inverted, one image remapped; both ways round.

    Also the inverse error: what is left of the field after the field predicted the other way round, in voxels.
    """
    found = brain_pair(data)
    if found is None:
        return {"skipped": "the brain data are not beside this checkout"}
    (fixed, moving), labels = found
    top = float(moving.array.max())
    inside = moving.array > 0
    inverted = replace(moving, array=np.where(inside, top - moving.array, 0).astype(np.float32))
    remapped = replace(moving, array=pseudo_t2(moving.array))
    result: dict[str, Any] = {"before": _dice(torch.zeros(1, 3, *fixed.grid.shape), labels)}
    for name, other in (("as it is", moving), ("inverted", inverted), ("remapped", remapped)):
        u = apply(model, fixed, other)
        result[name] = _dice(u, labels)
        if name == "as it is":
            content = torch.from_numpy(fixed.array > 0)[None]
            result["folds"] = metrics.folding_percent(u, content[0])
            back = apply(model, moving, fixed)
            left = fields.compose(u, back).square().sum(1).sqrt()[content]
            result["inverse voxels"] = float(left.mean())
            result["inverse voxels, 95 %"] = float(torch.quantile(left[::7], 0.95))
            if twice:
                result["applied twice"] = _dice(again(model, fixed, moving, u), labels)
    return result


def apply(model: Model, fixed: Image, moving: Image) -> torch.Tensor:
    """The network's field once."""
    return predict(model, fixed, moving)


def again(model: Model, fixed: Image, moving: Image, u: torch.Tensor) -> torch.Tensor:
    """The network once more on what ``u`` leaves, both fields as one."""
    warped = fields.warp(torch.from_numpy(moving.array.astype(np.float32))[None, None], u)
    return fields.compose(u, predict(model, fixed, replace(moving, array=warped[0, 0].numpy())))


def _dice(u: torch.Tensor, labels: list[Image]) -> float:
    from Training.synthesis.anatomy import pick

    moving = torch.from_numpy(labels[1].array.astype(np.uint8))[None, None]
    warped = pick(moving, fields.identity(u.shape[2:]) + u)
    return metrics.mean(metrics.dice(labels[0].array, warped[0, 0].numpy(), BRAIN_LABELS))


def motions(bundle: Path, count: int, skip: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """``count`` generated pairs with one of ``MOTIONS`` in turn: mean error in voxels with and without the start."""
    for number in range(count):
        if f"case {number}" in skip:
            continue
        kind = list(MOTIONS)[number % len(MOTIONS)]
        pair = demo_pair(1000 + number, SHAPE, SPACING, **MOTIONS[kind])
        found: dict[str, Any] = {"kind": kind, "before": _error(np.zeros_like(pair.true_displacement), pair)}
        for name, method in (("no start", "none"), ("network start", str(bundle))):
            result = register(pair.fixed, pair.moving, method=method, refine="fast", device="cpu")
            u = displacement_on(result.transform, pair.fixed.grid)
            found[name] = _error(u, pair)
        yield f"case {number}", found


def _error(displacement: np.ndarray, pair: DemoPair) -> float:
    """Mean distance from the truth over the head, voxels; ``displacement`` (*shape, 3) LPS mm."""
    errors = np.linalg.norm(displacement - pair.true_displacement, axis=-1)
    return float(errors[pair.fixed_labels.array > 0].mean()) / SPACING
