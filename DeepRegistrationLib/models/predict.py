"""A network's displacement field for a pair of images: onto the network's grid, through the network, and back."""

from __future__ import annotations

import copy
import functools
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError, RegistrationFailed
from ..fields import warp
from ..geometry.image import Image
from ..losses.regularization import diffusion
from ..networks import Prediction, RegistrationNetwork
from ..networks.universal import UniversalNetwork
from ..progress import SILENT, Reporter
from ..similarity.local_gradient import local_gradient_loss
from ..similarity.measures import lncc
from ..similarity.mind import mind_loss
from .bundle import Model
from .fine_tuning import fine_tune
from .header import Normalization
from .placement import Placement

PRECISIONS = ("auto", "float32", "bfloat16")


def predict(
    model: Model,
    fixed: Image,
    moving: Image,
    *,
    device: torch.device | str = "cpu",
    reporter: Reporter = SILENT,
    precision: str = "auto",
    fine_tuned_by: str | None = None,
) -> Tensor:
    """The displacement that ``model`` predicts: (1, ndim, *fixed.shape), voxels of the fixed grid, on the CPU.

    Args:
        fixed, moving: on one grid, aligned as a whole.
        precision: of the network's convolutions; "auto" is bfloat16 on a CPU that computes in it, float32 elsewhere.
        fine_tuned_by: "lncc", "mind" or "gradient", or "auto", which is "mind": fit the last convolution to this pair
            by that measure (in float32).

    Raises:
        InputError: if the images are not on one grid or of other dimensions than the model, or ``fine_tuned_by`` is
            none of them.
        RegistrationFailed: if the field is not finite.
        Cancelled: if the reporter's token is set.
    """
    if fine_tuned_by is not None and fine_tuned_by not in _MEASURES:
        raise InputError(f"A network is fine-tuned by {', '.join(_MEASURES)}, not by {fine_tuned_by!r}.")
    place, pair = prepare(model, fixed, moving)
    reporter(0.2, f"the network {model.name} looks at {' x '.join(map(str, place.size))} voxels")
    if fine_tuned_by is None:
        with stoppable(model.network, reporter):
            prediction = run_network(model.network, *pair, torch.device(device), precision)
    else:
        prediction = _fitted(model.network, *pair, torch.device(device), fine_tuned_by, reporter)
    reporter(0.8, "bringing the field onto the fixed image")
    field = _on_image(model, place, prediction.displacement)
    reporter(1.0, "field predicted")
    return field


def predict_both(
    model: Model, fixed: Image, moving: Image, *, device: torch.device | str = "cpu", reporter: Reporter = SILENT
) -> tuple[Tensor, Tensor]:
    """``predict`` there, and back with the images exchanged; a network that answers both ways is asked once."""
    one_normalization = model.header.moving_normalization in (None, model.header.normalization)
    if not (isinstance(model.network, UniversalNetwork) and one_normalization):
        there, back = (
            predict(model, *pair, device=device, reporter=reporter) for pair in ((fixed, moving), (moving, fixed))
        )
        return there, back
    place, pair = prepare(model, fixed, moving)
    reporter(0.2, f"the network {model.name} looks at {' x '.join(map(str, place.size))} voxels")
    with stoppable(model.network, reporter):
        prediction = run_network(model.network, *pair, torch.device(device))
    there, back = (_on_image(model, place, u) for u in (prediction.displacement, model.network.exchanged(prediction)))
    reporter(1.0, "fields predicted")
    return there, back


def _on_image(model: Model, place: Placement, field: Tensor) -> Tensor:
    """A network's field on the grid of the images, in its voxels, on the CPU.

    Raises:
        RegistrationFailed: if it is not finite.
    """
    field = field.cpu()
    if not bool(field.sum().isfinite()):
        raise RegistrationFailed(f"The model {model.name} gave a field that is not finite; choose another model.")
    return place.bring_back(field)


@contextmanager
def stoppable(network: nn.Module, reporter: Reporter) -> Iterator[None]:
    """Inside, every layer looks first whether the run was cancelled: a large image takes a network many seconds."""
    handles = [module.register_forward_pre_hook(lambda *_: reporter.check()) for module in network.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _lncc_loss(fixed: Tensor, warped: Tensor) -> Tensor:
    return 1 - lncc(fixed, warped)


_MEASURES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "lncc": _lncc_loss,
    "mind": mind_loss,
    "gradient": local_gradient_loss,
    "auto": mind_loss,  # a method for any two contrasts
}
"""What a network can be fine-tuned by: every ``fine_tuned_by`` of a ``Method`` (a test compares)."""


def _fitted(
    network: RegistrationNetwork,
    fixed: Tensor,
    moving: Tensor,
    device: torch.device,
    fine_tuned_by: str,
    reporter: Reporter,
) -> Prediction:
    """The prediction after fine-tuning without labels: likeness of the warped image and smoothness of the field."""
    unlike = _MEASURES[fine_tuned_by]
    fixed, moving = fixed.to(device), moving.to(device)

    def cost(prediction: Prediction) -> Tensor:
        u = prediction.displacement
        return unlike(fixed, warp(moving, u)) + diffusion(u)

    working = copy.deepcopy(network).to(device)
    with stoppable(working, reporter):
        return fine_tune(working, fixed, moving, cost, reporter=reporter.stage(reporter.name, 0.2, 0.8)).prediction


def prepare(model: Model, fixed: Image, moving: Image) -> tuple[Placement, tuple[Tensor, Tensor]]:
    """Both images on the model's grid with its intensities, (1, 1, *size) each, and how that grid lies.

    Raises:
        InputError: if the images are not on one grid or of other dimensions than the model.
    """
    header = model.header
    if fixed.ndim != header.dimensions:
        raise InputError(
            f"The model {model.name} is for {header.dimensions}-D images and these are {fixed.ndim}-D; "
            "choose another model."
        )
    if not fixed.grid.same_as(moving.grid):
        raise InputError("The network needs both images on one grid; resample the moving image onto the fixed one.")
    both = header.normalization, header.moving_normalization or header.normalization
    with ThreadPoolExecutor(2) as pool:  # one image a thread: NumPy sorts in one
        first, second = pool.map(normalize_image, (fixed, moving), both)
    place = Placement.on(fixed.grid, header.grid, _foreground(first, second))
    return place, (
        _to_output(place.take(first), both[0]),
        _to_output(place.take(second), both[1]),
    )


def run_network(
    network: RegistrationNetwork, fixed: Tensor, moving: Tensor, device: torch.device, precision: str = "auto"
) -> Prediction:
    """The network's prediction without a graph, computed on ``device``; the network given stays as it is.

    Raises:
        InputError: if the precision is unknown.
    """
    if precision not in PRECISIONS:
        raise InputError(f"The precision is auto, float32 or bfloat16, not {precision!r}.")
    low = precision == "bfloat16" or (precision == "auto" and device.type == "cpu" and bfloat16_is_good())
    format_ = torch.channels_last if network.ndim == 2 else torch.channels_last_3d
    dtype = torch.bfloat16 if low else torch.float32
    working = copy.deepcopy(network).eval().to(device=device, dtype=dtype)
    working = working.to(memory_format=format_)  # type: ignore[call-overload]
    with torch.inference_mode():
        prediction = working(fixed.to(device), moving.to(device))
    # A plain tensor: one made in inference mode could not take part in a later stage's gradients.
    return Prediction(prediction.displacement.clone(), prediction.velocity, prediction.extras)


@functools.cache
def bfloat16_is_good() -> bool:
    """Whether this CPU convolves clearly faster in bfloat16 than in float32, and rightly.

    What the CPU says of itself does not tell: without AMX, some that know bfloat16 take twice as long in it. So it is
    tried, once, in a few tenths of a second.
    """
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    if not torch.backends.mkldnn.is_available() or not any(getattr(torch.cpu, p, bool)() for p in probes):
        return False
    generator = torch.Generator().manual_seed(0)
    # PyTorch takes another, slower way for float32 that is smaller than this.
    shapes = (1, 48, 24, 24, 24), (48, 48, 3, 3, 3), (48, 16, 4, 4, 4)
    exact = [
        torch.randn(shape, generator=generator).contiguous(memory_format=torch.channels_last_3d) for shape in shapes
    ]
    close = [x.bfloat16() for x in exact]
    try:
        with torch.inference_mode():
            seconds, found = _fastest(exact, close)
    except RuntimeError:
        return False
    right = (found[1].float() - found[0]).norm() <= 0.02 * found[0].norm()
    return bool(right) and seconds[1] < 0.8 * seconds[0]


def _fastest(*operands: list[Tensor]) -> tuple[list[float], list[Tensor]]:
    """The least seconds that a convolution takes with each of the operands, and what comes out after another one."""
    seconds = [math.inf] * len(operands)
    for _ in range(4):
        for k, (x, weight, _) in enumerate(operands):
            began = time.perf_counter()
            F.conv3d(x, weight, padding=1)
            seconds[k] = min(seconds[k], time.perf_counter() - began)
    found = [F.conv_transpose3d(F.conv3d(x, weight, padding=1), up, stride=2, padding=1) for x, weight, up in operands]
    return seconds, found


def normalize_image(image: Image, normalization: Normalization) -> Tensor:
    """(1, 1, *shape) float32: ``low`` at 0 and ``high`` at 1 (``output`` is applied once the grid is padded)."""
    array = image.array
    lowest = float(array.min())
    low, high = normalization.low, normalization.high
    if normalization.kind == "percentile":
        inside = array[array > lowest]
        low, high = (float(np.percentile(inside, q)) if q and inside.size else lowest for q in (low, high))
    values = torch.from_numpy(np.require(array, np.float32, ["C", "W"]))[None, None]
    values = (values - low).div_(high - low if high > low else 1.0)
    return values.clamp_(0, 1) if normalization.clamp else values


def _to_output(x: Tensor, normalization: Normalization) -> Tensor:
    low, high = normalization.output
    return x if (low, high) == (0.0, 1.0) else x * (high - low) + low


def _foreground(fixed: Tensor, moving: Tensor) -> tuple[np.ndarray, np.ndarray] | None:
    """The box (low, high) of what is not background in either image."""
    bright = (torch.maximum(fixed, moving)[0, 0] > 0.1).numpy()
    if not bright.any():
        return None
    lows, highs = [], []
    for axis in range(bright.ndim):
        line = np.flatnonzero(bright.any(axis=tuple(d for d in range(bright.ndim) if d != axis)))
        lows.append(line[0])
        highs.append(line[-1])
    return np.array(lows), np.array(highs)
