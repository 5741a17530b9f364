"""Every test of this folder starts with an empty scene and leaves one."""

import pytest
import slicer

from . import cases  # noqa: F401 - starts the host


@pytest.fixture(autouse=True)
def _emptyScene():
    slicer.mrmlScene.Clear(0)
    yield
    slicer.mrmlScene.Clear(0)
