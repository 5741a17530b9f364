"""Images as a camera sees them: through an opening and under a light that stay in their place of the picture."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from DeepRegistrationLib.geometry.image import Grid, Image


def seen_by_a_camera(
    ndim: int = 2,
    side: int = 160,
    shift: float = 0.16,
    degrees: float = 0.0,
    noise: float = 0.0,
    seed: int = 0,
    round_view: bool = True,
    depth: float = 0.12,
) -> tuple[Image, Image, np.ndarray]:
    """(fixed, moving, matrix (ndim + 1, ndim + 1) from fixed to moving, mm): one structure, seen from two places.

    Args:
        shift: of the structure along x, in sides of the image.
        degrees: by which it is turned in the plane.
        noise: standard deviation of what the sensor adds, also where nothing is seen; 1 is the light's range.
        round_view: through an opening, dark around; else the light alone stays in its place.
        depth: of the structure, relative to the light.
    """
    random = np.random.default_rng(seed)
    shape = (side,) * ndim
    grid = Grid.from_shape(shape, 1.0)
    large = [2 * n for n in shape]
    fine = ndimage.gaussian_filter(random.normal(size=large), 0.012 * side) - ndimage.gaussian_filter(
        random.normal(size=large), 0.03 * side
    )
    fine = fine / fine.std()
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")).reshape(ndim, -1)
    away = (index - (side - 1) / 2) / side
    opening = (np.sqrt((away[-2:] ** 2).sum(0)) < 0.44) | (not round_view)
    light = 0.4 + 0.6 * np.exp(-((away - 0.15) ** 2).sum(0) / 0.08)
    angle = np.radians(degrees)
    turn = np.eye(ndim)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    center = np.full(ndim, (side - 1) / 2)
    matrix = np.eye(ndim + 1)
    matrix[:ndim, :ndim] = turn
    matrix[:ndim, ndim] = center - turn @ center + shift * side * np.eye(ndim)[0]
    back = np.linalg.inv(matrix)
    images = []
    for there in (np.eye(ndim + 1), back):
        world = index[::-1]
        at = (there[:ndim, :ndim] @ world + there[:ndim, ndim:])[::-1] + side / 2
        structure = ndimage.map_coordinates(fine, at, order=1, mode="wrap")
        array = 100 * opening * light * (1 + depth * structure) + 100 * noise * np.abs(
            random.normal(size=opening.shape)
        )
        images.append(Image(array.reshape(shape).astype(np.float32), grid))
    return images[0], images[1], matrix


def points_missed(found: np.ndarray, true: np.ndarray, side: int) -> float:
    """Mean distance, mm, of where two matrices lead the middle of an image of ``side`` mm."""
    n = len(true) - 1
    points = np.random.default_rng(0).uniform(0.3 * side, 0.7 * side, (200, n))
    off = found - true
    return float(np.linalg.norm(points @ off[:n, :n].T + off[:n, n], axis=1).mean())


def sections_under_lights(seed: int, degrees: float, side: int = 160) -> tuple[Image, Image, np.ndarray]:
    """(fixed, moving, matrix (3, 3) from fixed to moving, mm): dark tissue on a bright ground, each in its own light.

    Args:
        degrees: by which the tissue is turned in the plane; it is shifted as well.
    """
    random = np.random.default_rng(seed)
    fine, outline = (ndimage.gaussian_filter(random.normal(size=(2 * side,) * 2), x * side) for x in (0.012, 0.12))
    fine, outline = fine / fine.std(), outline / outline.std()
    grid, index = Grid.from_shape((side, side), 1.0), np.indices((side, side)).reshape(2, -1)
    center, angle = np.full(2, (side - 1) / 2), np.radians(degrees)
    matrix = np.eye(3)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:2, 2] = center - matrix[:2, :2] @ center + [0.08 * side, 0.04 * side]
    images = []
    for there in (np.eye(3), np.linalg.inv(matrix)):
        world = there[:2, :2] @ index[::-1] + there[:2, 2:]
        texture, edge = (
            ndimage.map_coordinates(x, world[::-1] + side / 2, order=1, mode="wrap") for x in (fine, outline)
        )
        away = np.sqrt((((world.T - center) / side / (0.34, 0.24)) ** 2).sum(1))
        tissue = 1 / (1 + np.exp((away - 1 + 0.12 * edge) / 0.02))
        coarse = random.uniform(-1, 1, (3, 3))
        light = 1.5 ** ndimage.zoom(coarse, side / 3, order=1, mode="nearest", grid_mode=True).ravel()
        array = 200 * light * (1 - tissue * (0.35 + 0.12 * texture))
        images.append(Image(array.reshape(side, side).astype(np.float32), grid))
    return images[0], images[1], matrix
