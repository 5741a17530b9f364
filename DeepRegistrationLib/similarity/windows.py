"""What the losses share: checks of shapes, sums over box windows, image differences and weighted means.

Images are (N, C, *spatial), 2-D or 3-D. Windows are odd, in voxels, the same along every axis.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError


def check_image(image: Tensor, name: str = "image") -> int:
    """The number of spatial dimensions of an image (N, C, *spatial).

    Raises:
        InputError: if it is not a 2-D or 3-D image with batch and channel axes, or not of floating point.
    """
    if image.ndim not in (4, 5):
        raise InputError(f"The {name} needs the shape (N, C, *spatial) in 2-D or 3-D, not {tuple(image.shape)}.")
    if not image.is_floating_point():
        raise InputError(f"The {name} holds whole numbers; convert it to float32.")
    return image.ndim - 2


def check_pair(a: Tensor, b: Tensor, mask: Tensor | None = None) -> int:
    """The number of spatial dimensions of two images of one shape, with an optional mask (N or 1, 1, *spatial).

    Raises:
        InputError: if the shapes do not agree.
    """
    ndim = check_image(a)
    check_image(b)
    if a.shape != b.shape:
        raise InputError(f"The two images must have the same shape, not {tuple(a.shape)} and {tuple(b.shape)}.")
    if mask is not None:
        fits = mask.ndim == a.ndim and mask.shape[0] in (1, a.shape[0]) and mask.shape[1] == 1
        if not fits or mask.shape[2:] != a.shape[2:]:
            raise InputError(f"A mask for {tuple(a.shape)} is (N, 1, *spatial), not {tuple(mask.shape)}.")
    return ndim


def at_least_float32(image: Tensor) -> Tensor:
    """Half precision becomes float32: differences of sums of squares need it. Others stay as they are."""
    return image.float() if image.dtype in (torch.float16, torch.bfloat16) else image


def weighted_mean(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """The mean of ``values`` (N, C, *spatial), weighted by a mask (N or 1, 1, *spatial) where one is given."""
    if mask is None:
        return values.mean()
    weights = mask.to(values)
    total = weights.sum() * (values.shape[0] // weights.shape[0]) * values.shape[1]
    return (values * weights).sum() / total.clamp_min(torch.finfo(values.dtype).eps)


def valid_sums(x: Tensor, size: int, dim: int) -> Tensor:
    """Sums of ``size`` neighbors along ``dim``, whole windows only: that axis shrinks by ``size - 1``.

    Sums of 1, 2, 4, ... neighbors are added up: log2(size) passes over memory. On a CPU this is as fast as running
    sums and as exact as a convolution, which takes ten times longer for one channel.
    """
    length, offset, out = 1, 0, x.shape[dim] - size + 1
    result: Tensor | None = None
    own = False  # whether the result may be written to
    while length <= size:
        if size & length:
            part = x.narrow(dim, offset, out)
            if result is None:
                result = part
            elif 2 * length > size:  # nobody needs these sums any more
                result, own = part.add_(result), True
            else:
                result, own = result.add_(part) if own else result + part, True
            offset += length
        rest = x.shape[dim] - length
        if 2 * length <= size:
            x = x.narrow(dim, 0, rest) + x.narrow(dim, length, rest)
        length *= 2
    assert result is not None
    return result if own else result.clone()


class _ValidBoxSum(torch.autograd.Function):
    """Box sums over whole windows. The adjoint is the same sum over the zero-padded gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int) -> Tensor:
        ctx.size = size
        for dim in range(2, x.ndim):
            x = valid_sums(x, size, dim)
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        edges = [ctx.size - 1] * (2 * (gradient.ndim - 2))
        return _ValidBoxSum.apply(F.pad(gradient, edges), ctx.size), None


def box_sum(x: Tensor, size: int, padding: str = "zeros") -> Tensor:
    """Sum over a window of ``size`` voxels along every axis: (N, C, *spatial) to the same shape.

    ``padding`` "zeros" counts nothing outside the image, "replicate" repeats its edge.

    Raises:
        InputError: if ``size`` is not odd.
    """
    ndim = check_image(x)
    if size < 1 or size % 2 == 0:
        raise InputError(f"A window has an odd number of voxels, not {size}.")
    if size == 1:
        return x
    mode = {"zeros": "constant", "replicate": "replicate"}[padding]
    return valid_box_sum(F.pad(x, [size // 2] * (2 * ndim), mode=mode), size)


def valid_box_sum(x: Tensor, size: int) -> Tensor:
    """``valid_sums`` along every axis of space, differentiable: (N, C, *S) -> (N, C, *(S - size + 1))."""
    return _ValidBoxSum.apply(x, size)


def box_mean(x: Tensor, size: int, padding: str = "zeros") -> Tensor:
    """``box_sum`` divided by the number of voxels of a whole window, at the border too."""
    return box_sum(x, size, padding) / size ** (x.ndim - 2)
