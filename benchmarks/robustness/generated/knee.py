"""Sagittal MR of a knee, straight and bent: bones turn about the condyles, what is around them follows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from DeepRegistrationLib.geometry.image import Grid, Image

from .motion import Chain, Flow, Made, elastic, lattice, pose, seen, smooth_step, truth_of
from .physics import coil, rician
from .shapes import Axes, Canvas, Shape, axes_of, below, centered, ellipsoid, fractal, smooth_noise, tube

SHAPE, SPACING = (30, 240, 216), (3.0, 0.6, 0.6)
_ANGLES = np.radians([-180, -150, -130, -68, -56, 58, 130, 180])
_SHARES = [0, 0, 0.5, 0.5, 1, 1, 0, 0]
"""By how much of the bend turns what lies there: 0 is down, the tibia; forwards is negative, where the patella is."""


class _Knee:
    """Random choices of one knee; x is across, y backwards, z up, mm about the joint."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.center = np.array([5.0, 8.0])  # y, z of the condyles
        self.radius = random.uniform(22.5, 26.0)
        self.cartilage = random.uniform(1.8, 2.8)
        self.apart = random.uniform(20, 24)
        self.girth = random.uniform(54, 64)
        self.effusion = random.uniform(0, 5)

    def condyles(self) -> Shape:
        """The rounded ends of the femur, circles about the center in sagittal planes."""

        def distance(p: Axes) -> np.ndarray:
            r = np.hypot(p[1] - self.center[0], p[2] - self.center[1])
            across = np.abs(np.abs(p[0]) - self.apart) - 15
            bulge = self.radius - 0.012 * (np.abs(p[0]) - self.apart) ** 2
            return np.asarray(np.maximum(r - bulge, across))

        both = Shape(distance, np.array([-45.0, -30, -30]), np.array([45.0, 40, 45]))
        bridge = tube([(-self.apart, *self.center), (self.apart, *self.center)], self.radius - 5)
        notch = ellipsoid((0, self.center[0] + 12, self.center[1] - 12), (8.5, 24, 22))
        return both | (bridge - notch)

    def paint(self, canvas: Canvas) -> None:
        """Proton density in the first channel, the same with fat suppressed in the second."""
        random, grid = self.random, canvas.grid
        texture = fractal(grid.shape, random, grid.spacing, 14, 4)

        def put(what: Shape, water: float, fat: float = 0.0, uneven: float = 0.0, rough: float = 0.05) -> None:
            both = [(v * (1 + rough * texture)).astype(np.float32) for v in (water + fat, water + 0.12 * fat)]
            canvas.paint(what, *both, uneven=uneven)

        y0, z0 = self.center
        r, top = self.radius, z0 - self.radius - 2 * self.cartilage  # of the tibia
        leg = tube(
            [(0, 10, 140), (0, 6, 60), (0, 3, 0), (0, 10, -50), (0, 12, -130)],
            self.girth * np.array([1.1, 1.02, 0.94, 0.94, 0.9]),
        )
        put(leg, 0.35)
        put(leg.grown(-1.6), 0.04, 0.85, rough=0.08)
        put(leg.grown(-random.uniform(5, 8)), 0.12, 0.1, 1.0)  # fascia
        put(leg.grown(-9), 0.05, 0.78, 1.0, 0.10)
        within = leg.grown(-9)
        sheets = np.abs(smooth_noise(grid.shape, random, grid.spacing, 26)) + 0.25 * np.abs(texture)
        muscle, marbled = (
            (np.where(sheets < 0.12, v, 0.36) * (1 + 0.06 * texture)).astype(np.float32) for v in (0.75, 0.14)
        )
        for muscles in _muscles():
            canvas.paint(muscles & within, muscle, marbled, uneven=2)
        canvas.paint(tube([(-12, 24, -30), (-4, 28, -130)], (10, 14)) & within, muscle, marbled, uneven=1)
        canvas.paint(tube([(26, -8, -44), (24, -6, -130)], (8, 15)) & within, muscle, marbled, uneven=1)
        put(tube([(2, 40, 140), (2, 34, 40), (-2, 34, -20), (-4, 38, -130)], 4.2), 0.07, rough=0.3)
        put(tube([(-6, 44, 140), (-4, 39, 40), (-6, 39, -20), (-8, 42, -130)], 3.4), 0.16, rough=0.3)
        condyles = self.condyles()
        capsule = condyles.grown(self.cartilage + 1.2) | ellipsoid(
            (0, y0 - r - 7, z0 + 34), (24, 5 + self.effusion, 22)
        )
        put(capsule, 0.78, uneven=0.8)
        put(condyles.grown(self.cartilage) & below(2, z0 + 14), 0.58)
        shaft = tube([(0, -2, 150), (0, -1, 60), (0, 3, 26)], (14.5, 16, 24))
        femur = (shaft & below(2, z0 + 8, -1)).blended(condyles, 10)
        flat = _plateau(top)
        tibia = flat.blended(tube([(0, 4, top - 10), (0, 3, top - 36), (0, 6, -150)], (25, 16, 13)), 8)
        tibia = tibia.blended(ellipsoid((0, -13, top - 30), (10, 8, 11)), 6)
        joint = tube([(-99, *self.center), (99, *self.center)], r + self.cartilage + 0.8)
        tibia = tibia - joint
        spine = tube([(-4, 6, top), (-3, 6, top + 5)], (6, 2)) | tube([(5, 9, top), (4, 9, top + 4)], (6, 2))
        ring = Shape(
            lambda p: np.maximum(
                6 - np.hypot((np.abs(p[0]) - self.apart) / 1.2, p[1] - 6) + 3 * (np.abs(p[0]) < self.apart),
                np.hypot((np.abs(p[0]) - self.apart + 2) / 0.9, p[1] - 6) - 22,
            ),
            np.array([-44.0, -24, top - 2]),
            np.array([44.0, 36, top + 12]),
        )
        put((ring & below(2, top + 1, -1) & below(2, top + 9)) - condyles.grown(self.cartilage + 0.3), 0.08)
        put(flat.grown(self.cartilage * 0.9) & below(2, top - 1, -1), 0.55)
        patella = ellipsoid((0, y0 - r - 2 * self.cartilage - 10.5, z0 + 7), (21, 9.5, 19))
        behind = patella.grown(self.cartilage) & below(1, y0 - r - 2 * self.cartilage - 8, -1)
        put(ellipsoid((0, y0 - r - 5, top + 6), (20, 11, 17)), 0.05, 0.72, 1.0, 0.12)  # fat below the patella
        front = y0 - r - 2 * self.cartilage - 17
        put(tube([(0, front + 6, 140), (0, front + 4, 60), (0, front + 6, z0 + 22)], (5, 4.5, 5)), 0.07)
        put(tube([(0, front + 3, z0 - 8), (0, -19, top - 24), (0, -17, top - 36)], (4, 3.2, 3.5)), 0.07)
        put(tube([(7, y0 + 12, z0 + 6), (-1, -4, top + 2)], 3.8), 0.16)
        put(tube([(-6, y0 - 2, z0 - 8), (0, y0 + 18, z0 - 14), (0, 28, top - 4)], 4.5), 0.07)
        put(behind, 0.58)
        fibula = tube([(33, 20, top - 16), (32, 24, -150)], (9, 6))
        for bone, cortex in ((femur, 1.4), (tibia | (spine - joint), 1.3), (patella, 1.2), (fibula, 1.6)):
            put(bone, 0.06)
            put(bone.grown(-cortex), 0.10, 0.66, 0.3, 0.07)
        for z in (z0 + 30, top - 15):  # scars of growth plates
            line = below(2, z + 0.6) & below(2, z - 0.6, -1)
            put((femur if z > 0 else tibia).grown(-2) & line, 0.2, 0.2, 0.3)

    def bones(self, axes: Axes) -> np.ndarray:
        """About the mm from the nearest bone."""
        y0, z0 = self.center
        parts = [tube([(0, -2, 150), (0, 3, 26)], 20), self.condyles(), tube([(0, 4, -20), (0, 6, -150)], (26, 15))]
        parts.append(ellipsoid((0, y0 - self.radius - 15, z0 + 7), (21, 9.5, 19)))
        return np.asarray(np.min(np.broadcast_arrays(*[p.distance(axes) for p in parts]), 0))


def _muscles() -> Iterator[Shape]:
    for x in (-1, 1):
        for chain, radii in (
            ([(x * 30, -26, 140), (x * 30, -22, 62), (x * 36, -14, 34)], (24, 19, 6)),  # vastus
            ([(x * 26, 40, 140), (x * 32, 38, 60), (x * 36, 34, 10)], (20, 15, 7)),  # hamstrings
            ([(x * 18, 36, 22), (x * 20, 42, -30), (x * 20, 44, -130)], (8, 17, 21)),  # gastrocnemius
        ):
            yield tube(chain, radii)


def _plateau(top: float) -> Shape:
    """The tibia's upper end, ``top`` mm high."""
    return Shape(
        lambda p: np.maximum(np.sqrt((p[0] / 38) ** 2 + ((p[1] - 6) / 26) ** 2) * 30 - 30, np.abs(p[2] - top + 9) - 9),
        np.array([-42.0, -24, top - 20]),
        np.array([42.0, 36, top + 2]),
    )


class _Bend:
    """Flexion by an angle (radian, 0 or more) about the condyles, which stay; the distance from their axis stays."""

    def __init__(self, knee: _Knee, angle: float) -> None:
        self.center, self.angle = knee.center, angle
        self.inner = knee.radius + knee.cartilage
        a = np.linspace(-np.pi, np.pi, 721)
        kernel = np.hanning(15) / np.hanning(15).sum()
        self._a, self._share = a, np.convolve(np.pad(np.interp(a, _ANGLES, _SHARES), 7, mode="edge"), kernel, "valid")

    def _polar(self, points: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distance, angle from straight down, and how much what is so far out turns with the tibia."""
        y, z = points[1].numpy() - self.center[0], points[2].numpy() - self.center[1]
        r = np.hypot(y, z)
        return r, np.arctan2(y, -z), smooth_step((r - self.inner) / 1.2 + 0.5)

    def _at(self, points: Tensor, r: np.ndarray, angle: np.ndarray) -> Tensor:
        y, z = self.center[0] + r * np.sin(angle), self.center[1] - r * np.cos(angle)
        return torch.from_numpy(np.stack([points[0].numpy(), y, z]).astype(np.float32))

    def forward(self, points: Tensor) -> Tensor:
        r, angle, out = self._polar(points)
        return self._at(points, r, angle + self.angle * out * np.interp(angle, self._a, self._share))

    def backward(self, points: Tensor) -> Tensor:
        r, angle, out = self._polar(points)
        low, high = angle - self.angle * out, angle
        for _ in range(14):  # it is monotone in the angle
            found = (low + high) / 2
            ahead = found + self.angle * out * np.interp(found, self._a, self._share) > angle
            low, high = np.where(ahead, low, found), np.where(ahead, found, high)
        return self._at(points, r, (low + high) / 2)


def _sagittal(middle: np.ndarray) -> Grid:
    """Slices from right to left, rows downwards, columns backwards."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]) * np.array(SPACING)
    matrix[:3, 3] = middle - matrix[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    return Grid(SHAPE, matrix)


def knee(seed: int) -> Made:
    """Straight fixed, bent moving, of odd seeds with fat suppressed."""
    random = np.random.default_rng([seed, 5])
    one = _Knee(random)
    canvas = Canvas(centered((212, 184, 46), (0.84, 0.84, 2.3), (0, 4, 0)), random, (0.0, 0.0), 18)
    one.paint(canvas)
    grids = [_sagittal(np.array([0.0, 4.0, 0.0]) + random.uniform(-3, 3, 3)) for _ in range(2)]
    coarse = centered((32, 28, 24), 6.0, (0, 4, 0))
    soft = elastic(coarse, random, 4.0, 14.0) * smooth_step((one.bones(axes_of(coarse)) - 2) / 10)
    bend = _Bend(one, np.radians(random.uniform(10, 20)))
    motion = Chain(Flow(coarse, soft), bend, pose(random, 3, 5.0, 6.0))
    truth = truth_of(motion, grids[0])
    points = lattice(grids[0])
    pictures = canvas.sample(points)[0], canvas.sample(motion.backward(lattice(grids[1])))[seed % 2]
    fixed, moving = (
        (1000 * rician(p * coil(SHAPE, random, np.array(SPACING), 0.18), random, 0.028)).astype(np.float32)
        for p in pictures
    )
    body = canvas_body(pictures[0]) & seen(truth, *grids)
    return Made(Image(fixed, grids[0], "fixed"), Image(moving, grids[1], "moving"), truth, body)


def canvas_body(picture: np.ndarray) -> np.ndarray:
    """Where there is tissue; only air has no signal at all."""
    return np.asarray(picture > 0.03)
