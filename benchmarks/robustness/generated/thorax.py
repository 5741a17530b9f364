"""Chest and upper belly, and how they breathe: what is in the cavity slides along ribs that hardly move.

Coordinates are mm about the middle of the chest, at the level of the lungs' roots.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from .motion import smooth_step
from .shapes import Axes, Canvas, Shape, below, ellipsoid, fractal, smooth_noise, tube, turn
from .trees import Inside, at_point, tree

Put = Callable[..., None]
_FAR = np.full(3, 1e4)


class Thorax:
    """Random choices of one body in inspiration."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.wide, self.deep = random.uniform(118, 136), random.uniform(76, 90)
        self.top = random.uniform(115, 140)
        self.wall, self.fat = random.uniform(16, 24), random.uniform(7, 24)
        self.floor = random.uniform(-112, -88)  # of the lungs, at the dome's foot
        self.dome = random.uniform(34, 52)
        self.ribs = random.uniform(22, 26)  # from one to the next
        self.nodules = [
            (
                np.array(
                    [random.choice([-1, 1]) * random.uniform(55, 85), random.uniform(-30, 35), random.uniform(-40, 60)]
                ),
                r,
            )
            for r in random.uniform(6, 15, int(random.integers(1, 4)))
        ]

    def profile(self, z: np.ndarray) -> np.ndarray:
        """How wide the cavity is at a height, as a share."""
        up = np.clip(z / self.top, 0, 0.995)
        return np.asarray((1 - up**2.6) ** (1 / 2.2))

    def cavity(self) -> Shape:
        def distance(p: Axes) -> np.ndarray:
            share = self.profile(p[2])
            r = np.sqrt((p[0] / self.wide) ** 2 + ((p[1] + 10) / self.deep) ** 2)
            across = (r - share) * (0.5 * (self.wide + self.deep))
            return np.asarray(np.maximum(across, p[2] - self.top))

        return Shape(distance, -_FAR, _FAR)

    def outline(self) -> Shape:
        a, b = self.wide + self.wall + self.fat, self.deep + self.wall + self.fat + 6

        def distance(p: Axes) -> np.ndarray:
            share = 1 - 0.62 * smooth_step((p[2] - 60) / (self.top - 20))
            r = ((np.abs(p[0]) / a) ** 2.3 + (np.abs(p[1] - 7) / b) ** 2.3) ** (1 / 2.3)
            return np.asarray((r - share) * (0.5 * (a + b)))

        trunk = Shape(distance, -_FAR, _FAR)
        for x in (-1, 1):
            trunk = trunk.blended(ellipsoid((x * (a - 30), 14, self.top - 22), (52, 46, 44)), 40)
        return trunk

    def diaphragm(self) -> Shape:
        """What is below it."""

        def distance(p: Axes) -> np.ndarray:
            right, left = (
                np.clip(1 - ((p[0] - x) / (0.62 * self.wide)) ** 2 - ((p[1] + 14) / (0.95 * self.deep)) ** 2, -0.2, 1)
                for x in (-0.45 * self.wide, 0.48 * self.wide)
            )
            height = np.maximum(right * self.dome, left * (self.dome - 14)) - 0.25 * np.maximum(p[1], 0)
            return np.asarray(p[2] - self.floor - height)

        return Shape(distance, -_FAR, np.array([1e4, 1e4, self.floor + self.dome + 5]))

    def middle(self) -> Shape:
        """Between the lungs."""
        heart = ellipsoid((24, -26, self.floor + 68), (56, 46, 50), turn(28, 1))
        tall = ellipsoid((0, 14, -30), (24, 52, 190))
        return tall.blended(heart, 16) | tube([(0, 90, -400), (0, 86, 300)], 36)

    def lungs(self) -> Shape:
        return (self.cavity().grown(-3) - self.middle()) - self.diaphragm().grown(3)

    def paint(self, canvas: Canvas, vessels: int = 700) -> None:
        """HU into the first channel, standardized uptake into the second if there is one."""
        random, grid = self.random, canvas.grid
        two = len(canvas.values) > 1

        def put(what: Shape, hu: float | np.ndarray | None, uptake: float | None = None, uneven: float = 0.0) -> None:
            canvas.paint(what, *((hu, uptake) if two else (hu,)), uneven=uneven)

        texture = fractal(grid.shape, random, grid.spacing, 45, 4)
        outline, cavity, lungs = self.outline(), self.cavity(), self.lungs()
        put(outline, 20, 0.4)
        put(outline.grown(-2.5), (-105 + 9 * texture).astype(np.float32), 0.25)
        sheets = np.abs(smooth_noise(grid.shape, random, grid.spacing, 50)) + 0.3 * np.abs(texture)
        put(outline.grown(-self.fat), np.where(sheets < 0.2, -70, 52 + 6 * texture).astype(np.float32), 0.7, 3)
        put(cavity & self.diaphragm().grown(-2), (-95 + 9 * texture).astype(np.float32), 0.3, 1)
        self._belly(canvas, texture, put)
        put(self.middle() & cavity - self.diaphragm(), -60, 0.8)
        air = (random.uniform(-870, -830) + 14 * texture).astype(np.float32)
        air += 45 * smooth_step((np.asarray(canvas.axes[1]) + 60) / 150)  # denser behind, lying
        put(lungs, air, 0.35)
        self._vessels(canvas, put, lungs, vessels)
        self._heart(put)
        for center, radius in self.nodules:
            put(ellipsoid(center, (radius,) * 3), 35, float(random.uniform(5, 12)), 2)
        self._bones(put)

    def _belly(self, canvas: Canvas, texture: np.ndarray, put: Put) -> None:
        random, foot = self.random, self.floor
        inside = self.cavity().grown(-2) & self.diaphragm().grown(-4)
        w, d = self.wide, self.deep
        liver = ellipsoid((-0.42 * w, -12, foot - 14), (0.62 * w, 0.94 * d, random.uniform(88, 104)))
        liver = liver.blended(ellipsoid((0.1 * w, -34, foot + 12), (62, 40, 34)), 20)
        for _ in range(int(random.integers(16, 26))):
            at = np.array([random.uniform(-0.75, 0.75) * w, random.uniform(-55, 20), random.uniform(-330, foot - 75)])
            loop = tube(at + np.cumsum(random.standard_normal((3, 3)) * 16, 0), random.uniform(10, 17)) & inside
            put(loop, 38, float(random.uniform(0.6, 2.2)), 2)
            put(loop.grown(-4), float(random.uniform(-60, 40)) if random.random() < 0.7 else -800, None, 2)
        edge = random.uniform(-45, -20)
        under = Shape(lambda p: np.asarray(0.85 * (foot + edge + 0.5 * p[0] - p[2] - 0.1 * p[1])), -_FAR, _FAR)
        liver = liver & under
        put(liver & inside, (random.uniform(55, 110) + 6 * texture).astype(np.float32), float(random.uniform(2, 2.8)))
        root = (-20.0, 10.0, foot - 30)
        solid = (liver & inside).grown(-4)
        for segment_ in tree(random, root, (-1, -0.3, 0.4), 6.0, at_point(solid), least=1.6, most=40):
            put(tube(segment_[:2], segment_[2:]), 140, None)
        spleen = ellipsoid((0.70 * w, 30, foot - 12), (26, 38, random.uniform(40, 56)), turn(-20, 0)) & inside
        put(spleen, random.uniform(70, 120), 1.9)
        stomach = ellipsoid((0.42 * w, -28, foot - 4), (random.uniform(34, 50), 34, 44)) & inside
        put(stomach - liver, 35, 1.6, 2)
        put((stomach.grown(-5) - liver) & below(1, -30), -850, 0.8)
        for x in (-1, 1):
            kidney = ellipsoid(
                (x * 0.50 * w, 38, foot - 98 - 10 * (x < 0)), (27, 23, random.uniform(48, 58)), turn(12 * x, 1)
            )
            put(kidney, random.uniform(60, 160), 4.5)
            put(ellipsoid((x * 0.42 * w, 34, foot - 98), (13, 12, 24)), 10, float(random.uniform(6, 16)), 1)
            put(tube([(x * 40, 55, foot - 60), (x * 58, 52, -420)], (14, 28)), 55, 0.7, 2)

    def _vessels(self, canvas: Canvas, put: Put, lungs: Shape, most: int) -> None:
        random = self.random
        inside = at_point(lungs)
        for x in (-1, 1):
            root = np.array([x * 44, 8, -6])
            for way in ((0.8, -0.4, 1.0), (0.9, 0.5, 0.1), (0.6, -0.4, -0.9), (0.55, 0.5, -1.0)):
                start = root + random.uniform(-8, 8, 3)
                for s in tree(
                    random, start, (x * way[0], *way[1:]), random.uniform(5, 7), _loose(inside, start), most=most // 8
                ):
                    put(tube(s[:2], s[2:]), 45, 0.8)
                if way[1] > 0:
                    put(tube([start, start + np.array([x * way[0], *way[1:]]) * 40], (5.0, 2.2)), 40, None)
                    put(tube([start, start + np.array([x * way[0], *way[1:]]) * 38], (3.6, 1.2)), -950, None)
        put(tube([(0, 26, 320), (0, 20, 120), (0, 22, 18)], 9.0), -980, 0.2)
        for x in (-1, 1):
            put(tube([(0, 22, 20), (x * 26, 20, 0), (x * 48, 18, -10)], (8, 7, 5.5)), -970, 0.2)

    def _heart(self, put: Put) -> None:
        random, base = self.random, self.floor + 68
        blood = float(random.uniform(40, 170))
        put(ellipsoid((24, -26, base), (50, 41, 45), turn(28, 1)), 45, 1.7)
        put(ellipsoid((36, -20, base - 8), (33, 27, 36), turn(28, 1)), 95, float(random.uniform(3.5, 7)))
        put(ellipsoid((37, -20, base - 5), (21, 16, 26), turn(28, 1)), blood, 1.7)
        put(ellipsoid((2, -38, base), (24, 20, 32)), blood, 1.7)
        put(ellipsoid((12, 12, base + 26), (34, 20, 24)), blood, 1.7)
        arch = [
            (8, -14, base + 30),
            (2, -24, 52),
            (4, -8, 78),
            (16, 28, 70),
            (20, 58, 30),
            (16, 58, -120),
            (2, 54, -420),
        ]
        put(tube(arch, (14, 15, 14, 12.5, 12, 11, 9)), blood, 1.7)
        put(tube([(-26, -14, 130), (-26, -10, 40), (-24, -6, base + 20)], 9), blood, 1.6)
        put(tube([(8, -20, base + 30), (4, -10, 12), (-34, 6, 0)], (13, 12, 9)), blood, 1.6)
        put(tube([(4, -10, 12), (38, 10, 4)], (12, 9)), blood, 1.6)

    def _bones(self, put: Put) -> None:
        random = self.random
        for n in range(-13, 8):
            z = n * 26.0 + 10
            put(ellipsoid((0, 88, z), (21, 17, 11.5)), 420, 1.2, 0.5)
            put(ellipsoid((0, 88, z), (18, 14, 9.0)), 190, 1.4)
            put(ellipsoid((0, 88, z + 13), (18, 14, 3.5)), 85, 0.5)
            put(tube([(0, 118, z), (0, 128, z - 12)], 4.0), 400, 0.9)
            for x in (-1, 1):
                put(tube([(x * 14, 98, z), (x * 18, 116, z), (0, 120, z)], 4.5), 400, 0.9)
        put(tube([(0, 108, -420), (0, 106, 300)], 7.5), 25, 0.8)
        put(tube([(0, -self.deep - 16, 70), (0, -self.deep - 20, -70)], (9, 8)), 300, 1.0)
        for n in range(11):
            start = 112 - n * self.ribs
            reach = 150 if n < 7 else 150 - 16 * (n - 6)
            for x in (-1, 1):
                angle = np.radians(np.linspace(74, 74 - reach, 16))
                drop = start - smooth_step(np.linspace(0, 1, 16)) * (52 + random.uniform(-4, 4))
                share = np.maximum(self.profile(drop), 0.35)
                x_, y_ = (
                    x * (self.wide * share + 8) * np.cos(angle),
                    -10 + (self.deep * share + 8) * np.sin(angle),
                )
                line = np.stack([x_, y_, drop], 1)
                for a, b in pairwise(line):
                    put(tube([a, b], 5.2), 520, 1.0)
                for a, b in pairwise(line):
                    put(tube([a, b], 2.4), 230, None)
        for x in (-1, 1):
            put(tube([(x * 12, -62, 96), (x * 70, -40, 118), (x * 135, 8, 118)], 6), 480, 0.9)
            put(ellipsoid((x * 148, 14, 104), (22, 22, 22)), 430, 1.0)
            blade = ellipsoid((x * 60, -10, 40), (self.wide * 0.42 + 62, self.deep + 28, 150))
            blade = (blade.grown(3) - blade.grown(-3)) & below(1, 52, -1) & below(0, x * 62, -x) & below(2, 10, -1)
            put(blade & below(2, 110), 480, 0.9)


def _loose(inside: Inside, start: np.ndarray) -> Inside:
    """As ``inside``, but free within 40 mm of ``start``, which lies between the lungs."""
    return lambda point: -99.0 if np.linalg.norm(point - start) < 40 else inside(point)


class Breath:
    """What is in the cavity moves along it, most at the diaphragm, sliding along the wall, which stays.

    Args:
        shift: mm at the diaphragm, upwards if positive.
    """

    def __init__(self, thorax: Thorax, shift: float) -> None:
        self.thorax, self.shift = thorax, shift
        low, high = thorax.floor - 230, thorax.top
        z = np.linspace(low - 200, high + 60, 2048)
        up = smooth_step((high - 22 - z) / (high - 22 - thorax.floor - thorax.dome * 0.5)) ** 0.85
        down = smooth_step((z - low) / 170)
        self._z, self._to = z, z + shift * up * down
        assert np.all(np.diff(self._to) > 0)

    def _moved(self, points: Tensor, start: np.ndarray, end: np.ndarray) -> Tensor:
        x, y, z = points.numpy()
        after = np.interp(z, start, end)
        ratio = self.thorax.profile(after) / self.thorax.profile(z)
        moved = np.stack([x * ratio, (y + 10) * ratio - 10, after])
        inside = self.thorax.cavity().distance([x, y, z]) < 0
        return torch.from_numpy(np.where(inside, moved, points.numpy()).astype(np.float32))

    def forward(self, points: Tensor) -> Tensor:
        return self._moved(points, self._z, self._to)

    def backward(self, points: Tensor) -> Tensor:
        return self._moved(points, self._to, self._z)

    def growth(self, points: Tensor) -> np.ndarray:
        """(*S) by how much tissue at these points of the fixed image grows."""
        slope = np.gradient(self._to, self._z)
        return np.interp(points[2].numpy(), self._z, slope)
