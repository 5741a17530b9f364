"""DICOM registrations on the command line: written for two DICOM folders, read for the images they were made for."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..dicom.image_series import DicomSeries, check_same_patient, is_dicom, read_series
from ..dicom.registration_reading import read_registration
from ..dicom.registration_writing import write_registration
from ..errors import InputError
from ..files.endings import transform_endings
from ..geometry.transform import Transform, read_transform

DICOM_ENDING = ".dcm"
SeriesPair = tuple[DicomSeries, DicomSeries]


def register_endings(linear: bool) -> tuple[str, ...]:
    """For the transforms of ``register``, which knows the images; ``linear``: whether they are matrices."""
    return (*transform_endings(linear), DICOM_ENDING)


def read_series_pair(options: argparse.Namespace) -> SeriesPair | None:
    """What a DICOM registration must know of the two images; None if none shall be written.

    Raises:
        InputError: if they are no DICOM series with a frame of reference, or of two patients without leave.
    """
    wanted = [path for path in (options.output_transform, options.output_inverse) if path]
    if not any(path.lower().endswith(DICOM_ENDING) for path in wanted):
        return None
    fixed, moving = read_series(options.fixed, "fixed image"), read_series(options.moving, "moving image")
    if not options.different_patients:
        check_same_patient(fixed.head, moving.head, ("fixed image", "moving image"))
    return fixed, moving


def save_transform_as(transform: Transform, path: str, compress: bool, series: SeriesPair | None) -> None:
    """Write a transform, as a DICOM registration of ``series`` (fixed, moving) where the name ends so."""
    if series is None or not path.lower().endswith(DICOM_ENDING):
        transform.save(path, compress)
        return
    onto = transform.domain.to_sitk(np.zeros(transform.domain.shape, np.uint8))
    write_registration(transform, path, onto, *series)


def transform_between(path: str, fixed: str | None, moving: str, different_patients: bool) -> sitk.Transform:
    """The transform in a file; of a DICOM registration the one from ``fixed`` to ``moving``, where those are DICOM.

    Raises:
        InputError: if it cannot be read, leads between other frames of reference, or is of another patient and no leave
            was given.
    """
    if Path(path).is_dir() or not is_dicom(path):
        return read_transform(path)
    registration = read_registration(path)
    frames: list[str | None] = []
    moved = []
    for image, name in ((fixed, "reference"), (moving, "input")):
        if image is None or not is_dicom(image):
            frames.append(None)
            moved.append(False)
            continue
        series = read_series(image, name)
        if not different_patients:
            check_same_patient(registration.head, series.head, ("transform", name))
        frames.append(series.frame)
        moved.append(any(instance in registration.moved for _, instance in series.instances))
    if moved == [True, False] and frames[1] is not None:  # in one frame of reference this alone tells
        raise InputError(
            "The transform brings the reference onto the input, not the other way round; exchange them, or use the "
            "inverse."
        )
    return read_transform(registration.between(*frames))
