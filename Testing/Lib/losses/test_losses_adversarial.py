"""The adversarial game and the cycle, and SAR-Net's field and content terms."""

import math

import pytest
import torch
from torch import nn

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.losses.adversarial import cycle_loss, discriminator_loss, frozen, generator_loss
from DeepRegistrationLib.losses.sar import content_loss, field_loss

from ..similarity.test_similarity import images, shift


def test_a_discriminator_that_cannot_tell_loses_log_four():
    unsure = torch.zeros(4, 1)
    assert discriminator_loss(unsure, unsure).item() == pytest.approx(math.log(4))
    sure = torch.full((4, 1), 30.0)
    assert discriminator_loss(sure, -sure).item() == pytest.approx(0, abs=1e-12)
    assert discriminator_loss(-sure, sure).isfinite()


def test_the_losses_equal_the_printed_formulas():
    real, fake = torch.randn(5, 1, 2, 2, dtype=torch.float32), torch.randn(3, 1)
    d_real, d_fake = real.sigmoid(), fake.sigmoid()
    expected = -d_real.log().mean() - (1 - d_fake).log().mean()
    assert discriminator_loss(real, fake).item() == pytest.approx(expected.item(), rel=1e-5)
    assert generator_loss(fake).item() == pytest.approx(-d_fake.log().mean().item(), rel=1e-5)
    assert generator_loss(fake, saturating=True).item() == pytest.approx((1 - d_fake).log().mean().item(), rel=1e-5)


def test_a_generator_that_is_found_out_still_learns_unless_saturating():
    logits = torch.full((1, 1), -20.0, requires_grad=True)
    (plain,) = torch.autograd.grad(generator_loss(logits), logits)
    (saturated,) = torch.autograd.grad(generator_loss(logits, saturating=True), logits)
    assert plain.item() == pytest.approx(-1)
    assert abs(saturated.item()) < 1e-8
    assert plain.sign() == saturated.sign()


def test_the_cycle_is_closed_where_both_images_come_back():
    x, y = torch.rand(1, 1, 6, 6), torch.rand(1, 1, 6, 6)
    assert cycle_loss(x, x, y, y).item() == 0
    assert cycle_loss(x, x + 0.5, y, y - 0.25).item() == pytest.approx(0.75)
    with pytest.raises(InputError, match="same shape"):
        cycle_loss(x, x[..., 1:], y, y)


def test_gradients_flow_through_frozen_modules_but_not_into_them():
    t, g = nn.Linear(3, 3), nn.Linear(3, 3)
    g.bias.requires_grad_(False)
    with frozen(g):
        g(t(torch.rand(2, 3))).sum().backward()
    assert t.weight.grad.abs().sum() > 0
    assert g.weight.grad is None
    # What was trainable is again, what was not is not.
    assert g.weight.requires_grad
    assert not g.bias.requires_grad


def test_frozen_modules_thaw_after_an_error():
    g = nn.Linear(2, 2)
    with pytest.raises(ZeroDivisionError), frozen(g):
        raise ZeroDivisionError
    assert g.weight.requires_grad


@pytest.mark.parametrize("shape", [(6, 7), (5, 4, 6)])
def test_the_field_loss_is_zero_at_the_truth_and_bounded(shape):
    truth = torch.randn(1, len(shape), *shape, dtype=torch.float64)
    assert field_loss(truth, truth).item() == 0
    off = field_loss(truth + 10, truth, largest=20)
    assert off.item() == pytest.approx(-math.log(1 - 100 / 1600))
    assert field_loss(truth + 1000, truth).item() == pytest.approx(-math.log(1e-6))
    wrong = (truth + torch.randn_like(truth)).requires_grad_()
    assert torch.autograd.gradcheck(lambda u: field_loss(u, truth), wrong, fast_mode=True)
    with pytest.raises(InputError, match="one grid"):
        field_loss(truth, truth[..., 1:])


@pytest.mark.parametrize("shape", [(24, 26), (14, 15, 16)])
def test_the_content_loss_falls_towards_identity(shape):
    (image,) = images(*shape, count=1)
    same = content_loss(image, image)
    assert set(same) == {"nmi", "ssim"}
    assert same["ssim"].item() == pytest.approx(0, abs=1e-9)
    for name, value in content_loss(shift(image, 2), image).items():
        assert value > same[name]
        assert 0 <= same[name] <= 1
    with_features = content_loss(image, image, perceptual=lambda a, b: (a - b).square().mean())
    assert with_features["perceptual"].item() == 0
