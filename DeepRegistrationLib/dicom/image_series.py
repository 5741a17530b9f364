"""What a DICOM registration must know of an image: its frame of reference, patient, study, and the slices' numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files.dicom_folder import series_files
from ..files.writing import PathLike, check_named
from .optional import pydicom

PATIENT = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex")
STUDY = ("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName")
_WORDS = {"PatientID": "ID", "PatientName": "name", "PatientBirthDate": "birth date"}


@dataclass(frozen=True)
class DicomSeries:
    """One image series.

    Attributes:
        frame: UID of its frame of reference.
        series: UID of the series.
        instances: (class UID, instance UID) of each slice.
        head: pydicom's data set of one slice, with patient and study, without pixels.
        name: used in messages.
    """

    frame: str
    series: str
    instances: tuple[tuple[str, str], ...]
    head: Any
    name: str


def is_dicom(path: PathLike) -> bool:
    """Whether ``path`` is a folder, or a file that begins as DICOM files do."""
    if path == "":
        return False
    path = Path(path)
    try:
        if path.is_dir():
            return True
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except (OSError, ValueError):
        return False


def read_series(path: PathLike, name: str) -> DicomSeries:
    """The heads of the one series in a folder, or of one DICOM file.

    Raises:
        InputError: if there is no such series, it names no frame of reference or several, or pydicom is missing.
    """
    check_named(path, name)
    pydicom()
    path = Path(path)
    if not is_dicom(path):
        raise InputError(
            f"The {name} {path} is no DICOM series, from which a DICOM registration takes patient and frame of "
            "reference; give the folder of its slices, or use an .h5 file for the transform."
        )
    return series_of(series_files(path, name) if path.is_dir() else (str(path),), name, str(path))


def series_of(files: Sequence[PathLike], name: str, place: str = "") -> DicomSeries:
    """The heads of the slices of one series.

    Args:
        place: where they lie, for messages.

    Raises:
        InputError: as ``read_series``.
    """
    package, path = pydicom(), place
    try:
        heads = [package.dcmread(file, stop_before_pixels=True) for file in files]
        frames = {str(head.get("FrameOfReferenceUID", "")) for head in heads}
        instances = tuple((str(head.SOPClassUID), str(head.SOPInstanceUID)) for head in heads)
        series, _ = str(heads[0].SeriesInstanceUID), heads[0].StudyInstanceUID
    except InputError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # of a damaged file pydicom raises anything
        raise InputError(f"The slices of the {name} {path} lack what DICOM asks of them; export them again.") from error
    if frames == {""}:
        raise InputError(
            f"The slices of the {name} {path} name no frame of reference (0020,0052), which a DICOM registration "
            "refers to; use an .h5 file for the transform."
        )
    if len(frames) > 1:
        raise InputError(f"The slices of the {name} {path} lie in {len(frames)} frames of reference; give one series.")
    return DicomSeries(frames.pop(), series, instances, heads[0], name)


def check_same_patient(one: Any, other: Any, names: tuple[str, str]) -> None:
    """Compare two data sets by what both of them tell of the patient.

    Raises:
        InputError: if they differ in ID, name or birth date.
    """
    differing = [word for key, word in _WORDS.items() if _differ(one, other, key)]
    if differing:
        raise InputError(
            f"The {names[0]} and the {names[1]} are of different patients (they differ in {' and '.join(differing)}); "
            "add --different-patients if that is meant."
        )


def _differ(one: Any, other: Any, key: str) -> bool:
    # Archives add and drop what carries no meaning in a name: case, blanks, empty components.
    texts = [" ".join(str(head.get(key, "")).replace("^", " ").lower().split()) for head in (one, other)]
    return all(texts) and texts[0] != texts[1]
