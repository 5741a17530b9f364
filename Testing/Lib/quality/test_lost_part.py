"""A part of the anatomy that is lost is told from points that are missed everywhere."""

import numpy as np
import pytest
import torch

from DeepRegistrationLib.quality.lost_part import lost_part, middle_of
from DeepRegistrationLib.quality.report import Report
from DeepRegistrationLib.quality.verdict import place_in_words


def places(ndim, count=400):
    return torch.rand(count, ndim, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_part_in_which_no_point_comes_back_is_lost_and_nothing_else(ndim):
    x = places(ndim)
    lost = lost_part(x, x[:, 0] > 0.3)
    assert 0.1 < float(lost.float().mean()) < 0.35
    assert float(x[lost, 0].max()) < 0.35


@pytest.mark.parametrize(("share", "noise"), [(1.0, 0), (0.7, 1), (0.5, 2), (0.2, 3)])
def test_points_missed_here_and_there_are_no_lost_part(share, noise):
    some = torch.rand(400, generator=torch.Generator().manual_seed(noise + 1)) < share
    assert float(lost_part(places(3), some).float().mean()) < 0.02


def test_where_few_come_back_anywhere_or_few_were_searched_no_part_is_told():
    x = places(3)
    half = torch.rand(400, generator=torch.Generator().manual_seed(1)) < 0.5
    assert not lost_part(x, half & (x[:, 0] > 0.3)).any()
    assert not lost_part(x[:90], x[:90, 0] > 0.3).any()
    assert not lost_part(x[:0], x[:0, 0] > 0.3).any()


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("border", [0.2, 0.25])
def test_the_middle_of_two_lost_parts_lies_in_the_larger_one_and_not_between(ndim, border):
    x = places(ndim)
    x = x[(x[:, 0] < border) | (x[:, 0] > 0.8)]
    at = float(x[middle_of(x), 0])
    assert at < border or (border == 0.2 and at > 0.8)
    one = places(ndim)  # a single part
    assert float((one[middle_of(one)] - 0.5).norm()) < 0.25


def test_the_verdict_says_which_part_as_slicer_shows_places():
    found = Report("m", "fast", "auto", "cpu", "1", lost_percent=14.0, lost_at_mm=(-12.2, 30.4, -45.0))
    verdict, reasons = found.judge()
    assert verdict == "check"
    assert "14 % of the anatomy, around R 12, P 30, I 45, though" in " ".join(reasons)
    assert place_in_words((3.0, -4.0, 5.0)) == "L 3, A 4, S 5"
    plane = Report("m", "fast", "auto", "cpu", "1", lost_percent=14.0, lost_at_mm=(1.0, 2.0)).judge()[1]
    assert "14 % of the anatomy, though" in " ".join(plane)
    assert Report("m", "fast", "auto", "cpu", "1", lost_percent=np.nan).judge()[0] == "good"
