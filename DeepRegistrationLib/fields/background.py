"""What the background of an image is worth: the intensity that its border shows."""

from __future__ import annotations

import torch
from torch import Tensor


def border_value(image: Tensor, measured: Tensor | None = None) -> Tensor:
    """The typical (median) intensity on the faces of (1, 1, *S), of what is ``measured`` there: the background's."""
    faces = _faces(image)
    if measured is not None:
        inside = faces[_faces(measured)]
        faces = inside if len(inside) else image[measured]
    return faces.median()


def _faces(image: Tensor) -> Tensor:
    volume = image[0, 0]
    return torch.cat([volume.select(a, i).flatten()[::7] for a in range(volume.ndim) for i in (0, -1)])
