"""Vessels that branch: segments with tapering radii, inside a shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from .shapes import Segment, Shape, Vector

Inside = Callable[[np.ndarray], float]
"""About the signed mm of a point from the border of what a tree may fill, negative inside."""


def at_point(shape: Shape) -> Inside:
    """The shape's distance of a single point."""
    return lambda point: float(shape.distance([np.full(1, c, np.float32) for c in point])[0])


def tree(
    random: np.random.Generator,
    start: Vector,
    direction: Vector,
    radius: float,
    inside: Inside,
    *,
    least: float = 0.7,
    stretch: float = 7.0,
    spread: float = 0.55,
    wander: float = 0.12,
    most: int = 500,
) -> list[Segment]:
    """Segments of one tree, the thickest first.

    Args:
        start, direction: (ndim,) mm, where it enters and whereto.
        radius: mm there; branches share it by Murray's law, and those under ``least`` end.
        stretch: length of a branch over its radius, about.
        spread: half the angle of a fork, radian; ``wander``: how crooked a branch is.
        most: segments.
    """
    found: list[Segment] = []
    ends = [(np.asarray(start, float), np.asarray(direction, float) / np.linalg.norm(direction), radius)]
    while ends and len(found) < most:
        ends.sort(key=lambda end: -end[2])
        at, way, r = ends.pop(0)
        length = stretch * r**0.7 * random.uniform(0.7, 1.4)
        parts = max(2, int(length / 5))
        for _ in range(parts):
            way = way + wander * random.standard_normal(len(way))
            way /= np.linalg.norm(way)
            after = at + way * (length / parts)
            for _ in range(4):  # aside, where it would leave
                if inside(after) <= -r:
                    break
                way = way + 0.9 * random.standard_normal(len(way))
                way /= np.linalg.norm(way)
                after = at + way * (length / parts)
            if inside(after) > -r:
                break
            found.append((at, after, r, r * 0.97))
            at, r = after, r * 0.97
        else:
            ends += list(_fork(random, at, way, r, spread, least))
    return found


def _fork(
    random: np.random.Generator, at: np.ndarray, way: np.ndarray, r: float, spread: float, least: float
) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    share = random.uniform(0.5, 0.85)
    side = random.standard_normal(len(way))
    side -= way * (side @ way)
    side /= max(float(np.linalg.norm(side)), 1e-6)
    for part, sign in ((share, 1), (1 - share, -1)):
        thin = r * part ** (1 / 2.7)
        angle = sign * spread * random.uniform(0.6, 1.4) * (1.6 - part)
        turned = way * np.cos(angle) + side * np.sin(angle)
        if thin >= least:
            yield at, turned, thin


def crooked(random: np.random.Generator, points: np.ndarray, bend: float, steps: int = 8) -> np.ndarray:
    """(m, ndim): a smooth line through ``points`` (n, ndim), off by about ``bend`` mm between them."""
    n = len(points)
    t = np.linspace(0, n - 1, (n - 1) * steps + 1)
    line = np.stack([np.interp(t, np.arange(n), points[:, d]) for d in range(points.shape[1])], 1)
    off = np.zeros_like(line)
    for waves in (1, 2, 3):
        phase = random.uniform(0, 2 * np.pi, points.shape[1])
        off += bend / waves * np.sin(2 * np.pi * waves * t[:, None] / max(n - 1, 1) + phase)
    kernel = np.hanning(steps + 3)[1:-1]
    kernel /= kernel.sum()
    half = len(kernel) // 2
    padded = np.pad(line, ((half, half), (0, 0)), mode="edge")
    smooth = np.stack([np.convolve(padded[:, d], kernel, "valid")[: len(line)] for d in range(line.shape[1])], 1)
    return smooth + off
