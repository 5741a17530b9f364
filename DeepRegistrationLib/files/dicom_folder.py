"""A folder of DICOM slices as one volume, through SimpleITK's series reader, which is silent on what it straightens.

The reader takes the mean distance of the slices for all of them, measured along the way from one corner to the next,
and lays them straight above each other. Both is right only for even slices that were not tilted.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..system import check_memory
from .quiet import READ_ERRORS, quiet_libraries, readable

_POSITION, _ORIENTATION, _DESCRIPTION = "0020|0032", "0020|0037", "0008|103e"
_UNEVEN = 0.02
"""Of the distance of two slices: less is rounding."""
_LEAST_TILT = 0.2
"""Degrees; less moves a head's last slice by under a millimeter."""


def read_dicom_folder(folder: Path, name: str) -> tuple[sitk.Image, list[str]]:
    """The one series in ``folder`` as a volume in LPS mm, and sentences on how its slices lie.

    A gantry's tilt is undone by interpolating within the slices.

    Raises:
        InputError: if there is no series or more than one, or slices lie on one another or at an angle.
    """
    files = series_files(folder, name)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(files)
    reader.MetaDataDictionaryArrayUpdateOn()
    with quiet_libraries():
        try:
            check_memory(_declared_bytes(files), f"{name} {folder}")
            image = reader.Execute()
        except READ_ERRORS as error:
            raise InputError(
                f"The {name} {folder} could not be read as one DICOM series; it may be damaged."
            ) from error
        heads = [
            {key: reader.GetMetaData(k, key) for key in (_POSITION, _ORIENTATION) if reader.HasMetaDataKey(k, key)}
            for k in range(len(files))
        ]
    if len(files) == 1 or image.GetDimension() != 3 or image.GetSize()[2] != len(files):
        return image, []
    if not all(len(head) == 2 for head in heads):
        return image, [f"The slices of the {name} do not say where they lie; their order and distance are a guess."]
    return _laid_out(image, heads, name)


def series_in(folder: Path) -> list[tuple[str, ...]]:
    """The files of each series of images in ``folder``, in the order in which they lie."""
    with quiet_libraries():
        series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
        return [tuple(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), one)) for one in series]


def series_files(folder: Path, name: str) -> tuple[str, ...]:
    """The files of the one series of images in ``folder``, in the order in which they lie.

    Raises:
        InputError: if there is no series or more than one.
    """
    files = series_in(folder)
    if not files:
        raise InputError(f"The {name} {folder} is a folder without DICOM slices; give an image file.")
    if len(files) > 1:
        raise InputError(
            f"The {name} {folder} holds {len(files)} series ({_listed(files)}); put the slices of the one you want "
            "into a folder of their own."
        )
    return files[0]


def _laid_out(image: sitk.Image, heads: list[dict[str, str]], name: str) -> tuple[sitk.Image, list[str]]:
    corners, axes = (_numbers([head[key] for head in heads]) for key in (_POSITION, _ORIENTATION))
    if np.abs(axes - axes[0]).max() > 1e-3:
        raise InputError(f"The slices of the {name} lie at an angle to each other; they are no volume.")
    normal = np.cross(axes[0, :3], axes[0, 3:])
    along = (corners - corners[0]) @ normal
    steps = np.diff(along)
    mean = float(steps.mean())
    if np.abs(steps).min() < 1e-3 or (steps * mean <= 0).any():
        raise InputError(
            f"The {name} has several slices at one place, as a sequence of time points or echoes has; put the slices "
            "of one of them into a folder of their own."
        )
    sentences = []
    if np.abs(steps - mean).max() > _UNEVEN * abs(mean):
        off = np.abs(along - mean * np.arange(len(along))).max()
        sentences.append(
            f"The slices of the {name} lie {np.abs(steps).min():.2f} to {np.abs(steps).max():.2f} mm apart, as if some "
            f"were missing; {abs(mean):.2f} mm is taken for all, so that slices are up to {off:.1f} mm off."
        )
    # As the slices really lie: the third axis leads from corner to corner, at right angles to them or not.
    third = (corners[-1] - corners[0]) / (len(corners) - 1)
    tilt = float(np.degrees(np.arccos(min(1.0, abs(third @ normal) / np.linalg.norm(third)))))
    directions = np.reshape(image.GetDirection(), (3, 3)).copy()
    spacing = list(image.GetSpacing())
    spacing[2] = abs(mean)
    directions[:, 2] = normal * np.sign(mean)
    if tilt < _LEAST_TILT:
        image.SetSpacing(spacing)
        image.SetDirection(directions.ravel().tolist())
        return image, sentences
    slide = float(np.linalg.norm(corners[-1] - corners[0] - along[-1] * normal))
    sentences.append(
        f"The slices of the {name} were taken at a tilt of {tilt:.1f} degrees, {slide:.0f} mm from the first to the "
        "last slice; they were straightened by interpolation."
    )
    return _straightened(image, directions, spacing, third), sentences


def _straightened(image: sitk.Image, directions: np.ndarray, spacing: list[float], third: np.ndarray) -> sitk.Image:
    """The slices, each ``third`` after the one before, on a grid of right angles that holds all of them."""
    size = image.GetSize()
    within = directions[:, :2].T @ third * (size[2] - 1) / np.asarray(spacing[:2])  # in voxels of a slice
    low = np.floor(np.minimum(within, 0)).astype(int)
    grown = [int(n + g) for n, g in zip(size[:2], np.ceil(np.abs(within)).astype(int), strict=True)]
    origin = np.asarray(image.GetOrigin()) + directions[:, :2] @ (low * spacing[:2])
    slanted = directions.copy()
    slanted[:, 2] = third / np.linalg.norm(third)
    image.SetSpacing([*spacing[:2], float(np.linalg.norm(third))])
    image.SetDirection(slanted.ravel().tolist())
    return sitk.Resample(
        image,
        [*grown, size[2]],
        sitk.Transform(3, sitk.sitkIdentity),
        sitk.sitkLinear,
        origin.tolist(),
        spacing,
        directions.ravel().tolist(),
        float(sitk.GetArrayViewFromImage(image).min()),
    )


def _numbers(texts: list[str]) -> np.ndarray:
    try:
        return np.array([[float(part) for part in text.split("\\")] for text in texts])
    except ValueError as error:
        raise InputError(
            "The DICOM slices say where they lie in no readable way; convert them to NIfTI first."
        ) from error


def _declared_bytes(files: tuple[str, ...]) -> int:
    head = sitk.ImageFileReader()
    head.SetFileName(files[0])
    head.ReadImageInformation()
    return int(np.prod(head.GetSize(), dtype=object)) * head.GetNumberOfComponents() * 2 * len(files)


def _listed(files: list[tuple[str, ...]]) -> str:
    parts = []
    for slices in files[:5]:
        head = sitk.ImageFileReader()
        head.SetFileName(slices[0])
        with quiet_libraries():
            head.ReadImageInformation()
        what = (
            readable(head.GetMetaData(_DESCRIPTION)).strip() if head.HasMetaDataKey(_DESCRIPTION) else "without a name"
        )
        parts.append(f"{what}: {len(slices)} slices" if len(slices) > 1 else f"{what}: 1 slice")
    return "; ".join(parts) + ("; ..." if len(files) > 5 else "")
