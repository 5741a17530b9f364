"""The command ``apply``: an image, a label map or points carried to the other side."""

from __future__ import annotations

import argparse
import sys

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..files.endings import ANY, check_ending, image_endings
from ..geometry.image import Grid, Image, is_layered, read_components, read_image, write_sitk
from ..geometry.padding import background_of
from ..geometry.points import POINT_FILES, is_point_file, read_points, write_points
from ..geometry.transform import map_points_inverse, resample
from ..inputs.label_like import looks_like_labels
from .dicom_options import transform_between
from .outputs import Output, check_outputs


def run_apply(options: argparse.Namespace) -> None:
    """Warp an image, or move points."""
    points = is_point_file(options.input)
    if not points and not options.reference:
        raise InputError("Images need --reference FIXED, the image whose grid the result gets.")
    if points and (options.interpolation or options.fill is not None):
        raise InputError("Points have no voxels: leave --interpolation and --fill out, which are for images.")
    output = Output("--output", options.output, "This", ANY)
    inputs = {"the transform": options.transform, "the input": options.input, "the reference": options.reference}
    check_outputs([output], inputs)
    transform = transform_between(options.transform, options.reference, options.input, options.different_patients)
    if points:
        _move_points(transform, options.input, options.output)
    else:
        _warp_image(transform, options)


def _move_points(transform: sitk.Transform, source: str, target: str) -> None:
    own = next(ending for ending in POINT_FILES if source.lower().endswith(ending))
    check_ending(target, (own, ".csv"), "The points")
    points = read_points(source)
    if points.positions.shape[1] != transform.GetDimension():
        raise InputError(
            f"The points have {points.positions.shape[1]} coordinates and the transform is "
            f"{transform.GetDimension()}-D; use the points of that image."
        )
    write_points(points.moved(map_points_inverse(transform, points.positions)), target)
    for note in points.notes:
        print(note, file=sys.stderr)


def _warp_image(transform: sitk.Transform, options: argparse.Namespace) -> None:
    reference = read_image(options.reference, "reference").grid
    flat = reference.ndim == 2 or 1 in reference.shape
    check_ending(options.output, image_endings(flat), "An image" if flat else "A volume")
    channels, vector = _read_channels(options.input)
    if not channels[0].ndim == reference.ndim == transform.GetDimension():
        raise InputError(
            f"The input is {channels[0].ndim}-D, the reference {reference.ndim}-D and the transform "
            f"{transform.GetDimension()}-D; all three must be alike."
        )
    fills = [_checked_fill(options.fill, channel) for channel in channels]
    mode = options.interpolation
    labels = mode != "linear" and not vector and looks_like_labels(channels[0].array)
    if mode is None:
        mode = "nearest" if labels else "linear"
        if labels:
            print("The input looks like a label map, so no values were mixed; --interpolation linear does.")
    if not all(np.isfinite(channel.array).any() for channel in channels):
        raise InputError("The input has no voxel with a number (all are NaN or infinite); make it again.")
    parts = []
    for channel, fill in zip(channels, fills, strict=True):
        outside = fill if fill is not None else 0.0 if labels else background_of(channel.array)
        parts.append(resample(channel, reference, transform, mode, outside).array)
    if all(_is_even(x) for x in parts) and not _is_seen(channels[0], reference, transform):
        print(
            "Nothing of the input lies on the reference, so every voxel has the value of outside; check that both "
            "belong to the transform, and that an inverse is not needed.",
            file=sys.stderr,
        )
    write_sitk(reference.to_sitk(np.stack(parts, -1) if vector else parts[0], vector=vector), options.output)


def _is_even(array: np.ndarray) -> bool:
    return bool(np.isnan(array).all()) or bool((array == array.flat[0]).all())


def _is_seen(channel: Image, reference: Grid, transform: sitk.Transform) -> bool:
    """Whether the reference has a voxel inside of the image."""
    everywhere = Image(np.ones(channel.grid.shape, np.uint8), channel.grid)
    return bool(resample(everywhere, reference, transform, "nearest", 0.0).array.any())


def _read_channels(path: str) -> tuple[list[Image], bool]:
    """The image, or each of a color image's channels; whether it is one."""
    color, _ = read_components(path, "input")
    # Of 2 to 4 whole numbers a voxel the last may be opacity; anything else is for ``read_image`` to judge.
    whole = "float" not in color.GetPixelIDTypeAsString()
    if not (2 <= color.GetNumberOfComponentsPerPixel() <= 4 and whole) or is_layered(color):
        return [read_image(path, "input")], False
    grid, array = Grid.from_sitk(color), sitk.GetArrayFromImage(color)
    return [Image(np.ascontiguousarray(array[..., k]), grid, "input") for k in range(array.shape[-1])], True


def _checked_fill(value: float | None, channel: Image) -> float | None:
    if value is None or channel.array.dtype.kind == "f":
        if value is not None and abs(value) > np.finfo(channel.array.dtype).max:  # but NaN may be wanted
            raise InputError(f"--fill {value:g} is more than the input's voxels can hold; give a smaller number.")
        return value
    limits = np.iinfo(channel.array.dtype)
    if not limits.min <= value <= limits.max or value != round(value):
        raise InputError(
            f"--fill {value:g} is no value of the input, which holds whole numbers from {limits.min} to {limits.max}."
        )
    return value
