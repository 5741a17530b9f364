"""What each paper minimizes, term by term. Each function returns the weighted terms by name; the loss is their sum.

The numbers that stand as defaults are the printed ones. A term without weight is left out.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..errors import InputError
from ..similarity.local_gradient import local_gradient, local_gradient_loss
from ..similarity.measures import l1, lncc, mse
from ..similarity.mind import mind_loss
from .adversarial import generator_loss
from .labels import log_dice_loss
from .regularization import diffusion
from .sar import content_loss, field_loss

Terms = dict[str, Tensor]


def total(terms: Terms) -> Tensor:
    """The sum of the terms.

    Raises:
        InputError: if there is none.
    """
    if not terms:
        raise InputError("Every term of the loss has weight 0; give one of them a weight.")
    first, *others = terms.values()
    for term in others:
        first = first + term
    return first


def voxelmorph(
    warped: Tensor,
    fixed: Tensor,
    displacement: Tensor,
    *,
    similarity: str = "lncc",
    weight: float | None = None,
    signed: bool = False,
) -> Terms:
    """VoxelMorph Eq. 6: 1 - LCC (window 9) or MSE, plus ``weight`` times ``diffusion`` (1 for LCC, 0.01 for MSE).

    Raises:
        InputError: if the similarity is neither "lncc" nor "mse".
    """
    if similarity not in ("lncc", "mse"):
        raise InputError(f'VoxelMorph compares by "lncc" or "mse", not {similarity!r}.')
    by_lncc = similarity == "lncc"
    weight = (1.0 if by_lncc else 0.01) if weight is None else weight
    compared = 1 - lncc(warped, fixed, signed=signed) if by_lncc else mse(warped, fixed)
    return {"similarity": compared, "smoothness": weight * diffusion(displacement)}


BETA, GAMMA = 0.3, 0.8
"""Of the dual branch's smoothness, of the gradient branch's field and of the fused one: the pig kidney's."""


def dual_branch(
    warped: Tensor,
    fixed: Tensor,
    displacement: Tensor,
    warped_gradient: Tensor | None = None,
    fixed_gradient: Tensor | None = None,
    gradient_displacement: Tensor | None = None,
    *,
    alpha: float = 0.4,
    beta: float = BETA,
    gamma: float = GAMMA,
    kind: str = "ssc",
    radius: int = 2,
    dilation: int = 2,
) -> Terms:
    """The gradient-guided dual branch, Eqs. 2 to 5; the defaults are the pig kidney's (abdomen: 0.5, 0.5, 1).

    Args:
        warped, displacement: the moving image warped by the fused field, and that field.
        warped_gradient, gradient_displacement: the moving image's gradient *map* warped by the gradient branch's
            field (never the gradient of the warped image), and that field. None for one branch alone (VM).
    """
    smooth = dual_branch_smoothness(displacement, gradient_displacement, beta=beta, gamma=gamma)
    terms = {"image": mind_loss(warped, fixed, kind, radius, dilation), "smoothness": smooth.pop("smoothness")}
    if warped_gradient is None and fixed_gradient is None and gradient_displacement is None:
        return terms
    if warped_gradient is None or fixed_gradient is None or gradient_displacement is None:
        raise InputError("The gradient branch needs both gradient maps and its field; give all three or none.")
    terms["gradient"] = alpha * mind_loss(warped_gradient, fixed_gradient, kind, radius, dilation)
    return terms | smooth


def dual_branch_smoothness(
    displacement: Tensor, gradient_displacement: Tensor | None = None, *, beta: float = BETA, gamma: float = GAMMA
) -> Terms:
    """The last two terms of Eq. 5: the diffusion of the fused field and, if there is one, of the gradient branch's."""
    terms = {"smoothness": gamma * diffusion(displacement)}
    if gradient_displacement is not None:
        terms["gradient smoothness"] = beta * diffusion(gradient_displacement)
    return terms


def deform_gan_registration(
    reference: Tensor,
    warped: Tensor,
    displacement: Tensor,
    translated: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 2.0,
    window: int = 7,
    form: str = "paper",
) -> Terms:
    """What T minimizes (Deform-GAN Eqs. 4 and 5): 1 - LCC(R, G(F o phi)), beta (1 - LG(R, F o phi)), alpha smoothness.

    The authors' code: alpha 0.7, beta 1, form "authors-code".

    Args:
        reference, warped: R and the floating image F o phi.
        translated: G(F o phi), through which the gradient flows while G's weights are ``frozen``. None leaves LCC out
            (VoxelMorph-LG).
    """
    terms = {
        "local gradient": beta * local_gradient_loss(reference, warped, window, form),
        "smoothness": alpha * diffusion(displacement),
    }
    if translated is not None:
        terms["lncc"] = 1 - lncc(reference, translated, window)
    return terms


def deform_gan_translation(
    reference: Tensor,
    warped: Tensor,
    translated: Tensor,
    fake_logits: Tensor,
    *,
    lambda_: float = 100.0,
    mu: float = 5.0,
    window: int = 7,
    form: str = "paper",
) -> Terms:
    """What G minimizes (Deform-GAN Eq. 8): adversary + lambda L1(G(F o phi), R) - mu LG(G(F o phi), F o phi).

    Give it ``warped`` detached from T. ``mu`` 0 is Deform-GAN-1 (and the authors' code), 5 Deform-GAN-2.
    """
    terms = {"adversary": generator_loss(fake_logits), "l1": lambda_ * l1(translated, reference)}
    if mu:
        terms["local gradient"] = -mu * local_gradient(translated, warped, window, form)
    return terms


def sar_generator(
    transformed: Tensor,
    reference: Tensor,
    fake_logits: Tensor,
    *,
    transformed_mask: Tensor | None = None,
    reference_mask: Tensor | None = None,
    recovered: Tensor | None = None,
    applied: Tensor | None = None,
    perceptual: Callable[[Tensor, Tensor], Tensor] | None = None,
    largest: float = 20.0,
) -> Terms:
    """What one of SAR-Net's generators minimizes (Eqs. 2, 3 and 5), but for the cycle (``cycle_loss``, weight 10).

    Without masks the segmentation term is left out (SAR-NoSeg); without fields, the field term (a new image).
    """
    terms = content_loss(transformed, reference, perceptual) | {"adversary": generator_loss(fake_logits)}
    if transformed_mask is not None and reference_mask is not None:
        terms["segmentation"] = log_dice_loss(transformed_mask, reference_mask)
    if recovered is not None and applied is not None:
        terms["field"] = field_loss(recovered, applied, largest)
    return terms
