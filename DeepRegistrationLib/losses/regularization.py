"""How rough a field is: penalties to be minimized, 0 for a shift of the whole image. And how large weights are.

Those on fields take (N, ndim, *spatial) in voxels, 2-D or 3-D, return one number and raise InputError where the shape
is not that of a field. Differences are forward and taken only where both voxels are inside.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..fields import check_field
from ..similarity.windows import check_image


def _steps(x: Tensor, axis: int) -> Tensor:
    """Differences of neighbors along a spatial axis; that axis is one shorter."""
    return x.diff(dim=axis + 2)


def diffusion(u: Tensor) -> Tensor:
    """Mean squared differences of neighbors, as VoxelMorph's code computes it: (mean dx^2 + mean dy^2 + mean dz^2) / 3.

    The printed formula (VoxelMorph Eq. 5) is a sum over voxels of ||grad u||^2. A literal mean per voxel of
    ||grad u||^2 adds up the 3 components and the 3 axes that are averaged here: it is 9 times (in 2-D 4 times, ndim^2)
    this figure, so a weight of 1 here is a weight of 1/9 there.
    """
    ndim = check_field(u)
    return torch.stack([_mean(_steps(u, axis).square()) for axis in range(ndim)]).mean()


def smoothness(u: Tensor) -> Tensor:
    """N: mean over voxels of |du|, summed over components and axes (FlowNet with ROI, Eq. 3, there a sum)."""
    ndim = check_field(u)
    total = u.new_zeros(())
    for axis in range(ndim):
        total = total + _mean(_steps(u, axis).abs().sum(1))
    return total


def edge_aware_smoothness(u: Tensor, fixed: Tensor) -> Tensor:
    """E: ``smoothness`` weighted by exp(-|dF|) of the same axis, so that the field may break at edges (Eq. 4).

    Args:
        fixed: (N, C, *spatial), the fixed image on the field's grid; its channels' |dF| are added up. As the weight
            has no scale of its own, intensities in [0, 1] make it weak and those in [0, 255] strong.

    Raises:
        InputError: if the image is not on the grid of the field.
    """
    ndim = check_field(u)
    check_image(fixed, "fixed image")
    if fixed.shape[0] != u.shape[0] or fixed.shape[2:] != u.shape[2:]:
        raise InputError(f"The image {tuple(fixed.shape)} is not on the grid of the field {tuple(u.shape)}.")
    total = u.new_zeros(())
    for axis in range(ndim):
        weight = torch.exp(-_steps(fixed, axis).abs().sum(1))
        total = total + _mean(_steps(u, axis).abs().sum(1) * weight)
    return total


def _mean(x: Tensor) -> Tensor:
    """The mean; 0 along an axis of one voxel, where there are no neighbors."""
    return x.mean() if x.numel() else x.sum()


def kernel_penalty(module: nn.Module, weight: float = 1e-4) -> Tensor:
    """``weight`` times the sum of the squared kernels of the module's convolutions, biases left out.

    Keras' ``kernel_regularizer=l2(1e-4)``, as in the code of Deform-GAN. An optimizer's weight decay is not the same.
    For who wants to train as that code does (``docs/deviations.md``): no loss here has it.

    Raises:
        InputError: if the module has no convolution.
    """
    kinds = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    squares = [part.weight.square().sum() for part in module.modules() if isinstance(part, kinds)]
    if not squares:
        raise InputError("This module has no convolutions whose kernels could be penalized.")
    return weight * torch.stack(squares).sum()
