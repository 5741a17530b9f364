import numpy as np

from DeepRegistrationLib.geometry.transform import affine_to_sitk, displacement_on, matrix_displacement

from .geometries import oblique


def test_it_is_what_simpleitk_finds_voxel_by_voxel():
    grid, matrix = oblique((5, 7, 9), (2.0, 1.5, 1.25)), np.eye(4)
    matrix[:3] += np.random.default_rng(0).normal(0, 0.2, (3, 4))
    found = matrix_displacement(matrix, grid)
    assert np.abs(found - displacement_on(affine_to_sitk(matrix), grid)).max() < 1e-4
