"""Where to compute, and how much fits there."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F

from .errors import NO_MEMORY, DeepRegistrationError, InputError
from .settings import DEVICES
from .system import free_memory, total_memory

CPU = torch.device("cpu")
_GPUS = {"cuda": "NVIDIA GPU", "mps": "Apple GPU"}
T = TypeVar("T")


def device_for(name: str, said: list[str]) -> torch.device:
    """For a registration; "auto" is the NVIDIA GPU, else Apple's, where it can do all that is needed, else the CPU.

    Args:
        said: gets a sentence about each GPU that was passed over.

    Raises:
        InputError: as ``choose_device``.
    """
    if name != "auto":
        return choose_device(name)
    _check_number_type()
    for kind, there in (("cuda", torch.cuda.is_available), ("mps", torch.backends.mps.is_available)):
        if not there():
            continue
        device = torch.device(kind)
        lacking = first_lacking(device)
        if lacking is None:
            return device
        said.append(_passed_over(device, lacking))
    return CPU


def or_on_cpu(work: Callable[[torch.device], T], device: torch.device, said: list[str]) -> tuple[T, torch.device]:
    """What ``work`` makes on ``device``, or on the CPU where the GPU fails at it, and which of them it was.

    An operation that a GPU lacks is known for certain only once it is asked for: the versions of PyTorch and of macOS
    decide, and for some the size of the image. PYTORCH_ENABLE_MPS_FALLBACK is not relied upon.

    Args:
        said: gets a sentence if the GPU failed.

    Raises:
        what ``work`` raises on the CPU.
    """
    if device.type != "cpu":
        try:
            return work(device), device
        except DeepRegistrationError:
            raise
        except (RuntimeError, TypeError) as error:  # TypeError: no double precision
            said.append(_passed_over(device, _reason(error)))
    return work(CPU), CPU


def choose_device(name: str = "auto") -> torch.device:
    """ "auto" is the NVIDIA GPU if PyTorch can use one, else the CPU; "mps" (Apple's GPU) only where it is asked for.

    Raises:
        InputError: if the device asked for is not there, or cannot do what a registration needs, or if PyTorch was told
            to make other numbers than float32.
    """
    _check_number_type()
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"There is no device named {name}; use {_NAMES}.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError("PyTorch finds no usable NVIDIA GPU here; use the device auto or cpu.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError("PyTorch finds no usable Apple GPU here; use the device auto or cpu.")
    if device.type not in DEVICES:
        raise InputError(f"The device {name} is not supported; use {_NAMES}.")
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if (device.index or 0) >= count:
        raise InputError(f"There is no device {name}: of this kind there {'is 1' if count == 1 else f'are {count}'}.")
    lacking = None if device.type == "cpu" else first_lacking(device)
    if lacking is not None:
        raise InputError(
            f"PyTorch {torch.__version__} cannot do all that a registration needs on the device {device}: it fails at "
            f"{lacking}; use a newer version, or the device cpu."
        )
    return device


def _check_number_type() -> None:
    default = torch.get_default_dtype()
    if default is not torch.float32:
        raise InputError(
            f"PyTorch was told to make {default} numbers in this process, and a registration needs torch.float32: call "
            "torch.set_default_dtype(torch.float32), and try again."
        )


_NAMES = f"{', '.join(DEVICES[:-1])} or {DEVICES[-1]}"


def first_lacking(device: torch.device) -> str | None:
    """The first operation that ``device`` fails at, of the rarest of ours, on a few voxels; None if it can do them."""
    image, points = torch.rand(1, 1, 4, 4, 4), torch.rand(1, 4, 4, 4, 3)
    moved: list[torch.Tensor] = []
    operations: dict[str, Callable[[torch.Tensor, torch.Tensor], object]] = {
        "grid_sample": lambda x, p: F.grid_sample(x, p, "bilinear", "border", align_corners=True),
        "avg_pool3d": lambda x, _: F.avg_pool3d(x, 2),
        "max_pool3d": lambda x, _: F.max_pool3d(x, 3, 1, 1),
        "adaptive_avg_pool3d": lambda x, _: F.adaptive_avg_pool3d(x, (3, 2, 2)),
        "interpolate": lambda x, _: F.interpolate(x, size=(5, 6, 7), mode="trilinear", align_corners=False),
        "pad": lambda x, _: F.pad(x, [1] * 6, mode="replicate"),
        "conv3d": lambda x, _: F.conv3d(x, x[:, :, :3, :3, :3]),
        "quantile": lambda x, _: torch.quantile(x, torch.tensor([0.1, 0.9], device=device)),
        "nonzero": lambda x, _: torch.nonzero(x > 0.5),
        "bincount": lambda x, _: torch.bincount((x.flatten() * 4).int(), x.flatten(), 4),
        "searchsorted": lambda x, _: torch.searchsorted(torch.arange(4, device=device), (x * 4).long()),
        "unique": lambda x, _: torch.unique(x),
        "copying back": lambda x, _: x.cpu(),
    }
    try:
        moved += image.to(device), points.to(device)
    except (RuntimeError, TypeError, AssertionError) as error:  # AssertionError: PyTorch was built without it
        return f"copying an image to it ({_reason(error)})"
    for name, operation in operations.items():
        try:
            operation(*moved)
        except (RuntimeError, TypeError):
            return name
    return None


def _passed_over(device: torch.device, lacking: str) -> str:
    name = _GPUS.get(device.type, f"device {device}")
    return (
        f"The {name} could not be used, as PyTorch {torch.__version__} fails there "
        f"at {lacking}; the processor (CPU) computed instead, which is slower but as good."
    )


def _reason(error: Exception) -> str:
    """The operation that failed, or what PyTorch says of it, on one line."""
    text = " ".join(str(error).split())
    if any(words in text.lower() for words in NO_MEMORY):
        return "allocating memory"
    operation = re.search(r"aten::(\w+)", text)
    return operation[1] if operation else f'"{text[:117]}..."' if len(text) > 120 else f'"{text}"'


def total_bytes(device: torch.device) -> int:
    """All the memory of ``device``, free or not; 8 GB where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return total_memory()


def available_bytes(device: torch.device) -> int:
    """Memory that can still be used on ``device``; 4 GB where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return free_memory()
