"""The error that a report tells one to expect: it grows with each measure, and is not said where one is unknown."""

import math

import pytest

from DeepRegistrationLib.quality.expected_error import OF_A_FIELD, OF_A_MATRIX, expected_error, relation_for
from DeepRegistrationLib.quality.report import Report
from DeepRegistrationLib.quality.shape import Shape
from DeepRegistrationLib.settings import AFFINE_ALONE

USUAL = {"affine": 2.0, "doubt": 5.0, "bend": 4.0}


def report(**changes):
    values = {
        "affine_points_error_mm": 6.0,
        "error_step_mm": 3.0,
        "doubt_percent": 5.0,
        "shape": Shape(bend_percent=4.0),
    }
    return Report("none", "fast", "auto", "cpu", "1.0", **{**values, **changes})


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


def test_a_matrix_and_the_affine_alignment_as_the_answer_have_a_relation_of_their_own():
    assert relation_for(report()) is OF_A_FIELD
    assert relation_for(report(chosen=AFFINE_ALONE)) is relation_for(report(result="rigid")) is OF_A_MATRIX
