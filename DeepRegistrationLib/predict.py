"""A network's displacement field for a pair of images: onto the network's grid, through the network, and back."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import InputError, RegistrationFailed
from .fields import warp
from .finetune import fine_tune
from .image import Image
from .local_gradient import local_gradient_loss
from .mind import mind_loss
from .models import Model, Normalization
from .networks import Prediction, RegistrationNetwork
from .progress import SILENT, Reporter
from .regularization import diffusion
from .similarity import lncc
from .working_grid import Placement

PRECISIONS = ("auto", "float32", "bfloat16")


def predict(
    model: Model,
    fixed: Image,
    moving: Image,
    *,
    device: torch.device | str = "cpu",
    reporter: Reporter = SILENT,
    precision: str = "auto",
    fit: str | None = None,
) -> Tensor:
    """The displacement that ``model`` predicts: (1, ndim, *fixed.shape), voxels of the fixed grid, on the CPU.

    Args:
        fixed, moving: on one grid, aligned as a whole.
        precision: of the network's convolutions; "auto" is bfloat16 on a CPU that computes in it, float32 elsewhere.
        fit: "lncc", "mind" or "gradient": fine-tune the last convolution to this pair by that measure (in float32).

    Raises:
        InputError: if the images are not on one grid or of other dimensions than the model.
        RegistrationFailed: if the field is not finite.
        Cancelled: if the reporter's token is set.
    """
    place, pair = prepare(model, fixed, moving)
    reporter(0.2, f"the network {model.name} looks at {' x '.join(map(str, place.size))} voxels")
    if fit is None:
        prediction = run_network(model.network, *pair, torch.device(device), precision)
    else:
        prediction = _fitted(model.network, *pair, torch.device(device), fit, reporter)
    reporter(0.8, "bringing the field onto the fixed image")
    field = prediction.displacement.cpu()
    if not bool(field.sum().isfinite()):
        raise RegistrationFailed(f"The model {model.name} gave a field that is not finite; choose another model.")
    field = place.bring_back(field)
    reporter(1.0, "field predicted")
    return field


def _lncc_loss(fixed: Tensor, warped: Tensor) -> Tensor:
    return 1 - lncc(fixed, warped)


def _fitted(
    network: RegistrationNetwork, fixed: Tensor, moving: Tensor, device: torch.device, measure: str, reporter: Reporter
) -> Prediction:
    """The prediction after fine-tuning without labels: likeness of the warped image and smoothness of the field."""
    measures: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "lncc": _lncc_loss,
        "mind": mind_loss,
        "gradient": local_gradient_loss,
    }
    likeness = measures.get(measure, mind_loss)
    fixed, moving = fixed.to(device), moving.to(device)

    def cost(prediction: Prediction) -> Tensor:
        u = prediction.displacement
        return likeness(fixed, warp(moving, u)) + diffusion(u)

    working = copy.deepcopy(network).to(device)
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
    first = normalize(fixed, header.normalization)
    second = normalize(moving, header.moving_normalization or header.normalization)
    place = Placement.on(fixed.grid, header.grid, _foreground(first, second))
    return place, (
        _to_output(place.take(first), header.normalization),
        _to_output(place.take(second), header.moving_normalization or header.normalization),
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
    """Whether this CPU computes in bfloat16 (others emulate it, slowly), checked once against float32."""
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    if not torch.backends.mkldnn.is_available() or not any(getattr(torch.cpu, p, bool)() for p in probes):
        return False
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 16, 16, 16, 16, generator=generator).contiguous(memory_format=torch.channels_last_3d)
    weight = torch.randn(16, 16, 3, 3, 3, generator=generator).contiguous(memory_format=torch.channels_last_3d)
    up = torch.randn(16, 16, 4, 4, 4, generator=generator).contiguous(memory_format=torch.channels_last_3d)
    try:
        with torch.inference_mode():
            exact = F.conv_transpose3d(F.conv3d(x, weight, padding=1), up, stride=2, padding=1)
            x, weight, up = x.bfloat16(), weight.bfloat16(), up.bfloat16()
            close = F.conv_transpose3d(F.conv3d(x, weight, padding=1), up, stride=2, padding=1).float()
    except RuntimeError:
        return False
    return bool((close - exact).norm() <= 0.02 * exact.norm())


def normalize(image: Image, normalization: Normalization) -> Tensor:
    """(1, 1, *shape) float32: ``low`` at 0 and ``high`` at 1 (``output`` is applied once the grid is padded)."""
    array = image.array
    lowest = float(array.min())
    low, high = normalization.low, normalization.high
    if normalization.kind == "percentile":
        inside = array[array > lowest]
        wanted = [float(np.percentile(inside, q)) if inside.size else lowest for q in (low, high)]
        low, high = (lowest if normalization.low == 0 else wanted[0]), wanted[1]
    values = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))[None, None]
    values = (values - low) / (high - low if high > low else 1.0)
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
