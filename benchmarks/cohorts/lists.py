"""Lists of many small pairs: of real images in a folder, or of generated ones."""

from __future__ import annotations

import csv
from itertools import islice, permutations
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from DeepRegistrationLib.errors import InputError

SIDE = 12


def write_list(folder: Path, count: int, images: Path | None, pattern: str, most: int = 32) -> Path:
    """``folder/list.csv`` of ``count`` ordered pairs of the first ``most`` images (generated if ``images`` is None).

    Raises:
        InputError: if there are not so many pairs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = sorted(images.glob(pattern))[:most] if images is not None else _generated(folder, most)
    pairs = list(islice(permutations(paths, 2), count))
    if len(pairs) < count:
        raise InputError(f"{images} has {len(paths)} images {pattern}, which are {len(pairs)} pairs and not {count}.")
    path = folder / "list.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("name", "fixed", "moving"))
        writer.writerows((f"p{k:04d}", f.absolute(), m.absolute()) for k, (f, m) in enumerate(pairs))
    return path


def called(images: Path | None) -> str:
    """The images of ``write_list``, in words."""
    return "generated, 12 voxels wide" if images is None else images.name


def _generated(folder: Path, most: int) -> list[Path]:
    """Balls of different shape, 12 voxels wide."""
    paths = []
    for number in range(most):
        rng = np.random.default_rng(number)
        grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, SIDE)] * 3, indexing="ij"))
        stretch = rng.uniform(0.8, 1.25, (3, 1, 1, 1))
        r = np.sqrt(((grid * stretch) ** 2).sum(0))
        array = 100 / (1 + np.exp(12 * (r - 0.7))) - 60 / (1 + np.exp(12 * (r - 0.3)))
        image = sitk.GetImageFromArray((array + rng.normal(0, 1, array.shape)).astype(np.float32))
        paths.append(folder / f"ball{number:02d}.nrrd")
        sitk.WriteImage(image, str(paths[-1]))
    return paths
