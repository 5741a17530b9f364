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
