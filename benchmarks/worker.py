"""One method on one pair, in a process of its own: ``python -m benchmarks.worker METHOD PAIR.json RESULT.json``."""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from .memory import peak_gb
from .pairs import Pair

LIBRARY = "DeepRegistrationLib"


def main(arguments: list[str]) -> int:
    """Register, score, write one JSON object."""
    method, pair_file, result_file = arguments
    pair = Pair(**json.loads(Path(pair_file).read_text(encoding="utf-8")))
    result = measure(method, pair)
    Path(result_file).write_text(json.dumps(result), encoding="utf-8")
    return 0


def measure(method: str, pair: Pair) -> dict[str, Any]:
    """Time one registration of images in memory and score what came out."""
    import DeepRegistrationLib.pipeline  # noqa: F401 - so that importing is not timed

    from .peers import METHODS

    fixed, moving, before = prepare(pair)
    started, used = time.perf_counter(), _cpu_seconds()
    transform = METHODS[method](fixed, moving, pair.cross)
    wall, cpu, peak = time.perf_counter() - started, _cpu_seconds() - used, peak_gb()
    whole = sitk.CompositeTransform([before, transform]) if before is not None else transform
    # Only this library hands out an inverse of its own.
    own: dict[str, Any] = {"own_inverse_mm": transform.own_inverse_mm} if hasattr(transform, "own_inverse_mm") else {}
    if method == "before" and pair.affine:  # what the affine stage did
        lying = agreement(pair, sitk.Transform(fixed.GetDimension(), sitk.sitkIdentity))
        own = {"unaligned": lying}
    return {"wall": wall, "cpu": cpu, "peak_gb": peak, **own, **score(pair, whole, transform, fixed)}


def _cpu_seconds() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usage)


def prepare(pair: Pair) -> tuple[sitk.Image, sitk.Image, sitk.Transform | None]:
    """Both images as float32 on the fixed grid, after the affine stage where the pair needs it: the same for all."""
    from DeepRegistrationLib.affine.align import align
    from DeepRegistrationLib.geometry.image import Image, read_image
    from DeepRegistrationLib.geometry.transform import affine_to_sitk, resample

    fixed, moving = read_image(pair.fixed, "fixed image"), read_image(pair.moving, "moving image")
    before = affine_to_sitk(align(fixed, moving)) if pair.affine else None
    moving = resample(moving, fixed.grid, before, dtype=np.float32)
    array = fixed.array.astype(np.float32)
    fixed = Image(pseudo_t2(array) if pair.remap else array, fixed.grid)
    return fixed.to_sitk(), moving.to_sitk(), before


def pseudo_t2(t1: np.ndarray) -> np.ndarray:
    """A skull-stripped T1 image with fluid bright, gray matter gray and white matter dark; background stays 0."""
    unit = t1 / np.percentile(t1[t1 > 0], 99.5)
    values = np.interp(unit, [0, 0.03, 0.1, 0.3, 0.5, 0.75, 1.0], [0, 0, 0.9, 1.0, 0.6, 0.3, 0.2])
    return (values * 255).astype(np.float32)


def score(
    pair: Pair, whole: sitk.Transform, deformable: sitk.Transform, fixed: sitk.Image, inverse: bool = True
) -> dict[str, Any]:
    """Dice, landmark error, folding in the content of the fixed image, and how well the field can be inverted.

    ``inverse`` False leaves the last one out, which takes longest.
    """
    import torch

    from DeepRegistrationLib import fields
    from DeepRegistrationLib.geometry.image import Grid
    from DeepRegistrationLib.geometry.transform import displacement_on, lps_to_voxels
    from DeepRegistrationLib.quality import metrics

    result: dict[str, Any] = dict(agreement(pair, whole))
    grid = Grid.from_sitk(fixed)
    u = lps_to_voxels(displacement_on(deformable, grid), grid)
    array = sitk.GetArrayFromImage(fixed)
    content = torch.from_numpy(array > np.percentile(array, 1))[None, None]
    result["folds"] = float(metrics.folding_percent(u, content))
    result["sdlogj"] = float(metrics.log_jacobian_sd(u, content))
    result["voxels"] = int(np.prod(grid.shape))
    if not inverse:
        return result
    spacing = torch.as_tensor(grid.spacing, dtype=torch.float32).view(1, -1, *[1] * grid.ndim)
    left = fields.compose(u, fields.invert(u)) * spacing
    result["inverse_mm"] = float(left.square().sum(1).sqrt()[content[:, 0]].mean())
    return result


def agreement(pair: Pair, whole: sitk.Transform) -> dict[str, float]:
    """ "dice", "tre" (mm, or pixels) and "tre NAME" of further landmarks, as far as the pair has them."""
    from DeepRegistrationLib.geometry.image import read_image
    from DeepRegistrationLib.geometry.points import read_points
    from DeepRegistrationLib.quality.scores import score_labels, score_points

    found: dict[str, float] = {}
    if pair.fixed_labels:
        maps = [label_map(read_image(path)) for path in (pair.fixed_labels, pair.moving_labels)]
        found["dice"] = score_labels(whole, *maps, chosen=list(pair.labels) or None)["mean_dice_after"]
    for name, paths in pair.points().items():
        points = [read_points(path).positions for path in paths]
        found[f"tre {name}".strip()] = score_points(whole, *points)["mean_tre_after_mm"]
    return found


def label_map(image):  # type: ignore[no-untyped-def]
    """Masks stored as pictures (0 and about 255) become 0 and 1."""
    from DeepRegistrationLib.geometry.image import Image

    if image.ndim == 2 and image.array.dtype == np.uint8 and image.array.max() > 127:
        return Image((image.array > 127).astype(np.uint8), image.grid, image.name)
    return image


def voxels_of(path: str) -> int:
    """Of an image file; only its header is read."""
    return math.prod(_size(path))


def dimensions_of(path: str) -> int:
    """Of an image file, 2 or 3; only its header is read. FreeSurfer's files hold volumes."""
    return 3 if path.endswith((".mgz", ".mgh")) else len(_size(path))


def _size(path: str) -> tuple[int, ...]:
    reader = sitk.ImageFileReader()
    reader.SetFileName(path)
    reader.ReadImageInformation()
    return tuple(reader.GetSize())


def engine_commit() -> str:
    """The last commit that touched this library, with a star where files differ from it; "" outside of a checkout."""
    root = Path(__file__).resolve().parents[1]
    run = partial(subprocess.run, capture_output=True, text=True, check=True)
    try:
        last = run(["git", "-C", str(root), "log", "-1", "--format=%h", "--", LIBRARY])
        changed = run(["git", "-C", str(root), "status", "--porcelain", "--", LIBRARY])
    except (OSError, subprocess.CalledProcessError):
        return ""
    return last.stdout.strip() + "*" * bool(changed.stdout.strip())


def environment(threads: int) -> dict[str, str]:
    """Every library gets the same number of threads, and glibc keeps freed memory, as for this library's command."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
    memory = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
    return {**os.environ, **memory, **dict.fromkeys(names, str(threads))}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
