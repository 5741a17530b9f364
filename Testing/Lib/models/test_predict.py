"""A network on an image that lies otherwise than it was trained: the field must mean the same."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from DeepRegistrationLib import fields
from DeepRegistrationLib.errors import Cancelled, InputError, RegistrationFailed
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.models.bundle import Model, load_model
from DeepRegistrationLib.models.catalog import ALL
from DeepRegistrationLib.models.header import Header, NetworkGrid, Normalization
from DeepRegistrationLib.models.placement import Placement
from DeepRegistrationLib.models.predict import (
    _MEASURES,
    bfloat16_is_good,
    normalize_image,
    predict,
    predict_both,
    prepare,
    run_network,
)
from DeepRegistrationLib.networks import Prediction, RegistrationNetwork
from DeepRegistrationLib.progress import CancelToken, Reporter

HEADER = Header(method="test", network="Recorder", arguments={"ndim": 3}, dimensions=3)


class Recorder(RegistrationNetwork):
    """Answers with a field that depends on the anatomy alone: what it computes from the images it is shown."""

    def __init__(self, ndim=3, answer=None):
        super().__init__(ndim)
        self.weight = nn.Parameter(torch.zeros(1))
        self.answer = answer or (lambda fixed, moving: torch.zeros(1, ndim, *fixed.shape[2:]))

    def forward(self, fixed, moving):
        return Prediction(self.answer(fixed, moving))


def model(answer=None, **changes):
    header = Header(**{**vars(HEADER), **changes})
    return Model("test", Recorder(header.dimensions, answer), header, "")


def blob(shape=(12, 14, 16)):
    generator = np.random.default_rng(0)
    return generator.uniform(0.2, 1, size=shape).astype(np.float32)


def placed(array, letters):
    """``array``, whose axes run S, A, R... as ``letters`` say, on a grid with those directions (LPS mm, 1 mm)."""
    columns = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([columns[c] for c in letters], dtype=float).T
    return Image(array, Grid(array.shape, matrix))


def reordered(image, letters):
    """The same picture in space, stored with other axes."""
    own = Placement.on(image.grid, NetworkGrid(letters))
    array = image.array.transpose(own.axes)
    array = np.flip(array, [a for a, turned in enumerate(own.turned) if turned]).copy()
    corner = [(n - 1) if turned else 0 for n, turned in zip(array.shape, own.turned, strict=True)]
    start = np.empty(3)
    start[list(own.axes)] = corner
    matrix = np.eye(4)
    for a, (axis, turned) in enumerate(zip(own.axes, own.turned, strict=True)):
        matrix[:3, a] = image.grid.matrix[:3, axis] * (-1 if turned else 1)
    matrix[:3, 3] = image.grid.to_world(start)
    return Image(array, Grid(array.shape, matrix))


def test_the_field_in_space_does_not_depend_on_how_the_image_is_stored():
    """One picture stored in all 48 ways: the network sees the same, and its field maps the same points in mm."""

    def answer(fixed, moving):
        generator = torch.Generator().manual_seed(1)
        return torch.randn(1, 3, *fixed.shape[2:], generator=generator) * fixed.mean() + fixed

    reference = placed(blob(), "SAR")
    trained = model(answer, grid=NetworkGrid("LIA", (1.0, 1.0, 1.0), (16, 12, 14)))
    expected = in_space(predict(trained, reference, reference), reference.grid)
    ways = [
        "".join(letters)
        for order in itertools.permutations(("LR", "AP", "SI"))
        for letters in itertools.product(*order)
    ]
    assert len(ways) == 48
    points = reference.grid.to_world(np.random.default_rng(2).integers(0, [12, 14, 16], size=(50, 3)))
    for letters in ways:
        image = reordered(reference, letters)
        field = predict(trained, image, image)
        found = in_space(field, image.grid)
        for p in points:
            a, b = expected(p), found(p)
            assert np.abs(a - b).max() < 1e-4, letters


def in_space(field, grid):
    """Displacement in LPS mm at a point (a voxel's center) in LPS mm."""
    vectors = field[0].permute(1, 2, 3, 0).numpy()

    def at(point):
        index = tuple(np.round(grid.to_index(point)).astype(int))
        return grid.matrix[:3, :3] @ vectors[index]

    return at


@pytest.mark.parametrize("letters", [None, "RPI"])
@pytest.mark.parametrize(
    ("spacing", "size"),
    [((1.5, 1.5, 1.5), (40, 40, 40)), (None, (20, 30, 25)), ((2.0, 2.0, 2.0), None), ((0.5, 1.0, 0.8), (90, 60, 70))],
)
def test_a_translation_in_mm_comes_back_as_that_translation(letters, spacing, size):
    """The network works at another spacing; it answers a constant displacement, of 3 mm along its second axis."""
    grid = Grid.from_shape((30, 32, 34), (1.2, 1.0, 1.4))
    image = Image(blob(grid.shape), grid)
    place = Placement.on(grid, NetworkGrid(letters, spacing, size))
    step = place.scale[1] * grid.spacing[place.axes[1]]  # mm per network voxel

    def answer(fixed, moving):
        u = torch.zeros(1, 3, *fixed.shape[2:])
        u[:, 1] = 3 / step
        return u

    field = predict(model(answer, grid=NetworkGrid(letters, spacing, size)), image, image)
    expected = np.zeros(3)
    expected[place.axes[1]] = (-1 if place.turned[1] else 1) * 3 / grid.spacing[place.axes[1]]
    middle = field[0, :, 5:-5, 5:-5, 5:-5].numpy()
    np.testing.assert_allclose(middle, np.broadcast_to(expected[:, None, None, None], middle.shape), atol=1e-5)


def test_a_network_for_any_anatomy_sees_all_of_it_in_equal_spacing():
    grid = Grid.from_shape((9, 60, 50), (10.0, 1.5, 1.5))
    place = Placement.on(grid, NetworkGrid(longest=30))
    assert place.size == (30, 30, 25)  # 3 mm, set by the longest side of 90 mm
    fine = Placement.on(Grid.from_shape((20, 16, 12)), NetworkGrid(longest=30))
    assert (fine.size, fine.scale) == ((20, 16, 12), (1.0, 1.0, 1.0))  # never finer than the image
    small = Placement.on(Grid.from_shape((20, 16, 12)), NetworkGrid(longest=64, shortest=40))
    assert small.size == (40, 32, 24)  # unless it would be too small for the network
    tiny = Placement.on(Grid.from_shape((10, 8, 6)), NetworkGrid(longest=64, shortest=40))
    assert tiny.size == (25, 20, 15)  # and then so many times finer at most
    assert Placement.on(Grid.from_shape((90, 60, 50)), NetworkGrid(longest=64, shortest=40)).size == (64, 43, 36)


def test_averaging_to_a_coarse_grid_keeps_the_mean_and_the_place():
    image = torch.zeros(1, 1, 32, 32)
    image[:, :, 16:20, 8:12] = 1
    place = Placement.on(Grid.from_shape((32, 32)), NetworkGrid(longest=16))
    coarse = place.take(image)
    assert torch.equal(coarse[0, 0].nonzero(), torch.tensor([[8, 4], [8, 5], [9, 4], [9, 5]]))
    off_center = Placement.on(Grid.from_shape((32, 32)), NetworkGrid(None, (2.0, 2.0), (12, 12)))
    taken = off_center.take(image)
    axes = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    middle = [float((taken[0, 0] * a).sum() / taken.sum()) for a in axes]
    found = [o + s * m for o, s, m in zip(off_center.offset, off_center.scale, middle, strict=True)]
    np.testing.assert_allclose(found, [17.5, 9.5], atol=0.02)


def test_a_grid_that_only_crops_keeps_every_value():
    image = placed(blob((40, 20, 31)), "SAR")
    place = Placement.on(image.grid, NetworkGrid("SAR", (1.0, 1.0, 1.0), (16, 32, 31)))
    taken = place.take(torch.from_numpy(image.array)[None, None])[0, 0].numpy()
    assert taken.shape == (16, 32, 31)
    np.testing.assert_array_equal(taken[:, 6:26], image.array[12:28])
    assert not taken[:, :6].any()
    assert not taken[:, 26:].any()


def test_cropping_keeps_the_foreground_in_view():
    array = np.zeros((60, 20, 20), np.float32)
    array[40:52] = 1
    image = placed(array, "SAR")
    trained = model(grid=NetworkGrid("SAR", (1.0, 1.0, 1.0), (24, 20, 20)))
    _, (fixed, _) = prepare(trained, image, image)
    assert float(fixed.sum()) == array.sum()


def test_outside_of_what_the_network_saw_the_field_fades_to_zero_without_folding():
    image = placed(np.ones((96, 80, 16), np.float32), "SAR")
    image.array[0, 0, 0] = 0

    def answer(fixed, moving):
        return torch.full((1, 3, *fixed.shape[2:]), 4.0)

    field = predict(model(answer, grid=NetworkGrid(None, (1.0, 1.0, 1.0), (16, 16, 16))), image, image)
    assert torch.equal(field[0, :, 40:56, 32:48], torch.full((3, 16, 16, 16), 4.0))
    assert not field[:, :, :16].any()
    assert not field[:, :, :, -8:].any()
    assert float(fields.jacobian_determinant(field, "forward")[..., :-1].min()) > 0


def test_intensities_become_what_the_network_was_trained_with():
    array = np.zeros((4, 5, 6), np.int16)
    array[1:3] = np.arange(60).reshape(2, 5, 6) * 100 + 100
    image = placed(array, "SAR")
    by_range = normalize_image(image, Normalization("range", 0.0, 1000.0))
    assert (float(by_range.min()), float(by_range.max())) == (0, 1)
    padded = placed(np.pad(array, 3), "SAR")
    scaled = placed(array.astype(np.float64) * 0.5 + 7, "SAR")
    percentile = Normalization("percentile", 0.0, 98.0, clamp=False)
    first = normalize_image(image, percentile)
    assert float(first.max()) > 1
    torch.testing.assert_close(normalize_image(padded, percentile).max(), first.max())
    torch.testing.assert_close(normalize_image(scaled, percentile), first)
    _, (shown, other) = prepare(
        model(
            normalization=Normalization("range", 0.0, 1000.0, (-1.0, 1.0)),
            moving_normalization=Normalization("percentile", 0.0, 100.0),
            grid=NetworkGrid(None, (1.0, 1.0, 1.0), (8, 8, 8)),
        ),
        image,
        image,
    )
    assert (float(shown.min()), float(shown.max())) == (-1, 1)  # padding is background, too
    assert (float(other.min()), float(other.max())) == (0, 1)


def test_a_constant_image_is_no_division_by_zero():
    constant = placed(np.full((4, 4, 4), 3.0), "SAR")
    assert not normalize_image(constant, Normalization()).any()


def test_two_dimensions_work_as_three_do():
    grid = Grid.from_shape((21, 30), 0.7)
    image = Image(blob(grid.shape), grid)
    trained = model(dimensions=2, arguments={"ndim": 2}, grid=NetworkGrid(None, None, (16, 16)))
    assert predict(trained, image, image).shape == (1, 2, 21, 30)


def test_what_cannot_be_used_is_one_sentence():
    image = placed(blob(), "SAR")
    flat = Image(blob((8, 8)), Grid.from_shape((8, 8)))
    with pytest.raises(InputError, match="for 3-D images and these are 2-D"):
        predict(model(), flat, flat)
    with pytest.raises(InputError, match="on one grid"):
        predict(model(), image, placed(blob((12, 14, 17)), "SAR"))
    with pytest.raises(InputError, match="precision"):
        predict(model(), image, image, precision="float16")
    with pytest.raises(RegistrationFailed, match="not finite"):
        predict(model(lambda f, m: torch.full((1, 3, *f.shape[2:]), float("nan"))), image, image)


def test_a_cancelled_prediction_stops_before_the_network():
    token = CancelToken()
    token.cancel()
    image = placed(blob(), "SAR")
    with pytest.raises(Cancelled):
        predict(model(lambda f, m: pytest.fail("ran")), image, image, reporter=Reporter(cancel=token))


@pytest.mark.parametrize("fit", [None, "lncc"])
def test_a_cancel_while_the_network_computes_stops_before_its_next_layer(fit):
    token, ran = CancelToken(), []

    class Layers(Recorder):
        def __init__(self):
            super().__init__()
            self.first, self.second = (nn.Conv3d(2, 3, 3, padding=1) for _ in range(2))
            self.first.register_forward_hook(lambda *_: token.cancel())
            self.first.register_forward_hook(lambda *_: ran.append("first"))
            self.second.register_forward_hook(lambda *_: ran.append("second"))

        def forward(self, fixed, moving):
            both = torch.cat([fixed, moving], 1).to(self.first.weight)
            return Prediction(self.first(both) + self.second(both))

        def last_convolution(self):
            return self.second

    image, network = placed(blob(), "SAR"), Layers()
    with pytest.raises(Cancelled):
        predict(Model("test", network, HEADER, ""), image, image, reporter=Reporter(cancel=token), fine_tuned_by=fit)
    assert ran == ["first"]
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_running_a_network_leaves_its_weights_precision_and_mode_alone():
    network = Recorder()
    network.train()
    run_network(network, torch.zeros(1, 1, 4, 4, 4), torch.zeros(1, 1, 4, 4, 4), torch.device("cpu"), "bfloat16")
    assert network.weight.dtype == torch.float32
    assert network.training


def test_bfloat16_is_decided_once_for_the_process():
    assert isinstance(bfloat16_is_good(), bool)
    assert bfloat16_is_good.cache_info().currsize == 1


@pytest.mark.parametrize(("shape", "longest"), [((60, 52, 44), 20), ((61, 50, 43), 16), ((64, 64), 10)])
def test_a_field_of_much_larger_voxels_comes_back_whole(shape, longest):
    place = Placement.on(Grid.from_shape(shape), NetworkGrid(longest=longest))
    assert max(place.scale) > 2
    ndim = len(shape)
    u = torch.ones(1, ndim, *place.size)
    expected = torch.tensor(place.scale).view(1, -1, *[1] * ndim).expand(1, ndim, *shape)
    torch.testing.assert_close(place.bring_back(u), expected)


def test_what_a_network_is_fine_tuned_by_is_a_measure_and_no_misspelled_one():
    assert {method.fine_tuned_by for method in ALL} <= set(_MEASURES)
    image = placed(blob(), "SAR")
    with pytest.raises(InputError, match="by lncc, mind, gradient, auto, not by 'lnc'"):
        predict(model(lambda f, m: pytest.fail("ran")), image, image, fine_tuned_by="lnc")


@pytest.mark.parametrize("name", ["universal", "universal-2d"])
def test_both_ways_at_once_are_what_either_way_gives(name):
    known = load_model(name)
    generator = torch.Generator().manual_seed(3)
    shape = {2: (50, 40), 3: (28, 32, 24)}[known.header.dimensions]
    images = [
        Image(fields.smooth(torch.rand((1, 1, *shape), generator=generator), 2.0)[0, 0].numpy(), Grid.from_shape(shape))
        for _ in range(2)
    ]
    there, back = predict_both(known, *images)
    assert float(there.abs().max()) > 0.1
    assert torch.allclose(there, predict(known, *images), atol=1e-4)
    assert torch.allclose(back, predict(known, *images[::-1]), atol=1e-4)
    assert not any(field.is_inference() for field in (there, back))


def test_a_network_that_answers_one_way_is_asked_twice():
    seen = []

    def answer(fixed, moving):
        seen.append(float(fixed.mean() - moving.mean()))
        return torch.full((1, 3, *fixed.shape[2:]), seen[-1])

    images = [placed(blob() ** power, "SAR") for power in (1, 2)]
    there, back = predict_both(model(answer), *images)
    assert torch.allclose(there, -back)
    assert seen[0] == -seen[1] != 0
