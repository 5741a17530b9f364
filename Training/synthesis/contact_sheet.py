"""``synthesize``: a picture of what the training data look like, before hours are spent on them."""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from DeepRegistrationLib import fields
from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.files.endings import PICTURE_FILES, check_ending
from DeepRegistrationLib.files.itk_files import write_image_file
from DeepRegistrationLib.files.writing import target_of, write_text

from ..limits import LARGEST_SEED, check_memory
from ..safe_files import keep_inputs, read_text
from .batch import SyntheticBatch, generate
from .plan import FAMILIES, PRESETS, plan_from
from .recipe import draw

MOST_SAMPLES = 256
COLUMNS = ("fixed", "moving", "moving through the true map", "fixed labels", "moving labels", "map and its weight")


def add_synthesize(commands: argparse._SubParsersAction) -> None:
    """``synthesize [PLAN.toml] OUT.png``."""
    parser = commands.add_parser("synthesize", help="draw a contact sheet of synthetic pairs")
    parser.add_argument("plan", nargs="?", type=Path, metavar="PLAN.toml", help="its [synthesis] table is used")
    parser.add_argument("output", type=Path, metavar="OUT.png")
    parser.add_argument("--preset", choices=sorted(PRESETS), help="instead of a plan")
    parser.add_argument("--family", choices=[f for f in FAMILIES if f != "given"], help="only this kind")
    parser.add_argument("--shape", type=int, nargs="+", help="voxels, 2 or 3 numbers")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipes", type=Path, metavar="OUT.json", help="also write what the samples are made from")
    parser.set_defaults(run=synthesize)


def synthesize(options: argparse.Namespace) -> None:
    """Write a PNG: one row a sample, columns as ``COLUMNS``.

    Raises:
        InputError: a plan that cannot be used, or a file that cannot be written.
    """
    table: dict[str, Any] = {}
    if options.plan is not None:
        try:
            found = tomllib.loads(read_text(options.plan, "plan")).get("synthesis", {})
        except (OSError, RecursionError, tomllib.TOMLDecodeError) as error:
            raise InputError(f"The plan {options.plan} cannot be read ({error}).") from error
        if not isinstance(found, dict):
            raise InputError("[synthesis] must be a table of settings.")
        table = dict(found)
    keep_inputs(options.output, [options.plan, options.recipes])
    if options.recipes is not None:
        keep_inputs(options.recipes, [options.plan])
    if not 1 <= options.samples <= MOST_SAMPLES:
        raise InputError(f"--samples must be from 1 to {MOST_SAMPLES}, not {options.samples}.")
    if not 0 <= options.seed <= LARGEST_SEED:
        raise InputError(f"--seed must be from 0 to {LARGEST_SEED}, not {str(options.seed)[:40]}.")
    if options.preset:
        table["preset"] = options.preset
    if options.family:
        table["families"] = {options.family: 1.0}
    if options.shape:
        table["shape"] = options.shape
    plan = plan_from(table)
    if plan.families.get("given"):
        raise InputError("A contact sheet draws generated label maps; choose a kind with --family.")
    check_memory(plan.shape, options.samples, "synthesis.shape")
    recipes = [draw(plan, options.seed + k) for k in range(options.samples)]
    write_png(contact_sheet([generate([recipe]) for recipe in recipes]), options.output)
    if options.recipes is not None:
        write_text(options.recipes, json.dumps(recipes, indent=1))
    print(f"wrote {options.output}: {len(recipes)} samples, columns {', '.join(COLUMNS)}")


def write_png(picture: np.ndarray, path: Path) -> None:
    """Write (rows, columns, 3) uint8, whole or not at all.

    Raises:
        InputError: if there can be no such file, or it is no picture's name.
        NotWritten: if the disk is full.
    """
    target_of(path)  # says what is wrong with a name that no file can have
    check_ending(path, PICTURE_FILES, "A picture")
    write_image_file(sitk.GetImageFromArray(picture, isVector=True), path)


def contact_sheet(batches: Sequence[SyntheticBatch]) -> np.ndarray:
    """(rows, columns, 3) uint8 picture; 3-D samples by their middle slice, along another axis each time."""
    rows = []
    for number, batch in enumerate(batches):
        for item in range(len(batch.fixed)):
            rows.append(_row(batch, item, number % 3))
    width = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 2), (0, width - row.shape[1]), (0, 0))) for row in rows])


def _row(batch: SyntheticBatch, item: int, axis: int) -> np.ndarray:
    one = slice(item, item + 1)
    u = batch.displacement[one]
    through = fields.warp(batch.moving[one], u)
    length = u.square().sum(1, keepdim=True).sqrt() / u.abs().max().clamp_min(1)
    drawn = [_gray(batch.fixed[one]), _gray(batch.moving[one]), _gray(through)]
    drawn += [_colors(batch.fixed_labels[one]), _colors(batch.moving_labels[one])]
    drawn.append(torch.cat([length * batch.weight[one], grid_lines(u, axis), length], 1))
    return np.concatenate([np.pad(slice_of(picture[0], axis), ((0, 0), (0, 2), (0, 0))) for picture in drawn], 1)


def slice_of(picture: Tensor, axis: int) -> np.ndarray:
    """The middle slice of (3, *S) along ``axis``, as uint8 (rows, columns, 3), small ones enlarged."""
    if picture.ndim == 4:
        picture = picture.select(axis + 1, picture.shape[axis + 1] // 2)
        if axis > 0:
            picture = picture.flip(1)  # head up
    shown = (picture.clamp(0, 1) * 255).to(torch.uint8).movedim(0, -1).numpy()
    scale = max(1, round(160 / max(shown.shape[:2])))
    return shown.repeat(scale, 0).repeat(scale, 1)


def _gray(image: Tensor) -> Tensor:
    return (image / image.max().clamp_min(1e-6)).expand(-1, 3, *image.shape[2:])


def _colors(labels: Tensor) -> Tensor:
    """Distinct colors by the golden angle; background black."""
    hue = labels.float() * 2.399963
    channels = [0.55 + 0.45 * torch.cos(hue + shift) for shift in (0.0, 2.094, 4.189)]
    return torch.cat(channels, 1) * (labels > 0)


def grid_lines(u: Tensor, axis: int) -> Tensor:
    """(N, 1, *S): every 8th grid line of the moving image as the fixed grid sees it, for a slice along ``axis``."""
    at = fields.identity(u.shape[2:]) + u
    if u.shape[1] == 3:  # planes that lie in the slice would cover it
        at = at[:, [d for d in range(3) if d != axis]]
    near = ((at + 4) % 8 - 4).abs()
    return (1.2 - near).clamp(0, 1).amax(1, keepdim=True)
