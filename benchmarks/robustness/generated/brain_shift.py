"""T2-weighted MR before surgery of a brain tumor, and ultrasound through the opened skull, where the brain sank."""

from __future__ import annotations

import numpy as np
import torch

from DeepRegistrationLib.geometry.image import Image
from DeepRegistrationLib.phantom.demo_pair import T2
from DeepRegistrationLib.phantom.head import BRAIN_LABELS, Head, paint_head

from .motion import Chain, Flow, Made, elastic, fade, lattice, pose, seen, smooth_step, truth_of
from .physics import blurred, coil, rician, speckle
from .shapes import Canvas, axes_of, centered, ellipsoid, fractal

SHAPE, SPACING = (92, 96, 92), 1.25
PROBE_SHAPE, PROBE_SPACING = (104, 104, 104), 0.9
_WHITE, _GRAY = (2, 41, 7, 46), (3, 42, 8, 47)
ECHO = dict.fromkeys(BRAIN_LABELS, 0.14) | dict.fromkeys(_WHITE, 0.17) | dict.fromkeys(_GRAY, 0.10)
ECHO |= {4: 0.01, 43: 0.01, 14: 0.01, 15: 0.01, 24: 0.9}
"""How much sound returns: grooves and folds of the dura much, ventricles nothing."""
DEPTH = (6.0, 84.0)
"""mm from the probe between which something is shown."""


def _anatomy(seed: int, random: np.random.Generator, side: int) -> tuple[Canvas, np.ndarray, np.ndarray]:
    """Channels T2, echo and brain; the middle of the crop and of the tumor, LPS mm."""
    middle = np.array([side * 30.0, random.uniform(-25, 30), 34.0])
    canvas = Canvas(centered((108, 112, 108), 1.15, middle), random, (0.0, 0.0, 0.0), 16)
    points = lattice(canvas.grid) * torch.tensor([1.0, -1.0, 1.0]).view(3, 1, 1, 1)
    labels, (t2, echo) = paint_head(points, Head(seed), (T2, ECHO), 1.15)
    brain = np.isin(labels.numpy(), (*BRAIN_LABELS, 24)).astype(np.float32)
    canvas.values = np.stack([t2.numpy(), echo.numpy(), brain])
    tumor = middle + np.array([side * random.uniform(-4, 6), *random.uniform((-14, -12), (14, 8))])
    radii = random.uniform(9, 17, 3)
    texture = fractal(canvas.grid.shape, random, canvas.grid.spacing, 12, 3)
    canvas.paint(ellipsoid(tumor, radii + random.uniform(5, 10)), 0.68, 0.24, None, uneven=2, soft=4)
    canvas.paint(
        ellipsoid(tumor, radii),
        (0.74 + 0.10 * texture).astype(np.float32), (0.45 + 0.10 * texture).astype(np.float32), None, uneven=1,
    )  # fmt: skip
    if random.random() < 0.6:
        canvas.paint(ellipsoid(tumor + random.uniform(-4, 4, 3), radii * 0.45), 0.95, 0.01, None, uneven=1)
    return canvas, middle, tumor


def _sounded(
    canvas: Canvas,
    back: torch.Tensor,
    way: np.ndarray,
    random: np.random.Generator,
    sector: np.ndarray,
    depth: np.ndarray,
) -> np.ndarray:
    """What the probe shows of the tissue at ``back`` (3, *S); ``way``: (3,) where it looks."""
    echo, brain = canvas.sample(back)[1:]
    slopes = np.gradient(blurred(echo, 0.7))
    edge = np.abs(sum(float(w) * s for w, s in zip(way[::-1], slopes, strict=True)))
    light = (echo + 1.5 * edge) * (brain > 0.5) * np.exp(-np.maximum(depth - 50, 0) / 60)
    light *= np.exp(-0.5 * (1 - coil(light.shape, random, np.full(3, 0.9), 0.25)))
    grain = 0.6 * speckle(light.shape, random, (1.2, 0.8, 1.2)) + 0.4 * speckle(light.shape, random, (2.2, 1.3, 2.2))
    shown = np.log1p(10 * light * grain + 0.06 * random.exponential(1, light.shape)) / np.log(11)
    return np.asarray(np.clip(blurred(shown, 0.5) * sector * 230, 0, 255), np.float32)


def brain_shift(seed: int) -> Made:
    """MR fixed, ultrasound moving; the truth counts in what the ultrasound shows of the brain."""
    random = np.random.default_rng([seed, 6])
    side = int(random.choice([-1, 1]))
    canvas, middle, tumor = _anatomy(seed, random, side)
    outward = np.array([side * random.uniform(0.5, 0.9), random.uniform(-0.3, 0.3), random.uniform(0.5, 0.9)])
    outward /= np.linalg.norm(outward)
    way = -outward
    steps = np.arange(0, 90, 1.0)
    line = torch.from_numpy((tumor + outward * steps[:, None]).T.astype(np.float32))[:, :, None, None]
    inside = canvas.sample(line)[2, :, 0, 0] > 0.5
    face = tumor + outward * (steps[inside].max() if inside.any() else 40.0)  # of the brain under the opening
    coarse = centered((36, 36, 36), 4.0, middle)
    axes = [np.broadcast_to(a, coarse.shape) for a in axes_of(coarse)]
    far = np.sqrt(sum((a - f) ** 2 for a, f in zip(axes, face, strict=True)))
    sinks = way + 0.5 * random.standard_normal(3)
    sinks *= random.uniform(4, 9) / np.linalg.norm(sinks)
    sag = np.stack([s * np.exp(-((far / 38) ** 2)) for s in sinks]) * fade(coarse)
    motion = Chain(Flow(coarse, sag + elastic(coarse, random, 2.0, 12.0)), pose(random, 3, 4.0, 4.0))

    grid = centered(SHAPE, SPACING, middle)
    probe = face + outward * 9
    part = centered(PROBE_SHAPE, PROBE_SPACING, probe + way * 48)
    truth = truth_of(motion, grid)
    points = lattice(grid)
    landed = points + torch.from_numpy(np.moveaxis(truth, -1, 0).copy())
    sector, depth = _sector(lattice(part), probe, way)
    moving = _sounded(canvas, motion.backward(lattice(part)), way, random, sector, depth)
    t2, _, brain = canvas.sample(points)
    fixed = (1000 * rician(t2 * coil(SHAPE, random, np.full(3, SPACING), 0.12), random, 0.025)).astype(np.float32)
    body = (brain > 0.5) & (_sector(landed, probe, way)[0] > 0.5) & seen(truth, grid, part)
    return Made(Image(fixed, grid, "fixed"), Image(moving, part, "moving"), truth, body)


def _sector(points: torch.Tensor, probe: np.ndarray, way: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(*S) 0 to 1, what lies in the sector that the probe looks into, and the mm from it."""
    apex = probe - way * 18
    q = [p.numpy() - a for p, a in zip(points, apex, strict=True)]
    along = sum(c * float(w) for c, w in zip(q, way, strict=True))
    far = np.sqrt(sum(c**2 for c in q))
    angle = np.degrees(np.arccos(np.clip(along / np.maximum(far, 1e-3), -1, 1)))
    depth = far - 18
    edges = smooth_step((36 - angle) / 1.5 + 0.5) * smooth_step(depth - DEPTH[0]) * smooth_step(DEPTH[1] - depth)
    return edges, depth
