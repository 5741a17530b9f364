"""The universal network: any contrast, trained on synthetic images alone.

    MIND of both images -> one small strided encoder for both -> from 1/8 over 1/4 to 1/2 of the grid:
    local correlation of the fixed with the warped moving features -> a head adds to the velocity.

Matching is built in, so that only features and regularization are left to learn. Exchanging the images changes the sign
of the velocity, hence exp(−v) is the inverse: v = ½ (head(moving, fixed) − head(fixed, moving)) at every level.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..fields import exponentiate, resize, warp
from ..mind import mind_channels, mind_features
from .blocks import (
    Convolution,
    Prediction,
    RegistrationNetwork,
    check_pair,
    convolution,
    crop,
    empty_like_weights,
    flow_convolution,
    like,
)
from .correlation import local_correlation

SQUARINGS = 6


def _activate(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


class EncoderLevel(nn.Module):
    """Half the grid: a strided convolution k4 (centered between voxels, as half-pixel resizing is), then one of k3."""

    def __init__(self, ndim: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.down = convolution(ndim, inputs, outputs, kernel=4, stride=2)
        self.down.padding = (1,) * ndim
        self.features = convolution(ndim, outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, *2S) -> (N, outputs, *S), signed: what is compared by angle must be able to point anywhere."""
        return self.features(F.leaky_relu_(self.down(x), 0.2))


class Head(nn.Module):
    """From the correlations, the fixed features and the velocity so far to what is added to the velocity."""

    def __init__(self, ndim: int, features: int, radius: int, width: int) -> None:
        super().__init__()
        self.radius, self.shifts = radius, (2 * radius + 1) ** ndim
        self.first = convolution(ndim, self.shifts + features + ndim, width)
        self.second = convolution(ndim, width, width)
        self.velocity = flow_convolution(ndim, width, std=1e-3)

    def forward(self, features: Tensor, other: Tensor, velocity: Tensor) -> Tensor:
        x = self._inputs(features, other, velocity)
        x = F.leaky_relu_(self.second(F.leaky_relu_(self.first(x), 0.2)), 0.2)
        return self.velocity(x).float()

    def _inputs(self, features: Tensor, other: Tensor, velocity: Tensor) -> Tensor:
        weight = self.velocity.weight
        if torch.is_grad_enabled():
            parts = [local_correlation(features, other, self.radius), features, velocity]
            return torch.cat([like(part, weight) for part in parts], 1)
        # Each part goes where it belongs: on large volumes new memory costs more than the arithmetic.
        n, shape = features.shape[0], features.shape[2:]
        x = empty_like_weights((n, self.first.in_channels, *shape), weight)
        local_correlation(features, other, self.radius, out=x[:, : self.shifts])
        x[:, self.shifts : -velocity.shape[1]] = features
        x[:, -velocity.shape[1] :] = velocity
        return x


class UniversalNetwork(RegistrationNetwork):
    """MIND, siamese encoder, correlation pyramid, symmetric stationary velocity.

    Extras: ``velocities``, one a level, coarse to fine, each (N, ndim, *T) in voxels of its own grid (1/8, 1/4, 1/2 of
    the padded images); ``inverse``, the displacement of exp(−v), like the last of these.

    Args:
        widths: features at 1/2, 1/4 and 1/8 of the grid.
        radii: of the correlation at these levels.
        head: filters of the heads.
        repeats: how often the head of each of these levels is applied, the moving features warped anew each time.
        mind: "ssc" or "mind", see ``mind_features``; ``patch`` and ``dilation`` likewise.
    """

    def __init__(
        self,
        ndim: int = 3,
        widths: Sequence[int] = (16, 24, 32),
        radii: Sequence[int] = (1, 2, 3),
        head: int = 48,
        repeats: Sequence[int] = (1, 1, 1),
        mind: str = "ssc",
        patch: int = 1,
        dilation: int = 2,
    ) -> None:
        super().__init__(
            ndim,
            widths=list(widths),
            radii=list(radii),
            head=head,
            repeats=list(repeats),
            mind=mind,
            patch=patch,
            dilation=dilation,
        )
        self.mind, self.patch, self.dilation = mind, patch, dilation
        self.radii, self.repeats = tuple(radii), tuple(repeats)
        self.divisor = 2 ** len(widths)
        inputs = [mind_channels(ndim, mind), *widths]
        self.encoder = nn.ModuleList(EncoderLevel(ndim, i, o) for i, o in zip(inputs, widths, strict=False))
        self.heads = nn.ModuleList(Head(ndim, w, r, head) for r, w in zip(radii, widths, strict=True))

    def last_convolution(self) -> Convolution:
        finest = self.heads[0]
        assert isinstance(finest, Head)
        return finest.velocity

    def forward(self, fixed: Tensor, moving: Tensor) -> Prediction:
        """(N, 1, *S) each -> displacement (N, ndim, *S) and velocity at half the grid."""
        check_pair(fixed, moving, self.ndim)
        n, shape = fixed.shape[0], fixed.shape[2:]
        pyramids = self.encode(fixed), self.encode(moving)
        velocities: list[Tensor] = []
        for head, turns in zip(reversed(self.heads), reversed(self.repeats), strict=True):
            one, two = (pyramid.pop() for pyramid in pyramids)
            size = one.shape[2:]
            v = resize(velocities[-1], size) if velocities else one.new_zeros(n, self.ndim, *size)
            for turn in range(turns):
                # Nothing has moved yet where everything begins.
                still = not velocities and turn == 0
                there = head(one, two if still else warp(two, exponentiate(v, SQUARINGS)), v)
                back = head(two, one if still else warp(one, exponentiate(-v, SQUARINGS)), -v)
                v = v + (there - back) / 2
            velocities.append(v)
        v = velocities[-1]
        displacement = crop(resize(exponentiate(v, SQUARINGS), self._padded(shape)), shape)
        return Prediction(displacement, v, {"velocities": velocities, "inverse": exponentiate(-v, SQUARINGS)})

    def _padded(self, shape: Sequence[int]) -> list[int]:
        return [-(-s // self.divisor) * self.divisor for s in shape]

    def encode(self, images: Tensor) -> list[Tensor]:
        """Unit features (N, width, *S / 2, / 4, / 8) of images (N, 1, *S)."""
        weight = self.last_convolution().weight
        shape = images.shape[2:]
        padded = self._padded(shape)
        x = empty_like_weights((images.shape[0], mind_channels(self.ndim, self.mind), *padded), weight)
        inside = crop(x if padded == list(shape) else x.zero_(), shape)
        mind_features(images, self.mind, self.patch, self.dilation, out=inside)
        inside -= 0.5
        levels = []
        for level in self.encoder:
            features = level(x)
            x = _activate(features)
            levels.append(F.normalize(features.float().contiguous(), dim=1, eps=1e-3))
        return levels
