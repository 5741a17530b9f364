"""Grids that break careless geometry: oblique, anisotropic, flipped."""

from __future__ import annotations

import numpy as np

from DeepRegistrationLib.geometry.image import Grid


def rotation(degrees: tuple[float, float, float]) -> np.ndarray:
    """(3, 3) turning about x, then y, then z."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        a, b = [i for i in range(3) if i != axis]
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


def oblique(
    shape: tuple[int, ...] = (20, 26, 23),
    spacing: tuple[float, ...] = (3.0, 1.2, 0.9),
    degrees: tuple[float, float, float] = (20.0, -35.0, 50.0),
    flips: tuple[int, ...] = (1, -1, 1),
    origin: tuple[float, ...] = (-31.0, 17.5, 88.0),
) -> Grid:
    """An oblique, anisotropic grid with a flipped axis; 2-D where ``shape`` has two axes."""
    n = len(shape)
    matrix = np.eye(n + 1)
    turn = rotation(degrees)[:n, :n] if n == 3 else rotation((0, 0, degrees[2]))[:2, :2]
    matrix[:n, :n] = turn @ np.diag(np.multiply(spacing[:n], flips[:n]))[::-1]
    matrix[:n, n] = origin[:n]
    return Grid(shape, matrix)


GRIDS = {
    "axis-aligned": Grid.from_shape((18, 22, 25)),
    "oblique anisotropic flipped": oblique(),
    "left-handed": oblique(flips=(-1, 1, 1), degrees=(0, 0, 0)),
    "oblique 2-D": oblique((40, 33), (1.5, 0.7), flips=(1, -1)),
}
