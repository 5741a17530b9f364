"""VoxelMorph-1 and -2: their size, their layers in TensorFlow's order, any image size."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.networks.blocks import (
    TensorFlowStride,
    UpsampleConcatenateConvolve,
    pad_to_multiple,
    parameter_count,
)
from DeepRegistrationLib.networks.voxelmorph import VoxelMorph


@pytest.mark.parametrize(("variant", "count"), [(1, 259_675), (2, 300_547)])
def test_parameter_counts_are_those_of_the_paper(variant, count):
    assert parameter_count(VoxelMorph(3, variant)) == count


@pytest.mark.parametrize("variant", [1, 2])
@pytest.mark.parametrize("shape", [(33, 48), (17, 32, 35)])
def test_a_size_that_is_no_multiple_of_16_gives_the_field_of_the_padded_images(variant, shape):
    torch.manual_seed(0)
    network = VoxelMorph(len(shape), variant)
    torch.nn.init.normal_(network.last_convolution().weight, std=0.1)
    fixed, moving = torch.rand(2, 1, 1, *shape)
    with torch.no_grad():
        field = network(fixed, moving).displacement
        padded = network(pad_to_multiple(fixed, 16), pad_to_multiple(moving, 16)).displacement
    assert field.shape == (1, len(shape), *shape)
    corner = padded[(slice(None), slice(None), *(slice(0, s) for s in shape))]
    assert torch.equal(field, corner)
    assert float(field.abs().max()) > 0.01


def test_an_untrained_network_hardly_moves_anything_and_learns_in_every_layer():
    torch.manual_seed(0)
    network = VoxelMorph(3, 2)
    names = set(vars(network))
    field = network(*torch.rand(2, 2, 1, 16, 16, 32)).displacement
    assert field.shape == (2, 3, 16, 16, 32)
    assert float(field.detach().abs().max()) < 1e-2
    field.square().sum().backward()
    assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in network.parameters())
    assert set(vars(network)) == names


def test_images_of_two_shapes_are_refused_in_one_sentence():
    with pytest.raises(InputError, match="of one shape"):
        VoxelMorph(3)(torch.zeros(1, 1, 16, 16, 16), torch.zeros(1, 1, 16, 16, 32))
    with pytest.raises(InputError, match="no VoxelMorph-3"):
        VoxelMorph(3, 3)


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_folded_decoder_step_is_upsample_concatenate_convolve(ndim):
    torch.manual_seed(1)
    step = UpsampleConcatenateConvolve(ndim, 5, 2, 4).double()
    x = torch.randn(2, 5, *(6, 4, 3)[:ndim], dtype=torch.float64)
    skip = torch.randn(2, 2, *(12, 8, 6)[:ndim], dtype=torch.float64)
    plain = F.conv2d if ndim == 2 else F.conv3d
    layer = step.convolution
    expected = plain(torch.cat([F.interpolate(x, scale_factor=2), skip], 1), layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(step(x, skip), expected, rtol=0, atol=1e-12)


def test_the_strided_layer_reads_the_pixels_that_tensorflow_reads():
    torch.manual_seed(2)
    layer = TensorFlowStride(2, 1, 1)
    image = torch.randn(1, 1, 6, 8)
    weight, bias = layer.convolution.weight.detach().numpy()[0, 0], layer.convolution.bias.item()
    padded = np.pad(image.numpy()[0, 0], ((0, 1), (0, 1)))  # same, stride 2, even size: one zero at the far end
    expected = np.empty((3, 4))
    for i, j in np.ndindex(3, 4):
        expected[i, j] = (padded[2 * i : 2 * i + 3, 2 * j : 2 * j + 3] * weight).sum() + bias
    np.testing.assert_allclose(layer(image).detach().numpy()[0, 0], expected, atol=1e-6)


def test_bfloat16_weights_take_and_give_float32():
    torch.manual_seed(3)
    network = VoxelMorph(2, 1)
    torch.nn.init.normal_(network.last_convolution().weight, std=0.1)
    fixed, moving = torch.rand(2, 1, 1, 32, 32)
    with torch.no_grad():
        exact = network(fixed, moving).displacement
        close = network.to(torch.bfloat16, memory_format=torch.channels_last)(fixed, moving).displacement
    assert close.dtype == torch.float32
    assert float((close - exact).norm() / exact.norm()) < 0.05
