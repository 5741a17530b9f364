"""A body that breathes, with the truth of its motion."""

import numpy as np
import torch

from DeepRegistrationLib.fields.inverse import invert
from DeepRegistrationLib.fields.operations import warp
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.geometry.transform import displacement_on, lps_to_voxels


class Breath:
    """``frames`` of one breath of a noisy body and ``fixed``, the body between two breaths.

    It goes down along the first axis, and somewhat later sideways, so that ways there and back differ.
    """

    def __init__(self, shape=(56, 64), count=8, noise=0.03, depth=8.0):
        random = torch.Generator().manual_seed(0)
        axes = torch.meshgrid(*[torch.linspace(-1, 1, s) for s in shape], indexing="ij")
        body = torch.exp(-((sum(a**2 for a in axes) / 0.5) ** 4))
        coarse = torch.rand(1, 1, *[s // 4 for s in shape], generator=random)
        texture = torch.nn.functional.interpolate(
            coarse, size=shape, mode="bilinear" if len(shape) == 2 else "trilinear"
        )
        still = (body * (0.4 + 0.6 * texture[0, 0]))[None, None]
        self.grid, self.body, self.truth = Grid.from_shape(shape), (body > 0.5).numpy(), []
        for turn in 2 * np.pi * np.arange(count) / count:
            along, aside = (1 - np.cos(turn)) / 2, (1 - np.cos(turn - 0.5)) / 2
            parts = [depth * along * body * (1 - axes[0]) / 2, -0.4 * depth * aside * body * axes[1]]
            self.truth.append(torch.stack([*parts, *[0 * body] * (len(shape) - 2)])[None])
        pictures = [still, *(warp(still, invert(u)) for u in self.truth)]
        noisy = [p + noise * torch.randn(p.shape, generator=random) for p in pictures]
        self.fixed, *self.frames = (Image(p[0, 0].numpy(), self.grid) for p in noisy)

    def error(self, transforms, first=0):
        """Mean distance from the truth over the body, voxels, of all frames from the ``first`` on."""
        found = [lps_to_voxels(displacement_on(t, self.grid), self.grid) for t in transforms]
        truth = self.truth[first : first + len(found)]
        apart = [(f - u).square().sum(1).sqrt()[0].numpy() for f, u in zip(found, truth, strict=True)]
        return float(np.mean([a[self.body].mean() for a in apart]))
