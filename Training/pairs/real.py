"""Real pairs as a source of batches: read once, brought onto the network's grid, kept in memory up to a limit."""

from __future__ import annotations

import fnmatch
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from DeepRegistrationLib import fields
from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import Grid, Image, read_image
from DeepRegistrationLib.geometry.points import read_points
from DeepRegistrationLib.geometry.transform import map_points, read_transform, resample
from DeepRegistrationLib.models.placement import Placement
from DeepRegistrationLib.models.predict import normalize_image

from ..limits import check_memory
from ..plan import DataPlan
from ..synthesis.anatomy import pick
from ..synthesis.deform import maps
from ..synthesis.recipe import deform_recipe
from .batch import VALIDATION, Batch
from .label_maps import label_map, take_labels
from .manifest import Case, Manifest


@dataclass(frozen=True)
class Prepared:
    """An image on the network's grid: (1, 1, *S) float32 and, if there are labels, (1, 1, *S) int16.

    Attributes:
        grid, place: of the image as read, and where the network's grid lies on it.
        points: (n, ndim) landmarks in voxels of the network's grid.
    """

    image: Tensor
    labels: Tensor | None
    grid: Grid
    place: Placement
    points: np.ndarray | None = None

    @property
    def spacing(self) -> tuple[float, ...]:
        """mm along each axis of the network's grid."""
        return tuple(
            float(self.grid.spacing[axis]) * scale
            for axis, scale in zip(self.place.axes, self.place.scale, strict=True)
        )

    def to_network(self, points: np.ndarray) -> np.ndarray:
        """(n, ndim) LPS mm to voxels of the network's grid."""
        place = self.place
        index = self.grid.to_index(points)[:, list(place.axes)]
        turned = np.where(place.turned, np.asarray(place.image_size) - 1 - index, index)
        return (turned - np.asarray(place.offset)) / np.asarray(place.scale)

    def to_world(self, voxels: np.ndarray) -> np.ndarray:
        """The inverse of ``to_network``."""
        place = self.place
        turned = voxels * np.asarray(place.scale) + np.asarray(place.offset)
        index = np.empty_like(turned)
        index[:, list(place.axes)] = np.where(place.turned, np.asarray(place.image_size) - 1 - turned, turned)
        return self.grid.to_world(index)

    @property
    def bytes(self) -> int:
        return self.image.nbytes + (0 if self.labels is None else self.labels.nbytes)


Kept = TypeVar("Kept", Prepared, Tensor)


def _bytes(kept: Prepared | Tensor) -> int:
    return kept.nbytes if isinstance(kept, Tensor) else kept.bytes


class Cases:
    """Prepared images by file, the least recently used forgotten first where memory ends."""

    def __init__(self, plan: DataPlan) -> None:
        self.plan, self.limit, self.held = plan, int(plan.cache_gb * (1 << 30)), 0
        self._kept: OrderedDict[tuple[str, ...], Any] = OrderedDict()
        self._lock = Lock()

    def get(self, case: Case, onto: Case | None = None, moving: bool = False) -> Prepared:
        """``case`` on the network's grid; ``onto`` first resamples it onto that image (two images of one patient).

        ``moving``: with the intensities of moving images, where the plan gives these their own.
        """
        moving = moving and self.plan.moving_normalization is not None
        key = (str(case.image), "" if onto is None else str(onto.image), "moving" * moving)
        return self.remember(key, lambda: self._prepare(case, onto, moving))

    def read(self, case: Case) -> tuple[Image, Image | None]:
        """An image and its label map.

        Raises:
            InputError: if they cannot be read or used.
        """
        image = read_image(case.image, "image")
        _check_numbers(image, case.image, "image")
        if case.label is None:
            return image, None
        given = read_image(case.label, "label map")
        _check_numbers(given, case.label, "label map")
        labels = label_map(given, case.label, self.plan)
        if labels.grid.shape != image.grid.shape:
            raise InputError(f"The label map {case.label} has another size than its image {case.image}.")
        return image, labels

    def remember(self, key: tuple[str, ...], make: Callable[[], Kept]) -> Kept:
        """What ``make`` gave for this key, made again if it was forgotten."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            if key not in self._kept and _bytes(made) <= self.limit:
                self._kept[key] = made
                self.held += _bytes(made)
                while self.held > self.limit:
                    _, dropped = self._kept.popitem(last=False)
                    self.held -= _bytes(dropped)
        return made

    def _prepare(self, case: Case, onto: Case | None, moving: bool) -> Prepared:
        image, labels = self.read(case)
        if onto is not None:
            grid = read_image(onto.image, "image").grid
            image = resample(image, grid, dtype=np.float32)
            labels = None if labels is None else resample(labels, grid, mode="nearest")
        normalization = self.plan.normalization
        if moving and self.plan.moving_normalization is not None:
            normalization = self.plan.moving_normalization
        scaled = normalize_image(image, normalization)
        bright = np.argwhere(scaled[0, 0].numpy() > 0.1)
        box = (bright.min(0), bright.max(0)) if len(bright) else None
        place = Placement.on(image.grid, self.plan.grid, box)
        check_memory(place.size, 1, f"The network's grid for {case.image}")
        low, high = normalization.output
        values = place.take(scaled).mul_(high - low).add_(low)
        taken = None if labels is None else take_labels(place, labels)
        prepared = Prepared(values, taken, image.grid, place)
        if case.landmarks is None:
            return prepared
        return replace(prepared, points=prepared.to_network(read_points(case.landmarks, "landmarks").positions))


class RealSource:
    """Pairs of a manifest; which pair an item is depends on the seed and its number alone."""

    reads = True

    def __init__(self, plan: DataPlan, manifest: Manifest, seed: int) -> None:
        self.plan, self.manifest, self.seed = plan, manifest, seed
        self.cases = Cases(plan)
        self._check_pairing()
        first = self.cases.get(manifest.training[0])
        self.ndim, self.shape = first.image.ndim - 2, tuple(first.image.shape[2:])
        shapes = {tuple(self.cases.get(case).image.shape) for case in manifest.training[1:3]}
        if shapes - {tuple(first.image.shape)} and plan.longest is None:
            raise InputError("The images differ in size; give data.shape (and data.spacing) a common grid.")

    def _check_pairing(self) -> None:
        training = self.manifest.training
        if self.plan.pairing == "pairwise" and len({case.patient for case in training}) < 2 and not self.plan.deform:
            raise InputError("Pairs of different patients need at least two patients to train on.")
        bare = [
            pair for pair in self.manifest.training_pairs if (pair[0].name, pair[1].name) not in self.manifest.fields
        ]
        if bare and len(bare) < len(self.manifest.training_pairs):
            raise InputError(
                f"The pair {bare[0][0].name} and {bare[0][1].name} of the manifest has no displacement field, but "
                "others have; give all of them one, or none."
            )
        if self.plan.pairing == "atlas" and self._atlas() is None:
            raise InputError(f"The atlas {self.plan.atlas} is not an image of the manifest.")
        if self.plan.pairing == "intra" and not self.manifest.training_pairs and not self._intra(training):
            kinds = f" like {self.plan.fixed_images} and {self.plan.moving_images}" if self.plan.fixed_images else ""
            raise InputError(f"No patient of the manifest has two images{kinds}; choose another data.pairing.")
        if self.plan.moving_normalization and not self.one_way:
            raise InputError(
                "data.moving_normalization needs fixed and moving images of two kinds; give data.fixed_images and "
                "data.moving_images, or list the pairs in the manifest."
            )

    @property
    def one_way(self) -> bool:
        """Whether the plan or the manifest says which image of a pair is the fixed one."""
        return bool(self.plan.fixed_images or self.manifest.training_pairs)

    @property
    def both_ways(self) -> bool:
        return self.plan.pairing == "intra" and not self.one_way

    def _atlas(self) -> Case | None:
        for case in (*self.manifest.training, *self.manifest.validation):
            if case.name.removeprefix("./") == self.plan.atlas.removeprefix("./"):
                return case
        return None

    def _intra(self, cases: Sequence[Case]) -> list[tuple[Case, Case]]:
        by_patient: dict[str, list[Case]] = {}
        for case in cases:
            by_patient.setdefault(case.patient, []).append(case)
        fixed, moving = self.plan.fixed_images or "*", self.plan.moving_images or "*"
        return [
            (a, b)
            for own in by_patient.values()
            for a in own
            for b in own
            if a is not b and _fits(a, fixed) and _fits(b, moving)
        ]

    def _pair(self, random: np.random.Generator) -> tuple[Case, Case]:
        training = self.manifest.training
        if self.manifest.training_pairs:
            return self.manifest.training_pairs[int(random.integers(len(self.manifest.training_pairs)))]
        if self.plan.pairing == "intra":
            pairs = self._intra(training)
            return pairs[int(random.integers(len(pairs)))]
        if self.plan.pairing == "atlas":
            atlas = self._atlas()
            assert atlas is not None
            others = [case for case in training if case is not atlas]
            return atlas, others[int(random.integers(len(others)))]
        fixed = training[int(random.integers(len(training)))]
        if self.plan.deform is not None:  # one image against itself, deformed
            return fixed, fixed
        others = [case for case in training if case.patient != fixed.patient]
        return fixed, others[int(random.integers(len(others)))]

    def batch(self, items: Sequence[int], fade: float = 1.0) -> Batch:
        made = []
        for item in items:
            random = np.random.default_rng([self.seed, item, 7])
            made.append(self._make(*self._pair(random), random, fade))
        return _joined(made)

    def _make(self, fixed: Case, moving: Case, random: np.random.Generator, fade: float) -> Batch:
        together = self.plan.pairing == "intra" or self.plan.longest is not None
        onto = fixed if together and moving is not fixed else None
        one, two = self.cases.get(fixed), self.cases.get(moving, onto, moving=True)
        batch = Batch(
            one.image,
            two.image,
            one.labels,
            two.labels,
            names=(f"{fixed.name} <- {moving.name}",),
            spacing=one.spacing,
            fixed_points=one.points,
            moving_points=two.points,
        )
        known = self.manifest.fields.get((fixed.name, moving.name))
        if self.plan.deform is None:
            return batch if known is None else self._with_field(batch, one, two, known)
        shape = tuple(one.image.shape[2:])
        where = maps([deform_recipe(self.plan.deform, shape, random, fade)], shape, torch.device("cpu"))
        return replace(
            batch,
            moving=fields.sample(two.image, where.moving),
            moving_labels=None if two.labels is None else pick(two.labels, where.moving),
            displacement=where.displacement,
            weight=((where.error < 0.3) & _ends_inside(where.displacement)).float(),
            moving_points=None,
        )

    def _with_field(self, batch: Batch, one: Prepared, two: Prepared, path: Path) -> Batch:
        """The pair with the field of a file: each voxel of the one through the transform into the other."""

        def read() -> Tensor:
            voxels = fields.identity(one.image.shape[2:])[0].flatten(1).T.double().numpy()
            end = two.to_network(map_points(read_transform(path, "displacement field"), one.to_world(voxels)))
            moved = torch.from_numpy((end - voxels).astype(np.float32).T.copy())
            return moved.view(1, self.ndim, *one.image.shape[2:])

        u = self.cases.remember((batch.names[0], str(path)), read)
        return replace(batch, displacement=u, weight=_ends_inside(u).float())

    def validation(self, count: int) -> list[Batch]:
        held = self.manifest.validation
        pairs: list[tuple[Case, Case]] = list(self.manifest.validation_pairs)
        if not pairs:
            atlas = self._atlas() if self.plan.pairing == "atlas" else None
            if self.plan.pairing == "intra":
                pairs = self._intra(held)
            elif atlas is not None:
                pairs = [(atlas, case) for case in held if case is not atlas]
            elif self.plan.deform is not None:
                pairs = [(case, case) for case in held]
            else:
                pairs = [(a, b) for a, b in zip(held, [*held[1:], *held[:1]], strict=True) if a.patient != b.patient]
        batches = []
        for number, (fixed, moving) in enumerate(pairs[:count]):
            random = np.random.default_rng([self.seed, VALIDATION + number, 7])
            batches.append(self._make(fixed, moving, random, 1.0))
        return batches

    def label_maps(self) -> list[Tensor]:
        """Label maps of the training images (*S), for synthetic images upon them."""
        found = [self.cases.get(case).labels for case in self.manifest.training if case.label is not None]
        return [labels[0, 0].to(torch.uint8) for labels in found if labels is not None]

    def check(self) -> None:
        """Read every image and label map once, so that a bad one is found before hours are spent.

        Raises:
            InputError: if one of them cannot be used.
        """
        seen = set()
        pairs = [*self.manifest.training_pairs, *self.manifest.validation_pairs]
        for case in (*self.manifest.training, *self.manifest.validation, *(case for pair in pairs for case in pair)):
            if case.image not in seen:
                self.cases.read(case)
                seen.add(case.image)

    def fingerprint(self) -> str:
        return self.manifest.fingerprint()

    def without_labels(self) -> str:
        pairs = self.manifest.training_pairs
        cases = [case for pair in pairs for case in pair] if pairs else self.manifest.training
        return next((case.name for case in cases if case.label is None), "")

    def describe(self) -> dict[str, object]:
        m = self.manifest
        return {
            "kind": "images",
            "name": m.name,
            "modality": m.modality,
            "training": len(m.training),
            "validation": len(m.validation),
        }


def _fits(case: Case, pattern: str) -> bool:
    return fnmatch.fnmatchcase(Path(case.name).name, pattern)


def _ends_inside(u: Tensor) -> Tensor:
    """(B, 1, *S) where the map of a displacement ends within the grid."""
    end = u + fields.identity(u.shape[2:])
    inside = torch.ones_like(u[:, :1], dtype=torch.bool)
    for d, n in enumerate(u.shape[2:]):
        inside &= (end[:, d : d + 1] >= 0) & (end[:, d : d + 1] <= n - 1)
    return inside


def _joined(batches: Sequence[Batch]) -> Batch:
    def join(name: str) -> Tensor | None:
        parts = [getattr(batch, name) for batch in batches]
        return None if any(part is None for part in parts) else torch.cat(parts)

    if len(batches) == 1:
        return batches[0]
    fixed, moving = join("fixed"), join("moving")
    assert fixed is not None
    assert moving is not None
    return Batch(
        fixed,
        moving,
        join("fixed_labels"),
        join("moving_labels"),
        join("displacement"),
        join("weight"),
        tuple(name for batch in batches for name in batch.names),
    )


def _check_numbers(image: Image, path: Path, name: str) -> None:
    if not np.isfinite(image.array).all():
        raise InputError(f"The {name} {path} has values that are not numbers (NaN or infinite); mend it first.")
