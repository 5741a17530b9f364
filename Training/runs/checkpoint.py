"""The state of a run on disk: written whole or not at all, so that a kill or a full disk leaves the one before."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from DeepRegistrationLib.errors import DeepRegistrationError, InputError
from DeepRegistrationLib.files.writing import whole

NAME = "checkpoint.pt"
BEST = "best.pt"


class TrainingFailed(DeepRegistrationError, RuntimeError):  # noqa: N818 - reads as the sentence it is
    """The run could not go on; what was saved before is intact (exit code 1)."""


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Replace ``path`` by ``state`` (tensors, numbers, texts, and tables and lists of them).

    Raises:
        InputError: if its folder cannot be written to.
        NotWritten: if the disk is full; the file that was there stays.
    """
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    with whole(path) as partial, partial.open("wb") as file:
        file.write(buffer.getbuffer())
        file.flush()
        os.fsync(file.fileno())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What ``write_checkpoint`` wrote; no code in the file is run.

    Raises:
        InputError: if it cannot be read.
    """
    if not path.is_file():
        raise InputError(f"The checkpoint {path} is not a file; choose another folder.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the pickle of a damaged file raises
        raise damaged(path) from error
    if not isinstance(state, dict) or type(state.get("step")) is not int:
        raise InputError(f"The file {path} is not a checkpoint of a training run; choose another folder.")
    return state


def damaged(path: Path) -> InputError:
    """What is said of a checkpoint that is not whole."""
    return InputError(
        f"The checkpoint {path} cannot be read, it is damaged; delete it to start again, or bring back a copy."
    )


class Average:
    """A running average of a network's weights (and a copy of its other state)."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values: dict[str, Tensor] = {name: t.detach().clone() for name, t in network.state_dict().items()}

    def update(self, network: nn.Module, step: int) -> None:
        """Early steps count for more, so that the average does not remember the fresh weights."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, t in network.state_dict().items():
            kept = self.values[name]
            if kept.is_floating_point():
                kept.lerp_(t.detach(), 1 - decay)
            else:
                kept.copy_(t)
