"""Models on real pairs: the network alone, as the start of the fast refinement, and that refinement without it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

from DeepRegistrationLib import fields, register
from DeepRegistrationLib.geometry.image import Grid, Image, read_image
from DeepRegistrationLib.geometry.transform import displacement_on, lps_to_voxels
from DeepRegistrationLib.models.header import Header
from Training.synthesis.deform import maps
from Training.synthesis.plan import DeformPlan
from Training.synthesis.recipe import deform_recipe

from .. import worker
from ..kinds import BRAIN, CHEST, HEART, HIPPOCAMPUS, HISTOLOGY, REMAPPED, SLICES, TUMOR, project_pairs
from ..pairs import Pair

KNOWN = "T1 and T2 slices of one brain (known field)"
IN_2D = (CHEST, SLICES, KNOWN, HISTOLOGY)
ONE_CONTRAST = (BRAIN, HIPPOCAMPUS, HEART)
TWO_CONTRASTS = (REMAPPED, TUMOR)
GROUPS: dict[tuple[str, int], tuple[str, ...]] = {
    ("universal", 3): (*ONE_CONTRAST, *TWO_CONTRASTS),
    ("voxelmorph-1", 3): ONE_CONTRAST,
    ("voxelmorph-2", 3): ONE_CONTRAST,
    ("dual-branch", 3): (*ONE_CONTRAST, *TWO_CONTRASTS),
    ("deform-gan", 3): TWO_CONTRASTS,
    **dict.fromkeys(((m, 2) for m in ("universal", "dual-branch", "deform-gan", "sar-net", "flownet-roi")), IN_2D),
}
"""On which real pairs a method is measured. In 2-D on all: seconds each, and a user may choose any."""
HALF, LARGE = ", half resolution", 1_500_000
"""What is added to a group's name, and from how many voxels on, with ``half``: volumes that take minutes a run."""
DEFORM = DeformPlan(
    fixed=False, spacing=(1 / 2, 1 / 4), sd=(1.0, 0.5), largest=20.0, rotation=3.0, scale=0.03, translation=0.02
)
"""The field by which the moving image of an aligned pair is deformed, so that the answer is known."""
Score = Callable[[sitk.Transform], dict[str, Any]]
Case = tuple[str, str, sitk.Image, sitk.Image, Score]
"""Group, name, fixed and moving image on one grid, and how to score a transform between them."""


def cases(header: Header, data: Path, most: int, only: Sequence[str] = (), half: bool = False) -> Iterator[Case]:
    """The real pairs that fit a model, at most ``most`` a group; none where the data are absent.

    ``only``: groups, by the beginning of their names; all if empty. ``half``: large volumes at half resolution; what is
    scored, label maps and landmarks, stays whole.
    """
    wanted = GROUPS.get((header.method, header.dimensions), ())
    wanted = tuple(group for group in wanted if not only or group.startswith(tuple(only)))
    counts: dict[str, int] = {}
    for pair in project_pairs(data):
        if pair.group not in wanted or counts.get(pair.group, 0) >= most:
            continue
        counts[pair.group] = counts.get(pair.group, 0) + 1
        fixed, moving, before = worker.prepare(pair)
        halved = half and fixed.GetDimension() == 3 and fixed.GetNumberOfPixels() > LARGE
        if halved:
            fixed, moving = (sitk.BinShrink(image, [2, 2, 2]) for image in (fixed, moving))

        def score(
            found: sitk.Transform, pair: Pair = pair, fixed: sitk.Image = fixed, before: sitk.Transform | None = before
        ) -> dict[str, Any]:
            whole = sitk.CompositeTransform([before, found]) if before is not None else found
            return worker.score(pair, whole, found, fixed)

        yield pair.group + HALF * halved, pair.name, fixed, moving, score
    if KNOWN in wanted:
        yield from known_fields(data / "brain_multimodal", most)


def known_fields(folder: Path, most: int) -> Iterator[Case]:
    """Axial T1 and T2 slices of one patient, aligned; the T2 slice is moved by a random known field, to be found again.

    The protocol of the Deform-GAN paper, on another patient. A slice is moved alike however many there are: what was
    measured of it is kept by its name.
    """
    paths = [folder / f"preop_{name}.nii.gz" for name in ("t1", "t2")]
    if not all(path.exists() for path in paths):
        return
    t1, t2 = (read_image(path).array for path in paths)
    for z in (np.linspace(0.35, 0.7, most) * t1.shape[0]).astype(int).tolist():
        plane = t1[z].astype(np.float32)
        grid = Grid.from_shape(plane.shape)
        fixed = Image(plane, grid)
        recipe = deform_recipe(DEFORM, plane.shape, np.random.default_rng([z, 22]), 1.0)
        made = maps([recipe], plane.shape, torch.device("cpu"))
        array = torch.from_numpy(t2[z].astype(np.float32))[None, None]
        deformed = fields.sample(array, made.moving)[0, 0].numpy()
        body = torch.from_numpy(plane > 0)[None]

        def score(
            found: sitk.Transform, grid: Grid = grid, truth: torch.Tensor = made.displacement, body: torch.Tensor = body
        ) -> dict[str, Any]:
            u = lps_to_voxels(displacement_on(found, grid), grid)
            return {"end_point": float((u - truth).square().sum(1).sqrt()[body].mean())}

        yield KNOWN, f"slice {z}", fixed.to_sitk(), Image(deformed, grid).to_sitk(), score


RUNS: dict[str, dict[str, Any]] = {
    "network alone": {"refine": "none"},
    "no start + fast": {"refine": "fast", "method": "none"},
    "network + fast": {"refine": "fast"},
    "no start + accurate": {"refine": "accurate", "method": "none"},
    "network + accurate": {"refine": "accurate"},
    "fine-tuned alone": {"refine": "none", "fine_tune": True},
}


def runs_of(header: Header, accurate: bool = False) -> list[str]:
    """What is measured of a model, "before" first; SAR-Net adapts itself to a new kind of image, too."""
    chosen = [run for run in RUNS if accurate or "accurate" not in run]
    return ["before", *(run for run in chosen if "fine-tuned" not in run or header.method == "sar-net")]


def measure(case: Case, run: str, bundle: Path) -> dict[str, Any]:
    """Scores and seconds of one run; ``"before"`` is the identity."""
    _, _, fixed, moving, score = case
    if run == "before":
        return score(sitk.Transform(fixed.GetDimension(), sitk.sitkIdentity))
    started = time.perf_counter()
    options = {"method": str(bundle), **RUNS[run]}
    result = register(fixed, moving, affine="none", device="cpu", **options)
    return {**score(result.transform), "seconds": time.perf_counter() - started}


def main_figure(result: dict[str, Any]) -> tuple[str, float, bool]:
    """The name of what counts in a result, its value, and whether more is better."""
    for key, more in (("dice", True), ("tre", False), ("end_point", False)):
        if key in result:
            return key, float(result[key]), more
    raise KeyError("nothing was scored")
