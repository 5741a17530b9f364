"""The encoder of SAR-Net's perceptual term: of our universal model, or VGG16 where the user has its weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.losses.perceptual import PerceptualLoss, VGG16Features, unit_range
from DeepRegistrationLib.models.bundle import load_model
from DeepRegistrationLib.models.header import KEY
from DeepRegistrationLib.models.methods import bundles_of, find_method
from DeepRegistrationLib.models.safetensors import read_weights
from DeepRegistrationLib.models.weights_header import read_weights_header
from DeepRegistrationLib.networks.universal import UniversalNetwork

UNIVERSAL = "universal"


class _Encoder(nn.Module):
    """The universal network's features at 1/2, 1/4 and 1/8 of the grid."""

    def __init__(self, network: UniversalNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> list[Tensor]:
        return self.network.encode(image)


def perceptual_term(name: str, ndim: int) -> Callable[[Tensor, Tensor], Tensor] | None:
    """The term by ``options.perceptual``: "" for none, "universal" for the model in the box or in the user's folder, or
    a ``.safetensors`` file of a universal model, or of VGG16's weights (2-D only, normalized as the paper does).

    Raises:
        InputError: if there is no such model, or it is for other images.
    """
    if not name:
        return None
    loss = _loss(name, ndim)

    def term(a: Tensor, b: Tensor) -> Tensor:
        return loss.to(a.device)(a, b)

    return term


def _loss(name: str, ndim: int) -> PerceptualLoss:
    path = Path(name)
    if name == UNIVERSAL:
        fitting = [b for b in bundles_of(find_method(UNIVERSAL)) if b.header.dimensions == ndim]
        if not fitting:
            raise InputError(
                f"The perceptual term needs a universal {ndim}-D model and there is none here; train one, name its "
                'file in options.perceptual, or leave the term out (options.perceptual = "").'
            )
        path = fitting[0].path
    elif path.suffix == ".safetensors" and KEY not in read_weights_header(path).metadata:
        if ndim != 2:
            raise InputError("VGG16 looks at 2-D images; name a universal model in options.perceptual instead.")
        return PerceptualLoss(VGG16Features.from_weights(read_weights(path)[0].items()), unit_range)
    network = load_model(path if path.suffix else name).network
    if not isinstance(network, UniversalNetwork) or network.ndim != ndim:
        raise InputError(f"options.perceptual needs a universal {ndim}-D model, and {name} is another one.")
    return PerceptualLoss(_Encoder(network))
