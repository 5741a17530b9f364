"""Pairs of points start the alignment; a pair that disagrees is named and does not count."""

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib import InputError, register
from DeepRegistrationLib.affine.landmarks import fit_landmarks

from ..geometry.geometries import rotation
from .test_affine import _motion, _seen_through, _tissues

TABLE = (0, 500, 700, 900, 300)


def some_pairs(count, noise=0.0, scale=1.0, ndim=3):
    generator = np.random.default_rng(count)
    fixed = generator.uniform(-60, 60, (count, ndim))
    turn = rotation((100, -40, 65))[:ndim, :ndim] if ndim == 3 else rotation((0, 0, 130))[:2, :2]
    moving = scale * fixed @ turn.T + np.arange(ndim) * 30 - 10 + generator.normal(0, noise, (count, ndim))
    return fixed, moving, turn


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize(("kind", "scale"), [("rigid", 1.0), ("similarity", 1.2), ("affine", 0.8)])
def test_exact_pairs_give_the_exact_motion(kind, scale, ndim):
    fixed, moving, turn = some_pairs(7, scale=scale, ndim=ndim)
    fit = fit_landmarks(fixed, moving, kind)
    assert np.abs(fit.matrix[:-1, :-1] - scale * turn).max() < 1e-9
    assert fit.error_mm < 1e-9
    assert fit.apart == ()
    assert fit.warnings() == []


def test_the_fit_is_that_of_simpleitk():
    fixed, moving, _turn = some_pairs(9, noise=2.0)
    fit = fit_landmarks(fixed, moving)
    start = sitk.VersorRigid3DTransform()
    theirs = sitk.LandmarkBasedTransformInitializer(start, fixed.ravel().tolist(), moving.ravel().tolist())
    for point in fixed:
        ours = fit.matrix[:3, :3] @ point + fit.matrix[:3, 3]
        assert np.abs(np.subtract(theirs.TransformPoint(point.tolist()), ours)).max() < 1e-6
    left = fixed @ fit.matrix[:3, :3].T + fit.matrix[:3, 3] - moving
    assert fit.error_mm == pytest.approx(np.sqrt((left**2).sum(1).mean()))


@pytest.mark.parametrize("count", [5, 8, 14])
def test_a_pair_that_disagrees_is_named_and_left_out(count):
    fixed, moving, turn = some_pairs(count, noise=1.0)
    moving[3] += (25, -10, 15)
    fit = fit_landmarks(fixed, moving)
    assert fit.apart == (3,)
    assert np.abs(fit.matrix[:3, :3] - turn).max() < 0.06
    assert fit.error_mm < 3
    assert "Landmark pair 4 (" in fit.warnings()[0]
    names = [f"P{k}" for k in range(count)]
    assert "Landmark pair P3 (" in fit.warnings(names)[0]


def test_two_that_were_exchanged_are_both_named():
    fixed, moving, _turn = some_pairs(9, noise=1.0)
    moving[[1, 6]] = moving[[6, 1]]
    fit = fit_landmarks(fixed, moving)
    assert fit.apart == (1, 6)
    assert fit.warnings(["a", "b", "c", "d", "e", "f", "g", "h", "i"])[0].startswith("Landmark pairs b (")


def test_what_moves_a_little_against_each_other_is_no_disagreement():
    for seed in range(20):
        generator = np.random.default_rng(seed)
        fixed = generator.uniform(-60, 60, (8, 3))
        assert fit_landmarks(fixed, fixed + generator.normal(0, 3, (8, 3))).apart == ()


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        (np.eye(3)[:2], "needs 3 pairs or more, and there are 2"),
        (np.outer(np.arange(5.0), (1, 2, 3)), "lie on one line"),
        (np.ones((4, 3)), "lie on one line or point"),
    ],
)
def test_what_leaves_the_turn_open_is_refused(points, sentence):
    with pytest.raises(InputError, match=sentence):
        fit_landmarks(points, points)


def test_landmarks_that_mirror_are_named():
    points = np.random.default_rng(5).uniform(-30, 30, (8, 3))
    assert "landmarks mirror" in fit_landmarks(points, points * [-1, 1, 1], "affine").warnings()[-1]
    assert fit_landmarks(points, points, "affine").warnings() == []


@pytest.fixture(scope="module")
def far_apart():
    """A body, and the same turned by 150 degrees; landmarks of both, one of them wrong."""
    tissues = _tissues(3)
    true = _motion(3, tissues.grid.center, 150)
    coarse = tissues.grid.resized((32, 32, 32))
    fixed = _seen_through(tissues, coarse, np.eye(4), TABLE, 0)
    moving = _seen_through(tissues, coarse, np.linalg.inv(true), TABLE, 1)
    points = tissues.grid.center + np.random.default_rng(3).uniform(-25, 25, (6, 3))
    moved = points @ true[:3, :3].T + true[:3, 3] + np.random.default_rng(4).normal(0, 2, (6, 3))
    moved[2] += 40
    return fixed, moving, points, moved, true


def test_landmarks_start_what_the_images_finish(far_apart):
    fixed, moving, points, moved, true = far_apart
    result = register(fixed, moving, result="rigid", landmarks=(points, moved), landmark_names="abcdef", device="cpu")
    report = result.report
    assert report.landmark_pairs == 5
    assert report.landmarks_apart == (3,)
    assert 0.5 < report.landmark_fit_mm < 5
    assert any("Landmark pair c (" in sentence for sentence in report.judge()[1])
    assert dict(report.lines())["Fiducial registration error of the start"].endswith("with the result")
    there = result.transform.map_points(points)
    assert np.linalg.norm(there - (points @ true[:3, :3].T + true[:3, 3]), axis=1).max() < 1.0


def test_landmarks_alone_are_a_fiducial_registration(far_apart):
    fixed, moving, points, moved, _true = far_apart
    result = register(fixed, moving, result="rigid", affine="none", landmarks=(points, moved), device="cpu")
    fit = fit_landmarks(points, moved)
    assert np.abs(result.transform.map_points(points) - points @ fit.matrix[:3, :3].T - fit.matrix[:3, 3]).max() < 1e-9
    with pytest.raises(InputError, match="Fewer than 3 pairs of landmarks act in the refinement only"):
        register(fixed, moving, result="rigid", affine="none", landmarks=(points[:2], moved[:2]), device="cpu")


def test_a_field_starts_there_too_and_is_drawn_to_them(far_apart):
    fixed, moving, points, moved, _true = far_apart
    good = [0, 1, 3, 4, 5]
    result = register(fixed, moving, method="none", landmarks=(points[good], moved[good]), device="cpu")
    assert result.report.landmark_pairs == 5
    assert result.report.landmark_after_mm < result.report.landmark_fit_mm
    assert not result.transform.IsLinear()
