"""Penalties on a field, beside MONAI's, direct loops, and fields whose roughness is known."""

import math

import numpy as np
import pytest
import torch
from monai.losses import DiffusionLoss

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.fields import identity
from DeepRegistrationLib.losses.regularization import (
    diffusion,
    edge_aware_smoothness,
    kernel_penalty,
    smoothness,
)

SHAPES = [(7, 9), (6, 5, 7)]


def random_field(shape, batch=2):
    return torch.randn(batch, len(shape), *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def affine_field(shape):
    """A shear and a stretch in every direction: first derivatives everywhere the same, none of second order."""
    grid = identity(shape, dtype=torch.float64)
    matrix = torch.randn(len(shape), len(shape), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return torch.einsum("cd,nd...->nc...", matrix, grid) + 3, matrix


@pytest.mark.parametrize("shape", SHAPES)
def test_diffusion_is_the_mean_over_components_and_axes_of_squared_differences(shape):
    u = random_field(shape)
    terms = [np.mean(np.diff(u.numpy(), axis=axis + 2) ** 2) for axis in range(len(shape))]
    assert diffusion(u).item() == pytest.approx(sum(terms) / len(shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_diffusion_is_a_literal_mean_of_the_squared_gradient_norm_over_ndim_squared(shape):
    u, matrix = affine_field(shape)
    assert diffusion(u).item() == pytest.approx((matrix**2).sum().item() / len(shape) ** 2)
    # MONAI averages over components and adds up the axes (by central differences, the same for an affine field).
    assert diffusion(u).item() == pytest.approx(DiffusionLoss()(u).item() / len(shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_smoothness_equals_a_direct_loop(shape):
    u = random_field(shape, batch=1)
    fixed = torch.rand(1, 1, *shape, dtype=torch.float64)
    plain = aware = 0.0
    for axis in range(len(shape)):
        values, weights = [], []
        for p in np.ndindex(*shape):
            q = list(p)
            q[axis] += 1
            if q[axis] < shape[axis]:
                step = sum(abs((u[(0, c, *q)] - u[(0, c, *p)]).item()) for c in range(len(shape)))
                values.append(step)
                weights.append(math.exp(-abs((fixed[(0, 0, *q)] - fixed[(0, 0, *p)]).item())))
        plain += np.mean(values)
        aware += np.mean(np.multiply(values, weights))
    assert smoothness(u).item() == pytest.approx(plain)
    assert edge_aware_smoothness(u, fixed).item() == pytest.approx(aware)
    assert edge_aware_smoothness(u, torch.ones_like(fixed)).item() == pytest.approx(plain)


def test_edge_aware_smoothness_lets_the_field_break_at_an_edge_only():
    u = torch.zeros(1, 2, 8, 10)
    u[:, 0, :, 5:] = 1.0
    at_the_jump, beside_it, across = (torch.zeros(1, 1, 8, 10) for _ in range(3))
    at_the_jump[..., 5:] = 5.0
    beside_it[..., 7:] = 5.0
    across[:, :, 4:] = 5.0
    assert edge_aware_smoothness(u, at_the_jump) < 0.01 * smoothness(u)
    # Only the derivative of the same axis at the same place excuses the jump.
    assert edge_aware_smoothness(u, beside_it).item() == pytest.approx(smoothness(u).item())
    assert edge_aware_smoothness(u, across).item() == pytest.approx(smoothness(u).item())


PENALTIES = {
    "diffusion": diffusion,
    "N": smoothness,
    "E": lambda u: edge_aware_smoothness(u, torch.linspace(0, 1, u[0, 0].numel()).view_as(u[:1, :1]).to(u)),
}


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_each_penalty_is_zero_for_a_shift_and_its_gradient_exact(name, shape):
    shift = torch.full((1, len(shape), *shape), 2.5)
    assert PENALTIES[name](shift).item() == 0
    u = random_field(shape, batch=1).requires_grad_()
    assert PENALTIES[name](u) > 0
    assert torch.autograd.gradcheck(PENALTIES[name], u, fast_mode=True)


def test_penalties_take_a_single_slice():
    u = random_field((1, 6, 7))
    assert diffusion(u).isfinite()
    assert smoothness(u).isfinite()


@pytest.mark.parametrize("penalty", [diffusion, smoothness])
def test_what_is_no_field_is_refused(penalty):
    with pytest.raises(InputError, match="displacement field"):
        penalty(torch.zeros(1, 2, 5, 5, 5))


def test_an_image_on_another_grid_is_refused():
    with pytest.raises(InputError, match="grid of the field"):
        edge_aware_smoothness(torch.zeros(1, 2, 5, 5), torch.zeros(1, 1, 5, 6))


def test_the_kernel_penalty_counts_convolution_kernels_and_no_biases():
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 3), torch.nn.BatchNorm3d(2), torch.nn.ConvTranspose3d(2, 1, 2))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(2.0)
    assert kernel_penalty(network).item() == pytest.approx(1e-4 * 4 * (2 * 27 + 2 * 8))
    with pytest.raises(InputError, match="no convolutions"):
        kernel_penalty(torch.nn.Linear(2, 2))
