"""Label maps as training takes them: whole numbers, on the network's grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import Image
from DeepRegistrationLib.models.placement import Placement

from ..plan import DataPlan
from ..synthesis.anatomy import pick


def label_map(image: Image, path: Path, plan: DataPlan) -> Image:
    """The label map as int16, by the plan's threshold and labels.

    Raises:
        InputError: if it holds anything but small whole numbers.
    """
    array = image.array
    if plan.mask_threshold is not None:
        array = (array > plan.mask_threshold).astype(np.int16)
    if not np.array_equal(array, array.astype(np.int16)):
        raise InputError(
            f"The label map {path} must hold whole numbers up to 32767; set data.mask_threshold if it is a mask."
        )
    array = array.astype(np.int16)
    if plan.labels:
        array = np.where(np.isin(array, plan.labels), array, 0).astype(np.int16)
    return Image(array, image.grid, image.name)


def take_labels(place: Placement, labels: Image) -> Tensor:
    """Nearest labels on the network's grid, 0 outside of the image."""
    axes = [
        o + s * torch.arange(m, dtype=torch.float32)
        for o, s, m in zip(place.offset, place.scale, place.size, strict=True)
    ]
    x = torch.from_numpy(labels.array)[None, None].permute(0, 1, *[axis + 2 for axis in place.axes])
    x = x.flip([a + 2 for a, turned in enumerate(place.turned) if turned])
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]
    inside = torch.ones(1, 1, *place.size, dtype=torch.bool)
    for d, n in enumerate(x.shape[2:]):
        inside &= (points[:, d : d + 1] > -0.5) & (points[:, d : d + 1] < n - 0.5)
    return torch.where(inside, pick(x, points), 0)
