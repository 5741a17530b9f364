"""The pairs that are timed: the demonstration's, generated ones from a thousand voxels to a whole body, the user's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from DeepRegistrationLib.errors import InputError

from ..pairs import read_pairs
from ..scaling import make_pair

CURVE = (10, 16, 24, 32, 48, 64, 96, 128, 160)
QUICK = (10, 24)
LARGE = "512x512x300"
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


def cases(
    folder: Path, quick: bool, large: bool, pairs: Path | None, only: Sequence[str] | None = None
) -> Iterator[Case]:
    """Make one case after the other, its images in ``folder``; ``only`` those of these names.

    Raises:
        InputError: if there is none of a name.
    """
    makers: dict[str, Callable[[], Case]] = {}
    if not quick:
        makers["demo"] = partial(_head, "demo", "demo", (144, 180, 144), folder)
        accurate = {"refine": "accurate"}
        makers["head, accurate"] = partial(_head, "head, accurate", "demo", (160, 192, 224), folder, accurate)
    for edge in QUICK if quick else CURVE:
        makers[f"{edge}"] = partial(_head, f"{edge}", "curve", (edge, edge, edge), folder)
    if large:
        makers[LARGE] = partial(_body, folder)
    for pair in read_pairs(pairs) if pairs is not None else []:
        makers[pair.name] = partial(Case, pair.name, "pair", pair.fixed, pair.moving, pair.cross)
    unknown = [name for name in only or () if name not in makers]
    if unknown:
        raise InputError(f"There is no case {unknown[0]}; there are {'; '.join(makers)}.")
    for name, make in makers.items():
        if only is None or name in only:
            yield make()


def _body(folder: Path) -> Case:
    made = make_pair(LARGE, (300, 512, 512), "ct", folder)
    return Case(LARGE, "curve", made.fixed, made.moving)


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
