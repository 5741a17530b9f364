"""The loss of FlowNet with ROI (Eq. 7): photometric, smoothness and overlap terms at every scale of the field."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import InputError
from ..fields import check_field, resize_image, warp
from ..similarity.measures import l1
from ..similarity.windows import check_pair
from .labels import overlap_loss
from .regularization import edge_aware_smoothness, smoothness

Weights = float | Sequence[float]


def _per_scale(weights: Weights, count: int, name: str) -> list[float]:
    values = [float(weights)] * count if isinstance(weights, int | float) else [float(w) for w in weights]
    if len(values) != count:
        raise InputError(f"There are {count} scales but {len(values)} weights {name}; give one or one a scale.")
    return values


def multiscale_loss(
    fixed: Tensor,
    moving: Tensor,
    flows: Sequence[Tensor],
    *,
    alpha: Weights = 1.0,
    beta: Weights = 0.05,
    gamma: Weights = 1.0,
    edge_aware: bool = False,
    fixed_mask: Tensor | None = None,
    moving_mask: Tensor | None = None,
) -> dict[str, Tensor]:
    """Weighted terms, each summed over the scales; their sum is the paper's loss without that of the ROI network.

    At each scale both images are resized to the field's grid, and the moving one is warped there. All terms are means
    over the voxels of their scale (the paper writes sums, by which the finest scale would be all that counts).

    Args:
        fixed, moving: (N, C, *spatial).
        flows: fields (N, ndim, *size), finest first, each in voxels of its own scale. The finest is on the images' own
            grid: where a network pads its input, pad the images likewise.
        alpha, beta, gamma: weights of photometric, smoothness and overlap terms, one number or one a scale.
        edge_aware: smoothness E instead of N.
        fixed_mask, moving_mask: soft masks (N, 1, *spatial) of the overlap term ("M"); left out if None.

    Returns:
        "photometric", "smoothness" and, with masks, "overlap".

    Raises:
        InputError: if shapes do not fit, only one mask is given, or the finest field is on another grid.
    """
    check_pair(fixed, moving)
    if not flows:
        raise InputError("The loss needs the field of at least one scale; none was given.")
    if flows[0].shape[2:] != fixed.shape[2:]:
        raise InputError(
            f"The finest field {tuple(flows[0].shape)} is not on the grid of the images {tuple(fixed.shape)}; "
            "pad the images as the network pads them."
        )
    if (fixed_mask is None) != (moving_mask is None):
        raise InputError("The overlap term needs the masks of both images; give both or none.")
    weights = zip(
        *(_per_scale(w, len(flows), n) for w, n in ((alpha, "alpha"), (beta, "beta"), (gamma, "gamma"))), strict=True
    )
    terms: dict[str, list[Tensor]] = {"photometric": [], "smoothness": []}
    if fixed_mask is not None:
        terms["overlap"] = []
    for flow, (a, b, c) in zip(flows, weights, strict=True):
        check_field(flow)
        size = flow.shape[2:]
        target = resize_image(fixed, size)
        terms["photometric"].append(a * l1(warp(resize_image(moving, size), flow), target))
        terms["smoothness"].append(b * (edge_aware_smoothness(flow, target) if edge_aware else smoothness(flow)))
        if fixed_mask is not None and moving_mask is not None:
            warped = warp(resize_image(moving_mask, size), flow)
            terms["overlap"].append(c * overlap_loss(warped, resize_image(fixed_mask, size)))
    return {name: torch.stack(values).sum() for name, values in terms.items()}
