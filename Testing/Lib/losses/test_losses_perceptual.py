"""The distance of a frozen encoder's features, and VGG16's convolutions for a user's own weights."""

import pytest
import torch
from torch import nn

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.losses.perceptual import PerceptualLoss, VGG16Features, unit_channels, unit_range

from ..similarity.test_similarity import images, shift


class Encoder(nn.Module):
    """Two scales, with batch statistics that training mode would move."""

    def __init__(self, ndim):
        super().__init__()
        convolution = nn.Conv2d if ndim == 2 else nn.Conv3d
        norm = nn.BatchNorm2d if ndim == 2 else nn.BatchNorm3d
        torch.manual_seed(0)
        self.first = nn.Sequential(convolution(1, 4, 3, padding=1), norm(4), nn.LeakyReLU(0.2))
        self.second = nn.Sequential(convolution(4, 6, 3, stride=2, padding=1), nn.LeakyReLU(0.2))

    def forward(self, x):
        first = self.first(x)
        return [first, self.second(first)]


@pytest.mark.parametrize("shape", [(16, 18), (10, 12, 11)])
@pytest.mark.parametrize("normalize", [unit_channels, unit_range])
def test_the_loss_is_zero_at_identity_and_grows_with_the_shift(shape, normalize):
    (image,) = images(*shape, count=1, dtype=torch.float32)
    loss = PerceptualLoss(Encoder(len(shape)), normalize)
    assert loss(image, image).item() == 0
    assert 0 < loss(shift(image, 1), image) < loss(shift(image, 2), image)


def test_the_encoder_stays_as_it_was_and_the_image_gets_a_gradient():
    encoder = Encoder(2)
    loss = PerceptualLoss(encoder)
    parent = nn.ModuleList([loss]).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    a, b = (x.requires_grad_() for x in images(12, 12, dtype=torch.float32))
    loss(a, b).backward()
    assert a.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in parent.parameters())
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_the_gradient_agrees_with_finite_differences():
    loss = PerceptualLoss(nn.ModuleList())
    weight = torch.randn(3, 1, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    class Smooth(nn.Module):
        def forward(self, x):
            return [torch.tanh(nn.functional.conv2d(x, weight.to(x), padding=1))]

    loss = PerceptualLoss(Smooth())
    a, b = images(8, 8, dtype=torch.float32)
    a.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(a, b), a)
    direction, h = torch.randn_like(a), 1e-2
    with torch.no_grad():
        difference = (loss(a + h * direction, b) - loss(a - h * direction, b)) / (2 * h)
    assert (gradient * direction).sum().item() == pytest.approx(difference.item(), rel=0.02)


def test_feature_vectors_have_unit_length_and_maps_unit_range():
    features = torch.randn(2, 5, 6, 7) * 30
    assert torch.allclose(unit_channels(features).square().sum(1), torch.ones(2, 6, 7), atol=1e-5)
    ranged = unit_range(features)
    assert torch.equal(ranged.amin((2, 3)), torch.zeros(2, 5))
    assert torch.allclose(ranged.amax((2, 3)), torch.ones(2, 5))
    assert unit_range(torch.ones(1, 2, 4, 4)).isfinite().all()


def test_an_encoder_without_features_is_refused():
    class Nothing(nn.Module):
        def forward(self, x):
            return []

    with pytest.raises(InputError, match="no feature maps"):
        PerceptualLoss(Nothing())(torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8))


def test_vgg16_has_the_layers_of_its_paper():
    network = VGG16Features()
    widths = [layer.out_channels for layer in network.features if isinstance(layer, nn.Conv2d)]
    assert widths == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    # 14 714 688 weights in the convolutions of configuration D (Simonyan 2015).
    assert sum(p.numel() for p in network.parameters()) == 14_714_688
    with torch.no_grad():
        maps = network(torch.rand(1, 1, 16, 16))
    assert sum(m.shape[1] for m in maps) == 4224
    assert maps[-1].shape == (1, 512, 1, 1)


def test_vgg16_takes_the_users_weights_and_refuses_others():
    source = VGG16Features()
    pairs = [*source.state_dict().items(), ("classifier.0.weight", torch.zeros(1))]
    loaded = VGG16Features.from_weights(pairs)
    assert torch.equal(loaded.features[28].weight, source.features[28].weight)
    with pytest.raises(InputError, match="VGG16"):
        VGG16Features.from_weights(pairs[:3])
    with pytest.raises(InputError, match="2-D"):
        source(torch.rand(1, 1, 16, 16, 16))
