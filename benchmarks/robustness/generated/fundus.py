"""Photographs of the back of an eye on two visits; sizes are in pixels."""

from __future__ import annotations

import numpy as np
import torch

from DeepRegistrationLib.geometry.image import Image

from .motion import Chain, Flow, Made, elastic, lattice, pose, seen, smooth_step, truth_of
from .physics import blurred
from .shapes import Canvas, Shape, centered, ellipsoid, fractal, tube
from .trees import at_point, tree

SIZE = 500
VIEW = 242.0
"""Radius of what the camera shows."""


class _Eye:
    """Random choices of one eye; x from left to right, y downwards, about the middle."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.side = int(random.choice([-1, 1]))
        self.disk = np.array([self.side * random.uniform(120, 150), random.uniform(-25, 15)])
        self.fovea = np.array(
            [self.disk[0] - self.side * random.uniform(165, 190), self.disk[1] + random.uniform(5, 30)]
        )
        self.canvas = Canvas(centered((800, 800), 0.9), random, (0.0,), 60)
        self._paint()

    def _paint(self) -> None:
        random, canvas = self.random, self.canvas
        shape, spacing = canvas.grid.shape, canvas.grid.spacing
        x, y = canvas.axes
        base = 0.52 + 0.05 * fractal(shape, random, spacing, 140, 3) + 0.020 * fractal(shape, random, spacing, 14, 3)
        base -= 0.20 * np.exp(-((x - self.fovea[0]) ** 2 + (y - self.fovea[1]) ** 2) / (2 * 34.0**2))
        lines = np.abs(fractal(shape, random, spacing, 60, 3))  # of the choroid's vessels
        base += 0.03 * (lines < 0.25) * random.uniform(0, 1)
        canvas.values[0] = base
        wide = random.uniform(30, 38)
        r = np.hypot(x - self.disk[0], (y - self.disk[1]) / 1.12)
        canvas.values[0] += 0.30 * smooth_step((wide + 5 - r) / 9)
        canvas.values[0] += random.uniform(0.08, 0.18) * smooth_step((random.uniform(12, 18) - r) / 9)
        inside: Shape = ellipsoid((0, 0), (350, 350))
        for vein in (1, 0):
            for up in (-1, 1):
                self._arcade(up, vein, inside)
                self._nasal(up, vein, inside)

    def _arcade(self, up: int, vein: int, inside: Shape) -> None:
        """The large vessels above and below the fovea, and what branches from them."""
        random, s = self.random, self.side
        reach, high = random.uniform(330, 400), random.uniform(120, 160) + 14 * vein
        t = np.linspace(0, 1, 26)
        bend = np.sin(np.pi * (0.85 * t + 0.02)) ** 0.8
        wave = np.interp(t, np.linspace(0, 1, 9), random.uniform(-7, 7, 9))
        line = np.stack(
            [self.disk[0] - s * reach * t**1.15 + 20 * s * bend * (t < 0.1), self.disk[1] + up * (high * bend + wave)],
            1,
        )
        r0 = random.uniform(3.2, 4.2) + 0.8 * vein
        radii = r0 * (1 - 0.65 * t)
        for k in range(len(t) - 1):
            if k > 2 and random.random() < 0.42:
                along = line[k + 1] - line[k]
                out = np.array([-along[1], along[0]]) * random.choice([-1, 1])
                self._branch(line[k], along * 0.8 + out, radii[k] * random.uniform(0.45, 0.7), vein, inside)
        for k in range(len(t) - 1):
            self._vessel(line[k : k + 2], radii[k : k + 2], vein)
        self._branch(line[-1], line[-1] - line[-2], radii[-1], vein, inside)

    def _nasal(self, up: int, vein: int, inside: Shape) -> None:
        way = np.array([self.side * self.random.uniform(0.4, 1.0), up * self.random.uniform(0.5, 1.0)])
        self._branch(self.disk, way, self.random.uniform(2.2, 3.2), vein, inside)

    def _branch(self, start: np.ndarray, way: np.ndarray, radius: float, vein: int, inside: Shape) -> None:
        within = at_point(inside)

        def free(point: np.ndarray) -> float:
            return max(within(point), 38 - float(np.hypot(*(point - self.fovea))))

        for a, b, ra, rb in tree(
            self.random, start, way, radius, free, least=0.75, stretch=30, spread=0.5, wander=0.16, most=90
        ):
            self._vessel(np.stack([a, b]), np.array([ra, rb]), vein)

    def _vessel(self, line: np.ndarray, radii: np.ndarray, vein: int) -> None:
        dark = 0.24 if vein else 0.30
        self.canvas.paint(tube(line, radii), dark, soft=1.6)
        if not vein and radii[0] > 1.8:
            self.canvas.paint(tube(line, radii * 0.3), 0.40, soft=1.2)


def _photograph(light: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Uneven light, blur, noise, black around, 8 bits."""
    n = light.shape[0]
    y, x = np.meshgrid(*[np.linspace(-1, 1, k) for k in light.shape], indexing="ij")
    slope, middle = random.uniform(-0.28, 0.28, 2), random.uniform(-0.3, 0.3, 2)
    shade = 1 + slope[0] * x + slope[1] * y - random.uniform(0.15, 0.4) * ((x - middle[0]) ** 2 + (y - middle[1]) ** 2)
    gamma, gain = random.uniform(0.8, 1.25), random.uniform(0.85, 1.1)
    shown = gain * np.clip(blurred(light, random.uniform(0.6, 1.5)) * shade, 0, 1.2) ** gamma
    shown = (
        shown + 0.022 * blurred(random.standard_normal(light.shape), 0.6) + 0.008 * random.standard_normal(light.shape)
    )
    edge = smooth_step((VIEW * n / SIZE - np.hypot(y, x) * n / 2) / 4)
    return np.asarray(np.round(np.clip(shown * edge, 0, 1) * 255), np.float32)


def fundus(seed: int) -> Made:
    """Two visits: turned, nearer or farther, a little bent by the lens, lit otherwise; few new spots on the second."""
    random = np.random.default_rng([seed, 7])
    eye = _Eye(random)
    grid = centered((SIZE, SIZE), 1.0)
    coarse = centered((60, 60), 14.0)
    motion = Chain(Flow(coarse, elastic(coarse, random, 9.0, 50.0)), pose(random, 2, 8.0, 26.0, 0.06))
    truth = truth_of(motion, grid)
    points = lattice(grid)
    fixed = _photograph(eye.canvas.sample(points)[0], random)
    for _ in range(int(random.integers(2, 9))):
        at, size = random.uniform(-190, 190, 2), random.uniform(2, 7, 2)
        eye.canvas.paint(ellipsoid(at, size), float(random.choice([0.22, 0.85])), uneven=1.5)
    moving = _photograph(eye.canvas.sample(motion.backward(points))[0], random)
    landed = points + torch.from_numpy(np.moveaxis(truth, -1, 0).copy())
    shown = [np.hypot(p[0].numpy(), p[1].numpy()) < VIEW - 4 for p in (points, landed)]
    body = shown[0] & shown[1] & seen(truth, grid, grid)
    return Made(Image(fixed, grid, "fixed"), Image(moving, grid, "moving"), truth, body)
