"""The mean shape leans to no subject and forgets where each lay."""

import numpy as np
import pytest
import torch

from DeepRegistrationLib import InputError, fields
from DeepRegistrationLib.atlas.shapes import MeanShape, rigid_fit
from DeepRegistrationLib.geometry.image import Grid
from DeepRegistrationLib.geometry.transform import Transform


def turned(degrees, shift):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(4)
    matrix[:3, :3] = [[c, -s, 0], [s, c, 0], [0, 0, 1]]
    matrix[:3, 3] = shift
    return matrix


def grid():
    return Grid((16, 18, 20), np.array([[0, 0, 1.5, 3], [0, 2, 0, -4], [1, 0, 0, 7], [0, 0, 0, 1.0]]))


def wave(size, seed):
    torch.manual_seed(seed)
    return size * fields.smooth(torch.randn(1, 3, 16, 18, 20), 3.0, "replicate")


def test_a_rigid_motion_is_found_again_and_never_mirrors():
    points = np.random.default_rng(0).normal(size=(50, 3)) * 20
    motion = turned(130, [5, -9, 30])
    found = rigid_fit(points, points @ motion[:3, :3].T + motion[:3, 3])
    np.testing.assert_allclose(found, motion, atol=1e-9)
    mirrored = rigid_fit(points, points * [-1, 1, 1])
    assert np.linalg.det(mirrored[:3, :3]) == pytest.approx(1)
    with pytest.raises(InputError, match="3 points"):
        rigid_fit(points[:2], points[:2])


def test_a_field_and_its_inverse_have_the_template_for_their_mean():
    u = wave(4.0, 0)
    everywhere = np.ones((16, 18, 20), bool)
    both, one = (MeanShape(grid(), everywhere) for _ in range(2))
    both.add(Transform.from_field(u, grid()))
    both.add(Transform.from_field(-u, grid()))
    one.add(Transform.from_field(u, grid()))
    assert one.drift_mm() > 0.5
    assert both.drift_mm() < 0.02 * one.drift_mm()


def test_where_a_subject_lies_is_no_part_of_its_shape():
    u = wave(4.0, 1)
    means = []
    for affine in (np.eye(4), turned(40, [30, 0, -12])):
        shape = MeanShape(grid(), np.ones((16, 18, 20), bool))
        shape.add(Transform.from_field(u, grid(), affine))
        means.append(shape.displacement())
    np.testing.assert_allclose(means[0], means[1], atol=1e-5)


def test_growth_of_all_is_growth_of_the_template():
    larger = np.diag([1.2, 1.2, 1.2, 1.0])
    shape = MeanShape(grid(), np.ones((16, 18, 20), bool))
    shape.add(Transform.from_field(torch.zeros(1, 3, 16, 18, 20), grid(), larger))
    there, back = shape.displacement(), shape.inverse()
    np.testing.assert_allclose(np.gradient(there[..., 2], axis=0), 0.2, atol=1e-6)  # z: 1 mm along the first axis
    inner = back[0, 0, 4:-4, 5:-5, 5:-5].numpy()
    np.testing.assert_allclose(np.diff(inner, axis=0), 1 / 1.2 - 1, atol=1e-3)


def test_a_mean_of_nothing_is_refused():
    with pytest.raises(InputError, match="one transform"):
        MeanShape(grid(), np.ones((16, 18, 20), bool)).displacement()
