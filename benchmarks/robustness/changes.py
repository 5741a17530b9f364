"""What makes a pair harder: other contrast, uneven gain, noise, thick slices, lost tissue, large and sliding motion."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from DeepRegistrationLib import fields
from DeepRegistrationLib.geometry.image import Grid, Image


def _unit(image: Image) -> tuple[np.ndarray, np.ndarray]:
    """0 to 1 between the lowest value and the 99.5th percentile; and where it is background (under 3 %)."""
    array = image.array.astype(np.float32)
    low = float(np.percentile(array, 0.5))
    inside = array[array > low]
    high = float(np.percentile(inside, 99.5)) if inside.size else low + 1
    unit = np.clip((array - low) / max(high - low, 1e-6), 0, 1)
    return unit, unit < 0.03


def contrast(image: Image, random: np.random.Generator, monotone: bool) -> Image:
    """Intensities through a random curve; the background stays dark.

    One that is not monotone has four random turning points, no two neighbors within a quarter of each other.
    """
    unit, background = _unit(image)
    knots = np.linspace(0, 1, 5)
    if monotone:
        values = np.r_[0, np.cumsum(random.uniform(0.1, 1.0, 4))]
        values /= values[-1]
    else:
        values = [float(random.uniform(0.3, 1.0))]
        while len(values) < 5:
            value = float(random.uniform(0.1, 1.0))
            if abs(value - values[-1]) > 0.25:
                values.append(value)
    mapped = np.interp(unit, knots, values)
    edge = np.clip(unit / 0.06, 0, 1)  # no bright rim from partial volume beside air
    mapped = np.where(background, 0, mapped * edge)
    return Image((mapped * 1000).astype(np.float32), image.grid, image.name)


def _smooth_noise(shape: tuple[int, ...], random: np.random.Generator, knots: int) -> np.ndarray:
    """About -1 to 1, smooth over a part of 1/knots of the image."""
    return enlarged(random.uniform(-1, 1, [min(knots, n) for n in shape]), shape)


def enlarged(coarse: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A few values in each direction, (*shape) float32, smooth between them; the outermost lie in the corners."""
    mode = "bicubic" if len(shape) == 2 else "trilinear"
    values = torch.from_numpy(coarse.astype(np.float32))[None, None]
    return torch.nn.functional.interpolate(values, size=shape, mode=mode, align_corners=True)[0, 0].numpy()


def bias(image: Image, random: np.random.Generator, strength: float = 0.5) -> Image:
    """Gain between 1 / (1 + strength) and 1 + strength, changing slowly."""
    low = float(image.array.min())
    gain = (1 + strength) ** _smooth_noise(image.grid.shape, random, 3)
    return Image((low + (image.array - low) * gain).astype(np.float32), image.grid, image.name)


def noise(image: Image, random: np.random.Generator, strength: float = 0.08) -> Image:
    """Gaussian, ``strength`` of the intensity range."""
    low, high = np.percentile(image.array, (0.5, 99.5))
    added = random.standard_normal(image.grid.shape).astype(np.float32) * strength * float(high - low)
    return Image(image.array.astype(np.float32) + added, image.grid, image.name)


def low_resolution(image: Image, random: np.random.Generator, factor: int = 4) -> Image:
    """Slices ``factor`` times as thick along one axis (the thickest that has enough of them)."""
    long = [a for a, n in enumerate(image.grid.shape) if n >= 8 * factor] or [int(np.argmax(image.grid.shape))]
    axis = int(random.choice(long))
    n = image.grid.shape[axis] // factor * factor
    array = np.moveaxis(image.array.astype(np.float32), axis, 0)[:n]
    thick = array.reshape(n // factor, factor, *array.shape[1:]).mean(1)
    high = np.array(image.grid.shape)
    high[axis] = n
    shape = tuple(n // factor if a == axis else s for a, s in enumerate(image.grid.shape))
    grid = image.grid.cropped(np.zeros(image.ndim, int), high).resized(shape)
    return Image(np.ascontiguousarray(np.moveaxis(thick, 0, axis)), grid, image.name)


def missing(image: Image, random: np.random.Generator, share: float = 0.12) -> Image:
    """A ball of radius ``share`` of the mean side, somewhere in the middle half, filled with the lowest value."""
    grid = image.grid
    middle = [float(random.uniform(0.3, 0.7)) * n for n in grid.shape]
    index = np.meshgrid(*[np.arange(n, dtype=np.float32) for n in grid.shape], indexing="ij", sparse=True)
    distance = sum(((i - m) * s) ** 2 for i, m, s in zip(index, middle, grid.spacing, strict=True))
    array = image.array.astype(np.float32).copy()
    array[distance < (share * float(grid.extent.mean())) ** 2] = array.min()
    return Image(array, grid, image.name)


def elastic_field(grid: Grid, largest: float, random: np.random.Generator) -> Tensor:
    """(1, ndim, *shape) voxels: a smooth one-to-one field whose longest displacement is ``largest`` mm.

    The exponential of a velocity of two scales, an eighth and a sixteenth of the image; it fades at the border.
    """
    coarse = grid.with_spacing(float(grid.extent.mean()) / 40)
    shape, generator = coarse.shape, torch.Generator().manual_seed(int(random.integers(1 << 31)))
    velocity = torch.zeros(1, grid.ndim, *shape)
    for sigma, weight in ((2.5, 0.35), (5.0, 1.0)):
        drawn = fields.smooth(torch.randn(1, grid.ndim, *shape, generator=generator), sigma)
        velocity += weight * drawn / drawn.std()
    fade = torch.ones(shape)
    for axis, n in enumerate(shape):
        index = torch.arange(n, dtype=torch.float32)
        ramp = (torch.minimum(index, n - 1 - index) / max(1.0, 0.15 * n)).clamp(0, 1)
        fade = fade * ramp.view([-1 if a == axis else 1 for a in range(grid.ndim)])
    velocity *= fade
    steps = torch.as_tensor(coarse.spacing, dtype=torch.float32).view(1, -1, *[1] * grid.ndim)
    velocity /= steps
    for _ in range(3):
        length = float((fields.exponentiate(velocity) * steps).square().sum(1).sqrt().max())
        velocity = velocity * (largest / max(length, 1e-6))
    return fields.resize(fields.exponentiate(velocity), grid.shape)


def sliding_field(grid: Grid, largest: float, random: np.random.Generator) -> Tensor:
    """(1, ndim, *shape) voxels: an inner ellipse moves along one axis by ``largest`` mm, what is around it stays.

    The motion fades towards the ends of the ellipse along that axis; along its sides it ends abruptly.
    """
    axis = int(random.integers(grid.ndim)) if min(grid.shape) > 20 else int(np.argmax(grid.shape))
    index = np.meshgrid(*[np.linspace(-1, 1, n, dtype=np.float32) for n in grid.shape], indexing="ij", sparse=True)
    across = sum(i**2 for a, i in enumerate(index) if a != axis) / 0.5**2
    along = np.clip(1.25 - np.abs(index[axis]) / 0.6, 0, 1)
    along = along * along * (3 - 2 * along)
    u = torch.zeros(1, grid.ndim, *grid.shape)
    u[0, axis] = torch.from_numpy((across < 1) * along * (largest / grid.spacing[axis]))
    return u
