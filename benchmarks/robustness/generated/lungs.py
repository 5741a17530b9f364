"""CT of the chest in full inspiration and in expiration: lungs slide along ribs that hardly move."""

from __future__ import annotations

import numpy as np

from DeepRegistrationLib.geometry.image import Image

from .motion import Chain, Flow, Made, elastic, lattice, pose, seen, truth_of
from .physics import grain
from .shapes import Canvas, centered
from .thorax import Breath, Thorax

SHAPE, SPACING = (112, 96, 128), (2.5, 2.5, 2.5)


def lungs(seed: int) -> Made:
    """Inspiration fixed, expiration moving; the truth counts in lungs, ribs and what is between them."""
    random = np.random.default_rng([seed, 4])
    thorax = Thorax(random)
    thorax.nodules = thorax.nodules[:1]
    middle = (0.0, 6.0, -12.0)
    canvas = Canvas(centered((128, 106, 138), 2.4, middle), random, (-1000.0,), 40)
    thorax.paint(canvas, 2400)
    grid = centered(SHAPE, SPACING, middle)
    breath = Breath(thorax, random.uniform(20, 35))
    coarse = grid.with_spacing(10.0)
    wall = np.stack([np.zeros(coarse.shape)] * 3)  # the chest sinks a little in front
    y = np.linspace(-1, 1, coarse.shape[1])[None, :, None]
    wall[1] = np.clip(-y, 0, 1) * random.uniform(3, 9)
    loose = Flow(coarse, wall + elastic(coarse, random, 4.0, 25.0))
    placed = pose(random, 3, 3.0, 6.0)
    motion = Chain(breath, loose, placed)
    truth = truth_of(motion, grid)
    points = lattice(grid)
    fixed = canvas.sample(points)[0]
    back = motion.backward(points)
    moving = canvas.sample(back)[0]
    # The same tissue in less air.
    airy = (moving < -500) & (thorax.lungs().distance(back.numpy()) < 2)
    moving = np.where(airy, (moving + 1000) / np.clip(breath.growth(back), 0.4, 1) - 1000, moving)
    fixed, moving = (
        np.clip(x + 22 * grain(grid.shape, random, 0.55), -1024, 3000).astype(np.float32) for x in (fixed, moving)
    )
    inside = thorax.cavity().grown(16).distance(points.numpy()) < 0
    body = inside & (thorax.diaphragm().grown(-25).distance(points.numpy()) > 0) & seen(truth, grid, grid)
    return Made(Image(fixed, grid, "fixed"), Image(moving, grid, "moving"), truth, body)
