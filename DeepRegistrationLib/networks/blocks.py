"""What the networks share: their contract, convolutions in 2-D and 3-D, padding to a multiple, the folded upsampling.

Contract of every registration network: ``forward(fixed, moving) -> Prediction`` for images (N, 1, *S) with S of any
size. A forward pass leaves nothing on ``self``, takes and gives float32; only the convolutions in between have the
precision of the weights. ``arguments`` holds what the constructor was called with, so that a bundle can build the
same network again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError

Convolution = nn.Conv2d | nn.Conv3d


@dataclass(frozen=True)
class Prediction:
    """What a network says about a pair.

    Attributes:
        displacement: (N, ndim, *S) voxels, fixed to moving (``warped(p) = moving(p + u(p))``).
        velocity: (N, ndim, *T) stationary velocity whose exponential is the displacement, in voxels of its own grid
            (T may be coarser than S); None where the network predicts a displacement.
        extras: what a loss or a report may want besides; each network's docstring says what.
    """

    displacement: Tensor
    velocity: Tensor | None = None
    extras: dict[str, Any] = field(default_factory=dict)


class RegistrationNetwork(nn.Module):
    """Base of the networks: number of dimensions, constructor arguments, and which convolution speaks last."""

    def __init__(self, ndim: int, **arguments: Any) -> None:
        super().__init__()
        if ndim not in (2, 3):
            raise InputError(f"A registration network works in 2 or 3 dimensions, not {ndim}.")
        self.ndim = ndim
        self.arguments: dict[str, Any] = {"ndim": ndim, **arguments}

    def last_convolution(self) -> Convolution:
        """The convolution that writes the field: what fine-tuning on a new kind of image may change."""
        raise NotImplementedError

    def weights_from(self, other: RegistrationNetwork) -> dict[str, Tensor] | None:
        """The weights with which training goes on where ``other`` stopped; None if it is another network."""
        same = type(self) is type(other) and _plain(self.arguments) == _plain(other.arguments)
        return other.state_dict() if same else None

    def forward(self, fixed: Tensor, moving: Tensor) -> Prediction:
        raise NotImplementedError


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    """As a bundle's header holds them."""
    return json.loads(json.dumps(arguments))


def parameter_count(module: nn.Module) -> int:
    """The number of trainable values."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def check_images(fixed: Tensor, moving: Tensor, ndim: int) -> None:
    """Both images (N, 1, *S), of one shape.

    Raises:
        InputError: if they are not.
    """
    if fixed.shape != moving.shape or fixed.ndim != ndim + 2 or fixed.shape[1] != 1:
        raise InputError(
            f"This network takes a fixed and a moving image of one shape (N, 1, *{ndim} axes), "
            f"not {tuple(fixed.shape)} and {tuple(moving.shape)}."
        )


def pad_to_multiple(x: Tensor, divisor: int) -> Tensor:
    """(N, C, *S) with zeros at the far end of each axis, up to a multiple of ``divisor``; ``crop`` takes them away.

    Zeros are what a convolution sees beyond the border anyway, and the near end, which fixes the voxel positions,
    stays where it is: the field needs no correction.
    """
    missing = [-s % divisor for s in x.shape[2:]]
    if not any(missing):
        return x
    return F.pad(x, [edge for m in reversed(missing) for edge in (0, m)])


def crop(x: Tensor, shape: Sequence[int]) -> Tensor:
    """The near corner of (N, C, *S): (N, C, *shape)."""
    return x[(slice(None), slice(None), *(slice(0, s) for s in shape))]


def convolution(
    ndim: int, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, bias: bool = True
) -> Convolution:
    """A convolution with ``kernel // 2`` zeros on each side; He-normal weights, zero bias."""
    kind = nn.Conv2d if ndim == 2 else nn.Conv3d
    layer = kind(inputs, outputs, kernel, stride, kernel // 2, bias=bias)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def flow_convolution(ndim: int, inputs: int, kernel: int = 3, std: float = 1e-5) -> Convolution:
    """The last convolution of a network: ``ndim`` channels, weights N(0, std), so that a field starts near zero."""
    layer = convolution(ndim, inputs, ndim, kernel)
    nn.init.normal_(layer.weight, std=std)
    return layer


def like(x: Tensor, weight: Tensor) -> Tensor:
    """``x`` in the precision and memory order of a network's weights: where a forward pass enters its convolutions."""
    return x.to(dtype=weight.dtype, memory_format=_order_of(weight))


def empty_like_weights(shape: Sequence[int], weight: Tensor) -> Tensor:
    """Memory for what goes into a convolution with ``weight``, in its precision and order."""
    return torch.empty_like(weight.new_empty(tuple(shape), requires_grad=False), memory_format=_order_of(weight))


def _order_of(weight: Tensor) -> torch.memory_format:
    format_ = torch.channels_last if weight.ndim == 4 else torch.channels_last_3d
    last = weight.is_contiguous(memory_format=format_) and not weight.is_contiguous()
    return format_ if last else torch.preserve_format


def functional_convolution(ndim: int) -> Any:
    """``F.conv2d`` or ``F.conv3d``."""
    return F.conv2d if ndim == 2 else F.conv3d


class TensorFlowStride(nn.Module):
    """Convolution k3 stride 2 with TensorFlow's ``same`` padding: on an even size one zero at the far end, none near.

    PyTorch's symmetric padding would shift the sampling by one voxel, and published Keras weights would be wrong.
    """

    def __init__(self, ndim: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolution = convolution(ndim, inputs, outputs, stride=2)
        self.convolution.padding = (0,) * ndim  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(F.pad(x, (0, 1) * (x.ndim - 2)))


class UpsampleConcatenateConvolve(nn.Module):
    """Nearest upsampling by 2, concatenation with ``skip``, convolution k3 ``same``: the step of a VoxelMorph decoder.

    The parameters are those of that one convolution. It is computed without making the upsampled or the concatenated
    tensor: on a grid repeated twice, three taps of a kernel fall on two voxels, so the part that reads the upsampled
    input is a transposed convolution with the 4-tap kernel of ``fold_upsampling``. Same numbers, a third of the
    arithmetic and half of the memory.
    """

    def __init__(self, ndim: int, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.inputs = inputs
        self.convolution = convolution(ndim, inputs + skip, outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """x (N, inputs, *S), skip (N, skip, *2S) -> (N, outputs, *2S)."""
        ndim = x.ndim - 2
        weight, bias = self.convolution.weight, self.convolution.bias
        transposed = F.conv_transpose2d if ndim == 2 else F.conv_transpose3d
        format_ = torch.channels_last if ndim == 2 else torch.channels_last_3d
        kernel = fold_upsampling(weight[:, : self.inputs]).transpose(0, 1)  # type: ignore[index]
        if not x.is_contiguous():  # then it is channels-last: the kernel must be, too, to stay on the fast path
            kernel = kernel.contiguous(memory_format=format_)
        y = transposed(x, kernel, stride=2, padding=1)
        y += functional_convolution(ndim)(skip, weight[:, self.inputs :], bias, padding=1)  # type: ignore[index]
        return y


def fold_upsampling(weight: Tensor) -> Tensor:
    """The kernel k4 of a stride-2 transposed convolution equal to nearest upsampling by 2 and then ``weight`` (k3).

    Along each axis (w0, w1, w2) -> (w2, w1 + w2, w0 + w1, w0). weight (O, I, 3, ...) -> (O, I, 4, ...).
    """
    folding = weight.new_tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])
    for axis in range(2, weight.ndim):
        weight = (weight.movedim(axis, -1) @ folding.T).movedim(-1, axis)
    return weight
