"""The universal network: exactly symmetric, blind to contrast, with a correlation that is what it says."""

import itertools

import pytest
import torch

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.fields import compose, exponentiate, resize, resize_image
from DeepRegistrationLib.networks import correlation
from DeepRegistrationLib.networks.blocks import parameter_count
from DeepRegistrationLib.networks.correlation import bordered, cube, local_correlation, star
from DeepRegistrationLib.networks.universal import SQUARINGS, UniversalNetwork
from DeepRegistrationLib.networks.voxelmorph import VoxelMorph
from DeepRegistrationLib.similarity import mind


def lively(ndim, **arguments):
    """A network whose velocities are large enough to tell."""
    torch.manual_seed(0)
    network = UniversalNetwork(ndim, **arguments)
    for head in network.heads:
        torch.nn.init.normal_(head.velocity.weight, std=0.05)
    return network.eval()


@pytest.mark.parametrize("strides", [(1, 1, 1), (2, 1, 1)])
@pytest.mark.parametrize("ndim", [2, 3])
def test_exchanging_the_images_inverts_the_field(ndim, strides):
    network = lively(ndim, strides=strides)
    fixed, moving = torch.rand(2, 2, 1, *(35, 24, 18)[:ndim])
    with torch.no_grad():
        there, back = network(fixed, moving), network(moving, fixed)
    assert float(there.velocity.abs().max()) > 0.1
    assert torch.equal(there.velocity, -back.velocity)
    # At half the grid, wherever the velocity itself is: exp(v) = exp(v / 4)^4, from there on.
    fine = resize(exponentiate(back.velocity / 4, SQUARINGS - 2, exact=False), (20, 12, 12)[:ndim])
    assert torch.equal(there.extras["inverse"], exponentiate(4 * fine, 2, exact=False))


def test_the_inverse_undoes_the_field():
    torch.manual_seed(1)
    network = lively(2)
    rough, shift = torch.rand(2, 1, 1, 8, 8)
    with torch.no_grad():
        smooth = network(resize_image(rough, (64, 64)), resize_image(shift, (64, 64)))
    there, back = smooth.displacement, resize(smooth.extras["inverse"], (64, 64))
    left = compose(there, back)[:, :, 8:-8, 8:-8].abs().mean()
    assert float(left) < 0.1 * float(there.abs().mean())


def test_identical_images_do_not_move():
    image = torch.rand(1, 1, 24, 24)
    assert not lively(2)(image, image).displacement.any()


def test_the_contrast_of_either_image_does_not_matter():
    network = lively(2)
    torch.manual_seed(1)
    fixed, moving = torch.rand(2, 1, 1, 40, 48)
    with torch.no_grad():
        field = network(fixed, moving).displacement
        other = network(3 - 2 * fixed, 100 * moving + 5).displacement
    torch.testing.assert_close(field, other, rtol=0, atol=1e-3 * float(field.abs().max()))


@pytest.mark.parametrize(("ndim", "count"), [(2, 170_950), (3, 1_081_353)])
def test_it_has_about_a_million_weights_and_a_velocity_a_level(ndim, count):
    network = UniversalNetwork(ndim)
    assert parameter_count(network) == count
    prediction = network(*torch.rand(2, 1, 1, *(32, 40, 48)[:ndim]))
    sizes = [tuple(s // k for s in (32, 40, 48)[:ndim]) for k in (8, 4, 2)]
    assert [tuple(v.shape[2:]) for v in prediction.extras["velocities"]] == sizes
    assert torch.equal(prediction.extras["velocities"][-1], prediction.velocity)
    expected = resize(exponentiate(prediction.velocity, SQUARINGS), (32, 40, 48)[:ndim])
    torch.testing.assert_close(prediction.displacement, expected)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_head_that_strides_answers_on_half_its_grid_and_stays_symmetric(ndim):
    network = lively(ndim, strides=(2, 1, 1), repeats=(2, 1, 1))
    fixed, moving = torch.rand(2, 1, 1, *(40, 32, 24)[:ndim])
    with torch.no_grad():
        there, back = network(fixed, moving), network(moving, fixed)
    sizes = [tuple(s // k for s in (40, 32, 24)[:ndim]) for k in (8, 4, 4)]
    assert [tuple(v.shape[2:]) for v in there.extras["velocities"]] == sizes
    assert not torch.equal(*there.extras["velocities"][1:])
    assert torch.equal(there.velocity, -back.velocity)
    assert there.displacement.shape == (1, ndim, *(40, 32, 24)[:ndim])
    assert not network(fixed, fixed).displacement.any()


def test_a_coarsest_head_that_strides_has_whole_voxels_to_answer_on():
    network = lively(2, strides=(1, 1, 2))
    assert (network.divisor, lively(2).divisor, lively(2, strides=(2, 1, 1)).divisor) == (16, 8, 8)
    with torch.no_grad():
        prediction = network(*torch.rand(2, 1, 1, 40, 24))
    assert [tuple(v.shape[2:]) for v in prediction.extras["velocities"]] == [(3, 2), (12, 8), (24, 16)]
    assert prediction.displacement.shape == (1, 2, 40, 24)
    with pytest.raises(InputError, match="stride by 1 or 2"):
        UniversalNetwork(2, strides=(3, 1, 1))


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_head_that_strides_begins_with_the_mean_of_what_the_other_one_sees(ndim):
    whole, light = lively(ndim), UniversalNetwork(ndim, strides=(2, 1, 1), repeats=(3, 1, 1))
    light.load_state_dict(light.weights_from(whole))
    one, two = whole.heads[0], light.heads[0]
    # Where nothing but the middle shift and the features counts, both see the same.
    kept = [one.shifts.index(shift) for shift in two.shifts]
    x = torch.rand(1, len(two.shifts) + 16, *(12, 8, 16)[:ndim])
    wide = torch.zeros(1, one.first.in_channels, *x.shape[2:])
    wide[:, kept] = x[:, : len(kept)]
    wide[:, len(one.shifts) : -ndim] = x[:, len(kept) :]
    pool = torch.nn.functional.avg_pool2d if ndim == 2 else torch.nn.functional.avg_pool3d
    torch.testing.assert_close(two.first(x), pool(one.first(wide), 2))
    assert torch.equal(two.velocity.weight, one.velocity.weight / 2)
    assert not two.third.weight.any()  # nothing is added yet to what the other head says
    assert not two.third.bias.any()
    for name, value in whole.state_dict().items():
        assert name.startswith("heads.0") or torch.equal(light.state_dict()[name], value)


def test_weights_go_from_one_network_to_another_of_its_kind_only():
    whole = lively(2)
    assert UniversalNetwork(2, repeats=(3, 1, 1)).weights_from(whole) is not None
    assert UniversalNetwork(2, head=32).weights_from(whole) is None
    assert whole.weights_from(UniversalNetwork(2, strides=(2, 1, 1))) is None
    assert VoxelMorph(2).weights_from(whole) is None


@pytest.mark.parametrize("ndim", [2, 3])
def test_heads_that_are_repeated_see_what_is_left_and_stay_symmetric(ndim):
    once, often = lively(ndim), lively(ndim, repeats=(2, 1, 3))
    assert parameter_count(once) == parameter_count(often)
    fixed, moving = torch.rand(2, 1, 1, *(40, 32, 24)[:ndim])
    with torch.no_grad():
        there, back = often(fixed, moving), often(moving, fixed)
        assert not torch.equal(there.velocity, once(fixed, moving).velocity)
    assert torch.equal(there.velocity, -back.velocity)
    assert len(there.extras["velocities"]) == 3
    assert not often(fixed, fixed).displacement.any()


def test_bfloat16_convolutions_hardly_change_the_field():
    network = lively(2)
    fixed, moving = torch.rand(2, 1, 1, 48, 48)
    with torch.no_grad():
        exact = network(fixed, moving).displacement
        close = network.to(torch.bfloat16)(fixed, moving).displacement
    assert close.dtype == torch.float32
    assert float((close - exact).norm() / exact.norm()) < 0.1


def along_the_axes(ndim, radius):
    """All shifts of the cube that leave all axes but one alone."""
    return [s for s in itertools.product(range(-radius, radius + 1), repeat=ndim) if sum(d != 0 for d in s) < 2]


@pytest.mark.parametrize("slab", [1, 10_000])
@pytest.mark.parametrize("form", [cube, star])
@pytest.mark.parametrize(("shape", "radius"), [((5, 6), 2), ((4, 3, 5), 1)])
def test_the_correlation_is_the_inner_product_at_every_shift(shape, radius, form, slab, monkeypatch):
    monkeypatch.setattr(correlation, "_SLAB", slab)
    torch.manual_seed(0)
    a, b = torch.randn(2, 2, 3, *shape, dtype=torch.float64)
    wanted = form(len(shape), radius)
    found = local_correlation(bordered(a, wanted), bordered(b, wanted), wanted)
    shifts = list(itertools.product(range(-radius, radius + 1), repeat=len(shape)))
    shifts = shifts if form is cube else along_the_axes(len(shape), radius)
    assert found.shape == (2, len(shifts), *shape)
    for k, shift in enumerate(shifts):
        for p in itertools.product(*map(range, shape)):
            q = tuple(i + d for i, d in zip(p, shift, strict=True))
            inside = all(0 <= i < s for i, s in zip(q, shape, strict=True))
            expected = (a[(0, slice(None), *p)] * b[(0, slice(None), *q)]).sum() if inside else 0.0
            assert abs(float(found[(0, k, *p)]) - float(expected)) < 1e-12


@pytest.mark.parametrize("strides", [(1, 1, 1), (2, 1, 1)])
@pytest.mark.parametrize("ndim", [2, 3])
def test_the_field_is_the_same_with_and_without_a_graph_and_in_any_order_of_memory(ndim, strides):
    network = lively(ndim, strides=strides)
    fixed, moving = torch.rand(2, 1, 1, *(40, 30, 24)[:ndim])
    exact = network(fixed, moving).displacement
    assert exact.requires_grad
    network = network.to(memory_format=torch.channels_last if ndim == 2 else torch.channels_last_3d)
    with torch.no_grad():
        found = network(fixed, moving).displacement
    # Two times the rounding of where ``exponentiate`` looks on a grid of this size.
    torch.testing.assert_close(found, exact.detach(), rtol=0, atol=2e-4)


@pytest.mark.parametrize("rows", [1, 6])
@pytest.mark.parametrize("ndim", [2, 3])
def test_images_are_encoded_a_few_rows_at_a_time_as_in_one_piece(ndim, rows, monkeypatch):
    network = lively(ndim)
    images = torch.rand(2, 1, *(37, 18, 14)[:ndim])  # not a multiple of what is encoded, nor of the rows
    whole = network.encode(images)
    assert all(features.requires_grad for features in whole)
    monkeypatch.setattr(mind, "_SLAB", rows * (252 if ndim == 3 else 18) // torch.get_num_threads())
    with torch.no_grad():
        parts = network.encode(images)
    for one, two in zip(whole, parts, strict=True):
        torch.testing.assert_close(two, one.detach(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("ndim", "form", "slab"),
    [
        (2, cube, 1),
        (2, star, 1),
        (2, cube, 10_000),
        (2, star, 10_000),
        (3, cube, 10_000),
        (3, star, 10_000),
        pytest.param(3, cube, 1, marks=pytest.mark.slow),  # minutes: a call for each voxel and shift
        pytest.param(3, star, 1, marks=pytest.mark.slow),
    ],
)
def test_the_gradient_of_the_correlation_is_that_of_finite_differences(ndim, form, slab, monkeypatch):
    monkeypatch.setattr(correlation, "_SLAB", slab)
    torch.manual_seed(0)
    shape = (3, 4, 2)[:ndim]
    a = torch.randn(1, 2, *shape, dtype=torch.float64, requires_grad=True)
    b = torch.randn(1, 2, *shape, dtype=torch.float64, requires_grad=True)
    shifts = form(ndim, 1)
    assert torch.autograd.gradcheck(
        lambda x, y: local_correlation(bordered(x, shifts), bordered(y, shifts), shifts), (a, b)
    )
