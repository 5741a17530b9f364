"""Double precision, wherever a tensor lies."""

from __future__ import annotations

from torch import Tensor


def in_double(x: Tensor) -> Tensor:
    """``x`` in double precision: where it lies, or on the CPU if it lies on Apple's GPU, which has none."""
    return (x.cpu() if x.device.type == "mps" else x).double()
