"""Where to compute, and how much fits there."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .errors import InputError
from .settings import DEVICES
from .system import free_memory, total_memory


def choose_device(name: str = "auto") -> torch.device:
    """ "auto" is the GPU if PyTorch can use one, else the CPU; "mps" (Apple's GPU) only where it is asked for.

    Raises:
        InputError: if the device asked for is not there, or cannot do what a registration needs.
    """
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
    if device.type == "mps":
        _try_out(device)
    return device


_NAMES = f"{', '.join(DEVICES[:-1])} or {DEVICES[-1]}"


def _try_out(device: torch.device) -> None:
    """Some versions of PyTorch lack operations on some devices: the rarest of ours, on a few voxels."""
    image = torch.rand(1, 1, 4, 4, 4)
    points = torch.rand(1, 4, 4, 4, 3)
    try:
        image, points = image.to(device), points.to(device)
        F.grid_sample(image, points, "bilinear", "border", align_corners=True)
        F.avg_pool3d(image, 2)
        F.max_pool3d(image, 3, 1, 1)
        F.adaptive_avg_pool3d(image, (3, 2, 2))
        F.interpolate(image, size=(5, 6, 7), mode="trilinear", align_corners=False)
        F.conv3d(F.pad(image, [1] * 6, mode="replicate"), image[:, :, :3, :3, :3])
        torch.quantile(image, torch.tensor([0.1, 0.9], device=device))
        torch.nonzero(image > 0.5)
        torch.bincount((image.flatten() * 4).int(), minlength=4)
        torch.searchsorted(torch.arange(4, device=device), (image * 4).long())
        torch.unique(image)
    except (RuntimeError, NotImplementedError, TypeError) as error:
        raise InputError(
            f"PyTorch {torch.__version__} cannot do all that a registration needs on the device {device}; use a newer "
            "version, or the device cpu."
        ) from error


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
