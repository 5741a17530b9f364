"""MIND beside a direct loop in float64, and what it must not depend on."""

import itertools

import numpy as np
import pytest
import torch

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.similarity import mind
from DeepRegistrationLib.similarity.mind import mind_channels, mind_features, mind_loss

from .test_similarity import images, shift


def clamped(array, index):
    return array[tuple(min(max(i, 0), n - 1) for i, n in zip(index, array.shape, strict=True))]


def direct_mind(image, kind, radius, dilation):
    """The definition, voxel by voxel, of an image whose edge is repeated outside."""
    ndim = image.ndim
    units = [tuple(s * dilation if d == axis else 0 for d in range(ndim)) for axis in range(ndim) for s in (-1, 1)]
    if kind == "mind":
        pairs = [((0,) * ndim, u) for u in units]
    else:
        pairs = [
            (a, b) for a, b in itertools.combinations(units, 2) if np.sum(np.subtract(a, b) ** 2) == 2 * dilation**2
        ]
    distance = np.zeros((len(pairs), *image.shape))
    for channel, (a, b) in enumerate(pairs):
        for p in np.ndindex(*image.shape):
            patch = [np.add(p, q) for q in itertools.product(range(-radius, radius + 1), repeat=ndim)]
            distance[channel][p] = np.mean([(clamped(image, q + a) - clamped(image, q + b)) ** 2 for q in patch])
    low = distance.min(0)
    variance = distance.mean(0) - (low if kind == "ssc" else 0)
    variance = np.clip(variance, variance.mean() * 1e-3, variance.mean() * 1e3)
    return np.exp(-(distance - low) / variance)


@pytest.mark.parametrize("kind", ["ssc", "mind"])
@pytest.mark.parametrize(("shape", "radius", "dilation"), [((7, 8), 1, 1), ((7, 8), 2, 2), ((5, 6, 5), 1, 2)])
def test_mind_equals_a_direct_loop(kind, shape, radius, dilation):
    image = images(*shape, count=1)[0]
    expected = direct_mind(image[0, 0].numpy(), kind, radius, dilation)
    ours = mind_features(image, kind, radius, dilation)[0].numpy()
    # The order of the channels is a matter of taste.
    np.testing.assert_allclose(np.sort(ours, 0), np.sort(expected, 0), rtol=1e-9)
    np.testing.assert_allclose(
        ours.mean((1, 2) if len(shape) == 2 else (1, 2, 3)), expected.reshape(len(ours), -1).mean(1)
    )


def test_mind_has_the_channels_of_the_papers():
    assert [mind_channels(3, "ssc"), mind_channels(3, "mind")] == [12, 6]
    assert [mind_channels(2, "ssc"), mind_channels(2, "mind")] == [4, 4]
    assert mind_features(torch.rand(2, 1, 8, 9, 10)).shape == (2, 12, 8, 9, 10)
    assert mind_features(torch.rand(2, 1, 8, 9)).shape == (2, 4, 8, 9)


@pytest.mark.parametrize("kind", ["ssc", "mind"])
@pytest.mark.parametrize("shape", [(16, 18), (10, 12, 11)])
def test_mind_does_not_change_when_the_intensities_are_scaled_and_shifted(kind, shape):
    image = images(*shape, count=1)[0]
    features = mind_features(image, kind)
    for scale, offset in ((3.0, -1.0), (-2.0, 5.0), (1e-3, 0.0)):
        assert torch.allclose(mind_features(scale * image + offset, kind), features, atol=1e-9)


@pytest.mark.parametrize("kind", ["ssc", "mind"])
def test_mind_lies_between_zero_and_one_and_each_voxel_reaches_one(kind):
    features = mind_features(torch.rand(1, 1, 12, 12, 12), kind)
    assert features.min() >= 0
    assert torch.allclose(features.amax(1), torch.ones(1))


def test_mind_of_an_image_does_not_depend_on_the_others_of_its_batch():
    a, b = images(9, 9, 9)
    both = mind_features(torch.cat([a, 100 * b]))
    assert torch.allclose(both[:1], mind_features(a))


@pytest.mark.parametrize("kind", ["ssc", "mind"])
def test_mind_of_a_flat_image_is_one_and_its_gradient_finite(kind):
    flat = torch.full((1, 1, 10, 10, 10), 0.5, requires_grad=True)
    features = mind_features(flat, kind)
    features.sum().backward()
    assert torch.equal(features, torch.ones_like(features))
    assert flat.grad.isfinite().all()


@pytest.mark.parametrize("kind", ["ssc", "mind"])
def test_mind_is_the_same_with_and_without_a_graph(kind, monkeypatch):
    monkeypatch.setattr(mind, "_SLAB", 1)
    # In double precision: where all patches are nearly alike the two orders of adding differ by more than 1e-5 of it.
    image = torch.rand(1, 1, 9, 9, 9, dtype=torch.float64)
    assert torch.allclose(mind_features(image, kind), mind_features(image.clone().requires_grad_(), kind).detach())


@pytest.mark.parametrize("kind", ["ssc", "mind"])
@pytest.mark.parametrize("shape", [(6, 7), (4, 5, 4)])
def test_the_gradient_of_mind_agrees_with_finite_differences(kind, shape):
    image = torch.rand(1, 1, *shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: mind_features(x, kind, 1, 1), image, fast_mode=True)


@pytest.mark.parametrize("kind", ["ssc", "mind"])
@pytest.mark.parametrize("shape", [(20, 24), (14, 16, 18)])
def test_the_mind_loss_is_zero_at_identity_and_for_a_reversed_contrast(kind, shape):
    image = images(*shape, count=1)[0]
    assert mind_loss(image, image, kind).item() == 0
    assert mind_loss(1 - image, image, kind).item() == pytest.approx(0, abs=1e-12)
    for axis in range(2, image.ndim):
        for voxels in (-2, -1, 1, 2):
            assert mind_loss(shift(1 - image, voxels, axis), image, kind) > 0.01


def test_mind_takes_one_channel_and_a_known_kind():
    with pytest.raises(InputError, match="one channel"):
        mind_features(torch.rand(1, 2, 8, 8))
    with pytest.raises(InputError, match="ssc"):
        mind_features(torch.rand(1, 1, 8, 8), kind="MIND")
    with pytest.raises(InputError, match="same shape"):
        mind_loss(torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 9))
