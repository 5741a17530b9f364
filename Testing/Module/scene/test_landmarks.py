"""Two lists of control points become pairs as their owner means it, or a sentence says why not."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from .. import cases
from ..cases import OTHER

from DeepRegistrationSlicer.registration import report_words  # isort: skip
from DeepRegistrationSlicer.scene import landmarks  # isort: skip
from DeepRegistrationSlicer.errors import SceneInputError  # isort: skip

pytestmark = pytest.mark.usefixtures("host")
LPS = np.array([-1, -1, 1])
AT = {"nose": [1.0, 2.0, 3.0], "ear": [40.0, 5.0, 6.0], "chin": [7.0, 80.0, 9.0]}


def points(names, name="points", at=AT):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    for label in names:
        node.AddControlPoint(at[label], label)
    return node


def test_landmarks_are_those_of_the_world_in_lps():
    node = points(["nose"])
    node.SetAndObserveTransformNodeID(cases.linearTransform(OTHER).GetID())
    assert landmarks.pairsOf(node, node).fixed[0] == pytest.approx((OTHER @ [1, 2, 3, 1])[:3] * LPS)


def test_names_in_another_order_are_paired_by_name():
    pairs = landmarks.pairsOf(points(["nose", "ear", "chin"]), points(["chin", "nose", "ear"]))
    assert pairs.names == ["nose", "ear", "chin"]
    assert np.array_equal(pairs.fixed, pairs.moving)
    assert np.array_equal(pairs.fixed[1], np.array(AT["ear"]) * LPS)
    assert pairs.notes == ["Landmarks were paired by their names."]


def test_a_name_that_only_one_list_has_is_left_out_and_said():
    pairs = landmarks.pairsOf(points(["nose", "ear", "chin"]), points(["chin", "nose"]))
    assert pairs.names == ["nose", "chin"]
    assert np.array_equal(pairs.fixed, pairs.moving)
    assert "only one volume has do not count: ear." in pairs.notes[0]


def test_where_names_tell_nothing_the_order_counts():
    first = points(["F-1", "F-2"], at={"F-1": [1, 0, 0], "F-2": [2, 0, 0]})
    second = points(["M-1", "M-2"], at={"M-1": [3, 0, 0], "M-2": [4, 0, 0]})
    pairs = landmarks.pairsOf(first, second)
    assert pairs.names == ["F-1", "F-2"]
    assert pairs.moving[:, 0].tolist() == [-3, -4]
    assert pairs.notes == []
    same = {"F": [1, 0, 0]}
    assert len(landmarks.pairsOf(points(["F", "F"], at=same), points(["F", "F"], at=same)).names) == 2
    with pytest.raises(SceneInputError, match="has 2 and more has 1; make them the same number, or give pairs"):
        landmarks.pairsOf(first, points(["x"], "more", {"x": [0, 0, 0]}))


@pytest.mark.parametrize("way", ["unset", "missing"])
def test_a_point_that_is_not_placed_does_not_count_and_that_is_said(way):
    fixed, moving = points(["nose", "ear", "chin"]), points(["nose", "ear", "chin"])
    if way == "unset":
        moving.UnsetNthControlPointPosition(1)
    else:
        moving.SetNthControlPointPositionMissing(1)
    pairs = landmarks.pairsOf(fixed, moving)
    assert pairs.names == ["nose", "chin"]
    assert np.array_equal(pairs.fixed, pairs.moving)
    assert pairs.notes == ["Landmarks that are not placed do not count: ear."]


def test_nothing_placed_on_both_sides_is_one_sentence():
    fixed, moving = points(["nose", "ear"], "one"), points(["nose", "ear"], "two")
    fixed.UnsetNthControlPointPosition(0)
    moving.UnsetNthControlPointPosition(1)
    with pytest.raises(SceneInputError, match="No landmark is placed in both one and two"):
        landmarks.pairsOf(fixed, moving)
    fixed.UnsetNthControlPointPosition(1)
    with pytest.raises(SceneInputError, match="one has no points"):
        landmarks.pairsOf(fixed, moving)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_position_that_is_no_number_is_one_sentence(value):
    fixed = points(["nose", "ear"], "one")
    fixed.SetNthControlPointPosition(1, 1.0, value, 2.0)
    with pytest.raises(SceneInputError, match="point ear of one has no valid position"):
        landmarks.pairsOf(fixed, points(["nose", "ear"]))


def test_names_with_commas_survive_the_file(tmp_path):
    at = {'left, "outer"': [1, 2, 3], "ä": [4, 5, 6]}
    pairs = landmarks.pairsOf(points(at, at=at), points(at, at=at))
    arguments = landmarks.writePairs(pairs, tmp_path)
    assert arguments == ["--fixed-points", "fixed-points.csv", "--moving-points", "moving-points.csv"]
    from DeepRegistrationLib.geometry.points import read_points

    assert np.array_equal(read_points(tmp_path / "moving-points.csv").positions, np.array(list(at.values())) * LPS)


def test_scores_name_the_landmarks_and_what_was_left_out():
    pairs = landmarks.pairsOf(points(["nose", "ear", "chin"]), points(["chin", "nose"]))
    scores = {"mean_tre_before_mm": 8.0, "mean_tre_after_mm": 2.0}
    scores["tre_mm"] = {"1": {"before": 8.0, "after": 2.0}, "2": {"before": 8.0, "after": 2.0}}
    rows = report_words.rows(report_words.withScores({"verdict": "good"}, scores, {}, pairs))
    assert ("Landmark chin", "8.00 mm → 2.00 mm") in rows
    assert ("Note", "Landmarks that only one volume has do not count: ear.") in rows
