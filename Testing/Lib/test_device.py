"""Every option of ``register`` on a GPU that is not there but refuses to mix devices, as a real one does."""

import numpy as np
import pytest
import torch

from DeepRegistrationLib import InputError, device, register
from DeepRegistrationLib.affine.mirror import Mirror
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.geometry.transform import Transform, resample
from DeepRegistrationLib.refinement.sharpness import softening
from Testing.Lib.refinement.test_engine import texture
from Testing.Lib.strict_device import Lacking, MixedDevicesError, StrictDevice
from Testing.Lib.test_pipeline import bump, pair

SHAPES = {2: (32, 36), 3: (14, 16, 15)}


def half(grid):
    array = np.zeros(grid.shape, np.uint8)
    array[..., : grid.shape[-1] // 2] = 1
    return Image(array, grid)


def label_maps(grid, count):
    array = (np.arange(np.prod(grid.shape)).reshape(grid.shape) // 50 % (count + 1)).astype(np.uint8)
    return Image(array, grid), Image(np.roll(array, 1, 0), grid)


def options(ndim):
    grid = Grid.from_shape(SHAPES[ndim])
    points = grid.to_world(np.full((3, ndim), 6.0) + np.arange(3)[:, None])
    mask, start = half(grid), Transform.from_field(bump(grid.shape, 1.0), grid)
    return {
        "fast": {},
        "accurate": {"refine": "accurate"},
        "none": {"refine": "none", "affine": "auto"},
        "lncc": {"similarity": "lncc"},
        "translated": {"similarity": "translated"},
        "information": {"similarity": "information"},
        "mind": {"similarity": "mind"},
        "ssd": {"similarity": "ssd"},
        "gradient": {"similarity": "gradient"},
        "stiff": {"smoothness": 3.0},
        "masks": {"fixed_mask": mask, "moving_mask": mask},
        "landmarks": {"landmarks": (points, points + 1.0)},
        "few labels": {"labels": label_maps(grid, 3)},
        "many labels": {"labels": label_maps(grid, 11)},
        "start": {"initial_transform": start},
        "all": {
            "fixed_mask": mask,
            "moving_mask": mask,
            "landmarks": (points, points + 1.0),
            "labels": label_maps(grid, 3),
            "initial_transform": start,
        },
        "network": {"method": "universal"},
        "fine-tuned network": {"method": "universal", "fine_tune": True, "refine": "none"},
    }


@pytest.fixture
def pretend(monkeypatch):
    """A function that puts the pipeline onto a pretended device."""

    def put(kind):
        for name in ("pipeline.device_for", "inputs.pair.available_bytes", "inputs.pair.total_bytes"):
            answer = torch.device(kind) if name.endswith("device_for") else 32 << 30
            monkeypatch.setattr(f"DeepRegistrationLib.{name}", lambda *_, answer=answer: answer)
        monkeypatch.setattr("DeepRegistrationLib.pipeline.measure_mirror", lambda *_, **__: Mirror())  # on the CPU
        return StrictDevice(kind)

    return put


QUICK = ("all", "none", "fast", "information", "translated", "gradient", "many labels", "network")
"""In the suite that always runs, in 2-D; all others, and volumes, in the slow one."""
CASES = [
    pytest.param(kind, ndim, name, marks=() if ndim == 2 and name in QUICK else pytest.mark.slow)
    for ndim in SHAPES
    for name in options(ndim)
    for kind in ("cuda", "mps")
]


@pytest.mark.parametrize(("kind", "ndim", "name"), CASES)
def test_no_option_mixes_devices(pretend, kind, ndim, name):
    fixed, moving = pair(Grid.from_shape(SHAPES[ndim]), 1.0)
    strict = pretend(kind)
    with strict:
        result = register(fixed, moving, **{"affine": "none", "device": kind, **options(ndim)[name]})
    assert result.report.folding_percent == 0
    assert result.report.device == kind
    if name != "none":
        assert strict.operations > 100
    assert np.isfinite(result.warped.array).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cuda", "mps"])
@pytest.mark.parametrize("is_interpolated", [False, True])
def test_thick_slices_mix_no_devices(pretend, kind, is_interpolated):
    """The fixed image is blurred then, for the voxels of the moving one or for how it looks."""
    grid = Grid.from_shape((28, 32, 30))
    fixed, moving = (Image(texture(grid.shape, seed, 0.6)[0, 0].numpy(), grid) for seed in (0, 1))
    slices = resample(moving, grid.resized((7, 32, 30)))
    if is_interpolated:
        slices = resample(slices, grid)
        assert any(softening(*(torch.from_numpy(image.array)[None, None] for image in (fixed, slices)))[0])
    masks = {"fixed_mask": half(grid), "moving_mask": half(slices.grid)}
    with pretend(kind):
        result = register(fixed, slices, affine="none", device=kind, **masks)
    assert result.report.device == kind
    assert np.isfinite(result.warped.array).all()


def test_the_pretended_device_refuses_to_mix():
    with StrictDevice("cuda"):
        here = torch.rand(3, 4)
        there = here.to("cuda")
        assert there.device.type == "cuda"
        assert (there * 2).device.type == "cuda"
        assert there.cpu().device.type == "cpu"
        assert torch.zeros(3, device="cuda").device.type == "cuda"
        assert there.new_zeros(2).device.type == "cuda"
        assert (there * torch.tensor(2.0)).device.type == "cuda"
        for wrong in (
            lambda: here + there,
            lambda: torch.cat([here, there]),
            lambda: here[there > 0.5],
            lambda: there.add_(here),
            lambda: there.numpy(),
            lambda: there.index_select(0, torch.tensor([0, 1])),
            lambda: torch.randn(3, device="cuda", generator=torch.Generator()),
        ):
            with pytest.raises(MixedDevicesError):
                wrong()
    with StrictDevice("mps"), pytest.raises(TypeError):
        torch.zeros(2, device="mps").double()


@pytest.fixture
def apple(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)


def test_a_device_that_cannot_do_all_is_a_sentence(apple, monkeypatch):
    with StrictDevice("mps"):
        assert device.choose_device("mps").type == "mps"
    with (
        Lacking("mps", "quantile"),
        pytest.raises(InputError, match=r"all that .* needs .* fails at quantile"),
    ):
        device.choose_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match="no usable Apple GPU"):
        device.choose_device("mps")


def test_auto_takes_the_gpu_of_apple_where_it_can_do_all(apple):
    said = []
    with StrictDevice("mps"):
        assert device.device_for("auto", said).type == "mps"
    assert not said
    with Lacking("mps", "bincount"):
        assert device.device_for("auto", said).type == "cpu"
    assert len(said) == 1
    assert "Apple GPU could not be used" in said[0]
    assert "fails there at bincount" in said[0]


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="for a PyTorch without it")
def test_auto_falls_back_from_a_gpu_that_really_fails(apple):
    """PyTorch itself: it was built without this device, and fails at the first copy."""
    fixed, moving = pair(Grid.from_shape(SHAPES[2]), 1.0)
    report = register(fixed, moving, affine="none").report
    assert report.device == "cpu"
    assert "fails there at copying an image to it" in report.warnings[0]


def test_the_first_operation_that_a_device_fails_at_is_named():
    assert device.first_lacking(torch.device("cpu")) is None
    assert device.first_lacking(torch.device("meta")) in ("nonzero", "bincount")  # what depends on data fails there


def test_what_fails_on_a_gpu_is_done_on_the_cpu():
    said = []
    x = torch.tensor([0.0, 1.0])
    found, where = device.or_on_cpu(lambda place: x.to(place).cpu(), torch.device("meta"), said)
    assert (found.tolist(), where.type) == ([0, 1], "cpu")
    assert "Cannot copy out of meta tensor" in said[0]

    def refuses(_place):
        raise InputError("no")

    for error in (refuses, lambda place: x.to(place)[5]):
        with pytest.raises((InputError, IndexError)):
            device.or_on_cpu(error, torch.device("meta"), said)
    assert len(said) == 1


def test_a_registration_goes_on_on_the_cpu_where_the_gpu_of_apple_fails_midway(apple):
    fixed, moving = pair(Grid.from_shape(SHAPES[2]), 1.0)
    wanted = register(fixed, moving, affine="none", device="cpu")
    with Lacking("mps", "bincount", after=1):
        result = register(fixed, moving, affine="none")
    assert result.report.device == "cpu"
    assert any("Apple GPU" in w and "at bincount" in w for w in result.report.warnings)
    assert torch.equal(result.field, wanted.field)


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_numbers_that_others_made_the_default_are_refused_in_a_sentence(name):
    images = [Image(np.random.default_rng(0).random((20, 20)).astype(np.float32), Grid.from_shape((20, 20)))] * 2
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(InputError, match=r"call torch.set_default_dtype\(torch.float32\), and try again"):
            register(*images, device=name)
        with pytest.raises(InputError, match=r"torch.float64 numbers"):
            device.choose_device(name)
    finally:
        torch.set_default_dtype(torch.float32)
