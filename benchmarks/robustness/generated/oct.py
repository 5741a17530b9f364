"""Optical coherence tomography of a fovea, and of the same later: swollen, tilted, fresh speckle."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from DeepRegistrationLib.geometry.image import Grid, Image

from .motion import Chain, Made, Motion, lattice, pose, seen, smooth_step, truth_of
from .physics import blurred, speckle
from .shapes import centered, fractal

SHAPE, SPACING = (400, 500), (0.004, 0.006)
_LAYERS = (
    # share of the retina's thickness at which a layer ends, and how much light it returns
    ("nerve fibers", 0.10, 0.75),
    ("ganglion cells", 0.24, 0.38),
    ("inner plexiform", 0.36, 0.52),
    ("inner nuclear", 0.50, 0.22),
    ("outer plexiform", 0.58, 0.50),
    ("outer nuclear", 0.78, 0.16),
    ("membrane", 0.80, 0.36),
    ("segments' gap", 0.84, 0.24),
    ("ellipsoid zone", 0.89, 0.90),
    ("outer segments", 0.93, 0.40),
    ("pigment epithelium", 1.00, 1.00),
)


class _Retina:
    """Random choices of one retina; depth (y) grows into the eye, mm."""

    def __init__(self, random: np.random.Generator) -> None:
        self.middle = float(random.uniform(-0.4, 0.4))
        self.thickness = float(random.uniform(0.29, 0.35))
        self.pit = float(random.uniform(0.10, 0.16)), float(random.uniform(0.32, 0.45))
        self.rim = float(random.uniform(0.03, 0.06))
        self.curve = float(random.uniform(-0.02, 0.03))
        self.bottom = float(random.uniform(0.10, 0.25))
        self.shares = np.cumsum(
            np.diff([0.0, *[end for _, end, _ in _LAYERS]]) * (1 + 0.15 * random.uniform(-1, 1, len(_LAYERS)))
        )
        self.shares /= self.shares[-1]
        self.light = np.array([light for *_, light in _LAYERS]) * (1 + 0.12 * random.uniform(-1, 1, len(_LAYERS)))
        count = int(random.integers(4, 8))
        place = random.uniform(-2.2, 2.2, count)
        self.vessels = [(float(x), float(random.uniform(0.02, 0.05))) for x in place if abs(x - self.middle) > 0.45]
        x = np.linspace(-2.5, 2.5, 256)
        self.waves = np.interp(x, np.linspace(-2.5, 2.5, 14), random.standard_normal(14)) * 0.006
        grid = centered((160, 200), (0.02, 0.03))
        self.texture = grid, fractal(grid.shape, random, (0.02, 0.03), 0.25, 4)
        self.choroid = fractal(grid.shape, random, (0.02, 0.03), 0.12, 2)
        self.vitreous = float(random.uniform(0.02, 0.05))

    def lower(self, x: np.ndarray) -> np.ndarray:
        """y of the pigment epithelium's lower border."""
        return np.asarray(self.bottom + self.curve * x**2 + np.interp(x, np.linspace(-2.5, 2.5, 256), self.waves))

    def thick(self, x: np.ndarray) -> np.ndarray:
        """mm of the retina."""
        depth, width = self.pit
        r = (x - self.middle) / width
        hill = self.rim * np.exp(-(((np.abs(r) - 1.9) / 0.9) ** 2))
        return np.asarray(self.thickness - depth * np.exp(-(np.abs(r) ** 2.2)) + hill - 0.01 * np.abs(x))

    def light_at(self, points: Tensor, cysts: list[tuple[float, float, float, float]]) -> np.ndarray:
        """(*S) light returned at ``points`` (2, *S) mm; ``cysts``: x, share of depth, half width, half height."""
        x, y = points.numpy()
        lower, thick = self.lower(x), self.thick(x)
        part = (y - lower + thick) / thick
        # In the pit the inner layers are thinned most.
        pit = np.exp(-(np.abs((x - self.middle) / self.pit[1]) ** 2.2))
        part = np.where((part > 0) & (part < 1), np.clip(part, 0, 1) ** (1 / (1 + 1.6 * pit)), part)
        edge = 0.004 / thick
        light = np.full(x.shape, self.vitreous)
        for start, value in zip([0.0, *self.shares[:-1]], self.light, strict=True):
            light += np.clip((part - start) / edge + 0.5, 0, 1) * (value - light)
        index = [
            np.clip((a - o) / s, 0, n - 1).astype(int)
            for a, o, s, n in zip(
                (y, x), self.texture[0].origin[::-1], (0.02, 0.03), self.texture[0].shape, strict=True
            )
        ]
        under = y - lower
        choroid = (0.50 + 0.16 * self.choroid[index[0], index[1]]) * np.exp(-under / 0.14)
        light = np.where(under > 0, light + np.clip(under / 0.006, 0, 1) * (choroid - light), light)
        light = light * (1 + 0.10 * self.texture[1][index[0], index[1]] * (part > 0))
        for cx, share, wide, high in cysts:
            r = ((x - cx) / wide) ** 2 + ((part - share) * thick / high) ** 2
            light += np.clip(1.5 - 1.2 * r, 0, 1) * (self.vitreous * 1.5 - light)
        for vx, radius in self.vessels:  # bright on top, a shadow behind
            inside = ((x - vx) / radius) ** 2 + ((part - 0.14) * thick / radius) ** 2
            light += 0.6 * np.clip(1.2 - inside, 0, 1) * (0.9 - light)
            light *= 1 - 0.65 * np.exp(-(((x - vx) / radius) ** 4)) * np.clip((part - 0.2) * 8, 0, 1)
        return np.clip(light, 0, None)


class _Swollen:
    """Layers grow thicker about some places, upwards: the pigment epithelium stays."""

    def __init__(self, retina: _Retina, random: np.random.Generator) -> None:
        self.retina = retina
        count = int(random.integers(1, 3))
        self.places = [
            (float(retina.middle + random.uniform(-0.7, 0.7)), float(random.uniform(0.3, 0.6)), float(a))
            for a in random.uniform(0.07, 0.15, count)
        ]
        self.top, self.end = 0.15, 0.85  # shares of the depth between which it swells

    def swell(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(sum(a * np.exp(-(((x - c) / w) ** 2)) for c, w, a in self.places))

    def _moved(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        thick = self.retina.thick(x)
        part = (y - self.retina.lower(x) + thick) / thick
        # The vitreous above gives way over 0.5 mm.
        above = smooth_step(1 + (part + 0.05) * thick / 0.9)
        return np.asarray(y - self.swell(x) * (1 - smooth_step((part - self.top) / (self.end - self.top))) * above)

    def forward(self, points: Tensor) -> Tensor:
        x, y = points.numpy()
        return torch.from_numpy(np.stack([x, self._moved(x, y)]).astype(np.float32))

    def backward(self, points: Tensor) -> Tensor:
        x, y = points.numpy()
        low, high = y - 0.01, y + 0.6
        for _ in range(18):  # it is monotone in y
            middle = (low + high) / 2
            ahead = self._moved(x, middle) > y
            low, high = np.where(ahead, low, middle), np.where(ahead, middle, high)
        return torch.from_numpy(np.stack([x, (low + high) / 2]).astype(np.float32))


class _Bent:
    """Another tilt and curvature of the whole scan, as of a head that sits otherwise."""

    def __init__(self, random: np.random.Generator) -> None:
        self.slope, self.curve = (float(random.uniform(0.3, 1) * random.choice([-1, 1]) * s) for s in (0.06, 0.02))

    def _shift(self, x: Tensor) -> Tensor:
        return self.slope * x + self.curve * x**2

    def forward(self, points: Tensor) -> Tensor:
        return torch.stack([points[0], points[1] + self._shift(points[0])])

    def backward(self, points: Tensor) -> Tensor:
        return torch.stack([points[0], points[1] - self._shift(points[0])])


def _scan(light: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Light fades with depth, speckle, the logarithm that such pictures are shown in, 0 to 255."""
    rows = np.linspace(0, 1, light.shape[0])[:, None]
    roll = np.exp(-0.5 * np.abs(rows - random.uniform(0.3, 0.5)))
    columns = np.exp(0.15 * np.interp(np.arange(light.shape[1]), np.linspace(0, 500, 7), random.standard_normal(7)))
    signal = blurred(light * roll * columns, (0.8, 1.2))
    seen_light = signal * speckle(light.shape, random, (0.7, 1.1)) ** 2 + random.exponential(0.010, light.shape)
    level = 20 * np.log10(np.maximum(blurred(seen_light, 0.6), 1e-4))
    return np.asarray(np.clip((level + 37) / 43, 0, 1) * 255, np.float32)


def optical(seed: int, shape: tuple[int, int] = SHAPE) -> Made:
    """Two scans of one fovea, depth along rows."""
    random = np.random.default_rng([seed, 1])
    retina = _Retina(random)
    spacing = tuple(s * n / m for s, n, m in zip(SPACING, SHAPE, shape, strict=True))
    grid: Grid = centered(shape, (spacing[0], spacing[1]))
    swollen = _Swollen(retina, random)
    motion: Motion = Chain(swollen, _Bent(random), pose(random, 2, 2.0, 0.06))
    truth = truth_of(motion, grid)
    cysts = [
        (
            c + float(random.uniform(-0.5, 0.5)) * w,
            float(random.uniform(0.42, 0.7)),
            *random.uniform((0.04, 0.02), (0.12, 0.04)),
        )
        for c, w, _ in swollen.places
        for _ in range(int(random.integers(1, 4)))
    ]
    points = lattice(grid)
    fixed = _scan(retina.light_at(points, []), random)
    moving = _scan(retina.light_at(motion.backward(points), cysts), random)
    x, y = points.numpy()
    gap = y - retina.lower(x)
    body = (gap > -retina.thick(x)) & (gap < 0.1) & seen(truth, grid, grid)
    return Made(Image(fixed, grid, "fixed"), Image(moving, grid, "moving"), truth, body)
