"""The pairs that are timed: the demonstration's, generated ones from a thousand voxels to a whole body, the user's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from ..pairs import read_pairs
from ..scaling import make_pair

CURVE = (10, 16, 24, 32, 48, 64, 96, 128, 160)
QUICK = (10, 24)
SMALLEST_HEAD = 32
"""The generated head needs so many voxels on an axis; smaller ones are made from it."""


@dataclass(frozen=True)
class Case:
    """One pair and how it is registered; ``kind`` is "demo", "curve" or "pair"."""

    name: str
    kind: str
    fixed: str
    moving: str
    cross: bool = True
    settings: dict[str, Any] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


def cases(folder: Path, quick: bool, large: bool, pairs: Path | None) -> Iterator[Case]:
    """Make one case after the other, its images in ``folder``."""
    if not quick:
        yield _head("demo", "demo", (144, 180, 144), folder)
        yield _head("head, accurate", "demo", (160, 192, 224), folder, {"refine": "accurate"})
    for edge in QUICK if quick else CURVE:
        yield _head(f"{edge}", "curve", (edge, edge, edge), folder)
    if large:
        made = make_pair("512x512x300", (300, 512, 512), "ct", folder)
        yield Case(made.name, "curve", made.fixed, made.moving)
    for pair in read_pairs(pairs) if pairs is not None else []:
        yield Case(pair.name, "pair", pair.fixed, pair.moving, pair.cross)


def _head(
    name: str, kind: str, shape: tuple[int, int, int], folder: Path, settings: dict[str, Any] | None = None
) -> Case:
    made = make_pair(name, tuple(max(n, SMALLEST_HEAD) for n in shape), "head", folder)
    if min(shape) < SMALLEST_HEAD:
        for path in (made.fixed, made.moving):
            sitk.WriteImage(_shrunk(sitk.ReadImage(path), shape), path)
    return Case(name, kind, made.fixed, made.moving, settings=settings or {})


def _shrunk(image: sitk.Image, shape: tuple[int, int, int]) -> sitk.Image:
    size = list(reversed(shape))
    ratio = [n / m for n, m in zip(image.GetSize(), size, strict=True)]
    smooth = sitk.SmoothingRecursiveGaussian(image, [s * r / 2 for s, r in zip(image.GetSpacing(), ratio, strict=True)])
    spacing = [s * r for s, r in zip(image.GetSpacing(), ratio, strict=True)]
    origin = image.TransformContinuousIndexToPhysicalPoint([(r - 1) / 2 for r in ratio])
    return sitk.Resample(smooth, size, sitk.Transform(), sitk.sitkLinear, origin, spacing, image.GetDirection())
