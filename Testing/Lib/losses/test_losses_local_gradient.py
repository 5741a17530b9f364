"""Deform-GAN's local gradient: a direct loop in float64, the invariances the method rests on, its gradient."""

import itertools

import numpy as np
import pytest
import torch

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.similarity.local_gradient import local_gradient, local_gradient_loss, local_gradient_map

from ..similarity.test_similarity import images, shift


def direct(a, b, window, form, epsilon):
    """Both gradients voxel by voxel, their box means with zeros outside, and the absolute cosine."""
    ndim, radius = a.ndim, window // 2
    averaged = []
    for image in (a, b):
        gradient = np.zeros((ndim, *image.shape))
        for axis, p in itertools.product(range(ndim), np.ndindex(*image.shape)):
            low, high = list(p), list(p)
            n = image.shape[axis]
            high[axis] = min(p[axis] + 1, n - 1)
            low[axis] = max(p[axis] - 1, 0) if form == "paper" else p[axis]
            length = max(high[axis] - low[axis], 1)
            gradient[axis][p] = (image[tuple(high)] - image[tuple(low)]) / length
        mean = np.zeros_like(gradient)
        for axis, p in itertools.product(range(ndim), np.ndindex(*image.shape)):
            for q in itertools.product(*[range(i - radius, i + radius + 1) for i in p]):
                if all(0 <= i < n for i, n in zip(q, image.shape, strict=True)):
                    mean[axis][p] += gradient[axis][q] / window**ndim
        averaged.append(mean)
    e = [epsilon * np.abs(g).sum(0).mean() for g in averaged]
    dot = np.abs((averaged[0] * averaged[1]).sum(0))
    squares = [(g**2).sum(0) + s**2 for g, s in zip(averaged, e, strict=True)]
    return dot / np.sqrt(squares[0] * squares[1])


@pytest.mark.parametrize("form", ["paper", "authors-code"])
@pytest.mark.parametrize(("shape", "window"), [((9, 8), 3), ((8, 9), 7), ((5, 6, 5), 3)])
def test_the_local_gradient_equals_a_direct_loop(form, shape, window):
    a, b = images(*shape, seed=4)
    ours = local_gradient_map(a, b, window, form, 0.1)
    np.testing.assert_allclose(
        ours[0, 0].numpy(), direct(a[0, 0].numpy(), b[0, 0].numpy(), window, form, 0.1), rtol=1e-6
    )


@pytest.mark.parametrize("form", ["paper", "authors-code"])
@pytest.mark.parametrize("shape", [(20, 24), (12, 13, 14)])
def test_reversed_and_rescaled_contrast_change_nothing(form, shape):
    (image,) = images(*shape, count=1)
    same = local_gradient(image, image, form=form).item()
    assert same > 0.8
    assert local_gradient(image, -image, form=form).item() == pytest.approx(same, rel=1e-9)
    for scale, offset in ((3.0, 7.0), (1e-3, 0.0), (-250.0, 40.0)):
        assert local_gradient(image, scale * image + offset, form=form).item() == pytest.approx(same, rel=1e-6)


@pytest.mark.parametrize("form", ["paper", "authors-code"])
@pytest.mark.parametrize("shape", [(24, 28), (16, 18, 17)])
def test_the_loss_is_smallest_at_identity_for_a_reversed_contrast(form, shape):
    (image,) = images(*shape, count=1)
    best = local_gradient_loss(1 - image, image, form=form)
    for axis in range(2, image.ndim):
        for voxels in (-2, -1, 1, 2):
            assert local_gradient_loss(shift(1 - image, voxels, axis), image, form=form) > best


@pytest.mark.parametrize("form", ["paper", "authors-code"])
@pytest.mark.parametrize("shape", [(7, 8), (5, 4, 6)])
def test_the_gradient_agrees_with_finite_differences(form, shape):
    a, b = (x.requires_grad_() for x in images(*shape, seed=6))
    assert torch.autograd.gradcheck(lambda a, b: local_gradient_loss(a, b, 3, form), (a, b), fast_mode=True)


def test_each_image_of_a_batch_has_its_own_scale():
    a, b = images(10, 11, 12)
    both = local_gradient_map(torch.cat([a, 1000 * b]), torch.cat([b, a]), 5)
    assert torch.allclose(both[:1], local_gradient_map(a, b, 5))
    assert torch.allclose(both[1:], local_gradient_map(b, a, 5))


def test_a_flat_image_agrees_with_nothing_and_has_a_finite_gradient():
    flat = torch.full((1, 1, 12, 12, 12), 0.3, requires_grad=True)
    for image in (torch.rand(1, 1, 12, 12, 12), torch.zeros(1, 1, 12, 12, 12)):
        value = local_gradient(flat, image)
        (gradient,) = torch.autograd.grad(value, flat)
        assert value.item() == 0
        assert gradient.isfinite().all()


def test_an_unknown_form_and_unequal_shapes_are_refused():
    a = torch.rand(1, 1, 9, 9)
    with pytest.raises(InputError, match="authors-code"):
        local_gradient(a, a, form="central")
    with pytest.raises(InputError, match="same shape"):
        local_gradient(a, a[..., 1:])
