"""A folder of one's own images made ready to learn from: found, aligned as a whole, on one grid, some held out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from DeepRegistrationLib.affine.align import align
from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import Grid, Image, read_image
from DeepRegistrationLib.geometry.transform import affine_to_sitk, resample
from DeepRegistrationLib.models.header import NetworkGrid

from ..limits import check_memory
from ..safe_files import replace_file

FEWEST_IMAGES = 6
"""Images: fewer leave no pair to be judged by, or none to learn from."""
LONGEST_GRID = {2: 256, 3: 112}
"""Voxels along the longest side for learning: what an hour of one processor core can do."""
ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".mgz", ".png", ".jpg", ".jpeg", ".tif", ".tiff")
LABEL_ENDS = ("_lab", "_label", "_labels", "_seg", "_segmentation", "_mask")
IMAGE_ENDS = ("", "_img", "_image")
MANIFEST = "images.json"
SOURCES = "sources.json"
"""What the images were made of: the same command goes on with them, another one must not."""


@dataclass(frozen=True)
class FoundImage:
    """An image of the folder, its label map if it has one, and the case's name."""

    case: str
    image: Path
    label: Path | None


def check_folder(folder: Path) -> None:
    """Raises InputError if there is no such folder."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give the folder that holds the images.")
    if not folder.is_dir():
        raise InputError(f"The folder {folder} does not exist; check its path.")


def find_images(folder: Path, images: str | None = None, labels: str | None = None) -> list[FoundImage]:
    """The images of a folder and their label maps, by name: ``images`` and ``labels`` are patterns with one ``*``.

    Without patterns all images count, and NAME_lab, NAME_label, NAME_seg or NAME_mask beside NAME or NAME_img is its
    label map.

    Raises:
        InputError: no such folder, too few images, or label maps for some of them alone.
    """
    check_folder(folder)
    for pattern in (images, labels):
        if pattern is not None and (pattern.count("*") != 1 or "/" in pattern or "\\" in pattern):
            raise InputError(f"The pattern {pattern!r} needs one *, which stands for the name of the case.")
    files = {path.name: path for path in sorted(folder.iterdir()) if path.is_file() and _ending(path.name)}
    found = [
        FoundImage(case, path, _label_of(case, files, labels))
        for name, path in files.items()
        if (case := _case(name, images, labels)) is not None
    ]
    if len(found) < FEWEST_IMAGES:
        raise InputError(
            f"The folder {folder} has {len(found)} images{f' like {images}' if images else ''}, and {FEWEST_IMAGES} "
            "are the fewest to learn from and be judged by; give a folder with more."
        )
    bare = [each.image.name for each in found if each.label is None]
    if bare and (labels is not None or len(bare) < len(found)):
        raise InputError(f"The image {bare[0]} has no label map, but others have; give it one, or move it away.")
    return found


def _ending(name: str) -> str:
    return next((ending for ending in ENDINGS if name.lower().endswith(ending)), "")


def _case(name: str, images: str | None, labels: str | None) -> str | None:
    """The case whose image a file is; None if it is none."""
    if labels is not None and Path(name).match(labels):
        return None
    if images is not None:
        before, after = images.split("*")
        return name[len(before) : len(name) - len(after)] if Path(name).match(images) else None
    stem = name[: len(name) - len(_ending(name))]
    if labels is None and stem.lower().endswith(LABEL_ENDS):
        return None
    end = next((end for end in IMAGE_ENDS[1:] if stem.lower().endswith(end)), "")
    return stem[: len(stem) - len(end)]


def _label_of(case: str, files: dict[str, Path], labels: str | None) -> Path | None:
    if labels is not None:
        return files.get(labels.replace("*", case))
    wanted = {f"{case}{end}".lower() for end in LABEL_ENDS}
    return next((path for name, path in files.items() if name[: -len(_ending(name))].lower() in wanted), None)


def prepare(
    found: Sequence[FoundImage], where: NetworkGrid, divisor: int, folder: Path, tell: Callable[[str], None]
) -> Path:
    """Every image aligned as a whole with the first one and on one grid, in ``folder``; the manifest of them.

    A fifth of the cases, three at least, are held out: the manifest's list ``validation``.

    Raises:
        InputError: an image or label map cannot be read, they are not of one number of dimensions, or the folder holds
            what was made of others.
    """
    manifest, sources, of = folder / MANIFEST, folder / SOURCES, _sources(found)
    if manifest.exists():
        if sources.exists() and sources.read_text(encoding="utf-8") == of:
            return manifest
        raise InputError(
            f"The folder {folder.parent} holds the work on other images, or on what these were before; delete it, or "
            "give another --work."
        )
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(sources, lambda partial: partial.write_text(of, encoding="utf-8"))
    reference = read_image(found[0].image, "image")
    grid = common_grid(reference.grid, where, divisor)
    check_memory(grid.shape, len(found), "The folder of images")
    entries = []
    for number, each in enumerate(found, 1):
        tell(f"aligning image {number} of {len(found)}: {each.image.name}")
        image, label = read_image(each.image, "image"), _read_label(each)
        if image.ndim != reference.ndim:
            raise InputError(
                f"Images of a folder must all be 2-D or all 3-D; compare {found[0].image.name} and {each.image.name}."
            )
        if not np.isfinite(image.array).all():
            raise InputError(f"The image {each.image} holds values that are not numbers; correct it or move it away.")
        matrix = None if number == 1 else affine_to_sitk(align(reference, image))
        name = f"{number:04d}.nii.gz" if image.ndim == 3 else f"{number:04d}.nrrd"
        resample(image, grid, matrix, dtype=np.float32).save(folder / name)
        entry = {"image": name, "patient": each.case}
        if label is not None:
            entry["label"] = f"labels_{name}"
            resample(label, grid, matrix, mode="nearest").save(folder / entry["label"])
        entries.append(entry)
    held = max(3, round(len(entries) / 5))
    step = len(entries) / held
    chosen = {int((k + 0.5) * step) for k in range(held)}
    table = {
        "name": folder.parent.name,
        "training": [entry for k, entry in enumerate(entries) if k not in chosen],
        "validation": [entry for k, entry in enumerate(entries) if k in chosen],
    }
    text = json.dumps(table, indent=1)
    replace_file(manifest, lambda partial: partial.write_text(text, encoding="utf-8"))  # last: all of it is there now
    return manifest


def _sources(found: Sequence[FoundImage]) -> str:
    """The files, their sizes and when they were written."""
    files = [path.resolve() for each in found for path in (each.image, each.label) if path is not None]
    return json.dumps([[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files], indent=1)


def common_grid(grid: Grid, where: NetworkGrid, divisor: int) -> Grid:
    """``grid``, equally spaced, with what voxels the network sees, to ``LONGEST_GRID``; multiples of ``divisor``."""
    extent = np.asarray(grid.shape) * grid.spacing
    wanted = where.longest or (max(where.size) if where.size else None) or max(grid.shape)
    finest = where.finest(float(grid.spacing.min()), float(extent.max()))
    spacing = max(finest, float(extent.max()) / min(wanted, LONGEST_GRID[grid.ndim]))
    shape = tuple(math.ceil(math.ceil(e / spacing - 1e-6) / divisor) * divisor for e in extent)
    n = grid.ndim
    middle = grid.matrix[:n, :n] @ ((np.asarray(grid.shape) - 1) / 2) + grid.matrix[:n, n]
    matrix = np.eye(n + 1)
    matrix[:n, :n] = grid.matrix[:n, :n] / grid.spacing * spacing
    matrix[:n, n] = middle - matrix[:n, :n] @ ((np.asarray(shape) - 1) / 2)
    return Grid(shape, matrix)


def _read_label(each: FoundImage) -> Image | None:
    """As int16; a picture of a mask, 0 and about 255, becomes 0 and 1."""
    if each.label is None:
        return None
    label = read_image(each.label, "label map")
    array = label.array
    if label.ndim == 2 and array.dtype == np.uint8 and array.max() > 127:
        array = array > 127
    if not np.array_equal(array, np.asarray(array).astype(np.int16)):
        raise InputError(f"The label map {each.label} must hold whole numbers up to 32767; correct it.")
    image_grid = read_image(each.image, "image").grid
    if not label.grid.same_as(image_grid, tolerance=0.01):
        raise InputError(f"The label map {each.label} does not lie on its image (other size, spacing or place).")
    return Image(np.asarray(array).astype(np.int16), label.grid, label.name)
