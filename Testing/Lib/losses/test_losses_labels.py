"""Losses on masks and label probabilities."""

import math

import numpy as np
import pytest
import torch
from monai.losses import DiceLoss

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.losses.labels import (
    class_balanced_cross_entropy,
    hnn_loss,
    log_dice_loss,
    overlap_loss,
    soft_dice,
)

SHAPES = [(7, 8), (5, 6, 4)]


def probabilities(*shape, channels=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(2, channels, *shape, dtype=torch.float64, generator=generator) for _ in range(2)]


@pytest.mark.parametrize("shape", SHAPES)
def test_soft_dice_equals_monai(shape):
    a, b = probabilities(*shape, channels=3)
    theirs = DiceLoss(smooth_nr=1e-5, smooth_dr=1e-5)(a, b)
    assert 1 - soft_dice(a, b).item() == pytest.approx(theirs.item())


def test_soft_dice_of_binary_masks_is_dice_and_empty_ones_agree():
    a, b = torch.zeros(1, 2, 6, 6), torch.zeros(1, 2, 6, 6)
    assert soft_dice(a, b).item() == 1
    a[:, 0, :4], b[:, 0, 2:] = 1, 1
    assert soft_dice(a, b).item() == pytest.approx((2 * 12 / 48 + 1) / 2, abs=1e-6)
    assert soft_dice(a, a).item() == pytest.approx(1)


def test_voxels_outside_the_mask_do_not_count():
    a, b = probabilities(6, 7)
    mask = torch.zeros(1, 1, 6, 7)
    mask[..., :3] = 1
    assert soft_dice(a, b, mask).item() == pytest.approx(soft_dice(a[..., :3], b[..., :3]).item())
    assert overlap_loss(a, b, mask).item() == pytest.approx(overlap_loss(a[..., :3], b[..., :3]).item())


def test_log_dice_is_zero_where_masks_agree_and_finite_where_they_do_not_meet():
    a, b = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    a[..., :4], b[..., 4:] = 1, 1
    assert log_dice_loss(a, a).item() == pytest.approx(0, abs=1e-6)
    assert log_dice_loss(a, b).item() == pytest.approx(-math.log(1e-6), rel=1e-3)


def test_overlap_is_the_mean_absolute_difference():
    a, b = probabilities(6, 7, 5)
    assert overlap_loss(a, b).item() == pytest.approx(np.abs((a - b).numpy()).mean())
    assert overlap_loss(a, a).item() == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_class_balanced_cross_entropy_equals_a_direct_loop(shape):
    logits = torch.randn(2, 1, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    target = (probabilities(*shape)[0] > 0.8).double()
    total = 0.0
    for item in range(2):
        y, z = target[item].numpy().ravel(), logits[item].numpy().ravel()
        beta = (y == 0).mean()
        for t, value in zip(y, z, strict=True):
            p = 1 / (1 + math.exp(-value))
            total -= beta * math.log(p) if t else (1 - beta) * math.log(1 - p)
    assert class_balanced_cross_entropy(logits, target).item() == pytest.approx(total / logits.numel())


def test_few_foreground_voxels_weigh_as_much_as_all_the_background():
    target = torch.zeros(1, 1, 20, 20)
    target[..., :2, :2] = 1
    foreground, background = target.clone().requires_grad_(), None
    logits = torch.zeros(1, 1, 20, 20, requires_grad=True)
    class_balanced_cross_entropy(logits, target).backward()
    foreground, background = (logits.grad[target == v].sum().item() for v in (1, 0))
    assert foreground == pytest.approx(-background, rel=1e-5)


def test_cross_entropy_is_smallest_for_a_sure_and_right_answer_and_never_overflows():
    target = (torch.rand(1, 1, 9, 9) > 0.5).float()
    right, wrong = 200 * (target - 0.5), -200 * (target - 0.5)
    assert class_balanced_cross_entropy(right, target).item() < 1e-20
    assert class_balanced_cross_entropy(wrong, target).isfinite()


def test_the_roi_loss_adds_every_side_output_and_the_fused_one():
    target = (torch.rand(1, 1, 8, 8) > 0.5).float()
    sides = [torch.randn(1, 1, 8, 8) for _ in range(5)]
    fused = torch.randn(1, 1, 8, 8)
    expected = sum(class_balanced_cross_entropy(x, target) for x in [*sides, fused])
    assert hnn_loss(sides, fused, target).item() == pytest.approx(expected.item())
    with pytest.raises(InputError, match="side output"):
        hnn_loss([], fused, target)


LOSSES = {
    "dice": soft_dice,
    "log dice": log_dice_loss,
    "overlap": overlap_loss,
    "cross-entropy": lambda a, b: class_balanced_cross_entropy(6 * a - 3, b),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", SHAPES)
def test_each_gradient_agrees_with_finite_differences(name, shape):
    a, b = probabilities(*shape)
    assert torch.autograd.gradcheck(lambda x: LOSSES[name](x, b), a.requires_grad_(), fast_mode=True)


@pytest.mark.parametrize("loss", [soft_dice, log_dice_loss, overlap_loss, class_balanced_cross_entropy])
def test_shapes_that_do_not_fit_are_refused(loss):
    with pytest.raises(InputError, match="same shape"):
        loss(torch.rand(1, 1, 5, 5), torch.rand(1, 1, 5, 6))
