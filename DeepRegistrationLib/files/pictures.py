"""What a picture file (PNG, JPEG, BMP) can hold of an image, and what it cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError

PICTURES = (".png", ".jpg", ".jpeg", ".bmp")


def as_picture(image: sitk.Image, target: Path) -> sitk.Image:
    """``image`` as one slice of unsigned integers: whole numbers that fit stay what they are (label maps), others are
    stretched to 0 to 255.

    Raises:
        InputError: if it is a volume.
    """
    if image.GetDimension() == 3:
        thin = [axis for axis, n in enumerate(image.GetSize()) if n == 1]
        if not thin:
            raise InputError(
                f"{target.name} would hold one slice of the volume only; choose a name ending in .nii.gz or .nrrd."
            )
        size = [0 if axis == thin[0] else n for axis, n in enumerate(image.GetSize())]
        image = sitk.Extract(image, size, [0, 0, 0], sitk.ExtractImageFilter.DIRECTIONCOLLAPSETOIDENTITY)
    if image.GetNumberOfComponentsPerPixel() > 1 or image.GetPixelID() == sitk.sitkUInt8:
        return image
    array = sitk.GetArrayViewFromImage(image)
    whole = array.dtype.kind != "f" or bool(np.isfinite(array).all() and (array == np.rint(array)).all())
    if whole and array.min() >= 0 and array.max() <= 255:
        return sitk.Cast(image, sitk.sitkUInt8)
    if whole and array.min() >= 0 and array.max() <= 65535 and target.suffix.lower() == ".png":
        return sitk.Cast(image, sitk.sitkUInt16)
    return sitk.Cast(sitk.RescaleIntensity(image), sitk.sitkUInt8)
