"""What Slicer's own test of the module does."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from .worker.install import isTorchInstalled


def _ball(shift: float) -> np.ndarray:
    axis = np.linspace(-1, 1, 32)
    k, j, i = np.meshgrid(axis, axis, axis - shift, indexing="ij")
    return (200 / (1 + np.exp((np.sqrt(k**2 + j**2 + i**2) - 0.6) * 20))).astype(np.float32)


def runSelfTest(test: Any, logic: Any) -> None:
    """Register two balls and see that the transform brings one onto the other."""
    test.delayDisplay("Making two small volumes")
    fixedNode = slicer.util.addVolumeFromArray(_ball(0.0), name="fixed", nodeClassName="vtkMRMLScalarVolumeNode")
    movingNode = slicer.util.addVolumeFromArray(_ball(0.25), name="moving", nodeClassName="vtkMRMLScalarVolumeNode")
    assert logic.getParameterNode().default("method").value == "auto"
    if not isTorchInstalled():
        test.delayDisplay("PyTorch is not installed: the registration itself is not tested")
        return
    transformNode = logic.register(fixedNode, movingNode, affine="none")
    moved = slicer.util.getNode("moving registered")
    before = np.abs(_ball(0.0) - _ball(0.25)).mean()
    after = np.abs(_ball(0.0) - slicer.util.arrayFromVolume(moved)).mean()
    assert after < 0.3 * before
    assert transformNode is not None
    test.delayDisplay("Test passed")
