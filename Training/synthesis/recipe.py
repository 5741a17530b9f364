"""One sample as plain data: drawn from a plan and a seed, written as JSON, applied later by ``batch.generate``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .bodies import BODIES
from .plan import ContrastPlan, DeformPlan, Range, SynthesisPlan

Recipe = dict[str, Any]


def draw(plan: SynthesisPlan, seed: int, given: int = 0, fade: float = 1.0) -> Recipe:
    """The recipe of sample ``seed``; a dictionary of numbers, lists and strings only.

    Args:
        plan: ranges and probabilities.
        seed: the same seed and plan give the same recipe.
        given: how many label maps there are for the family "given".
        fade: 0 to 1, size of the deformation (for a gentle start of training).
    """
    random = np.random.default_rng([seed, 20])
    names = list(plan.families)
    weights = np.array([plan.families[name] for name in names], dtype=float)
    family = names[int(random.choice(len(names), p=weights / weights.sum()))]
    labels = _labels(plan, family, random, given)
    tissues = max(labels["tissue"]) + 1 if "tissue" in labels else 256
    fixed = _contrast(plan.contrast, plan.shape, tissues, random)
    moving = _contrast(plan.contrast, plan.shape, tissues, random)
    same = random.random() < plan.same_contrast
    if same:
        moving["mean"], moving["sd"] = fixed["mean"], fixed["sd"]
    if plan.modalities is not None:
        exchanged = np.random.default_rng([seed, 23]).random() < plan.exchange  # apart: all else stays as it was drawn
        for side, contrast in enumerate((moving, fixed) if exchanged else (fixed, moving)):
            _show_modality(contrast, [plan.modalities, 0 if same else side, 21], tissues)
    if random.random() < plan.lesion:
        (fixed if random.random() < 0.5 else moving)["lesion"] = _lesion(random, len(plan.shape))
    return {
        "seed": seed,
        "shape": list(plan.shape),
        "family": family,
        "labels": labels,
        "deform": deform_recipe(plan.deform, plan.shape, random, fade),
        "fixed": fixed,
        "moving": moving,
    }


def _uniform(random: np.random.Generator, limits: Range) -> float:
    return round(float(random.uniform(*limits)), 4)


def _seed(random: np.random.Generator) -> int:
    return int(random.integers(2**31))


def _labels(plan: SynthesisPlan, family: str, random: np.random.Generator, given: int) -> Recipe:
    ndim = len(plan.shape)
    if family == "given":
        return {"index": int(random.integers(given))}
    if family != "shapes":
        return BODIES[family](random, ndim, plan.orient)
    count = int(random.integers(plan.count[0], plan.count[1] + 1))
    size = min(plan.shape)
    coarse = size / random.uniform(5, 9)
    envelope = None
    if random.random() < plan.envelope:
        envelope = [[_uniform(random, (0.6, 0.95)) for _ in range(ndim)], _uniform(random, (0.1, 0.35))]
    return {
        "count": count,
        "seed": _seed(random),
        "noise": [[round(coarse, 2), 1.0], [round(coarse / 2, 2), _uniform(random, (0.2, 0.8))]],
        "warp": [_seed(random), round(coarse / 2, 2), round(float(random.uniform(0, 0.03)) * size, 2)],
        "envelope": envelope,
        "tissue": list(range(count + 1)),
    }


def _contrast(plan: ContrastPlan, shape: tuple[int, ...], tissues: int, random: np.random.Generator) -> Recipe:
    ndim = len(shape)
    mean = random.uniform(*plan.mean, tissues)
    if random.random() < plan.black_background:
        mean[0] = 0.0
    mean /= mean.max()
    thick = [1.0] * ndim
    if random.random() < plan.thick:
        thick[int(random.integers(ndim))] = _uniform(random, plan.thickness)
    crop = [[0, n] for n in shape]
    if random.random() < plan.crop:
        axis = int(random.integers(ndim))
        low, high = (int(random.uniform(0, plan.crop_share) * shape[axis]) for _ in range(2))
        crop[axis] = [low, shape[axis] - high]
    background = 0.3 if mean[0] == 0 else 1.0
    sd = random.uniform(*plan.sd, tissues)
    sd[0] *= background
    return {
        "mean": [round(float(m), 4) for m in mean],
        "sd": [round(float(s), 4) for s in sd],
        "blur": [_uniform(random, plan.blur)] * ndim,
        "bias": [round(abs(float(random.normal(0, plan.bias))), 4), plan.bias_spacing],
        "gamma": round(float(np.exp(random.normal(0, plan.gamma))), 4),
        "noise": _uniform(random, plan.noise),
        "rician": bool(random.random() < plan.rician),
        "thick": thick,
        "crop": crop,
        "lesion": None,
        "seed": _seed(random),
    }


def _show_modality(contrast: Recipe, seed: list[int], tissues: int) -> None:
    """Intensities of a modality, the same in every image; noise and artifacts stay those of this image."""
    mean = np.random.default_rng(seed).uniform(0.15, 1, tissues)
    mean[0] = 0.0
    contrast["mean"] = [round(float(m / mean.max()), 4) for m in mean]
    contrast["sd"] = [0.02] * tissues


def _lesion(random: np.random.Generator, ndim: int) -> Recipe:
    radius = random.uniform(0.08, 0.25)
    return {
        "center": [_uniform(random, (-0.5, 0.5)) for _ in range(ndim)],
        "radii": [round(float(radius * np.exp(random.normal(0, 0.25))), 4) for _ in range(ndim)],
        "rough": _uniform(random, (0.1, 0.5)),
        "mean": [_uniform(random, (0, 1)), _uniform(random, (0, 1))],
        "sd": _uniform(random, (0.0, 0.1)),
        "seed": _seed(random),
    }


def deform_recipe(plan: DeformPlan, shape: tuple[int, ...], random: np.random.Generator, fade: float) -> Recipe:
    """What ``deform.maps`` takes; ``fade`` 0 to 1 scales all of it."""
    ndim = len(shape)

    def velocity() -> Recipe:
        # ``largest`` is in voxels of the image; velocities live at half resolution.
        largest = round(fade * float(random.uniform(min(1.0, plan.largest), plan.largest)) / 2, 4)
        return {
            "seed": _seed(random),
            "spacing": [round(max(s * min(shape) / 2, 2.0), 3) for s in plan.spacing],
            "sd": [round(fade * float(random.uniform(0, sd)) * min(shape) / 64, 4) for sd in plan.sd],
            "largest": largest if plan.largest else None,
        }

    turn = _rotation(np.radians(random.normal(0, plan.rotation * fade, 3)), ndim)
    scale = np.diag(np.exp(random.normal(0, plan.scale * fade, ndim)))
    shift = random.normal(0, plan.translation * fade, ndim) * shape
    affine = np.concatenate([turn @ scale, shift[:, None]], 1)
    return {
        "fixed": velocity() if plan.fixed else None,
        "moving": velocity(),
        "squarings": 7 if plan.largest else 6,
        "affine": [[round(float(a), 6) for a in row] for row in affine],
    }


def _rotation(angles: np.ndarray, ndim: int) -> np.ndarray:
    rotation = np.eye(ndim)
    for angle, (a, b) in zip(angles, [(0, 1), (0, 2), (1, 2)][: 1 if ndim == 2 else 3], strict=False):
        turn = np.eye(ndim)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        rotation = rotation @ turn
    return rotation
