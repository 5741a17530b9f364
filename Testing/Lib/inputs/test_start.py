"""A given transform is its best affine part and a small field: so there is something to compare, and a way back."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from DeepRegistrationLib import InputError, register
from DeepRegistrationLib.fields import smooth
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.geometry.transform import Transform, affine_to_sitk, map_points
from DeepRegistrationLib.inputs.start import split_start
from Testing.Lib.geometry.geometries import oblique, rotation
from Testing.Lib.test_pipeline import bump, pair

GRID = oblique((30, 36, 32), (1.5, 1.2, 1.0))


def moved(image, matrix):
    return Image(image.array, Grid(image.grid.shape, matrix @ image.grid.matrix))


def far_away(degrees=(12.0, -8.0, 10.0), shift=(320.0, -110.0, 75.0)):
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(degrees)
    matrix[:3, 3] = shift
    return matrix


def as_field(transform, grid):
    """The same map as one field of displacements, as a file of them holds it."""
    return Transform(sitk.DisplacementFieldTransform(_field(transform, grid.padded(8))), grid)


def _field(transform, grid):
    size, spacing = [int(s) for s in reversed(grid.shape)], grid.spacing[::-1].tolist()
    direction = grid.directions[:, ::-1].ravel().tolist()
    return sitk.TransformToDisplacementField(
        transform, sitk.sitkVectorFloat64, size, grid.origin.tolist(), spacing, direction
    )


@pytest.mark.parametrize("refine", ["none", "fast"])
@pytest.mark.parametrize("plain", [True, False])
def test_a_far_start_that_is_not_linear_is_refined_and_inverted(refine, plain):
    fixed, near = pair(GRID, 2.0)
    matrix = far_away()
    moving = moved(near, matrix)
    given = Transform.from_field(bump(GRID.shape, 1.0), GRID, matrix)
    result = register(
        fixed, moving, initial_transform=as_field(given, GRID) if plain else given, refine=refine, device="cpu"
    )
    points = GRID.to_world(np.random.default_rng(0).uniform(6, 24, (100, 3)))
    wanted = Transform.from_field(bump(GRID.shape, 1.0 if refine == "none" else 2.0), GRID, matrix)
    found = result.transform.map_points(points)
    assert np.linalg.norm(found - wanted.map_points(points), axis=1).mean() < (0.02 if refine == "none" else 0.6)
    back = result.inverse.map_points(found)
    assert np.linalg.norm(back - points, axis=1).max() < 0.3
    assert result.report.inverse_error_mm < 0.1
    assert result.report.max_deformation_mm < 8
    assert result.report.mean_displacement_mm > 300


def test_the_own_result_as_the_start_of_the_next_run_keeps_its_inverse(tmp_path):
    fixed, near = pair(GRID, 2.0)
    moving = moved(near, far_away(shift=(60.0, 0.0, 0.0)))
    first = register(
        fixed,
        moving,
        initial_transform=Transform.from_field(torch.zeros(1, 3, *GRID.shape), GRID, far_away(shift=(60.0, 0.0, 0.0))),
        device="cpu",
    )
    first.transform.save(tmp_path / "first.h5")
    second = register(fixed, moving, initial_transform=tmp_path / "first.h5", device="cpu")
    points = GRID.to_world(np.random.default_rng(0).uniform(6, 24, (50, 3)))
    there = second.transform.map_points(points)
    assert np.linalg.norm(there - first.transform.map_points(points), axis=1).mean() < 0.3
    assert np.linalg.norm(second.inverse.map_points(there) - points, axis=1).max() < 0.3
    assert second.report.judge()[0] == first.report.judge()[0]


@pytest.mark.parametrize("shape", [(30, 36, 32), (60, 64)])
def test_the_parts_make_the_whole(shape):
    grid = oblique(shape, (1.5, 1.2, 1.0)[: len(shape)])
    n = len(shape)
    matrix = np.eye(n + 1)
    matrix[:n, :n] += 0.1 * np.random.default_rng(0).normal(size=(n, n))
    matrix[:n, n] = 200
    u = smooth(torch.randn((1, n, *shape), generator=torch.Generator().manual_seed(0)), 4.0) * 10
    given = Transform.from_field(u, grid, matrix)
    found, rest = split_start(given, grid, torch.ones((1, 1, *shape), dtype=torch.bool))
    both = Transform.from_field(rest, grid, found)
    points = grid.to_world(np.random.default_rng(1).uniform(3, 25, (200, n)))
    np.testing.assert_allclose(both.map_points(points), map_points(given, points), atol=0.02)
    assert np.linalg.norm(found - matrix) < 0.05 * 200
    only = Transform.from_field(torch.zeros_like(u), grid, matrix)
    found, rest = split_start(only, grid, torch.ones((1, 1, *shape), dtype=torch.bool))
    assert rest is None
    np.testing.assert_allclose(found, matrix, atol=1e-4)


@pytest.mark.parametrize("bends", [False, True])
def test_a_start_that_mirrors_is_named(bends):
    grid = oblique((15, 18, 16), (3.0, 2.4, 2.0))
    fixed, moving = pair(grid, 1.0)
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    mirror[0, 3] = 2 * grid.center[0]
    start = Transform.from_field(bump(grid.shape, float(bends)), grid, mirror) if bends else affine_to_sitk(mirror)
    result = register(fixed, moving, initial_transform=start, method="none", refine="none", device="cpu")
    reasons = " ".join(result.report.judge()[1])
    assert "The initial transform mirrors the image" in reasons
    assert "squeezed" not in reasons  # that and a turn are not what is wrong
    assert "turned by" not in reasons
    said = []
    split_start(sitk.Transform(3, sitk.sitkIdentity), grid, torch.ones((1, 1, *grid.shape), dtype=torch.bool), said)
    assert not said


def test_a_start_without_an_inverse_or_with_gaps_is_refused():
    fixed, moving = pair(GRID, 1.0)
    flat = sitk.AffineTransform(3)
    flat.SetMatrix([1, 0, 0, 0, 1, 0, 0, 0, 0])
    with pytest.raises(InputError, match="flattens space"):
        register(fixed, moving, initial_transform=flat, device="cpu")
    array = np.zeros((*GRID.shape, 3))
    array[0] = np.nan
    gaps = sitk.DisplacementFieldTransform(sitk.Cast(GRID.to_sitk(array, vector=True), sitk.sitkVectorFloat64))
    with pytest.raises(InputError, match="no number"):
        register(fixed, moving, initial_transform=gaps, device="cpu")
