"""Unsupervised multimodal registration with auxiliary gradient guidance: two branches and their gated fusion.

One VoxelMorph U-Net sees the images, another one their gradient magnitudes; the two fields are averaged or fused by
learned gates (Fig. 2 of the paper). ``MonoBranch`` holds the paper's two baselines, VM and VM(concat).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import InputError
from .blocks import Convolution, Prediction, RegistrationNetwork, check_images, convolution, crop, like, pad_to_multiple
from .voxelmorph import VoxelMorph, VoxelMorphUNet

FULL_RESOLUTION = (32, 16, 16)
"""With the flow, the four convolutions that refine the full-resolution field."""
MOST_FOR_QUANTILE = 1 << 24


def gradient_magnitude(image: Tensor) -> Tensor:
    """The gradient intensity map of Eq. 1: (N, 1, *S) -> (N, 1, *S), 1 at each image's own 99th percentile.

    ‖(I(x+1) − I(x−1), ...)‖₂ without the ½; the border repeats its voxel.
    """
    squares = torch.zeros_like(image)
    for axis in range(2, image.ndim):
        n = image.shape[axis]
        index = torch.arange(n, device=image.device)
        after, before = (index + 1).clamp_max(n - 1), (index - 1).clamp_min(0)
        squares = squares + (image.index_select(axis, after) - image.index_select(axis, before)).square()
    # The square root's slope is infinite at 0; a flat image must not turn a later gradient into NaN.
    magnitude = (squares + 1e-12).sqrt() - 1e-6
    values = magnitude.detach().flatten(1)
    values = values[:, :: max(1, -(-values.shape[1] // MOST_FOR_QUANTILE))]  # torch.quantile takes no more
    scale = torch.quantile(values, 0.99, dim=1).clamp_min(1e-6)
    return magnitude / scale.view(-1, *[1] * (image.ndim - 1))


class GatedFusion(nn.Module):
    """Fig. 2 (b): φ_i and φ_g, each (N, ndim, *S), weighted by learned gates, then mixed by a 1×1×1 convolution.

    The gates start at sigmoid(0) = ½ and the mixing at [I I]: at the start the result is the paper's plain average.
    """

    def __init__(self, ndim: int) -> None:
        super().__init__()
        self.ndim = ndim
        self.gate = convolution(ndim, 2 * ndim, 2 * ndim)
        nn.init.zeros_(self.gate.weight)
        self.mix = convolution(ndim, 2 * ndim, ndim, kernel=1)
        with torch.no_grad():
            both = torch.eye(ndim).repeat(1, 2)
            self.mix.weight.copy_(both.view(ndim, 2 * ndim, *[1] * ndim))

    def forward(self, image_field: Tensor, gradient_field: Tensor) -> Tensor:
        both = torch.cat([image_field, gradient_field], 1)
        return self.mix(torch.sigmoid(self.gate(both)) * both)


class DualBranch(RegistrationNetwork):
    """The proposed network: ``fusion`` "gated" or "average".

    Extras: ``gradient_displacement`` φ_g (N, ndim, *S), ``image_displacement`` φ_i, ``fixed_gradient`` and
    ``moving_gradient`` (N, 1, *S): the loss compares the *warped gradient map*, never the gradient of a warped image.
    """

    def __init__(self, ndim: int = 3, fusion: str = "gated") -> None:
        super().__init__(ndim, fusion=fusion)
        if fusion not in ("gated", "average"):
            raise InputError(f"The branches are fused by gates or averaged, not {fusion}.")
        self.image_branch = VoxelMorphUNet(ndim, 2, None, FULL_RESOLUTION)
        self.gradient_branch = VoxelMorphUNet(ndim, 2, None, FULL_RESOLUTION)
        self.fusion = GatedFusion(ndim) if fusion == "gated" else None

    def last_convolution(self) -> Convolution:
        return self.image_branch.flow if self.fusion is None else self.fusion.mix

    def weights_from(self, other: RegistrationNetwork) -> dict[str, Tensor] | None:
        """As for every network; or both branches begin as a VoxelMorph U-Net, but for the layers of other widths."""
        if not isinstance(other, VoxelMorph) or other.ndim != self.ndim:
            return super().weights_from(other)
        weights = self.state_dict()
        given = other.unet.state_dict()
        for branch in ("image_branch", "gradient_branch"):
            for name, value in given.items():
                key = f"{branch}.{name}"
                if key in weights and weights[key].shape == value.shape:
                    weights[key] = value
        return weights

    def forward(self, fixed: Tensor, moving: Tensor, images: bool = True) -> Prediction:
        """(N, 1, *S) each -> displacement φ_ig (N, ndim, *S); without ``images`` φ_g, in half of the time."""
        check_images(fixed, moving, self.ndim)
        fixed_gradient, moving_gradient = gradient_magnitude(fixed), gradient_magnitude(moving)
        shape = fixed.shape[2:]
        gradient_field = _field(self.gradient_branch, moving_gradient, fixed_gradient)
        by_gradient = crop(gradient_field, shape).float()
        extras = {
            "gradient_displacement": by_gradient,
            "fixed_gradient": fixed_gradient,
            "moving_gradient": moving_gradient,
        }
        if not images:
            return Prediction(by_gradient, extras=extras)
        image_field = _field(self.image_branch, moving, fixed)
        fused = (image_field + gradient_field) / 2 if self.fusion is None else self.fusion(image_field, gradient_field)
        extras["image_displacement"] = crop(image_field, shape).float()
        return Prediction(crop(fused, shape).float(), extras=extras)


def _field(branch: VoxelMorphUNet, moving: Tensor, fixed: Tensor) -> Tensor:
    """A branch's answer on the padded grid."""
    return branch(like(pad_to_multiple(torch.cat([moving, fixed], 1), branch.divisor), branch.flow.weight))


class MonoBranch(RegistrationNetwork):
    """The baselines VM (two images) and VM(concat) (``gradients``: their two gradient maps as channels 3 and 4)."""

    def __init__(self, ndim: int = 3, gradients: bool = False) -> None:
        super().__init__(ndim, gradients=gradients)
        self.gradients = gradients
        self.unet = VoxelMorphUNet(ndim, 4 if gradients else 2, None, FULL_RESOLUTION)

    def last_convolution(self) -> Convolution:
        return self.unet.flow

    def forward(self, fixed: Tensor, moving: Tensor) -> Prediction:
        """(N, 1, *S) each -> displacement (N, ndim, *S)."""
        check_images(fixed, moving, self.ndim)
        channels = [moving, fixed]
        if self.gradients:
            channels += [gradient_magnitude(moving), gradient_magnitude(fixed)]
        images = pad_to_multiple(torch.cat(channels, 1), self.unet.divisor)
        return Prediction(crop(self.unet(like(images, self.unet.flow.weight)), fixed.shape[2:]).float())
