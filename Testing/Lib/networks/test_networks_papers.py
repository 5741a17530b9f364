"""The networks of the papers besides VoxelMorph: their size, their shapes, and what each paper says of them."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from DeepRegistrationLib import fields
from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.models.methods import find_method, methods
from DeepRegistrationLib.networks import (
    NETWORKS,
    DeformGAN,
    DIRNet,
    DualBranch,
    FlowNetROI,
    MonoBranch,
    SARNet,
    UniversalNetwork,
    VoxelMorph,
    build_network,
    deform_gan,
    parameter_count,
    sar_net,
)
from DeepRegistrationLib.networks.blocks import pad_to_multiple
from DeepRegistrationLib.networks.dir_net import bspline
from DeepRegistrationLib.networks.dual_branch import gradient_magnitude
from DeepRegistrationLib.networks.flownet_roi import HNN


def small(ndim):
    """One of each network, at a size that a test can run."""
    return [
        VoxelMorph(ndim, 1),
        DualBranch(ndim, "gated"),
        DualBranch(ndim, "average"),
        MonoBranch(ndim, gradients=True),
        DeformGAN(ndim),
        SARNet(ndim, blocks=2, width=8, synthesis=True),
        DIRNet(ndim),
        FlowNetROI(ndim, roi=True, width=0.0625),
        UniversalNetwork(ndim),
    ]


def test_every_network_is_among_those_tested():
    assert {type(network) for network in small(2)} == set(NETWORKS)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("index", range(9))
def test_each_network_takes_odd_sizes_learns_in_every_layer_and_keeps_no_state(ndim, index):
    torch.manual_seed(0)
    network = small(ndim)[index]
    shape = (35, 30, 18)[:ndim]
    fixed, moving = torch.rand(2, 2, 1, *shape)
    attributes = set(vars(network))
    prediction = network(fixed, moving)
    assert prediction.displacement.shape == (2, ndim, *shape)
    assert prediction.displacement.dtype == torch.float32
    assert set(vars(network)) == attributes
    everything = [prediction.displacement, *flatten(prediction.extras.values())]
    sum(t.float().square().sum() for t in everything).backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None]
    assert not silent
    assert type(network).__name__ == type(build_network(type(network).__name__, network.arguments)).__name__


def flatten(values):
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        else:
            yield from flatten(value)


@pytest.mark.parametrize("index", [0, 4, 6])
def test_padding_does_not_move_the_field(index):
    """What a network says of an odd size is what it says of the padded images, cropped; sizes do not resample."""
    torch.manual_seed(0)
    network = small(2)[index].eval()
    torch.nn.init.normal_(network.last_convolution().weight, std=0.1)
    fixed, moving = torch.rand(2, 1, 1, 31, 25)
    with torch.no_grad():
        field = network(fixed, moving).displacement
        padded = network(pad_to_multiple(fixed, 32), pad_to_multiple(moving, 32)).displacement
    assert float(field.abs().max()) > 1e-4
    torch.testing.assert_close(field, padded[:, :, :31, :25], rtol=0, atol=1e-6)


@pytest.mark.parametrize("network", small(3)[:5], ids=lambda n: type(n).__name__)
def test_two_shapes_are_refused_in_one_sentence(network):
    with pytest.raises(InputError, match="one shape"):
        network(torch.zeros(1, 1, 16, 16, 16), torch.zeros(1, 1, 16, 16, 18))


# Gradient-guided dual branch


def test_the_dual_branch_is_two_unshared_unets_and_a_fusion():
    one = 27 * (2 * 16 + 16 * 32 + 32 * 32 * 2) + 16 + 3 * 32  # encoder
    one += 27 * (32 * 32 + 2 * 64 * 32 + 48 * 32) + 4 * 32  # decoder to 1/2
    one += 27 * (34 * 32 + 32 * 16 + 16 * 16 + 16 * 3) + 32 + 16 + 16 + 3  # the four at full resolution
    fusion = (27 * 6 * 6 + 6) + (6 * 3 + 3)
    assert parameter_count(MonoBranch(3)) == one == 301_411
    assert parameter_count(MonoBranch(3, gradients=True)) == one + 27 * 2 * (16 + 32)
    assert parameter_count(DualBranch(3, "average")) == 2 * one
    assert parameter_count(DualBranch(3, "gated")) == 2 * one + fusion


@pytest.mark.parametrize("ndim", [2, 3])
def test_gated_fusion_starts_as_the_average(ndim):
    torch.manual_seed(0)
    gated = DualBranch(ndim, "gated")
    average = DualBranch(ndim, "average")
    for branch in (gated.image_branch, gated.gradient_branch):
        torch.nn.init.normal_(branch.flow.weight, std=0.1)
    average.load_state_dict({k: v for k, v in gated.state_dict().items() if not k.startswith("fusion")})
    fixed, moving = torch.rand(2, 1, 1, *(32, 20, 16)[:ndim])
    with torch.no_grad():
        a, b = gated(fixed, moving), average(fixed, moving)
    assert float(a.displacement.abs().max()) > 0.01
    torch.testing.assert_close(a.displacement, b.displacement, rtol=0, atol=1e-6)
    both = (a.extras["image_displacement"] + a.extras["gradient_displacement"]) / 2
    torch.testing.assert_close(a.displacement, both, rtol=0, atol=1e-6)


def test_the_gradient_map_is_a_central_difference_without_the_half_scaled_by_its_99th_percentile():
    generator = np.random.default_rng(0)
    image = generator.normal(size=(7, 8, 9))
    edge = np.pad(image, 1, mode="edge")
    inner = slice(1, -1)
    parts = [
        edge[2:, inner, inner] - edge[:-2, inner, inner],
        edge[inner, 2:, inner] - edge[inner, :-2, inner],
        edge[inner, inner, 2:] - edge[inner, inner, :-2],
    ]
    expected = np.sqrt(sum(p**2 for p in parts))
    expected /= np.percentile(expected, 99)
    batch = torch.from_numpy(np.stack([image, 1000 * image])[:, None])
    maps = gradient_magnitude(batch)
    np.testing.assert_allclose(maps[0, 0], expected, atol=1e-5)
    np.testing.assert_allclose(maps[1, 0], expected, atol=1e-5)  # each image has its own scale


def test_the_gradient_map_of_a_flat_image_has_a_finite_gradient():
    image = torch.zeros(1, 1, 8, 8, requires_grad=True)
    gradient_magnitude(image).sum().backward()
    assert bool(image.grad.isfinite().all())


# Deform-GAN


def test_deform_gan_has_the_widths_of_the_papers_unet():
    def unet(channels):
        widths = [channels, 16, 32, 64, 128, 256]
        down = sum(27 * (i * o + o * o) + 2 * o for i, o in pairwise(widths))
        pairs = list(zip(widths[5:1:-1], widths[4:0:-1], strict=True))
        up = sum(8 * i * o + o for i, o in pairs)
        merge = sum(27 * (2 * o * o + o * o) + 2 * o for _, o in pairs)
        return down + up + merge

    assert parameter_count(DeformGAN(3)) == unet(2) + 27 * 16 * 3 + 3 == 5_646_627
    assert parameter_count(deform_gan.Generator(3)) == unet(1) + 16 + 1
    widths = [1, 32, 64, 128, 256, 256]
    convolutions = sum(27 * i * o + o for i, o in pairwise(widths))
    norms = 2 * sum(widths[2:])
    assert parameter_count(deform_gan.Discriminator(3)) == convolutions + norms + 256 + 1


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_generator_stays_between_minus_and_plus_one_and_the_discriminator_says_one_number(ndim):
    torch.manual_seed(0)
    image = 10 * torch.randn(2, 1, *(33, 40, 20)[:ndim])
    made = deform_gan.Generator(ndim)(image)
    assert made.shape == image.shape
    assert float(made.detach().abs().max()) <= 1
    assert deform_gan.Discriminator(ndim)(made).shape == (2, 1)
    assert deform_gan.Discriminator(ndim, conditional=True)(made, image).shape == (2, 1)


def test_the_k2_convolution_of_the_decoder_reads_forward():
    """TensorFlow's same for an even kernel: the zero goes to the far end."""
    layer = deform_gan.UpConvolution(2, 1, 1)
    with torch.no_grad():
        layer.convolution.weight.copy_(torch.tensor([[[[0.0, 0.0], [0.0, 1.0]]]]))
        layer.convolution.bias.zero_()
        y = layer(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))[0, 0]
    expected = torch.tensor([[1.0, 2, 2, 0], [3, 4, 4, 0], [3, 4, 4, 0], [0, 0, 0, 0]])
    torch.testing.assert_close(y, expected)


# SAR-Net and DIRNet


def test_sar_net_has_sixteen_blocks_of_two_convolutions_with_64_maps():
    network = SARNet(2)
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 1 + 2 * 16 + 1
    assert {(m.out_channels, m.kernel_size, m.stride) for m in convolutions[:-1]} == {(64, (3, 3), (1, 1))}
    blocks = 16 * 2 * (9 * 64 * 64 + 2 * 64)
    assert parameter_count(network) == (9 * 2 * 64 + 64) + blocks + (9 * 64 * 2 + 2)


def test_sar_nets_discriminator_has_eight_convolutions_and_two_dense_layers():
    judge = sar_net.DenseDiscriminator(2)
    widths = [m.out_channels for m in judge.modules() if isinstance(m, torch.nn.Conv2d)]
    strides = [m.stride[0] for m in judge.modules() if isinstance(m, torch.nn.Conv2d)]
    assert widths == [64, 64, 128, 128, 256, 256, 512, 512]
    assert strides == [1, 2] * 4
    assert [m.out_features for m in judge.modules() if isinstance(m, torch.nn.Linear)] == [1024, 1]
    assert judge(torch.rand(2, 1, 70, 50)).shape == (2, 1)
    assert sar_net.DenseDiscriminator(3)(torch.rand(2, 1, 20, 18, 16)).shape == (2, 1)


def test_sar_net_paints_nothing_unless_asked_and_takes_older_weights_with_their_unused_masks():
    torch.manual_seed(0)
    network = SARNet(2, blocks=2, width=8).eval()
    fixed, moving = torch.rand(2, 1, 1, 20, 24)
    assert network(fixed, moving).extras == {}
    painting = SARNet(2, blocks=2, width=8, synthesis=True).eval()
    assert set(painting(fixed, moving).extras) == {"synthesized"}
    older = {**network.state_dict(), "mask_weights": torch.zeros(2, 2, 8)}
    again = SARNet(2, blocks=2, width=8).eval()
    again.load_state_dict(older)
    assert torch.equal(again(fixed, moving).displacement, network(fixed, moving).displacement)


@pytest.mark.parametrize(("method", "variant"), [(m.name, v.name) for m in methods() for v in m.variants])
def test_every_variant_trains_in_bfloat16(method, variant):
    network = find_method(method).variant(variant).network(2)
    fixed, moving = torch.rand(2, 1, 1, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        u = network(fixed, moving).displacement
    assert u.dtype == torch.float32
    fields.warp(moving, u).mean().backward()


def test_the_bspline_gives_constants_and_lines_back():
    ones = torch.ones(1, 2, 3, 4)
    torch.testing.assert_close(bspline(ones, 8), torch.ones(1, 2, 24, 32))
    line = torch.arange(8.0).view(1, 1, 8, 1).expand(1, 1, 8, 3)
    fine = bspline(line, 4)[0, 0, :, 5]
    expected = (torch.arange(32.0) + 0.5) / 4 - 0.5
    torch.testing.assert_close(fine[8:-8], expected[8:-8])


# FlowNet with ROI


def test_flownet_simple_has_the_papers_layers():
    network = FlowNetROI(2).flownet
    found = [
        (m.out_channels, m.kernel_size[0], m.stride[0])
        for level in network.contracting
        for m in level.modules()
        if isinstance(m, torch.nn.Conv2d)
    ]
    assert found == [
        (64, 7, 2),
        (128, 5, 2),
        (256, 5, 2),
        (256, 3, 1),
        (512, 3, 2),
        (512, 3, 1),
        (512, 3, 2),
        (512, 3, 1),
        (1024, 3, 2),
        (1024, 3, 1),
    ]
    ups = [block.deconvolution for block in network.expanding]
    assert [u.out_channels for u in ups] == [512, 256, 128, 64, 32, 16]
    assert [u.in_channels for u in ups] == [1024, 1026, 770, 386, 194, 98]
    assert {(u.kernel_size, u.stride) for u in ups} == {((4, 4), (2, 2))}


@pytest.mark.parametrize("ndim", [2, 3])
def test_flows_come_at_seven_scales_and_start_as_one_field(ndim):
    torch.manual_seed(0)
    network = FlowNetROI(ndim, width=0.0625)
    fixed, moving = torch.rand(2, 1, 1, *(64, 128, 64)[:ndim])
    flows = network(fixed, moving).extras["flows"]
    sizes = [tuple(s // 2**k for s in fixed.shape[2:]) for k in range(7)]
    assert [tuple(f.shape[2:]) for f in flows] == sizes
    # In pixels of its own scale: a constant flow of 1 becomes 2 at the next finer scale.
    block = network.flownet.expanding[-1]
    with torch.no_grad():
        up = block.upsample(torch.ones(1, ndim, *(8,) * ndim))
    middle = (slice(None), slice(None), *(slice(2, -2),) * ndim)
    torch.testing.assert_close(up[middle], torch.full_like(up[middle], 2.0))


def test_the_roi_network_is_vgg16_with_five_side_outputs():
    network = HNN(2)
    convolutions = [m for m in network.stages.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    vgg = 14_714_688 - 9 * 2 * 64  # with one input channel in place of three
    sides, fuse = 64 + 128 + 256 + 512 + 512 + 5, 5 + 1
    assert parameter_count(network) == vgg + sides + fuse
    fused, side_logits = HNN(2, 0.0625)(torch.rand(1, 1, 37, 50))
    assert fused.shape == (1, 1, 37, 50)
    assert [s.shape for s in side_logits] == [fused.shape] * 5


def test_the_soft_masks_multiply_the_inputs():
    torch.manual_seed(0)
    network = FlowNetROI(2, roi=True, width=0.0625).eval()
    with torch.no_grad():
        for layer in (*network.hnn.sides, network.hnn.fuse):
            torch.nn.init.zeros_(layer.weight)
        network.hnn.fuse.bias.fill_(-100.0)  # nothing is of interest
        torch.nn.init.normal_(network.last_convolution().weight, std=0.1)
        first = network(*torch.rand(2, 1, 1, 64, 64))
        second = network(*torch.rand(2, 1, 1, 64, 64))
    assert float(first.extras["fixed_mask"].max()) < 1e-6
    assert float(first.displacement.abs().max()) > 0
    torch.testing.assert_close(first.displacement, second.displacement)
