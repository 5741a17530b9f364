"""The generated kinds that no setting was chosen on: that their truth is right, and the same for the same seed."""

import numpy as np
import pytest
import torch

from benchmarks.robustness.generated.motion import Chain, Flow, elastic, lattice, pose
from benchmarks.robustness.generated.shapes import axes_of, centered, ellipsoid, tube


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_motion_and_its_inverse_cancel(ndim):
    random = np.random.default_rng(0)
    grid = centered((24, 28, 32)[:ndim], 5.0)
    motion = Chain(Flow(grid, elastic(grid, random, 12.0, 20.0)), pose(random, ndim, 5.0, 4.0))
    points = lattice(centered((16, 18, 20)[:ndim], 4.0))
    there = motion.forward(points)
    assert float((there - points).norm(dim=0).max()) > 8
    assert float((motion.backward(there) - points).norm(dim=0).max()) < 0.15
    assert float((motion.backward(there) - points).norm(dim=0).mean()) < 0.02


def test_distances_are_in_mm():
    axes = axes_of(centered((41, 41, 41), 1.0))
    inside = ellipsoid((1, 2, 3), (10, 10, 10)).distance(axes) < 0
    assert inside.sum() == pytest.approx(4 / 3 * np.pi * 10**3, rel=0.02)
    pipe = tube([(-10, 0, 0), (10, 0, 0)], 4.0).distance(axes)
    assert pipe[20, 20 + 9, 20] == pytest.approx(5.0)
    assert pipe[20, 20, 20 + 16] == pytest.approx(2.0)


def moved_by_truth(made):
    """(*fixed shape) the moving image where the truth says."""
    grid = made.fixed.grid
    points = np.moveaxis(lattice(grid).numpy(), 0, -1) + made.truth
    index = np.moveaxis(made.moving.grid.to_index(points), -1, 0)
    from DeepRegistrationLib import fields

    moving = torch.from_numpy(made.moving.array)[None, None]
    return fields.sample(moving, torch.from_numpy(index.astype(np.float32))[None])[0, 0].numpy()
