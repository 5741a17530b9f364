"""Local gradient similarity LG: edges that point the same way or the opposite way agree; contrast does not matter.

Deform-GAN (Zhang et al., "Deform-GAN: an unsupervised learning model for deformable registration"), Eqs. 1 to 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError
from ..fields import difference
from .windows import at_least_float32, box_mean, check_pair, weighted_mean

FORMS = {"paper": "central", "authors-code": "forward"}
"""The differences that give the gradient: the paper does not say which, the authors' code takes forward ones."""


def local_gradient_map(a: Tensor, b: Tensor, window: int = 7, form: str = "paper", epsilon: float = 0.1) -> Tensor:
    """|cos| of the angle between the two images' gradients, each averaged over a box: (N, C, *spatial) in [0, 1].

    cos = <ga, gb> / sqrt((|ga|^2 + ea^2) (|gb|^2 + eb^2)). The paper adds a constant to |g|; here e is ``epsilon``
    times the image's own mean |gx| + |gy| + |gz|, so that the figure is the same for ``a``, -``a`` and s * ``a`` + t.
    Where an image is flat it is 0.

    Args:
        a, b: images (N, C, *spatial), 2-D or 3-D; channels are compared one by one.
        window: voxels along each axis of the box (zeros outside, divided by the whole window at the border too).
        form: "paper" (central differences) or "authors-code" (forward differences).

    Raises:
        InputError: if the shapes do not agree or the form is unknown.
    """
    ndim = check_pair(a, b)
    if form not in FORMS:
        raise InputError(f"The local gradient has the forms {' and '.join(FORMS)}, not {form}.")
    parts_a, parts_b = (
        [box_mean(difference(at_least_float32(x), axis + 2, FORMS[form]), window) for axis in range(ndim)]
        for x in (a, b)
    )
    product = _dot(parts_a, parts_b)
    length_a, length_b = (_dot(g, g) + _scale(g, epsilon) for g in (parts_a, parts_b))
    return product.abs() * torch.rsqrt(length_a) * torch.rsqrt(length_b)


def _dot(a: list[Tensor], b: list[Tensor]) -> Tensor:
    total = a[0] * b[0]
    for x, y in zip(a[1:], b[1:], strict=True):
        total = total + x * y
    return total


def _scale(parts: list[Tensor], epsilon: float) -> Tensor:
    """(N, C, 1, ...) squared e of each image and channel; the mean of absolute values hardly minds a few outliers."""
    axes = list(range(2, parts[0].ndim))
    total = parts[0].abs().mean(axes, keepdim=True)
    for part in parts[1:]:
        total = total + part.abs().mean(axes, keepdim=True)
    # A flat image has no scale; in float32 the gradient needs this to the power of -1.5.
    return (epsilon * total).square() + 1e-20


def local_gradient(
    a: Tensor,
    b: Tensor,
    window: int = 7,
    form: str = "paper",
    epsilon: float = 0.1,
    mask: Tensor | None = None,
) -> Tensor:
    """Mean of ``local_gradient_map``: a similarity, largest where the images' edges coincide.

    The paper sums over the voxels; the mean is that sum divided by their number.
    """
    check_pair(a, b, mask)
    return weighted_mean(local_gradient_map(a, b, window, form, epsilon), mask)


def local_gradient_loss(
    a: Tensor,
    b: Tensor,
    window: int = 7,
    form: str = "paper",
    epsilon: float = 0.1,
    mask: Tensor | None = None,
) -> Tensor:
    """1 - ``local_gradient``: what a registration minimizes."""
    return 1 - local_gradient(a, b, window, form, epsilon, mask)
