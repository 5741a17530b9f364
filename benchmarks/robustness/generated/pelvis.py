"""A man's pelvis in planning CT and, at another filling of bladder and rectum, in cone-beam CT of a small view."""

from __future__ import annotations

import numpy as np
import torch

from DeepRegistrationLib.geometry.image import Image

from .motion import Chain, Flow, Made, fade, lattice, pose, pushed, seen, smooth_step, truth_of
from .physics import grain, streaks
from .shapes import Canvas, Shape, axes_of, below, centered, ellipsoid, fractal, smooth_noise, tube, turn

SHAPE, SPACING = (96, 128, 128), (3.0, 2.75, 2.75)
CONE_SHAPE, CONE_SPACING = (70, 120, 120), (2.6, 2.2, 2.2)
VIEW = 128.0
"""Radius of what the cone-beam scanner sees, mm."""


def _v(*xyz: float) -> np.ndarray:
    return np.array(xyz, float)


class _Pelvis:
    """Random choices of one pelvis; mm about the middle between the hips."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.size = random.uniform(0.93, 1.07)
        self.fat = random.uniform(14, 32)
        self.girth = (random.uniform(165, 182), random.uniform(104, 120))
        s = self.size
        self.neck = np.array([0.0, -22.0, -24.0]) * s  # of the bladder, which stays
        high = random.uniform(26, 40)
        self.bladder = ellipsoid(self.neck + _v(0, 0, high - 3), (high * random.uniform(1.0, 1.3), high * 0.9, high))
        self.prostate = ellipsoid(
            self.neck + _v(random.uniform(-3, 3), 5, -19),
            (random.uniform(21, 29), random.uniform(15, 20), random.uniform(17, 24)),
        )
        side = random.uniform(-14, 14)
        self.course = np.array(
            [(0, 34, -88), (0, 26, -62), (0, 34, -36), (side * 0.4, 46, -6), (side, 44, 26), (side * 2, 26, 52)], float
        )
        self.rectum = tube(self.course * s, [10, 13, *random.uniform(13, 20, 3), 14])
        self.bones = self._bones()

    def _bones(self) -> list[tuple[Shape, float]]:
        """Each with the thickness of its cortex, mm."""
        s, found = self.size, []
        wide = self.random.uniform(84, 92)
        for x in (-1, 1):
            hip = np.array([x * wide, 0, -20])
            ilium = ellipsoid((0, 8 * s, 62 * s), (118 * s, 88 * s, 125 * s))
            wing = ilium.grown(5) - ilium.grown(-6)
            wing = wing & below(0, 52 * s * x, -x) & below(1, -48 * s, -1) & below(2, 105 * s) & below(2, 0, -1)
            found.append((wing, 2.5))
            socket = (ellipsoid(hip * s, (35 * s,) * 3) - ellipsoid(hip * s, (26.5 * s,) * 3)) & below(
                0, (wide + 12) * s * x, x
            )
            found.append((socket.blended(tube([hip * s + [0, 8, 24], hip * s + [-4 * x, 12, 48]], (20, 12)), 10), 3.0))
            pubis = [(x * (wide - 20), -24, -24), (x * 38, -50, -38), (x * 9, -58, -52)]
            ramus = [(x * 9, -58, -60), (x * 28, -36, -84), (x * 48, 4, -100)]
            ischium = [(x * (wide - 18), 24, -30), (x * 62, 32, -70), (x * 48, 14, -102)]
            for chain, r in ((pubis, (11, 8, 12)), (ramus, (9, 6, 9)), (ischium, (17, 13, 14))):
                found.append((tube(np.array(chain) * s, np.array(r) * s), 2.0))
            neck = [hip, hip + _v(x * 24, 2, -12), hip + _v(x * 42, 8, -30)]
            shaft = [hip + _v(x * 42, 8, -30), hip + _v(x * 36, 2, -80), hip + _v(x * 30, 0, -180)]
            found.append((ellipsoid(hip * s, (23.5 * s,) * 3), 1.8))
            found.append((tube(np.array(neck) * s, np.array((16, 15, 19)) * s), 2.5))
            found.append((ellipsoid((hip + _v(x * 46, 10, -12)) * s, (15 * s, 16 * s, 18 * s)), 2.0))
            found.append((tube(np.array(shaft) * s, np.array((18, 15, 14)) * s), 5.0))
        found.append((ellipsoid((0, 74 * s, 58 * s), (54 * s, 19 * s, 50 * s), turn(-25, 0)), 2.0))
        found.append((tube(np.array([(0, 86, 20), (0, 84, -10), (0, 68, -32)]) * s, (16, 11, 5)), 1.5))
        found.append((tube(np.array([(0, 52, 95), (0, 44, 160)]) * s, 25 * s), 2.0))
        return found

    def outline(self) -> Shape:
        a, b = self.girth
        trunk = ellipsoid((0, 0, 30), (a, b, 600)) & below(2, -70, -1)
        for x in (-1, 1):
            trunk = trunk.blended(ellipsoid((x * 62, 42, -30), (88, 72, 95)), 30)
        for x in (-1, 1):
            trunk = trunk.blended(tube([(x * 90, 5, -70), (x * 86, 0, -260)], (88, 74)), 35)
        return trunk

    def painted(self, canvas: Canvas, gas: list[np.random.Generator]) -> None:
        """HU; of each channel the gas lies elsewhere."""
        random, s, shape, spacing = self.random, self.size, canvas.grid.shape, canvas.grid.spacing
        n = len(canvas.values)

        def put(what: Shape, value: float | np.ndarray, uneven: float = 0.0) -> None:
            canvas.paint(what, *[value] * n, uneven=uneven)

        outline = self.outline()
        texture = fractal(shape, random, spacing, 40, 4)
        put(outline, 30)
        put(outline.grown(-2.5), (-102 + 9 * texture).astype(np.float32))
        # Muscles are what is between sheets of fat, thinner and thicker.
        sheets = np.abs(smooth_noise(shape, random, spacing, 55)) + 0.4 * np.abs(texture)
        muscle = np.where(sheets < 0.22, -70, 52 + 7 * texture).astype(np.float32)
        put(outline.grown(-self.fat), muscle, 6)
        cavity = ellipsoid((0, -6 * s, 22 * s), (78 * s, 74 * s, 100 * s)).blended(
            ellipsoid((0, -20 * s, 110), (105 * s, 70 * s, 90)), 20
        )
        put(cavity, (-92 + 10 * texture).astype(np.float32), 5)
        for x in (-1, 1):
            put(tube(np.array([(x * 52, 26, 150), (x * 62, -8, 50), (x * 92, -36, -30)]) * s, (26, 22, 14)), 55, 2)
            put(ellipsoid((x * 58 * s, 2, -38 * s), (9, 36, 30)), 55, 2)  # what closes the pelvis at its sides
            put(
                tube(np.array([(x * 26, 20, 150), (x * 50, -5, 60), (x * 72, -62, -20), (x * 76, -66, -150)]) * s, 7),
                48,
            )
            put(
                tube(np.array([(x * 20, 26, 150), (x * 42, 6, 60), (x * 60, -54, -20), (x * 62, -58, -150)]) * s, 7), 42
            )
        for _ in range(int(random.integers(14, 24))):  # bowel
            at = np.array([random.uniform(-85, 85), random.uniform(-75, 20), random.uniform(48, 150)]) * s
            way = random.standard_normal((3, 3)) * 14
            course = np.clip(at + np.cumsum(way, 0), [-88, -72, 42], [88, 22, 170])
            loop = tube(course, random.uniform(9, 15))
            put(loop, random.uniform(30, 48), 1.5)
            put(loop.grown(-3), random.uniform(5, 35), 1.5)
            if random.random() < 0.3:
                put(ellipsoid(course[0] - [0, 5, 0], (9, 6, 9)), -850, 1)
        put(tube(np.array([(-30, 20, -34), (0, 12, -26), (30, 20, -34)]) * s + [0, 0, 12], (6, 8, 6)), 30, 1)
        put(self.rectum, 42, 1.5)
        put(self.rectum.grown(-4), (5 + 25 * texture).astype(np.float32))
        put(self.prostate, (46 + 5 * texture).astype(np.float32), 1.5)
        put(self.bladder, 38, 1.5)
        put(self.bladder.grown(-3.5), 6, 1.5)
        for bone, _ in self.bones:
            put(bone, 780)
        marrow = (210 + 60 * texture).astype(np.float32)
        for bone, cortex in self.bones:
            put(bone.grown(-cortex), marrow, 0.5)
        for channel, own in enumerate(gas):
            for _ in range(int(own.integers(1, 4))):
                part = own.uniform(1, len(self.course) - 1.01)
                a, b = self.course[int(part)] * s, self.course[int(part) + 1] * s
                at = a + (b - a) * (part % 1) - [0, 4, 0]
                bubble = ellipsoid(at, own.uniform((5, 4, 6), (9, 7, 15))) & self.rectum.grown(-4)
                canvas.paint(bubble, *[-900.0 if c == channel else None for c in range(n)], uneven=1)

    def flow(self, random: np.random.Generator) -> Flow:
        """Bladder and rectum fill or empty; bones stay."""
        grid = centered((64, 72, 72), 5.5)
        axes = axes_of(grid)
        sign = random.choice([-1, 1])
        grows = sign * random.uniform(0.22, 0.38)
        gain = (grows * 0.8, grows * 0.7, grows * 1.2)
        v = pushed(axes, self.neck - [0, 0, 2], gain, self.bladder.distance(axes), 28.0)
        z, course = axes[2], self.course * self.size
        middle = [np.interp(z, course[:, 2], course[:, d]) for d in (0, 1)]
        wide = random.choice([-1, 1]) * random.uniform(0.25, 0.45)
        ends = smooth_step((z + 80) / 40) * smooth_step((60 - z) / 40)
        v += pushed(axes, [*middle, z], [wide, wide, 0.0], self.rectum.distance(axes), 18.0) * ends
        bones = self.bones[0][0].distance(axes)
        for bone, _ in self.bones[1:]:
            bones = np.minimum(bones, bone.distance(axes))
        return Flow(grid, v * smooth_step((bones - 2) / 22) * fade(grid))


def _cone_beam(
    tissue: np.ndarray, random: np.random.Generator, inside: np.ndarray, z: np.ndarray, r: np.ndarray
) -> np.ndarray:
    """Scatter flattens contrast, cupping, streaks, dark bands between the hips, noise, little outside the view."""
    shape = tissue.shape
    soft = np.clip(tissue, -1000, 1600)
    soft = np.where(soft > -300, 0.72 * soft, soft) + random.uniform(-50, 50)
    soft = soft - random.uniform(30, 90) * (1 - (r / VIEW) ** 2)
    y = np.linspace(-1, 1, shape[1])[None, :, None] * 132
    soft = soft - random.uniform(30, 80) * np.exp(-(((z + 20) / 26) ** 2) - (y / 24) ** 2)
    gas = np.maximum(0, -300 - tissue) * (r < 70) * (tissue > -980)
    phase = random.uniform(0, 6, 2)
    for k in np.flatnonzero(gas.sum((1, 2)) > 2000):  # stars about bubbles
        rows, columns = np.nonzero(gas[k])
        dy, dx = np.indices(shape[1:]) - np.array([rows.mean(), columns.mean()])[:, None, None]
        angle = np.arctan2(dy, dx)
        star = np.cos(7 * angle + phase[0]) + np.cos(12 * angle + phase[1])
        soft[k] += 110 * star / (1 + np.hypot(dy, dx) / 4)
    noise = 30 * grain(shape, random, (0.6, 0.9, 0.9)) * (1.25 - 0.5 * r / VIEW) + 17 * streaks(shape, random)
    return np.asarray(np.where(inside, np.clip(soft + noise, -1000, 3000), -1000), np.float32)


def cone_beam(seed: int) -> Made:
    """CT fixed, cone-beam CT moving; the truth counts within 40 mm of bladder, prostate and rectum."""
    random = np.random.default_rng([seed, 2])
    pelvis = _Pelvis(random)
    canvas = Canvas(centered((112, 134, 134), 2.8), random, (-1000.0, -1000.0), 35)
    pelvis.painted(canvas, [np.random.default_rng([seed, 2, n]) for n in (1, 2)])
    motion = Chain(pelvis.flow(random), pose(random, 3, 4.0, 8.0))
    whole = centered(SHAPE, SPACING)
    part = centered(CONE_SHAPE, CONE_SPACING, (0, 0, random.uniform(-22, -8)))
    truth = truth_of(motion, whole)
    points = lattice(whole)
    fixed = canvas.sample(points)[0] + 11 * grain(whole.shape, random, 0.7)
    there = lattice(part)
    r, inside = _from_middle(there, part.center)
    tissue = canvas.sample(motion.backward(there))[1]
    moving = _cone_beam(tissue, random, inside, there[2].numpy(), r)
    organs = pelvis.bladder | pelvis.rectum | pelvis.prostate
    near = organs.distance(points.numpy()) < 40
    landed = points + torch.from_numpy(np.moveaxis(truth, -1, 0).copy())
    body = near & (canvas.sample(points)[0] > -300) & seen(truth, whole, part) & _from_middle(landed, part.center)[1]
    fixed = np.clip(fixed, -1024, 3000).astype(np.float32)
    return Made(Image(fixed, whole, "fixed"), Image(moving, part, "moving"), truth, body)


def _from_middle(points: torch.Tensor, middle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r = np.hypot(points[0].numpy() - middle[0], points[1].numpy() - middle[1])
    return r, r < VIEW
