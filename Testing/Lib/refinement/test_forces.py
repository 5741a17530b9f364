"""The forces of the refinement engine against autograd, in float64."""

import pytest
import torch
import torch.nn.functional as F

from DeepRegistrationLib.fields import convolve_separable, smooth, warp
from DeepRegistrationLib.fields.kernels import (
    BandFilter,
    Sampler,
    box_weights,
    central_difference,
    central_difference_adjoint,
    differencing,
    gaussian_weights,
)
from DeepRegistrationLib.refinement.forces import SPARSE_FROM, Lncc, LocalGradient, Ssd
from DeepRegistrationLib.similarity.cropped_mind import cropped_mind
from DeepRegistrationLib.similarity.mind import mind_features

SHAPES = [(9, 12), (6, 8, 7)]


def pair(shape: tuple[int, ...], channels: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(len(shape))
    f, m = (torch.rand((1, channels, *shape), generator=generator, dtype=torch.float64) for _ in range(2))
    weight = torch.rand((1, 1, *shape), generator=generator, dtype=torch.float64)
    return f, m, weight


def box_sum(x: torch.Tensor, width: int) -> torch.Tensor:
    convolve = F.conv2d if x.ndim == 4 else F.conv3d
    kernel = torch.ones((1, 1, *[width] * (x.ndim - 2)), dtype=x.dtype)
    return convolve(x, kernel, padding=width // 2)


def lncc_sum(f: torch.Tensor, m: torch.Tensor, w: torch.Tensor, width: int, eps: float) -> torch.Tensor:
    n = box_sum(w, width)
    mean_f, mean_m = box_sum(w * f, width) / n, box_sum(w * m, width) / n
    var_f = box_sum(w * f * f, width) / n - mean_f**2 + eps
    var_m = box_sum(w * m * m, width) / n - mean_m**2 + eps
    cov = box_sum(w * f * m, width) / n - mean_f * mean_m
    windows = looked_at(w * (cov.abs() + eps) ** 2 / (var_f * var_m), width)
    return windows.sum() * f.numel() / windows.numel()


def looked_at(x: torch.Tensor, width: int) -> torch.Tensor:
    every = slice(None, None, 2 if width >= SPARSE_FROM else 1)
    return x[(slice(None), slice(None), *[every] * (x.ndim - 2))]


def autograd_of(function, m: torch.Tensor) -> torch.Tensor:
    m = m.clone().requires_grad_()
    function(m).backward()
    return m.grad


@pytest.mark.parametrize(("shape", "width"), [*((shape, 5) for shape in SHAPES), ((14, 17), 9), ((11, 10, 13), 9)])
@pytest.mark.parametrize("weighted", [False, True])
def test_lncc_gradient_is_exact(shape, width, weighted):
    f, m, weight = pair(shape)
    value, gradient = Lncc(f, (width,) * len(shape), eps=1e-3)(m, weight if weighted else None)
    w = weight if weighted else torch.ones_like(weight)
    expected = autograd_of(lambda x: lncc_sum(f, x, w, width, 1e-3), m)
    assert torch.allclose(gradient, expected, rtol=1e-8, atol=1e-10)
    share = looked_at(w, width).sum() * f.numel() / looked_at(w, width).numel()
    assert torch.allclose(value * share, lncc_sum(f, m, w, width, 1e-3))


@pytest.mark.parametrize("width", [5, 9])
def test_lncc_counts_what_each_weight_counts(width):
    f, m, weight = pair((14, 12, 13))
    kept = Lncc(f, (width, 5, width))
    for each in (None, weight, weight, weight**2, None):  # the same twice: what it tells of the fixed image is kept
        value, gradient = kept(m, each)
        expected, expected_gradient = Lncc(f, (width, 5, width))(m, each)
        assert torch.equal(value, expected)
        assert torch.equal(gradient, expected_gradient)


@pytest.mark.parametrize("width", [5, 9])
def test_lncc_works_in_memory_that_is_given_to_it(width):
    fixed, warped = (torch.rand((1, 1, 20, 18, 16), generator=torch.Generator().manual_seed(k)) for k in (1, 2))
    spare = tuple(torch.full((1, 3, 20, 18, 16), float("nan")) for _ in range(2))
    expected, found = Lncc(fixed, (5, width, width)), Lncc(fixed, (5, width, width), spare=spare)
    for _ in range(2):
        value, gradient = expected(warped)
        again, again_gradient = found(warped)
        assert float(value) == float(again)
        assert torch.equal(gradient, again_gradient)
        for buffer in spare:
            buffer.fill_(float("nan"))  # between two calls it is the owner's


@pytest.mark.parametrize("make", [lambda f: Lncc(f, (7, 7, 7)), lambda f: LocalGradient(f, f, (3, 3, 3))])
def test_nothing_is_more_alike_than_an_image_and_itself(make):
    image = smooth(torch.randn((1, 1, 24, 26, 28), generator=torch.Generator().manual_seed(0)), 8.0).double()
    image = (image - image.min()) / (image.max() - image.min())
    force = make(image)
    value, gradient = force(image)
    assert abs(float(value) - 1) < 1e-6
    assert float(gradient.abs().max()) < 1e-6
    assert float(force(1.5 * image)[0]) < float(value) + 1e-9  # more contrast is no gain


def test_lncc_does_not_see_the_sign_or_scale_of_contrast():
    f, m, _ = pair((6, 8, 7))
    first = Lncc(f, (5, 5, 5), eps=1e-12)(m)[0]
    assert torch.allclose(first, Lncc(f, (5, 5, 5), eps=1e-12)(2 - 3 * m)[0], atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_ssd_gradient_is_exact_over_channels(weighted):
    f, m, weight = pair((6, 8, 7), channels=3)
    w = weight if weighted else torch.ones_like(weight)
    gradient = Ssd(f)(m, weight if weighted else None)[1]
    expected = autograd_of(lambda x: -(w * (f - x) ** 2).sum(), m)
    assert torch.allclose(gradient, expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_local_gradient_gradient_is_exact(shape, weighted):
    f, m, weight = pair(shape)
    force = LocalGradient(f, m, (3,) * len(shape))
    w = weight if weighted else torch.ones_like(weight)

    def similarity(x: torch.Tensor) -> torch.Tensor:
        parts = [central_difference(x, a, torch.zeros_like(x)) for a in range(len(shape))]
        local = torch.cat([box_sum(part, 3) / 3 ** len(shape) for part in parts], 1)
        norm = (local.square().sum(1, keepdim=True) + force._eps).sqrt()
        return (w * ((local * force._unit).sum(1, keepdim=True).abs() + force._quiet) / norm).sum()

    # central_difference writes in place, which autograd refuses: use finite differences along random directions
    _, gradient = force(m, weight if weighted else None)
    gradient = gradient.clone()
    generator = torch.Generator().manual_seed(3)
    for _ in range(5):
        direction = torch.randn(m.shape, generator=generator, dtype=m.dtype)
        h = 1e-6
        slope = (similarity(m + h * direction) - similarity(m - h * direction)) / (2 * h)
        assert torch.allclose((gradient * direction).sum(), slope, rtol=1e-5)


def test_local_gradient_is_blind_to_inversion_and_scale():
    f, m, _ = pair((12, 12))
    value = LocalGradient(f, m, (3, 3))(m)[0]
    assert torch.allclose(value, LocalGradient(f, 1 - m, (3, 3))(1 - m)[0])
    assert torch.allclose(value, LocalGradient(f, 5 * m + 2, (3, 3))(5 * m + 2)[0])


def test_mind_does_not_see_linear_contrast_and_has_one_channel_a_pair():
    image = torch.rand((1, 1, 14, 12, 13), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a, b = cropped_mind(image), cropped_mind(3 - 2 * image)
    assert a.shape == (1, 12, 14, 12, 13)
    assert torch.allclose(a, b)
    assert float(a.max()) == pytest.approx(1)
    assert float(a.min()) > 0


def test_the_minds_of_refinement_and_training_are_one_but_for_the_border():
    """Further in than a patch and its neighbors reach, the same to rounding."""
    for shape in ((21, 23), (19, 21, 20)):
        image = torch.rand((1, 1, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        inside = (..., *[slice(4, -4)] * len(shape))
        assert torch.allclose(cropped_mind(image)[inside], mind_features(image)[inside], rtol=1e-12)
        assert not torch.allclose(cropped_mind(image), mind_features(image), rtol=1e-3)


def test_mind_takes_an_axis_of_three_slices():
    assert cropped_mind(torch.rand(1, 1, 3, 20, 22)).isfinite().all()


@pytest.mark.parametrize("large", [1, 1 << 40])
@pytest.mark.parametrize("shape", [(9, 12), (6, 150, 7), (40, 9, 70), (1, 20, 5)])
def test_band_filter_equals_convolution(shape, large, monkeypatch):
    monkeypatch.setattr("DeepRegistrationLib.fields.kernels._LARGE", large)  # channel by channel, or all at once
    x = torch.rand((1, 2, *shape), dtype=torch.float64)
    kernel = gaussian_weights(1.3)
    out = BandFilter(shape, [kernel, None, kernel][: len(shape)], dtype=torch.float64)(
        x, torch.empty_like(x), torch.empty_like(x)
    )
    kernels = [kernel if n > 1 and k != 1 else None for k, n in enumerate(shape)]
    assert torch.allclose(out, convolve_separable(x, kernels, "constant"))


@pytest.mark.parametrize("shape", [(9, 12), (6, 40, 7), (2, 5, 3)])
def test_what_was_cut_beforehand_sees_what_the_memory_holds_by_then(shape):
    x, u = torch.zeros((1, 2, *shape)), torch.zeros((1, len(shape), *shape))
    out, scratch, slope, taken = (torch.full_like(x, 9.0) for _ in range(4))
    box, sampler = BandFilter(shape, [gaussian_weights(1.0)] * len(shape)), Sampler(shape)
    image = torch.rand((1, 2, *shape))
    steps = box.bound(x, out, scratch), differencing(x, 0, slope), sampler.aiming(u), sampler.taking(image, taken)
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        x.copy_(torch.rand(x.shape, generator=generator))
        u.copy_(torch.randn(u.shape, generator=generator))
        slope.fill_(9.0)
        for step in steps:
            step()
        sampled = Sampler(shape)
        sampled.aim(u)
        assert torch.equal(out, box(x, torch.empty_like(x), torch.empty_like(x)))
        assert torch.equal(slope, central_difference(x, 0, torch.empty_like(x)))
        assert torch.equal(taken, sampled.take(image, torch.empty_like(image)))


def test_band_filter_leaves_its_input_alone_and_keeps_a_constant():
    x = torch.ones((1, 1, 8, 9, 10))
    out = BandFilter((8, 9, 10), [gaussian_weights(2.0)] * 3, "mean")(x, torch.empty_like(x), torch.empty_like(x))
    assert torch.equal(x, torch.ones_like(x))
    assert torch.allclose(out, x)


@pytest.mark.parametrize("border", ["zero", "mean"])
def test_the_adjoint_of_a_band_filter_is_its_transpose(border):
    shape = (6, 7, 5)
    x, y = (torch.rand((1, 1, *shape), dtype=torch.float64) for _ in range(2))
    there = BandFilter(shape, [box_weights(3), None, box_weights(5)], border, dtype=torch.float64)

    def through(box, image):
        return box(image, torch.empty_like(image), torch.empty_like(image))

    assert torch.allclose((through(there, x) * y).sum(), (x * through(there.adjoint(), y)).sum())


@pytest.mark.parametrize("large", [0, 1 << 30])
@pytest.mark.parametrize("border", ["zero", "mean"])
@pytest.mark.parametrize(
    ("shape", "strides"),
    [((9, 12), (2, 2)), ((17, 40, 6), (2, 2, 1)), ((5, 13, 70), (1, 3, 2)), ((1, 7, 9), (2, 1, 2))],
)
def test_a_band_filter_with_strides_is_the_same_on_fewer_voxels(shape, strides, border, large, monkeypatch):
    monkeypatch.setattr("DeepRegistrationLib.fields.kernels._LARGE", large)
    x = torch.rand((1, 2, *shape), dtype=torch.float64)
    weights = [box_weights(5), None if strides[1] == 1 else box_weights(7), box_weights(3)][: len(shape)]
    whole = BandFilter(shape, weights, border, dtype=torch.float64)(x, torch.empty_like(x), torch.empty_like(x))
    few = BandFilter(shape, weights, border, strides, dtype=torch.float64)
    expected = whole[(slice(None), slice(None), *(slice(None, None, s) for s in strides))]
    assert few.wanted == tuple(expected.shape[2:])
    out = few(x, torch.full_like(expected, float("nan")).contiguous(), torch.empty_like(x))
    assert torch.allclose(out, expected)
    y, back = torch.rand_like(out), few.adjoint()
    assert (back.shape, back.wanted) == (few.wanted, few.shape)
    assert torch.allclose((back(y, torch.empty_like(x), torch.empty_like(x)) * x).sum(), (y * out).sum())


def test_box_weights_sum_over_the_window():
    assert box_weights(7).sum() == 7


@pytest.mark.parametrize("shape", [(9, 12), (7, 8, 6), (1, 20, 5)])
def test_an_exact_sampler_equals_warp(shape):
    ndim = len(shape)
    image, u = torch.rand((1, 2, *shape)), torch.randn((1, ndim, *shape))
    sampler = Sampler(shape, exact=True)
    sampler.aim(u)
    assert torch.allclose(sampler.take(image, torch.empty_like(image)), warp(image, u), atol=1e-5)


@pytest.mark.parametrize("shape", [(9, 12), (7, 8, 6), (1, 20, 5)])
def test_a_sampler_rounds_no_further_than_it_says(shape):
    image, u = torch.rand((1, 2, *shape)), torch.randn((1, len(shape), *shape))
    sampler = Sampler(shape)
    sampler.aim(u)
    rounded = 2.0**-21 * shape[0] * shape[1] if len(shape) == 3 else 0.0
    assert torch.allclose(sampler.take(image, torch.empty_like(image)), warp(image, u), atol=1e-5 + rounded)


def test_sampler_takes_some_rows():
    shape = (9, 8, 6)
    image, u = torch.rand((1, 1, *shape)), 3 * torch.randn((1, 3, *shape))
    sampler, out = Sampler(shape, rows=4), torch.empty(1, 1, 4, 8, 6)
    for first, count in ((3, 4), (7, 2)):
        sampler.aim(u[:, :, first : first + count], first)
        taken = sampler.take(image, out[:, :, :count])
        assert torch.allclose(taken, warp(image, u)[:, :, first : first + count], atol=1e-4)


def test_sampler_rounds_little_in_a_large_volume():
    shape = (300, 300, 2)
    image = (
        (torch.arange(300.0)[:, None] + 1000 * torch.arange(300.0)[None]).view(1, 1, 300, 300, 1).repeat(1, 1, 1, 1, 2)
    )
    u = torch.rand((1, 3, *shape)) - 0.5
    sampler = Sampler(shape)
    sampler.aim(u)
    error = (sampler.take(image, torch.empty_like(image)) - warp(image, u)).abs() / 1000
    assert float(error.max()) < 0.05


def test_central_difference_and_its_adjoint_are_transposes():
    x, y = torch.rand((1, 1, 6, 7), dtype=torch.float64), torch.rand((1, 1, 6, 7), dtype=torch.float64)
    for axis in (0, 1):
        left = (central_difference(x, axis, torch.empty_like(x)) * y).sum()
        right = (x * central_difference_adjoint(y, axis, torch.zeros_like(y))).sum()
        assert torch.allclose(left, right)
