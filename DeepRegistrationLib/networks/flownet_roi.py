"""Unsupervised FlowNet with a spatial transformer and ROI masks (Figs. 3 and 4 of the paper).

FlowNetSimple with its upsampling block repeated twice more gives flows at seven scales; a holistically-nested network
(HNN) before it finds the region of interest. The printed networks are for 2-D; the same classes serve 3-D, where
``width`` below 1 keeps them small.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..fields import resize_image
from .blocks import (
    Convolution,
    Prediction,
    RegistrationNetwork,
    check_images,
    convolution,
    crop,
    flow_convolution,
    like,
    pad_to_multiple,
)

CONTRACTING = (
    ((64, 7, 2),),
    ((128, 5, 2),),
    ((256, 5, 2), (256, 3, 1)),
    ((512, 3, 2), (512, 3, 1)),
    ((512, 3, 2), (512, 3, 1)),
    ((1024, 3, 2), (1024, 3, 1)),
)
"""Filters, kernel and stride of the convolutions of each level."""
EXPANDING = (512, 256, 128, 64, 32, 16)
"""Filters of the deconvolutions: FlowNetSimple's four, and the block repeated twice more."""


def _activate(x: Tensor) -> Tensor:
    return F.leaky_relu_(x, 0.1)


class Contraction(nn.Module):
    """One level of the contracting part."""

    def __init__(self, ndim: int, inputs: int, layers: tuple[tuple[int, int, int], ...], width: float) -> None:
        super().__init__()
        outputs = [_wide(n, width) for n, _, _ in layers]
        self.convolutions = nn.ModuleList(
            convolution(ndim, i, o, kernel, stride)
            for i, o, (_, kernel, stride) in zip([inputs, *outputs], outputs, layers, strict=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.convolutions:
            x = _activate(layer(x))
        return x


class Refinement(nn.Module):
    """The upsampling block: deconvolved features, the skip and the upsampled flow side by side; then the next flow."""

    def __init__(self, ndim: int, inputs: int, outputs: int, skip: int) -> None:
        super().__init__()
        transposed = nn.ConvTranspose2d if ndim == 2 else nn.ConvTranspose3d
        self.deconvolution = transposed(inputs, outputs, 4, 2, 1)
        nn.init.kaiming_normal_(self.deconvolution.weight, nonlinearity="relu")
        self.upsample = transposed(ndim, ndim, 4, 2, 1, bias=False)
        with torch.no_grad():
            self.upsample.weight.copy_(_doubling(ndim))
        self.channels = outputs + skip + ndim
        self.flow = flow_convolution(ndim, self.channels)

    def forward(self, x: Tensor, flow: Tensor, skip: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cat([_activate(self.deconvolution(x)), skip, self.upsample(flow)], 1)
        return x, self.flow(x)


def _doubling(ndim: int) -> Tensor:
    """The start of the learned flow upsampling: linear interpolation, times 2 as a pixel becomes two."""
    line = torch.tensor([0.25, 0.75, 0.75, 0.25])
    kernel = line
    for _ in range(ndim - 1):
        kernel = kernel[..., None] * line
    return 2 * torch.eye(ndim).view(ndim, ndim, *[1] * ndim) * kernel


def _wide(filters: int, width: float) -> int:
    return max(1, round(filters * width))


class FlowNetSimple(nn.Module):
    """(N, channels, *S) -> flows at S, S/2, ... S/64, finest first, each in pixels of its own scale."""

    divisor = 64

    def __init__(self, ndim: int, channels: int = 2, width: float = 1.0) -> None:
        super().__init__()
        outputs = [_wide(layers[-1][0], width) for layers in CONTRACTING]
        self.contracting = nn.ModuleList(
            Contraction(ndim, i, layers, width) for i, layers in zip([channels, *outputs], CONTRACTING, strict=False)
        )
        self.coarsest = flow_convolution(ndim, outputs[-1])
        skips = [*reversed(outputs[:-1]), channels]
        blocks, inputs = [], outputs[-1]
        for filters, skip in zip(EXPANDING, skips, strict=True):
            blocks.append(Refinement(ndim, inputs, _wide(filters, width), skip))
            inputs = blocks[-1].channels
        self.expanding = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> list[Tensor]:
        skips = [x]
        for level in self.contracting:
            skips.append(level(skips[-1]))
        x = skips.pop()
        flows = [self.coarsest(x)]
        for block in self.expanding:
            x, flow = block(x, flows[0], skips.pop())
            flows.insert(0, flow)
        return flows


VGG_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class HNN(nn.Module):
    """The ROI network: VGG's five stages, a side output each, and their weighted fusion. One-channel images.

    ``forward`` gives the fused logit (N, 1, *S) and the five side logits; sigmoid of the fused one is the soft mask.
    """

    divisor = 16

    def __init__(self, ndim: int = 2, width: float = 1.0) -> None:
        super().__init__()
        inputs, stages, sides = 1, [], []
        for filters in VGG_STAGES:
            widths = [_wide(n, width) for n in filters]
            layers: list[nn.Module] = []
            for i, o in itertools.pairwise([inputs, *widths]):
                layers += [convolution(ndim, i, o), nn.ReLU(inplace=True)]
            stages.append(nn.Sequential(*layers))
            sides.append(convolution(ndim, widths[-1], 1, kernel=1))
            inputs = widths[-1]
        self.stages, self.sides = nn.ModuleList(stages), nn.ModuleList(sides)
        self.fuse = convolution(ndim, len(VGG_STAGES), 1, kernel=1)
        nn.init.constant_(self.fuse.weight, 1 / len(VGG_STAGES))

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        pool = F.max_pool2d if image.ndim == 4 else F.max_pool3d
        x = like(pad_to_multiple(image, self.divisor), self.fuse.weight)
        shape, sides = x.shape[2:], []
        for index, (stage, side) in enumerate(zip(self.stages, self.sides, strict=True)):
            x = stage(pool(x, 2) if index else x)
            sides.append(resize_image(side(x), shape))
        fused = self.fuse(torch.cat(sides, 1))
        return crop(fused, image.shape[2:]).float(), [crop(s, image.shape[2:]).float() for s in sides]


class FlowNetROI(RegistrationNetwork):
    """The registration network, with (``roi``) or without the ROI network before it.

    With it, the soft masks multiply the network's inputs ("w/ mask").

    Extras: ``flows``, seven flows of the padded images, finest first, each in pixels of its own scale; with ``roi``
    ``fixed_mask`` and ``moving_mask`` (N, 1, *S) in [0, 1], ``fixed_logits`` and ``moving_logits`` (fused and sides).
    """

    def __init__(self, ndim: int = 2, roi: bool = False, width: float = 1.0) -> None:
        super().__init__(ndim, roi=roi, width=width)
        self.flownet = FlowNetSimple(ndim, 2, width)
        self.hnn = HNN(ndim, width) if roi else None

    def last_convolution(self) -> Convolution:
        finest = self.flownet.expanding[-1]
        assert isinstance(finest, Refinement)
        return finest.flow

    def forward(self, fixed: Tensor, moving: Tensor) -> Prediction:
        """(N, 1, *S) each -> displacement (N, ndim, *S): the finest flow."""
        check_images(fixed, moving, self.ndim)
        extras: dict[str, Any] = {}
        if self.hnn is not None:
            for name, image in (("fixed", fixed), ("moving", moving)):
                fused, sides = self.hnn(image)
                extras[f"{name}_mask"], extras[f"{name}_logits"] = torch.sigmoid(fused), (fused, sides)
            fixed, moving = fixed * extras["fixed_mask"], moving * extras["moving_mask"]
        pair = like(pad_to_multiple(torch.cat([moving, fixed], 1), self.flownet.divisor), self.flownet.coarsest.weight)
        flows = self.flownet(pair)
        extras["flows"] = [flow.float() for flow in flows]
        return Prediction(crop(flows[0], fixed.shape[2:]).float(), extras=extras)
