"""PET in free breathing and CT in breath-hold of the same chest and belly."""

from __future__ import annotations

import numpy as np

from DeepRegistrationLib.geometry.image import Image

from .motion import Chain, Flow, Made, elastic, lattice, pose, seen, truth_of
from .physics import blurred, grain
from .shapes import Canvas, centered
from .thorax import Breath, Thorax

SHAPE, SPACING = (104, 80, 104), 4.0
PET_SHAPE, PET_SPACING = (100, 92, 92), (4.0, 4.07, 4.07)


def pet_ct(seed: int) -> Made:
    """CT fixed, PET moving: blurred by the scanner and by breathing about a mean position."""
    random = np.random.default_rng([seed, 3])
    thorax = Thorax(random)
    middle = (0.0, 8.0, -80.0)
    canvas = Canvas(centered((120, 88, 112), 3.6, middle), random, (-1000.0, 0.0), 40)
    thorax.paint(canvas, 800)
    whole = centered(SHAPE, SPACING, middle)
    part = centered(PET_SHAPE, PET_SPACING, np.array(middle) + random.uniform(-6, 6, 3))
    loose = Flow(whole.with_spacing(10.0), elastic(whole.with_spacing(10.0), random, 4.0, 28.0))
    placed = pose(random, 3, 3.0, 8.0)
    mean = random.uniform(10, 20)
    truth = truth_of(Chain(Breath(thorax, mean), loose, placed), whole)
    points = lattice(whole)
    hu = canvas.sample(points)[0]
    back = Chain(loose, placed).backward(lattice(part))
    swing = random.uniform(4, 7)
    uptake = np.mean(
        [canvas.sample(Breath(thorax, mean + swing * s).backward(back))[1] for s in (-1.0, -0.4, 0.4, 1.0)], 0
    )
    uptake = blurred(uptake, 0.62)  # 6 mm FWHM
    counts = uptake + 0.06 * np.sqrt(np.maximum(uptake, 0.02)) * random.standard_normal(part.shape)
    pet = blurred(counts + 0.16 * np.sqrt(uptake + 0.03) * grain(part.shape, random, 0.8), 0.45)
    body = (thorax.outline().distance(points.numpy()) < 0) & seen(truth, whole, part)
    fixed = np.clip(hu + 14 * grain(whole.shape, random, 0.6), -1024, 3000).astype(np.float32)
    moving = np.maximum(pet, 0).astype(np.float32) * 1000
    return Made(Image(fixed, whole, "fixed"), Image(moving, part, "moving"), truth, body)
