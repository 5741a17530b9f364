"""Spatial Registration and Deformable Spatial Registration objects (PS3.3 A.39), written for two series.

The fixed image's frame of reference is the registered one. A matrix leads from an item's frame to the registered one
(C.20.2), which is the inverse of a resampling transform; a grid's vectors lead the other way (C.20.3). A transform with
a field is written as the whole motion on one grid, without matrices before and after it, as readers differ in whether
they apply those. Vectors are float32: 0.00002 mm for motions up to 500 mm. Matrices have at least 10 digits.
"""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import SimpleITK as sitk

from .. import __version__
from ..errors import InputError
from ..files.writing import PathLike, whole
from .image_series import PATIENT, STUDY, DicomSeries
from .maps import kind_of, matrix_of, sampled
from .optional import pydicom

LINEAR_UID, DEFORMABLE_UID = "1.2.840.10008.5.1.4.1.1.66.1", "1.2.840.10008.5.1.4.1.1.66.3"
MOST_BYTES = 2**32 - 2
"""Of one attribute's value."""


def write_registration(
    transform: sitk.Transform, path: PathLike, onto: sitk.Image, fixed: DicomSeries, moving: DicomSeries
) -> None:
    """Write ``transform`` (fixed to moving, LPS mm, 3-D), whole or not at all.

    Args:
        onto: an image on whose grid a transform that is not linear is sampled; it should hold the fixed image.
        fixed, moving: the series it was found for.

    Raises:
        InputError: if the transform is not 3-D, the grid too large, the folder missing, or pydicom is.
        NotWritten: if the disk is full.
    """
    package = pydicom()
    if transform.GetDimension() != 3:
        raise InputError(f"A DICOM registration is 3-D, and this transform is {transform.GetDimension()}-D; use .h5.")
    linear = transform.IsLinear()
    if not linear and 12 * onto.GetNumberOfPixels() > MOST_BYTES:
        raise InputError("The field is larger than 4 GB, which a DICOM registration cannot hold; use .h5.")
    data = _common(package, LINEAR_UID if linear else DEFORMABLE_UID, fixed, moving)
    if linear:
        inverse = np.linalg.inv(matrix_of(transform))
        data.RegistrationSequence = [
            _matrix_item(package, fixed, np.eye(4), "125021", "Frame of Reference Identity"),
            _matrix_item(package, moving, inverse, "125024", "Image Content-based Alignment"),
        ]
    else:
        data.DeformableRegistrationSequence = [_grid_item(package, transform, onto, moving)]
    with whole(path) as partial:
        data.save_as(partial, enforce_file_format=True)


def _matrix_item(package: Any, series: DicomSeries, matrix: np.ndarray, code: str, meaning: str) -> Any:
    item, registration, single = (package.Dataset() for _ in range(3))
    single.FrameOfReferenceTransformationMatrixType = kind_of(matrix)
    single.FrameOfReferenceTransformationMatrix = _decimals(package, matrix.ravel())
    registration.RegistrationTypeCodeSequence = [_code(package, code, meaning)]
    registration.MatrixSequence = [single]
    item.FrameOfReferenceUID = series.frame
    item.ReferencedImageSequence = _references(package, series)
    item.MatrixRegistrationSequence = [registration]
    return item


def _grid_item(package: Any, transform: sitk.Transform, onto: sitk.Image, moving: DicomSeries) -> Any:
    found = sampled(transform, onto)
    item, grid = package.Dataset(), package.Dataset()
    grid.ImagePositionPatient = _decimals(package, found.origin)
    grid.ImageOrientationPatient = _decimals(package, found.axes[:, :2].T.ravel())
    grid.GridDimensions = [int(n) for n in reversed(found.vectors.shape[:3])]
    grid.GridResolution = found.spacing.tolist()
    grid.VectorGridData = found.vectors.astype("<f4").tobytes()
    item.SourceFrameOfReferenceUID = moving.frame
    item.ReferencedImageSequence = _references(package, moving)
    item.RegistrationTypeCodeSequence = [_code(package, "125024", "Image Content-based Alignment")]
    item.DeformableRegistrationGridSequence = [grid]
    return item


def _common(package: Any, kind: str, fixed: DicomSeries, moving: DicomSeries) -> Any:
    """All that is not the registration itself: patient and study of the fixed image, a series of its own."""
    data, now = package.Dataset(), datetime.datetime.now()
    data.file_meta = package.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = package.uid.ExplicitVRLittleEndian
    if "SpecificCharacterSet" in fixed.head:
        data.SpecificCharacterSet = fixed.head.SpecificCharacterSet
    data.SOPClassUID, data.SOPInstanceUID = kind, package.uid.generate_uid(prefix=None)
    for key in (*PATIENT, *STUDY):
        setattr(data, key, fixed.head.get(key, ""))
    data.SeriesInstanceUID, data.SeriesNumber, data.Modality = package.uid.generate_uid(prefix=None), 1, "REG"
    data.SeriesDescription = "Deformable registration" if kind == DEFORMABLE_UID else "Registration"
    data.SeriesDate = data.ContentDate = now.strftime("%Y%m%d")
    data.SeriesTime = data.ContentTime = now.strftime("%H%M%S")
    data.Laterality, data.FrameOfReferenceUID = "", fixed.frame
    data.PositionReferenceIndicator = fixed.head.get("PositionReferenceIndicator", "")
    data.Manufacturer = data.ManufacturerModelName = "SlicerDeepRegistration"
    data.DeviceSerialNumber, data.SoftwareVersions = "none", __version__
    data.InstanceNumber, data.ContentLabel = 1, "REGISTRATION"
    data.ContentDescription, data.ContentCreatorName = f"{moving.name} to {fixed.name}"[:64], ""
    same_study = fixed.head.StudyInstanceUID == moving.head.StudyInstanceUID
    once = [fixed] if fixed.series == moving.series else [fixed, moving]
    data.ReferencedSeriesSequence = [_series_item(package, one) for one in (once if same_study else [fixed])]
    if not same_study:
        study = package.Dataset()
        study.StudyInstanceUID = moving.head.StudyInstanceUID
        study.ReferencedSeriesSequence = [_series_item(package, moving)]
        data.StudiesContainingOtherReferencedInstancesSequence = [study]
    return data


def _series_item(package: Any, series: DicomSeries) -> Any:
    item = package.Dataset()
    item.SeriesInstanceUID = series.series
    item.ReferencedInstanceSequence = _references(package, series)
    return item


def _references(package: Any, series: DicomSeries) -> list[Any]:
    items = []
    for kind, instance in series.instances:
        item = package.Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = kind, instance
        items.append(item)
    return items


def _code(package: Any, value: str, meaning: str) -> Any:
    item = package.Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def _decimals(package: Any, values: np.ndarray) -> list[str]:
    """As many digits as the 16 characters of a decimal string hold."""
    return [package.valuerep.format_number_as_ds(float(value)) for value in values]
