"""Every option of ``register`` on a GPU that is not there but refuses to mix devices, as a real one does."""

import numpy as np
import pytest
import torch

from DeepRegistrationLib import InputError, device, register
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.geometry.transform import Transform
from DeepRegistrationLib.quality.shape import Mirror
from Testing.Lib.strict_device import MixedDevicesError, StrictDevice
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
        for name in ("pipeline.choose_device", "inputs.pair.available_bytes", "inputs.pair.total_bytes"):
            answer = torch.device(kind) if name.endswith("device") else 32 << 30
            monkeypatch.setattr(f"DeepRegistrationLib.{name}", lambda *_, answer=answer: answer)
        monkeypatch.setattr("DeepRegistrationLib.pipeline.measure_mirror", lambda *_, **__: Mirror())  # on the CPU
        return StrictDevice(kind)

    return put


QUICK = ("all", "none", "translated", "gradient", "many labels", "network")
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


def test_a_device_that_cannot_do_all_is_a_sentence(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match="no usable Apple GPU"):
        device.choose_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)

    def lacking(*_args, **_keywords):
        raise NotImplementedError("aten::grid_sampler_3d is not implemented for the MPS device")

    with StrictDevice("mps"):
        assert device.choose_device("mps").type == "mps"
        monkeypatch.setattr("torch.nn.functional.grid_sample", lacking)
        with pytest.raises(InputError, match="cannot do all that a registration needs"):
            device.choose_device("mps")
