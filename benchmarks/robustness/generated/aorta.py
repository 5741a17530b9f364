"""MR angiography of a belly's aorta and its branches, and of the same more tortuous years later."""

from __future__ import annotations

import numpy as np

from DeepRegistrationLib.geometry.image import Image

from .motion import Chain, Flow, Made, elastic, fade, lattice, pose, seen, smooth_step, truth_of
from .physics import coil, rician
from .shapes import Canvas, Segment, axes_of, centered, ellipsoid, fractal, tube
from .trees import Inside, crooked, tree

SHAPE, SPACING = (144, 84, 120), 1.2


def _v(*xyz: float) -> np.ndarray:
    return np.array(xyz, float)


def _chain(line: np.ndarray, radii: np.ndarray) -> list[Segment]:
    return [(line[k], line[k + 1], float(radii[k]), float(radii[k + 1])) for k in range(len(line) - 1)]


def _vessels(random: np.random.Generator) -> list[Segment]:
    """Aorta, what divides it below, and its branches; mm, it runs down along z a little left of the spine."""
    split = random.uniform(-42, -28)
    r = random.uniform(8.5, 10.5)
    course = np.array([(6, 12, 130), (5, 8, 60), (4, 2, 20), (3, 0, split)], float)
    line = crooked(random, course, random.uniform(3, 7), 10)
    z = line[:, 2]
    radii = r * (1 - 0.25 * smooth_step((60 - z) / 100))
    radii += random.uniform(0, 9) * np.exp(-(((z - split - random.uniform(18, 34)) / random.uniform(11, 18)) ** 2))
    found = _chain(line, radii)

    def at(height: float) -> np.ndarray:
        return np.array([np.interp(height, z[::-1], line[::-1, d]) for d in range(3)])

    for x in (-1, 1):
        end = line[-1]
        way = [end, end + _v(x * 16, 2, -22), end + _v(x * 30, 14, -48), end + _v(x * 44, -8, -90)]
        iliac = crooked(random, np.array(way, float), random.uniform(2, 5), 8)
        found += _chain(iliac, np.linspace(r * 0.62, r * 0.42, len(iliac)))
        found += _chain(
            crooked(
                random, np.array([iliac[15], iliac[15] + _v(-x * 4, 22, -20), iliac[15] + _v(x * 2, 30, -50)]), 2.0
            ),
            np.linspace(r * 0.4, 1.6, 17),
        )
        for _ in range(1 + int(random.random() < 0.3)):
            root = at(random.uniform(8, 22))
            hilum = np.array([x * 52, 18, random.uniform(-4, 12)])
            renal = crooked(random, np.stack([root, (root + hilum) / 2 + _v(0, -2, 4), hilum]), 1.5)
            found += _chain(renal, np.linspace(3.2, 2.3, len(renal)))
            found += tree(random, hilum, (x, 0.2, random.uniform(-0.3, 0.3)), 2.2, _near(hilum, 30), least=0.8, most=30)
        for height in np.arange(split + 8, 70, random.uniform(22, 27)):
            lumbar = at(height)
            found += _chain(
                np.stack([lumbar, lumbar + _v(x * 9, 16, 2), lumbar + _v(x * 22, 30, 0)]), np.array([1.3, 1.1, 0.7])
            )
    trunk = at(random.uniform(38, 46))
    found += _chain(np.stack([trunk, trunk + _v(0, -14, -2), trunk + _v(1, -20, 2)]), np.array([3.8, 3.4, 3.0]))
    for x in (-1, 1):
        found += tree(
            random, trunk + _v(1, -20, 2), (x, -0.1, 0.3), 2.8, _near(trunk, 62), least=0.9, wander=0.2, most=45
        )
    upper = at(random.uniform(26, 34))
    down = crooked(
        random, np.stack([upper, upper + _v(0, -18, -10), upper + _v(-2, -24, -45), upper + _v(-8, -26, -85)]), 2.0
    )
    found += _chain(down, np.linspace(3.6, 1.8, len(down)))
    for k in range(6, len(down), 3):
        found += tree(
            random, down[k], (random.choice([-1, 1]), -0.2, -0.7), 1.6, _near(down[k], 50), least=0.8, most=14
        )
    return found


def _fewer(shape: tuple[int, ...], coarser: float) -> tuple[int, ...]:
    return tuple(round(n / coarser) for n in shape)


def _near(middle: np.ndarray, reach: float) -> Inside:
    return lambda point: float(np.linalg.norm(point - middle)) - reach


def aorta(seed: int, coarser: float = 1.0) -> Made:
    """Two angiographies; the truth counts in vessels and 5 mm around them. ``coarser``: times the voxels' size."""
    random = np.random.default_rng([seed, 8])
    middle = (2.0, 4.0, 0.0)
    canvas = Canvas(centered(_fewer((170, 100, 136), coarser), 1.15 * coarser, middle), random, (0.0, 0.0), 22)
    texture = fractal(canvas.grid.shape, random, canvas.grid.spacing, 30, 4)
    canvas.values[0] = np.maximum(0.10 + 0.035 * texture, 0.01)  # fat and bowel, subdued
    for n in range(-4, 5):
        canvas.paint(ellipsoid((0, 36, n * 33), (22, 17, 14)), 0.07, None, uneven=1)
    for x in (-1, 1):
        canvas.paint(tube([(x * 28, 34, 70), (x * 40, 26, -110)], (12, 24)), 0.14, None, uneven=2)
        kidney = ellipsoid((x * 66, 24, random.uniform(-4, 10)), (25, 22, random.uniform(46, 54)))
        canvas.paint(kidney, 0.38, None, uneven=2)
        canvas.paint(kidney.grown(-9), 0.24, None, uneven=3)
    canvas.paint(ellipsoid((-50, -24, 76), (58, 52, 48)), (0.21 + 0.02 * texture).astype(np.float32), None, uneven=2)
    canvas.paint(tube([(-18, 14, 130), (-17, 6, 20), (-15, 10, -50)], (10, 9.5, 9)), 0.17, None, uneven=1)
    vessels = sorted(_vessels(random), key=lambda s: s[2])
    for one in vessels:
        canvas.paint(tube(one[:2], np.array(one[2:]) + 5), None, 1.0)
    for one in vessels:
        canvas.paint(tube(one[:2], one[2:]), 1.0, None)

    coarse = centered((42, 26, 36), 6.0, middle)
    across, ahead, up = axes_of(coarse)
    bow = (
        np.exp(-(((across - 4) / 32) ** 2) - ((ahead - 4) / 30) ** 2)
        * smooth_step((up + 120) / 60)
        * smooth_step((110 - up) / 60)
    )
    phase, length = random.uniform(0, 6, 2), random.uniform(70, 120, 2)
    v = elastic(coarse, random, 7.0, 18.0)
    for d in (0, 1):
        v[d] += random.uniform(5, 10) * (0.6 if d else 1) * bow * np.sin(2 * np.pi * up / length[d] + phase[d])
    v[2] += random.uniform(-6, 6) * smooth_step((np.abs(across) - 25) / 30) * np.exp(-((up / 60) ** 2))
    motion = Chain(Flow(coarse, v * fade(coarse)), pose(random, 3, 5.0, 7.0))
    grid = centered(_fewer(SHAPE, coarser), SPACING * coarser, middle)
    truth = truth_of(motion, grid)
    points = lattice(grid)
    still, near = canvas.sample(points)
    moved = canvas.sample(motion.backward(points))[0]
    fixed, moving = (
        (700 * rician(p * coil(grid.shape, random, grid.spacing, 0.2) * random.uniform(0.8, 1.2), random, 0.06)).astype(
            np.float32
        )
        for p in (still, moved)
    )
    body = (near > 0.5) & seen(truth, grid, grid)
    return Made(Image(fixed, grid, "fixed"), Image(moving, grid, "moving"), truth, body)
