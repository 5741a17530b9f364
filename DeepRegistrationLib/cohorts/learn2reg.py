"""Results as Learn2Reg's evaluation reads them: what to add to each voxel of the fixed image, in voxels.

Source: ``evaluation.py`` of the challenge (2021 on): it warps with ``map_coordinates(moving, identity + disp)``,
where ``disp[i, j, k]`` are three numbers of voxels along the file's own axes.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..files.itk_files import write_image_file
from ..geometry.image import Image, PathLike
from .lists import stem

_CASE = re.compile(r"_(\d{4})(_\d{4})?$")


def submission_name(fixed: Path, moving: Path) -> str | None:
    """The file's name for two images named like ``OASIS_0001_0000.nii.gz``; None for others."""
    cases = [_CASE.search(stem(path)) for path in (fixed, moving)]
    if cases[0] is None or cases[1] is None:
        return None
    return f"disp_{cases[0][1]}_{cases[1][1]}.nii.gz"


def voxel_displacement(transform: sitk.Transform, fixed: Image, moving: Image) -> np.ndarray:
    """(i, j, k, 3) float32: from each voxel of ``fixed`` to its place in ``moving``, in voxels of the files' axes."""
    maker = sitk.TransformToDisplacementFieldFilter()
    maker.SetOutputPixelType(sitk.sitkVectorFloat64)
    maker.SetReferenceImage(fixed.to_sitk())
    millimeters = sitk.GetArrayFromImage(maker.Execute(transform))
    index = np.moveaxis(np.indices(fixed.grid.shape), 0, -1).reshape(-1, fixed.ndim)
    there = moving.grid.to_index(fixed.grid.to_world(index) + millimeters.reshape(index.shape))
    moved = (there - index).reshape(millimeters.shape)[..., ::-1]  # array order is that of the file, reversed
    return moved.transpose(*reversed(range(fixed.ndim)), fixed.ndim).astype(np.float32)


def save_displacement(transform: sitk.Transform, fixed: Image, moving: Image, path: PathLike) -> None:
    """Write it; raises as ``write_image_file`` does."""
    values = voxel_displacement(transform, fixed, moving)
    write_image_file(sitk.GetImageFromArray(values.transpose(), isVector=False), path)
