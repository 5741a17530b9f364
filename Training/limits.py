"""What is beyond this machine is refused before anything is allocated."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from DeepRegistrationLib.device import available_bytes
from DeepRegistrationLib.errors import InputError

LARGEST_SEED = (1 << 31) - 1
LARGEST_SIDE = 4096
"""Voxels, as in a bundle's header."""


def set_threads(count: int | None) -> None:
    """Use so many threads of the CPU; None: as many as PyTorch likes.

    Raises:
        InputError: if the number makes no sense.
    """
    if count is None:
        return
    if not 1 <= count <= 1024:
        raise InputError(f"--threads must be from 1 to 1024, not {count}.")
    torch.set_num_threads(count)


def check_pair_count(count: int, name: str = "--pairs") -> None:
    """Refuse a number of pairs that nobody can want.

    Raises:
        InputError: if it is below 1 or above a million.
    """
    if not 1 <= count <= 1_000_000:
        raise InputError(f"{name} must be from 1 to 1000000, not {count}.")


def check_memory(shape: Sequence[int], pairs: int, what: str, device: torch.device | None = None) -> None:
    """Refuse ``pairs`` of ``shape`` that alone would not fit: images, field and label maps alone.

    Raises:
        InputError: if they take more than there is.
    """
    each = math.prod(shape) * (4 * (2 + len(shape) + 1) + 2)
    there = available_bytes(torch.device("cpu") if device is None else device)
    if each * pairs > there:
        size = " x ".join(map(str, shape))
        raise InputError(
            f"{what}: {pairs} pairs of {size} voxels take {each * pairs / 1e9:.3g} GB and {there / 1e9:.3g} GB are "
            "free; make the images or the number smaller."
        )
