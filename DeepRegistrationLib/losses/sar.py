"""The terms that only SAR-Net has. The paper prints them with signs that a minimum would turn around; here they fit.

Segmentation: ``labels.log_dice_loss``. Adversary and cycle: ``adversarial``.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..errors import InputError
from ..fields import check_field
from ..similarity.measures import nmi, ssim


def field_loss(recovered: Tensor, applied: Tensor, largest: float = 20.0, floor: float = 1e-6) -> Tensor:
    """-log(1 - MSE / (2 largest)^2) of two fields (N, ndim, *spatial) in voxels; 0 where they agree (Eq. 5).

    Two fields of at most ``largest`` voxels differ by at most twice that, so the fraction lies in [0, 1]; beyond, the
    logarithm stays at ``floor`` and its gradient is 0.

    Args:
        recovered: the predicted field.
        applied: the field to recover: the one that undoes the applied warp, exp(-v) where exp(v) was applied.
        largest: the paper draws displacements of up to 20 voxels.

    Raises:
        InputError: if the shapes are not those of two fields of one grid.
    """
    check_field(recovered)
    if recovered.shape != applied.shape:
        raise InputError(f"Two fields of one grid are needed, not {tuple(recovered.shape)} and {tuple(applied.shape)}.")
    fraction = (recovered - applied).square().mean() / (2 * largest) ** 2
    return -(1 - fraction).clamp_min(floor).log()


def content_loss(
    transformed: Tensor,
    reference: Tensor,
    perceptual: Callable[[Tensor, Tensor], Tensor] | None = None,
    data_range: float = 1.0,
) -> dict[str, Tensor]:
    """1 - NMI, 1 - SSIM and the perceptual distance of two images (N, C, *spatial) (Eq. 2, whose NMI lacks the "1 -").

    Args:
        perceptual: e.g. a ``PerceptualLoss``; left out if None.
        data_range: the difference of the largest and the smallest possible intensity.
    """
    terms = {"nmi": 1 - nmi(transformed, reference), "ssim": 1 - ssim(transformed, reference, data_range)}
    if perceptual is not None:
        terms["perceptual"] = perceptual(transformed, reference)
    return terms
