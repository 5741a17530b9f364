"""How alike two images look to a frozen encoder, at several scales."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from ..similarity.windows import check_pair


def unit_channels(features: Tensor) -> Tensor:
    """Each voxel's feature vector with length 1 (0 where it vanishes)."""
    return F.normalize(features, dim=1, eps=1e-6)


def unit_range(features: Tensor) -> Tensor:
    """Each map of each item brought to [0, 1], as the SAR-Net paper normalizes."""
    axes = list(range(2, features.ndim))
    low, high = features.amin(axes, keepdim=True), features.amax(axes, keepdim=True)
    return (features - low) / (high - low).clamp_min(1e-6)


class PerceptualLoss(nn.Module):
    """Mean squared difference of the normalized features of two images, averaged over the scales; 0 where they agree.

    SAR-Net's perceptual term (Eq. 2) with any encoder: its weights are frozen, it stays in evaluation mode, and
    gradients flow through it to the images.

    Args:
        encoder: gives the feature maps of an image; frozen in place, so give it a network that is not being trained.
        normalize: ``unit_channels``, or ``unit_range`` for the paper's form.
    """

    def __init__(self, encoder: nn.Module, normalize: Callable[[Tensor], Tensor] = unit_channels) -> None:
        super().__init__()
        self.encoder = encoder.eval().requires_grad_(False)
        self.normalize = normalize

    def train(self, mode: bool = True) -> PerceptualLoss:
        """Evaluation mode whatever is asked: batch statistics must not move with the images compared."""
        return super().train(False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two images (N, C, *spatial) of the channels and dimensions that the encoder takes.

        Raises:
            InputError: if their shapes differ or the encoder gives no features.
        """
        check_pair(a, b)
        terms = [
            (self.normalize(x.float()) - self.normalize(y.float())).square().mean()
            for x, y in zip(self.encoder(a), self.encoder(b), strict=True)
        ]
        if not terms:
            raise InputError("The encoder gave no feature maps; choose another one.")
        return torch.stack(terms).mean()


class VGG16Features(nn.Module):
    """The 13 convolutions of VGG16 (Simonyan 2015), for a user's own weights; 2-D images of one channel in [0, 1].

    The layers carry the names of the common ``features.N.weight`` files, so ``load_state_dict`` takes those. The
    SAR-Net paper counts 3968 maps (2 + 2 + 2 + 3 + 3 layers); VGG16 has 2 + 2 + 3 + 3 + 3, which makes 4224.
    """

    MEAN = (0.485, 0.456, 0.406)
    SD = (0.229, 0.224, 0.225)
    STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width, count in self.STAGES:
            if layers:
                layers.append(nn.MaxPool2d(2))
            for _ in range(count):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
        self.features = nn.Sequential(*layers)

    @classmethod
    def from_weights(cls, weights: Iterable[tuple[str, Tensor]]) -> VGG16Features:
        """The network with the user's weights, pairs of name and tensor; those of the classifier are left aside.

        Raises:
            InputError: if a weight is missing or has another shape.
        """
        network = cls()
        wanted: dict[str, Any] = {name: w for name, w in weights if name.startswith("features.")}
        try:
            network.load_state_dict(wanted)
        except RuntimeError as error:
            raise InputError("These are not the weights of VGG16's convolutions; give a file of VGG16.") from error
        return network

    def forward(self, image: Tensor) -> list[Tensor]:
        """(N, 1, H, W) to the 13 maps after each ReLU.

        Raises:
            InputError: if the image is not 2-D with one channel, or smaller than 16 voxels.
        """
        if image.ndim != 4 or image.shape[1] != 1 or min(image.shape[2:]) < 16:
            raise InputError(f"VGG16 looks at 2-D images (N, 1, H, W) from 16 x 16 on, not {tuple(image.shape)}.")
        mean, sd = (image.new_tensor(v).view(1, 3, 1, 1) for v in (self.MEAN, self.SD))
        x = (image.expand(-1, 3, -1, -1) - mean) / sd
        maps = []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                maps.append(x)
        return maps
