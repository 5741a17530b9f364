"""Labels of several subjects become one: votes, ties, local weights; and the mean of their images."""

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib import Image, InputError
from DeepRegistrationLib.atlas.fusion import Atlas, fuse, leave_one_out
from DeepRegistrationLib.atlas.intensities import in_unit_range, robust_mean
from DeepRegistrationLib.geometry.image import Grid

GRID = Grid((12, 14), np.eye(3))
IDENTITY = sitk.Transform(2, sitk.sitkIdentity)


def atlas(label, brightness=0.5):
    return Atlas(np.full((12, 14), brightness, np.float32), np.full((12, 14), label, np.uint8))


def test_most_votes_win_and_of_equal_ones_the_smallest_label():
    assert np.all(fuse([atlas(7), atlas(3), atlas(7)]) == 7)
    assert np.all(fuse([atlas(7), atlas(3)]) == 3)


def test_who_looks_like_the_target_there_counts_more():
    left, right = atlas(1), atlas(2)
    left.image[:, :7], right.image[:, 7:] = 0.9, 0.9
    target = np.full((12, 14), 0.9, np.float32)
    fused = fuse([left, right], target, "local")
    assert np.all(fused[:, :5] == 1)
    assert np.all(fused[:, 9:] == 2)


@pytest.mark.parametrize(
    ("atlases", "target", "weighting", "sentence"),
    [
        ([], None, "majority", "column labels"),
        ([atlas(1)], None, "best", "local or majority"),
        ([atlas(1)], None, "local", "choose majority"),
    ],
)
def test_what_cannot_be_fused_is_said(atlases, target, weighting, sentence):
    with pytest.raises(InputError, match=sentence):
        fuse(atlases, target, weighting)


def test_each_subject_is_labeled_by_all_others_only():
    maps = [np.zeros((12, 14), np.uint8) for _ in range(3)]
    for number, labels in enumerate(maps):
        labels[2:8, 2 : 9 + (number == 2)] = 1  # the third one is a column wider
    atlases = [Atlas(np.ones((12, 14), np.float32), labels) for labels in maps]
    own = [(Image(labels, GRID), IDENTITY) for labels in maps]
    found = leave_one_out(atlases, own, GRID, "majority")
    assert found[2] == pytest.approx(2 * 7 / (7 + 8))  # the others agree on seven columns
    assert found[0] == pytest.approx(1.0)


def test_an_image_in_any_units_is_brought_to_one_range():
    array = np.zeros((12, 14), np.float32)
    array[3:9, 3:9] = np.linspace(0.5, 1, 36).reshape(6, 6)
    for scale, shift in ((1, 0), (5000, -32768), (1e-12, 0)):
        image = in_unit_range(Image((array * scale + shift).astype(np.float32), GRID))
        assert image.array[0, 0] == pytest.approx(0, abs=1e-3)
        assert image.array.max() == pytest.approx(1, abs=0.05)


def test_one_that_differs_from_all_hardly_counts_and_what_was_not_seen_does_not():
    usual = np.zeros((12, 14), np.float32)
    usual[2:10, 2:12] = 1.0
    usual[4:8, 4:10] = 0.6
    odd = usual.copy()
    odd[4:8, 4:10] = 1.0
    small = Grid((12, 7), np.eye(3))  # shows the left half only

    def subjects():
        yield from ((Image(usual, GRID), None) for _ in range(5))
        yield Image(odd, GRID), None
        yield Image(usual[:, :7], small), None

    mean = robust_mean(GRID, subjects)
    plain = (5 * 0.6 + 1.0) / 6
    assert 0.59 < mean[5, 8] < 0.6 + 0.7 * (plain - 0.6)
    assert mean[2, 11] == pytest.approx(1.0, abs=0.05)
