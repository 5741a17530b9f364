"""The universal network: any contrast, trained on synthetic images alone.

    MIND of both images -> one small strided encoder for both -> from 1/8 over 1/4 to 1/2 of the grid:
    local correlation of the fixed with the warped moving features -> a head adds to the velocity.

A head that strides looks at the features of one level and thinks and answers on the grid of the next coarser one: an
eighth of the voxels, with the same detail to see.

Matching is built in, so that only features and regularization are left to learn. Exchanging the images changes the sign
of the velocity, hence exp(−v) is the inverse: v = ½ (head(moving, fixed) − head(fixed, moving)) at every level.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from ..fields import exponentiate, resize, warp
from ..fields.kernels import Sampler
from ..similarity.mind import Descriptors, mind_channels, mind_features
from .blocks import (
    Convolution,
    Prediction,
    RegistrationNetwork,
    check_images,
    convolution,
    crop,
    empty_like_weights,
    flow_convolution,
    functional_convolution,
    like,
    pad_to_multiple,
)
from .correlation import bordered, cube, inside, local_correlation, star

SQUARINGS = 6
LATE = 2
"""How many of them are done at half the grid of the images, whichever grid the velocity is on."""


def _unit(features: Tensor) -> Tensor:
    """(N, C, *S) of length 1 at every voxel, less where they are shorter than 0.001."""
    if torch.is_grad_enabled():
        return F.normalize(features, dim=1, eps=1e-3)
    square = torch.zeros_like(features[:, :1])
    for channel in features.split(1, 1):
        square.addcmul_(channel, channel)
    return features.mul_(square.clamp_min_(1e-6).rsqrt_())


def _moved(features: Tensor, velocity: Tensor, out: Tensor | None = None) -> Tensor:
    """The features (N, C, *S) at the places where exp(velocity) leads, whichever grid the velocity is on.

    ``out``: where to write them, without a graph.
    """
    u = resize(exponentiate(velocity, SQUARINGS, exact=False), features.shape[2:])
    if out is None:
        return warp(features, u)
    sampler = Sampler(features.shape[2:], device=u.device, dtype=u.dtype)
    for item, here, there in zip(features.split(1), u.split(1), out.split(1), strict=True):
        sampler.aim(here)
        sampler.take(item, there)
    return out


class EncoderLevel(nn.Module):
    """Half the grid: a strided convolution k4 (centered between voxels, as half-pixel resizing is), then one of k3."""

    def __init__(self, ndim: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.down = convolution(ndim, inputs, outputs, kernel=4, stride=2)
        self.down.padding = (1,) * ndim
        self.features = convolution(ndim, outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """What ``down`` makes of (N, inputs, *2S) -> (N, outputs, *S).

        Signed: what is compared by angle must be able to point anywhere.
        """
        return self.features(F.leaky_relu_(x, 0.2))


@dataclass(frozen=True)
class Seen:
    """What a head sees of both images however often it is applied: the fixed ones and then the moving ones, 2 N in all.

    Attributes:
        features: (2 N, C, *S).
        bordered: the same with the border that the correlation wants.
        known: the features' part in the first convolution.
        buffer: memory for moved features with that border, if nothing is to be differentiated.
    """

    features: Tensor
    bordered: Tensor
    known: Tensor
    buffer: Tensor | None


class VelocityHead(nn.Module):
    """From the correlations, the fixed features and the velocity so far to what is added to the velocity.

    With ``stride`` 2 the velocity is on half the grid of the features, and it joins in after the first convolution,
    which strides; correlations are then taken along the axes only, and a third convolution adds what two do not see.
    """

    def __init__(self, ndim: int, features: int, radius: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self._function = functional_convolution(ndim)
        if stride == 1:
            self.shifts = cube(ndim, radius)
            self.first = convolution(ndim, len(self.shifts) + features + ndim, width)
            self.second = convolution(ndim, width, width)
        else:
            self.shifts = star(ndim, radius)
            # k4 is centered between voxels, as half-pixel resizing is.
            self.first = convolution(ndim, len(self.shifts) + features, width, kernel=4, stride=2)
            self.first.padding = (1,) * ndim
            self.second = convolution(ndim, width + ndim, width)
            self.third = convolution(ndim, width, width)
            nn.init.zeros_(self.third.weight)
        self.velocity = flow_convolution(ndim, width, std=1e-3)

    def forward(self, seen: Seen, velocity: Tensor, unmoved: bool) -> Tensor:
        """What is added to the velocity (N, ndim, *T); its opposite, exactly, if the images are exchanged.

        ``unmoved``: the velocity is zero, nothing has moved yet.
        """
        both = torch.cat([velocity, -velocity])
        weight = self.first.weight
        kept = [weight[:, : len(self.shifts)], weight[:, len(self.shifts) + seen.features.shape[1] :]]
        x = self._convolved(self._inputs(seen, both, unmoved), torch.cat(kept, 1), None).add_(seen.known)
        x = F.leaky_relu_(x, 0.2)
        if self.stride > 1:
            x = torch.cat([x, like(both, x)], 1)
        x = F.leaky_relu_(self.second(x), 0.2)
        if self.stride > 1:
            x = x + F.leaky_relu_(self.third(x), 0.2)
        if torch.is_grad_enabled():
            there, back = self.velocity(x).float().chunk(2)
            return (there - back) / 2
        # It is linear: one convolution does. The bias is the same both ways.
        there, back = x.chunk(2)
        return self._function((there - back) / 2, self.velocity.weight, padding=self.velocity.padding).float()

    def look(self, features: Tensor) -> Seen:
        """At the features of the fixed and then of the moving images, (2 N, C, *S)."""
        done, weight = len(self.shifts), self.first.weight
        known = self._convolved(like(features, weight), weight[:, done : done + features.shape[1]], self.first.bias)
        wide = bordered(features, self.shifts)
        return Seen(features, wide, known, None if torch.is_grad_enabled() else torch.zeros_like(wide))

    def _convolved(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return self._function(x, weight, bias, self.first.stride, self.first.padding)

    def _inputs(self, seen: Seen, both: Tensor, unmoved: bool) -> Tensor:
        """The correlations with the other image's features, moved, and the velocity, each way."""
        weight, n, done = self.velocity.weight, len(both) // 2, len(self.shifts)
        if unmoved:
            moved = seen.bordered
        elif seen.buffer is None:
            moved = bordered(_moved(seen.features, -both), self.shifts)
        else:
            moved = seen.buffer
            _moved(seen.features, -both, out=inside(moved, self.shifts))
        pairs = zip(seen.bordered.split(n), reversed(moved.split(n)), strict=True)
        rest = [both] if self.stride == 1 else []
        if seen.buffer is None:
            correlations = torch.cat([local_correlation(here, other, self.shifts) for here, other in pairs])
            return torch.cat([like(part, weight) for part in (correlations, *rest)], 1)
        # Each part goes where it belongs: on large volumes new memory costs more than the arithmetic.
        shape = len(both), done + len(rest) * both.shape[1], *seen.features.shape[2:]
        x = empty_like_weights(shape, weight)
        for (here, other), out in zip(pairs, x[:, :done].split(n), strict=True):
            local_correlation(here, other, self.shifts, out=out)
        if rest:
            x[:, done:] = both
        return x


def _strided(head: VelocityHead, other: VelocityHead) -> dict[str, Tensor]:
    """The weights of ``other``, which does not stride, for ``head``, which does."""
    weights = other.state_dict()
    ndim = weights["first.weight"].ndim - 2
    kept = [other.shifts.index(shift) for shift in head.shifts]
    kept += range(len(other.shifts), weights["first.weight"].shape[1] - ndim)
    # Without the velocity, which joins in later.
    first = weights["first.weight"][:, kept]
    wide = first.new_zeros(head.first.weight.shape)
    for corner in itertools.product(range(2), repeat=ndim):
        wide[(slice(None), slice(None), *(slice(c, c + 3) for c in corner))] += first / 2**ndim
    second = torch.zeros_like(head.second.weight)
    second[:, :-ndim] = weights["second.weight"]
    # A voxel is as large as two of the other head's.
    answer = {name: value / 2 for name, value in weights.items() if name.startswith("velocity.")}
    return {**head.state_dict(), **weights, **answer, "first.weight": wide, "second.weight": second}


class UniversalNetwork(RegistrationNetwork):
    """MIND, siamese encoder, correlation pyramid, symmetric stationary velocity.

    Extras: ``velocities``, one a level, coarse to fine, each (N, ndim, *T) in voxels of its own grid (1/8, 1/4, 1/2 of
    the padded images, or half of that where the level strides); ``inverse``, the displacement of exp(−v) at 1/2.

    Args:
        widths: features at 1/2, 1/4 and 1/8 of the grid.
        radii: of the correlation at these levels.
        head: filters of the heads.
        repeats: how often the head of each of these levels is applied, the moving features warped anew each time.
        strides: of the heads of these levels, 1 or 2.
        mind: "ssc" or "mind", see ``mind_features``; ``patch`` and ``dilation`` likewise.
    """

    def __init__(
        self,
        ndim: int = 3,
        widths: Sequence[int] = (16, 24, 32),
        radii: Sequence[int] = (1, 2, 3),
        head: int = 48,
        repeats: Sequence[int] = (1, 1, 1),
        strides: Sequence[int] = (1, 1, 1),
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
            strides=list(strides),
            mind=mind,
            patch=patch,
            dilation=dilation,
        )
        self.mind, self.patch, self.dilation = mind, patch, dilation
        self.radii, self.repeats = tuple(radii), tuple(repeats)
        if not set(strides) <= {1, 2}:
            raise InputError(f"The heads of the universal network stride by 1 or 2, not {list(strides)}.")
        # Of what each head answers on, too.
        self.divisor = max(2 ** (level + 1) * stride for level, stride in enumerate(strides))
        inputs = [mind_channels(ndim, mind), *widths]
        self.encoder = nn.ModuleList(EncoderLevel(ndim, i, o) for i, o in zip(inputs, widths, strict=False))
        sizes = zip(radii, widths, strides, strict=True)
        self.heads = nn.ModuleList(VelocityHead(ndim, w, r, head, s) for r, w, s in sizes)

    def weights_from(self, other: RegistrationNetwork) -> dict[str, Tensor] | None:
        """As for every network, however often heads are applied; a head that strides begins with one that does not.

        The mean of each 2 x 2 (x 2) voxels of a convolution k3 is a convolution k4 that strides: that is how it begins.
        """
        if not isinstance(other, UniversalNetwork):
            return None
        strides = [max(pair) for pair in zip(self.arguments["strides"], other.arguments["strides"], strict=False)]
        alike = copy.copy(other)
        alike.arguments = {**other.arguments, "repeats": self.arguments["repeats"], "strides": strides}
        weights = super().weights_from(alike)
        if weights is None:
            return None
        for level, (one, two) in enumerate(zip(self.heads, other.heads, strict=True)):
            assert isinstance(one, VelocityHead)
            assert isinstance(two, VelocityHead)
            if one.stride > two.stride:
                weights.update({f"heads.{level}.{name}": value for name, value in _strided(one, two).items()})
        return weights

    def last_convolution(self) -> Convolution:
        finest = self.heads[0]
        assert isinstance(finest, VelocityHead)
        return finest.velocity

    def forward(self, fixed: Tensor, moving: Tensor) -> Prediction:
        """(N, 1, *S) each -> displacement (N, ndim, *S) and velocity at half the grid, or a quarter."""
        check_images(fixed, moving, self.ndim)
        n, shape = fixed.shape[0], fixed.shape[2:]
        pyramid = self.encode(torch.cat([fixed, moving]))
        velocities: list[Tensor] = []
        for head, turns in zip(reversed(self.heads), reversed(self.repeats), strict=True):
            assert isinstance(head, VelocityHead)
            seen = head.look(pyramid.pop())
            size = [s // head.stride for s in seen.features.shape[2:]]
            v = resize(velocities[-1], size) if velocities else fixed.new_zeros(n, self.ndim, *size)
            for turn in range(turns):
                v = v + head(seen, v, unmoved=not velocities and turn == 0)
            velocities.append(v)
        v, padded = velocities[-1], self._padded(shape)
        # exp(v) = exp(v / 4)^4. With the last squarings, too, on the grid of a head that strides, exp(v) and exp(-v)
        # would miss each other twice as far.
        early = exponentiate(torch.cat([v, -v]) / 2**LATE, SQUARINGS - LATE, exact=False)
        fine = resize(early, [s // 2 for s in padded]) * 2**LATE
        there, back = exponentiate(fine, LATE, exact=False).chunk(2)
        return Prediction(crop(resize(there, padded), shape), v, {"velocities": velocities, "inverse": back})

    def exchanged(self, prediction: Prediction) -> Tensor:
        """The displacement (N, ndim, *S) for the same images the other way round: their velocity is the opposite."""
        shape = prediction.displacement.shape[2:]
        return crop(resize(prediction.extras["inverse"], self._padded(shape)), shape)

    def _padded(self, shape: Sequence[int]) -> list[int]:
        return [-(-s // self.divisor) * self.divisor for s in shape]

    def encode(self, images: Tensor) -> list[Tensor]:
        """Unit features (N, width, *S / 2, / 4, / 8) of images (N, 1, *S)."""
        levels: list[Tensor] = []
        x = images
        for level in self.encoder:
            assert isinstance(level, EncoderLevel)
            x = level(level.down(x) if levels else self._down(x, level.down))
            # What is compared is a copy: what goes on is changed in place.
            levels.append(_unit(x.to(torch.float32, copy=True, memory_format=torch.contiguous_format)))
            x = F.leaky_relu_(x, 0.2)
        return levels

    def _down(self, images: Tensor, down: Convolution) -> Tensor:
        """The first convolution of what MIND says of the images."""
        if torch.is_grad_enabled():
            x = mind_features(images, self.mind, self.patch, self.dilation) - 0.5
            result: Tensor = down(like(pad_to_multiple(x, self.divisor), down.weight))
            return result
        half = [s // 2 for s in self._padded(images.shape[2:])]
        out = empty_like_weights((len(images), down.out_channels, *half), down.weight)
        for image, target in zip(images.split(1), out.split(1), strict=True):
            self._down_in_slabs(image, down, target)
        return out

    def _down_in_slabs(self, image: Tensor, down: Convolution, out: Tensor) -> None:
        """A few rows at a time: all channels of a large volume would fill the memory."""
        shape, weight, function = image.shape[2:], down.weight, functional_convolution(self.ndim)
        descriptors = Descriptors(image, self.mind, self.patch, self.dilation)
        step = max(1, descriptors.step // 2)
        # Two rows for each of the result, one before them and one after; zero where there is no image.
        slab = empty_like_weights((1, down.in_channels, 2 * step + 2, *self._padded(shape)[1:]), weight).zero_()
        for low in range(0, out.shape[2], step):
            high = min(low + step, out.shape[2])
            if low:  # the first two were the last two
                slab[:, :, :2] = slab[:, :, -2:]
            begin, end = 2 if low else 1, 2 * (high - low) + 2
            first = 2 * low + begin - 1
            last = max(first, min(2 * high + 1, shape[0]))
            part = crop(slab[:, :, begin:], (last - first, *shape[1:]))
            torch.sub(descriptors.rows(first, last), 0.5, out=part)
            slab[:, :, begin + last - first : end] = 0
            padding = 0, *down.padding[1:]
            out[:, :, low:high] = function(slab[:, :, :end], weight, down.bias, down.stride, padding)
