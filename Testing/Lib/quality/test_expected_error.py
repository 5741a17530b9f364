"""The error that a report tells one to expect: it grows with each measure, and is not said where one is unknown."""

import math

import pytest

from DeepRegistrationLib.quality.expected_error import OF_A_FIELD, OF_A_MATRIX, expected_error, relation_for
from DeepRegistrationLib.quality.report import Report
from DeepRegistrationLib.quality.shape import Shape
from DeepRegistrationLib.settings import AFFINE_ALONE

USUAL = {"affine": 2.0, "doubt": 5.0, "bend": 4.0}


MEASURED = {
    "device": "cpu",
    "version": "1.0",
    "affine_points_error_mm": 6.0,
    "points_error_mm": 1.0,
    "error_step_mm": 3.0,
    "doubt_percent": 5.0,
    "max_deformation_mm": 9.0,
    "shape": Shape(bend_percent=4.0),
}


def report(**changes):
    return Report("none", "fast", "auto", **{**MEASURED, **changes})


@pytest.mark.parametrize("relation", [OF_A_FIELD, OF_A_MATRIX])
def test_more_of_any_measure_is_more_error_and_the_bound_lies_above(relation):
    expected, bound = relation.expected(**USUAL)
    assert 0 < expected < bound
    for name, value in USUAL.items():
        more = relation.expected(**{**USUAL, name: 2 * value})[0]
        assert more > expected or (name == "bend" and relation is OF_A_MATRIX)


@pytest.mark.parametrize("relation", [OF_A_FIELD, OF_A_MATRIX])
def test_nothing_measured_off_is_little_but_no_error_below_zero(relation):
    expected, bound = relation.expected(0.0, 0.0, 0.0)
    assert 0 <= expected <= bound < 0.5


def test_it_is_in_mm_and_grows_with_the_coarse_voxel():
    expected, bound = expected_error(report())
    assert (expected, bound) == pytest.approx([3.0 * x for x in OF_A_FIELD.expected(2.0, 5.0, 4.0)])
    twice = expected_error(report(affine_points_error_mm=12.0, error_step_mm=6.0))
    assert twice == pytest.approx((2 * expected, 2 * bound))


@pytest.mark.parametrize("missing", ["affine_points_error_mm", "error_step_mm", "doubt_percent"])
def test_what_was_not_measured_tells_nothing(missing):
    assert all(map(math.isnan, expected_error(report(**{missing: math.nan}))))
    assert dict(report(**{missing: math.nan}).lines())["Estimated error"] == "not measured"


@pytest.mark.parametrize("changes", [{"chosen": AFFINE_ALONE}, {"refine": "none"}, {"stopped_at": "the coarse levels"}])
def test_where_nothing_is_bent_it_is_that_of_a_matrix_whatever_was_asked_for(changes):
    """A pair that was not refined was told 0.24 mm, and 3.1 mm where a matrix had been asked for."""
    still = {"max_deformation_mm": 0.0, "shape": Shape()}
    found = expected_error(Report("none", **{"refine": "fast", "affine": "auto", **MEASURED, **still, **changes}))
    linear = {**MEASURED, "shape": Shape(), "refine": "none", "affine": "affine", "result": "affine"}
    assert found == expected_error(Report("none", **linear))
    assert relation_for(report()) is OF_A_FIELD


def test_it_is_no_less_than_how_far_off_points_are_found_where_the_verdict_says_so():
    far = report(points_error_mm=12.0)
    assert far.judge()[0] == "check"
    expected, bound = expected_error(far)
    assert expected == pytest.approx(12.0)
    assert bound == pytest.approx(12.0 * OF_A_FIELD.factor)
    assert expected_error(report(points_error_mm=8.0)) == expected_error(report())
