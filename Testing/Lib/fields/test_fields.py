import pytest
import torch

from DeepRegistrationLib import fields
from DeepRegistrationLib.errors import InputError

SHAPES = [(17, 20, 23), (30, 27)]


def smooth_field(shape, size=1.5, sigma=4.0, seed=0):
    """A random field of at most ``size`` voxels, without folds, that fades to zero at the border."""
    generator = torch.Generator().manual_seed(seed)
    u = fields.smooth(torch.randn(1, len(shape), *shape, generator=generator, dtype=torch.float64), sigma)
    index = fields.identity(shape, dtype=torch.float64)
    last = torch.tensor(shape).view(1, -1, *[1] * len(shape)) - 1
    distance = torch.minimum(index, last - index).amin(1, keepdim=True)
    u = u * (distance / 5).clamp(0, 1)
    steepest = max(float(u.diff(dim=axis).abs().max()) for axis in range(2, u.ndim))
    return u * min(size / float(u.abs().max()), 0.4 / steepest)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_warp_reads_a_linear_image_where_the_field_points(shape):
    u = smooth_field(shape)
    points = fields.identity(shape, dtype=torch.float64)
    warped = fields.warp(points, u)
    last = torch.tensor(shape).view(1, -1, *[1] * len(shape)) - 1
    inside = ((points + u >= 0) & (points + u <= last)).all(1, keepdim=True)
    assert ((warped - points - u) * inside).abs().max() < 1e-9


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_warp_does_not_depend_on_the_number_of_threads(threads):
    u, image = smooth_field((18, 20, 23)), torch.rand(1, 2, 18, 20, 23, dtype=torch.float64)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = fields.warp(image, u)
        torch.set_num_threads(threads)
        assert torch.equal(fields.warp(image, u), expected)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("shape", SHAPES)
def test_composition_applies_the_second_field_first(shape):
    a, b = smooth_field(shape, seed=1), smooth_field(shape, seed=2)
    image = fields.smooth(torch.rand(1, 1, *shape, dtype=torch.float64), 2)
    twice = fields.warp(fields.warp(image, a), b)
    assert (fields.warp(image, fields.compose(a, b)) - twice).abs().max() < 0.02


@pytest.mark.parametrize("shape", SHAPES)
def test_the_exponential_of_minus_v_is_the_inverse(shape):
    v = smooth_field(shape)
    error = fields.inverse_error(fields.exponentiate(v), fields.exponentiate(-v))
    assert error.max() < 0.1


def test_the_exponential_of_a_linear_velocity_is_the_matrix_exponential():
    # v(x) = A (x - c) has the flow expm(A): the truth is independent of squaring.
    a = torch.tensor([[0.02, -0.05], [0.04, -0.03]], dtype=torch.float64)
    points = fields.identity((41, 41), dtype=torch.float64) - 20
    v = torch.einsum("ij,njxy->nixy", a, points)
    expected = torch.einsum("ij,njxy->nixy", torch.matrix_exp(a) - torch.eye(2), points)
    error = (fields.exponentiate(v, 8) - expected)[..., 8:-8, 8:-8]
    assert error.abs().max() < 2e-3


def test_the_exponential_is_the_same_with_and_without_a_graph():
    v = torch.cat([smooth_field((20, 17, 13)), -smooth_field((20, 17, 13))])
    torch.testing.assert_close(fields.exponentiate(v), fields.exponentiate(v.clone().requires_grad_()).detach())


@pytest.mark.parametrize("shape", [(30, 40), (30, 40, 24)])
def test_an_exponential_that_is_not_exact_is_off_by_what_positions_are_rounded_by(shape):
    v = 4 * smooth_field(shape)
    near, exact = fields.exponentiate(v, exact=False), fields.exponentiate(v)
    # Each of the seven squarings doubles what was rounded before it.
    rounded = 2.0**-23 * 30 * 40 if len(shape) == 3 else 0.0
    assert float((near - exact).abs().max()) <= 2**7 * rounded + 1e-5


@pytest.mark.parametrize("shape", SHAPES)
def test_the_inverse_takes_every_point_back(shape):
    u = smooth_field(shape)
    w = fields.invert(u, tolerance=1e-3)
    assert fields.inverse_error(u, w).max() < 2e-3
    assert fields.inverse_error(w, u).mean() < 0.05


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scheme", ["central", "forward", "backward"])
def test_the_jacobian_of_a_linear_map_is_its_determinant(shape, scheme):
    n = len(shape)
    matrix = torch.eye(n, dtype=torch.float64) + 0.1 * torch.arange(n * n, dtype=torch.float64).view(n, n)
    points = fields.identity(shape, dtype=torch.float64)
    u = torch.einsum("ij,nj...->ni...", matrix - torch.eye(n), points)
    det = fields.jacobian_determinant(u, scheme)
    inner = (..., *[slice(1, -1)] * n)
    torch.testing.assert_close(det[inner], torch.full_like(det[inner], float(torch.linalg.det(matrix))))


@pytest.mark.parametrize("shape", [(3, 400, 600), (1, 5, 7), (90, 60, 50)])
@pytest.mark.parametrize("schemes", [("central",), ("central", "forward", "backward")])
def test_the_jacobian_in_slabs_is_that_of_the_whole(shape, schemes):
    u = torch.randn((1, 3, *shape), generator=torch.Generator().manual_seed(0)) * 0.3
    whole = torch.stack([fields.jacobian_determinant(u, scheme) for scheme in schemes]).amin(0)
    assert torch.equal(fields.jacobian_determinant_in_slabs(u, schemes), whole)


def test_a_mirrored_field_folds():
    points = fields.identity((9, 9))
    assert (fields.jacobian_determinant(-2 * points + 8)[..., 1:-1, 1:-1] > 0).all()  # two mirrors turn
    one_mirror = torch.cat([-2 * points[:, :1] + 8, torch.zeros_like(points[:, 1:])], 1)
    assert (fields.jacobian_determinant(one_mirror)[..., 1:-1, 1:-1] < 0).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_resized_field_is_the_same_map(shape):
    # Affine fields are exact under linear interpolation, at half-pixel centers.
    points = fields.identity(shape, dtype=torch.float64)
    u = 0.1 * points + 2
    half = tuple(s // 2 for s in shape)
    there = fields.resize(u, half)
    ratio = torch.tensor([s / h for s, h in zip(shape, half, strict=True)], dtype=torch.float64)
    ratio = ratio.view(1, -1, *[1] * len(shape))
    centers = (fields.identity(half, dtype=torch.float64) + 0.5) * ratio - 0.5
    expected = (0.1 * centers + 2) / ratio
    assert (there - expected).abs().max() < 0.06  # odd sizes average over windows that overlap
    assert fields.resize(there, shape).shape == u.shape


def test_smoothing_keeps_a_constant_and_the_sum_of_a_point():
    x = torch.zeros(1, 1, 21, 21)
    x[0, 0, 10, 10] = 1
    torch.testing.assert_close(fields.smooth(x, 2).sum(), torch.tensor(1.0))
    torch.testing.assert_close(fields.smooth(torch.full((1, 2, 9, 8, 7), 3.0), 2), torch.full((1, 2, 9, 8, 7), 3.0))


def test_padding_fades_the_border_to_zero_without_folding():
    u = torch.full((1, 3, 8, 8, 8), 3.0)
    padded = fields.pad_tapered(u, 8)
    assert padded.shape == (1, 3, 24, 24, 24)
    assert padded[..., 0, :, :].abs().max() == padded[..., -1].abs().max() == 0
    torch.testing.assert_close(padded[..., 8:16, 8:16, 8:16], u)
    assert (fields.jacobian_determinant(padded) > 0).all()


def test_what_is_not_a_field_is_refused():
    with pytest.raises(InputError, match="displacement field"):
        fields.invert(torch.zeros(1, 2, 4, 4, 4))


def test_warping_is_differentiable_in_image_and_field():
    image = torch.rand(1, 1, 6, 7, dtype=torch.float64, requires_grad=True)
    u = (smooth_field((6, 7), 0.4, 1.0) + 0.13).requires_grad_()
    assert torch.autograd.gradcheck(fields.warp, (image, u))
