"""The one map of volume change: right on any grid, and the same for library, command line and panel."""

import numpy as np
import pytest
import torch

from DeepRegistrationLib import fields, register
from DeepRegistrationLib.geometry import volume_change as module
from DeepRegistrationLib.geometry.image import Grid
from DeepRegistrationLib.geometry.transform import Transform, affine_to_sitk
from DeepRegistrationLib.geometry.volume_change import volume_change
from Testing.Lib.test_pipeline import bump, pair

from .geometries import oblique


def grids():
    sheared = oblique((9, 12, 10), (1.5, 1.2, 1.0)).matrix.copy()
    sheared[:3, 0] += 0.3 * sheared[:3, 1]
    return [
        Grid.from_shape((12, 14), (0.5, 2.0)),
        oblique((9, 12, 10), (1.5, 1.2, 1.0)),
        Grid((9, 12, 10), sheared),
        oblique((1, 12, 10), (5.0, 1.2, 1.0)),
    ]


@pytest.mark.parametrize("grid", grids(), ids=["2-D", "oblique", "sheared", "one slice"])
@pytest.mark.parametrize("slab", [1, 1_000_000])
def test_an_affine_map_changes_all_volumes_by_its_determinant(grid, slab, monkeypatch):
    monkeypatch.setattr(module, "_SLAB", slab)
    live = grid.matrix[:-1, :-1][:, [axis for axis, size in enumerate(grid.shape) if size > 1]]
    matrix = np.eye(grid.ndim) + 0.2 * np.random.default_rng(3).standard_normal((grid.ndim, grid.ndim))
    if 1 in grid.shape:  # within the slice
        matrix = np.eye(3) + live @ np.array([[0.3, 0.1], [-0.2, 0.4]]) @ np.linalg.pinv(live)
    world = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    found = volume_change((world @ (matrix - np.eye(grid.ndim)).T).astype(np.float32), grid)
    assert found.shape == grid.shape
    assert found == pytest.approx(np.linalg.det(matrix), abs=1e-3)


def test_it_is_the_fields_own_determinant_times_that_of_the_affine_part():
    grid = oblique((20, 24, 22), (1.5, 1.2, 1.0))
    u = bump(grid.shape, 3.0)
    matrix = np.eye(4)
    matrix[:3, :3] += 0.1 * np.random.default_rng(0).standard_normal((3, 3))
    transform = Transform.from_field(u, grid, matrix)
    expected = np.linalg.det(matrix) * fields.jacobian_determinant(u)[0, 0].numpy()
    assert np.allclose(volume_change(transform.displacement(grid), grid), expected, atol=2e-3)
    assert torch.tensor(expected).std() > 0.05


def test_the_jacobian_of_a_result_counts_the_affine_part():
    fixed, moving = pair(Grid.from_shape((20, 22, 24)), 0.0)
    matrix = np.diag([1.1, 1.1, 1.1, 1.0])
    result = register(fixed, moving, method="none", refine="none", initial_transform=affine_to_sitk(matrix))
    assert result.jacobian.array == pytest.approx(1.1**3, rel=1e-3)
