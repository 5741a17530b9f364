"""Pairs for the robustness benchmark: those of the data folder as they are, and the same made harder in known ways."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

from DeepRegistrationLib import fields
from DeepRegistrationLib.geometry.image import Grid, Image, read_image
from DeepRegistrationLib.geometry.points import read_points
from DeepRegistrationLib.geometry.transform import displacement_on, map_points, resample
from DeepRegistrationLib.phantom.demo_pair import demo_pair

from .. import kinds
from ..pairs import Pair
from ..worker import label_map
from . import generated
from .changes import bias, contrast, elastic_field, low_resolution, missing, noise, sliding_field


@dataclass(frozen=True, eq=False)
class Case:
    """Two images and the truth about them; of the truths one is there.

    Attributes:
        kind, change: what is shown, and what was done to it; figures are averaged over both.
        labels: label maps of fixed and moving, and which labels count (all if empty).
        points: by name, (n, ndim) LPS mm in fixed and in moving; the first name counts.
        truth: (*fixed shape, ndim) LPS mm from fixed to moving, known inside ``body``.
        posed: with a truth, whether the images lie otherwise as well, so that the affine stage has something to find.
    """

    kind: str
    name: str
    change: str
    fixed: Image
    moving: Image
    labels: tuple[Image, Image] | None = None
    chosen: tuple[int, ...] = ()
    points: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    truth: np.ndarray | None = None
    body: np.ndarray | None = None
    posed: bool = False

    def score(self, transform: sitk.Transform) -> dict[str, float]:
        """ "dice", or "mm" (and "mm NAME" of further landmarks); pixels where the image has no size."""
        found: dict[str, float] = {}
        if self.truth is not None and self.body is not None:
            miss = np.linalg.norm(displacement_on(transform, self.fixed.grid) - self.truth, axis=-1)[self.body]
            return {"mm": float(miss.mean())}
        if self.labels is not None:
            found["dice"] = _dice(transform, *self.labels, self.chosen)
        for number, (name, (fixed, moving)) in enumerate(self.points.items()):
            miss = np.linalg.norm(map_points(transform, fixed) - moving, axis=-1)
            found["mm" if number == 0 else f"mm {name}"] = float(miss.mean())
        return found


def _dice(transform: sitk.Transform, fixed: Image, moving: Image, chosen: tuple[int, ...]) -> float:
    warped = resample(moving, fixed.grid, transform, mode="nearest").array.astype(np.int64)
    mine = fixed.array.astype(np.int64)
    top = int(max(mine.max(), warped.max())) + 1
    both = np.bincount(mine[mine == warped], minlength=top)
    each = np.bincount(mine.ravel(), minlength=top) + np.bincount(warped.ravel(), minlength=top)
    wanted = [v for v in (chosen or range(1, top)) if v < top and each[v] > 0]
    return float(np.mean([2 * both[v] / each[v] for v in wanted]))


Load = Callable[[], Case]


_KINDS: dict[str, tuple[str, ...]] = {
    "brain": (kinds.BRAIN, kinds.TWO_PIPELINES),
    "tumor": (kinds.TUMOR,),
    "heart": (kinds.PATIENTS,),
    "hippocampus": (kinds.HIPPOCAMPUS,),
    "chest": (kinds.CHEST,),
    "slices": (kinds.SLICES,),
    "liver": (kinds.LIVER,),
    "lung": (kinds.LUNG,),
    "histology": (kinds.HISTOLOGY,),
    "hand": (kinds.HAND,),
    "skull": (kinds.SKULL,),
    "prostate": (kinds.PROSTATE,),
}
"""The groups of pairs that each kind takes."""
_ONLY = {
    "brain": ("OAS1_0001<-OAS1_0002", "fstrain01<-fstrain02", "OAS1_0002<-vxm_test"),
    "prostate": ("one",),
}
"""Of some kinds not all pairs: none both ways."""


def base_cases(data: Path | None) -> Iterator[tuple[str, str, Load]]:
    """(kind, name, how to load it) of all pairs with a truth in the data folder, if any, and of the generated ones."""
    if data is not None:
        yield from _of_folder(data)
    for seed in range(1000, 1008):
        yield "generated head", f"{seed}", lambda seed=seed: _generated(seed)
    for kind in generated.KINDS:
        for seed in generated.SEEDS:
            yield kind, f"{seed}", partial(_unseen, kind, seed)


def _of_folder(data: Path) -> Iterator[tuple[str, str, Load]]:
    pairs = kinds.project_pairs(data)
    for kind, groups in _KINDS.items():
        for pair in pairs:
            if pair.group in groups and pair.name in _ONLY.get(kind, (pair.name,)):
                name = _NAMES.get(kind, attrgetter("name"))(pair)
                yield kind, name, partial(_loaded, kind, name, pair)
    both = [data / "brain_multimodal" / f"preop_{name}.nii.gz" for name in ("t1", "t2")]
    if all(path.exists() for path in both):  # one session: nothing moved
        yield "same head, T1 and T2", "preop", lambda: _still("same head, T1 and T2", "preop", *both)


_NAMES: dict[str, Callable[[Pair], str]] = {
    "tumor": lambda pair: pair.name.lower().replace("preop ", "").replace("follow-up ", ""),
    "slices": lambda pair: "<-".join(Path(path).name[10:15] for path in (pair.fixed, pair.moving)),
}
"""What some pairs are called here; by their names what is done to them is drawn, and results are told apart."""


def _loaded(kind: str, name: str, pair: Pair) -> Case:
    """``pair`` as it is; where it has landmarks these are scored, and its label maps are not."""
    points = {part: (read_points(a).positions, read_points(b).positions) for part, (a, b) in pair.points().items()}
    images = read_image(pair.fixed), read_image(pair.moving)
    if points:
        return Case(kind, name, "as it is", *images, points=points)
    first, second = (label_map(read_image(path)) for path in (pair.fixed_labels, pair.moving_labels))
    return Case(kind, name, "as it is", *images, (first, second), pair.labels)


def _still(kind: str, name: str, fixed: Path, moving: Path) -> Case:
    images = [read_image(path) for path in (fixed, moving)]
    truth = np.zeros((*images[0].grid.shape, images[0].ndim), np.float32)
    return Case(kind, name, "as it is", *images, truth=truth, body=images[0].array > 0)


def _generated(seed: int) -> Case:
    pair = demo_pair(seed, (96, 120, 96), 2.0, elastic=40.0, rotation=0.0, translation=0.0)
    body = pair.fixed_labels.array > 0
    truth = pair.true_displacement
    return Case(
        "generated head", f"{seed}", "elastic 40 mm", pair.fixed, pair.moving, truth=truth, body=body, posed=True
    )


def _unseen(kind: str, seed: int) -> Case:
    made = generated.KINDS[kind](seed)
    return Case(kind, f"{seed}", "as it is", made.fixed, made.moving, truth=made.truth, body=made.body, posed=True)


def halved(case: Case) -> Case:
    """Half the resolution along every axis of more than 60 voxels, if one has more than 100; the truth stays."""
    fixed, moving = (_shrunk(image) for image in (case.fixed, case.moving))
    changed = replace(case, fixed=fixed, moving=moving)
    if case.labels is not None:
        first, second = (resample(x, y.grid, mode="nearest") for x, y in zip(case.labels, (fixed, moving), strict=True))
        changed = replace(changed, labels=(first, second))
    if case.truth is not None and case.body is not None:
        onto = [
            resample(Image(array.astype(np.float32), case.fixed.grid), fixed.grid).array
            for array in (case.body, *np.moveaxis(case.truth, -1, 0))
        ]
        changed = replace(changed, body=onto[0] > 0.5, truth=np.stack(onto[1:], -1))
    return changed


def _shrunk(image: Image) -> Image:
    factors = [2 if n > 60 and max(image.grid.shape) > 100 else 1 for n in reversed(image.grid.shape)]
    small = sitk.BinShrink(sitk.Cast(image.to_sitk(), sitk.sitkFloat32), factors)
    return Image(sitk.GetArrayFromImage(small), Grid.from_sitk(small), image.name)


CHANGES = (
    "monotone contrast",
    "other contrast",
    "bias field",
    "noise",
    "thick slices",
    "half the view",
    "missing tissue",
    "elastic 10 %",
    "elastic 20 %",
    "sliding 10 %",
    "other contrast, hardly moved",
)
"""What is done to a pair, beside "as it is"."""
_OWN = ("elastic 10 %", "elastic 20 %", "sliding 10 %", "other contrast, hardly moved")


def changed(case: Case, change: str, seed: int) -> Case:
    """``case`` made harder; the same for the same seed. Motions replace the pair by the fixed image and itself, moved.

    Percentages are of the mean side of the image.
    """
    random = np.random.default_rng([seed, zlib.crc32(f"{case.kind} {case.name} {change}".encode())])
    fixed, moving = case.fixed, case.moving
    if change in _OWN:
        return _moved(replace(case, change=change), change, random)
    if change == "monotone contrast":
        fixed, moving = contrast(fixed, random, True), contrast(moving, random, True)
    elif change == "other contrast":
        fixed = contrast(fixed, random, False)
    elif change == "bias field":
        fixed, moving = bias(fixed, random), bias(moving, random)
    elif change == "noise":
        fixed, moving = noise(fixed, random), noise(moving, random)
    elif change == "thick slices":
        moving = low_resolution(moving, random)
    elif change == "half the view":
        axis = int(np.argmax(moving.grid.extent))
        low, high = np.zeros(moving.ndim, int), np.array(moving.grid.shape)
        high[axis] = max(8, round(0.6 * high[axis]))
        moving = Image(moving.array[tuple(map(slice, low, high))].copy(), moving.grid.cropped(low, high), moving.name)
    elif change == "missing tissue":
        moving = missing(moving, random)
    return replace(case, change=change, fixed=fixed, moving=moving)


def _moved(case: Case, change: str, random: np.random.Generator) -> Case:
    """The fixed image of ``case``, and the same after a known motion."""
    image = case.fixed
    grid = image.grid
    side = float(grid.extent.mean())
    if change.startswith("sliding"):
        u = sliding_field(grid, 0.1 * side, random)
    else:
        share = {"elastic 10 %": 0.1, "elastic 20 %": 0.2}.get(change, 0.015)
        u = elastic_field(grid, share * side, random)
    array = torch.from_numpy(np.ascontiguousarray(image.array, np.float32))[None, None]
    fixed = Image(fields.warp(array, u)[0, 0].numpy(), grid, image.name)
    truth = np.einsum("c...,dc->...d", u[0].numpy(), grid.matrix[:-1, :-1]).astype(np.float32)
    level = np.percentile(fixed.array[:: max(1, fixed.array.shape[0] // 32)], 99)
    body = (fixed.array - fixed.array.min()) > 0.1 * (level - fixed.array.min())
    # Where the field comes from beyond the image nothing can be known.
    index = fields.identity(grid.shape) + u
    for axis, n in enumerate(grid.shape):
        body &= ((index[0, axis] >= 0) & (index[0, axis] <= n - 1)).numpy()
    moving = contrast(image, random, False) if "contrast" in change else image
    return replace(
        case, fixed=noise(fixed, random, 0.01), moving=moving, labels=None, points={}, truth=truth, body=body
    )


def describe(case: Case) -> dict[str, Any]:
    return {"kind": case.kind, "name": case.name, "change": case.change}
