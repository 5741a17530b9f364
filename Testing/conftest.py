"""What holds for every test: the same numbers whatever ran before it, in whichever process."""

from __future__ import annotations

import random
import sys

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _the_same_numbers_each_time() -> None:
    """A test that draws without a seed would pass or fail by the order in which the processes took the files."""
    random.seed(0)
    np.random.seed(0)
    # Not imported for it: some tests are about a process without PyTorch.
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture
def weightless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of whatever is in memory, for tests of their parts alone: to draw large ones takes seconds."""
    import torch

    for name in ("kaiming_uniform_", "kaiming_normal_", "uniform_", "normal_"):
        monkeypatch.setattr(torch.nn.init, name, lambda tensor, *_, **__: tensor)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes name no test: those of gzip hold the second they were packed in, and each process packs its own."""
    return argname if isinstance(val, bytes) else None
