"""The FlowNet with ROI's multi-scale loss beside a direct loop, and each paper's total, term by term."""

import numpy as np
import pytest
import torch

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.fields import resize, resize_image, warp
from DeepRegistrationLib.losses import objectives
from DeepRegistrationLib.losses.multiscale import multiscale_loss
from DeepRegistrationLib.losses.regularization import diffusion, edge_aware_smoothness, smoothness
from DeepRegistrationLib.similarity.local_gradient import local_gradient
from DeepRegistrationLib.similarity.measures import lncc
from DeepRegistrationLib.similarity.mind import mind_loss

from ..similarity.test_similarity import images


def pyramid(*shape, scales=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    sizes = [tuple(max(n // 2**s, 2) for n in shape) for s in range(scales)]
    return [0.7 * torch.randn(1, len(shape), *size, dtype=dtype, generator=generator) for size in sizes]


def bilinear(image, y, x):
    """A value between pixels, the edge repeated outside."""
    h, w = image.shape
    y, x = min(max(y, 0), h - 1), min(max(x, 0), w - 1)
    i, j = min(int(y), h - 2), min(int(x), w - 2)
    dy, dx = y - i, x - j
    top = image[i, j] * (1 - dx) + image[i, j + 1] * dx
    bottom = image[i + 1, j] * (1 - dx) + image[i + 1, j + 1] * dx
    return top * (1 - dy) + bottom * dy


def test_the_photometric_term_equals_a_direct_loop():
    fixed, moving = images(16, 12)
    flows = pyramid(16, 12)
    expected = 0.0
    for flow in flows:
        h, w = flow.shape[2:]
        f, m = 16 // h, 12 // w
        small = [x[0, 0].numpy().reshape(h, f, w, m).mean((1, 3)) for x in (fixed, moving)]
        u = flow[0].numpy()
        expected += np.mean(
            [
                abs(bilinear(small[1], i + u[0, i, j], j + u[1, i, j]) - small[0][i, j])
                for i in range(h)
                for j in range(w)
            ]
        )
    assert multiscale_loss(fixed, moving, flows)["photometric"].item() == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(16, 12), (8, 12, 8)])
def test_every_scale_adds_its_weighted_terms(shape):
    fixed, moving, fixed_mask, moving_mask = images(*shape, count=4)
    flows = pyramid(*shape)
    beta, gamma = (0.5, 0.25, 0.125), 2.0
    for edge_aware in (False, True):
        terms = multiscale_loss(
            fixed,
            moving,
            flows,
            beta=beta,
            gamma=gamma,
            edge_aware=edge_aware,
            fixed_mask=fixed_mask,
            moving_mask=moving_mask,
        )
        rough = overlap = 0.0
        for weight, flow in zip(beta, flows, strict=True):
            small = [resize_image(x, flow.shape[2:]) for x in (fixed, fixed_mask, moving_mask)]
            rough += weight * (edge_aware_smoothness(flow, small[0]) if edge_aware else smoothness(flow))
            overlap += gamma * (warp(small[2], flow) - small[1]).abs().mean()
        assert terms["smoothness"].item() == pytest.approx(rough.item())
        assert terms["overlap"].item() == pytest.approx(overlap.item())


def test_the_true_field_at_every_scale_is_better_than_none():
    moving, _ = images(32, 32)
    true = torch.zeros(1, 2, 32, 32, dtype=torch.float64)
    true[:, 0], true[:, 1] = 2.0, -1.0
    fixed = warp(moving, true)
    good = [resize(true, (n, n)) for n in (32, 16, 8)]
    none = [torch.zeros_like(u) for u in good]
    first, second = (multiscale_loss(fixed, moving, flows)["photometric"] for flows in (good, none))
    assert first < 0.3 * second


def test_the_gradient_of_the_multiscale_loss_agrees_with_finite_differences():
    fixed, moving = images(8, 8)
    flows = [u.requires_grad_() for u in pyramid(8, 8, scales=2)]
    assert torch.autograd.gradcheck(
        lambda *u: objectives.total(multiscale_loss(fixed, moving, u, edge_aware=True)), flows, fast_mode=True
    )


def test_the_multiscale_loss_says_what_does_not_fit():
    fixed, moving = images(8, 8)
    flows = pyramid(8, 8, scales=2)
    with pytest.raises(InputError, match="weights alpha"):
        multiscale_loss(fixed, moving, flows, alpha=[1, 1, 1])
    with pytest.raises(InputError, match="both"):
        multiscale_loss(fixed, moving, flows, fixed_mask=fixed)
    with pytest.raises(InputError, match="pad the images"):
        multiscale_loss(fixed[..., 1:], moving[..., 1:], flows)
    with pytest.raises(InputError, match="at least one scale"):
        multiscale_loss(fixed, moving, [])


def test_voxelmorph_weighs_smoothness_by_its_similarity():
    warped, fixed = images(12, 12, 12)
    (u,) = pyramid(12, 12, 12, scales=1)
    terms = objectives.voxelmorph(warped, fixed, u)
    assert objectives.total(terms).item() == pytest.approx((1 - lncc(warped, fixed) + diffusion(u)).item())
    terms = objectives.voxelmorph(warped, fixed, u, similarity="mse")
    assert objectives.total(terms).item() == pytest.approx(
        ((warped - fixed).square().mean() + 0.01 * diffusion(u)).item()
    )
    with pytest.raises(InputError, match="lncc"):
        objectives.voxelmorph(warped, fixed, u, similarity="mi")


def test_the_dual_branch_has_four_terms_and_one_branch_two():
    warped, fixed, warped_gradient, fixed_gradient = images(10, 10, 10, count=4)
    (u,) = pyramid(10, 10, 10, scales=1)
    v = u.flip(2)
    terms = objectives.dual_branch(warped, fixed, u, warped_gradient, fixed_gradient, 2 * v, kind="mind")
    expected = (
        mind_loss(warped, fixed, "mind")
        + 0.4 * mind_loss(warped_gradient, fixed_gradient, "mind")
        + 0.8 * diffusion(u)
        + 0.3 * diffusion(2 * v)
    )
    assert objectives.total(terms).item() == pytest.approx(expected.item())
    assert set(objectives.dual_branch(warped, fixed, u)) == {"image", "smoothness"}
    with pytest.raises(InputError, match="all three"):
        objectives.dual_branch(warped, fixed, u, warped_gradient)


def test_deform_gan_registers_by_two_similarities_and_without_translation_by_one():
    reference, warped, translated = images(12, 12, 12, count=3)
    (u,) = pyramid(12, 12, 12, scales=1)
    terms = objectives.deform_gan_registration(reference, warped, u, translated)
    expected = (1 - lncc(reference, translated, 7)) + 2 * (1 - local_gradient(reference, warped)) + diffusion(u)
    assert objectives.total(terms).item() == pytest.approx(expected.item())
    assert "lncc" not in objectives.deform_gan_registration(reference, warped, u)


def test_deform_gan_two_keeps_the_texture_and_one_does_not():
    reference, warped, translated = images(12, 12, 12, count=3)
    logits = torch.zeros(1, 1)
    one = objectives.deform_gan_translation(reference, warped, translated, logits, mu=0)
    two = objectives.deform_gan_translation(reference, warped, translated, logits)
    assert set(two) - set(one) == {"local gradient"}
    assert two["local gradient"].item() == pytest.approx(-5 * local_gradient(translated, warped).item())
    assert one["l1"].item() == pytest.approx(100 * (translated - reference).abs().mean().item())
    # Keeping the texture of the source is rewarded.
    same = objectives.deform_gan_translation(reference, warped, 1 - warped, logits)
    assert same["local gradient"] < two["local gradient"]


def test_sar_net_leaves_out_the_terms_it_has_no_truth_for():
    transformed, reference, mask, other = images(20, 20, count=4)
    (u,) = pyramid(20, 20, scales=1)
    v = -u
    logits = torch.zeros(1, 1)
    full = objectives.sar_generator(
        transformed, reference, logits, transformed_mask=mask, reference_mask=other, recovered=u, applied=v
    )
    assert set(full) == {"nmi", "ssim", "adversary", "segmentation", "field"}
    assert set(objectives.sar_generator(transformed, reference, logits)) == {"nmi", "ssim", "adversary"}
    # Every term is smallest, not largest, at the truth.
    best = objectives.sar_generator(
        reference,
        reference,
        logits + 9,
        transformed_mask=other.round(),
        reference_mask=other.round(),
        recovered=v,
        applied=v,
    )
    assert all(best[name] < full[name] for name in full)


def test_a_loss_without_terms_is_refused():
    with pytest.raises(InputError, match="weight 0"):
        objectives.total({})
