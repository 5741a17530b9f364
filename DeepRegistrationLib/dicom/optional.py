"""pydicom, which is asked for only by those who use DICOM registrations."""

from __future__ import annotations

from typing import Any

from ..errors import InputError


def pydicom() -> Any:
    """The package.

    Raises:
        InputError: if it is not installed.
    """
    try:
        import pydicom as package
    except ImportError as error:
        raise InputError(
            "DICOM registrations need the package pydicom, which is not installed; run: pip install pydicom, "
            "or use an .h5 file for the transform."
        ) from error
    if int(package.__version__.split(".")[0]) < 3:
        raise InputError(
            f"DICOM registrations need pydicom 3 or newer, and {package.__version__} is installed; run: "
            "pip install -U pydicom."
        )
    return package
