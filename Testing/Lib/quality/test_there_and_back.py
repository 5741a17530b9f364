"""One piece of code follows there and back, whoever asks."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
import torch

from DeepRegistrationLib.fields.inverse import invert
from DeepRegistrationLib.geometry.image import Grid
from DeepRegistrationLib.geometry.transform import Transform
from DeepRegistrationLib.quality import tg132
from DeepRegistrationLib.quality.measurements import measure_field
from DeepRegistrationLib.quality.report import Report
from DeepRegistrationLib.quality.there_and_back import left_over, missed_by_fields, missed_by_transforms

GRID = Grid.from_shape((20, 24, 22), (2.0, 1.5, 1.0))


def test_what_is_missed_is_measured_in_mm():
    u, back = (torch.zeros(1, 3, *GRID.shape) for _ in range(2))
    u[:, 1], back[:, 1], back[:, 0] = 2.0, -2.0, 0.5  # voxels
    assert np.allclose(missed_by_fields(u, back, GRID, GRID).array, 0.5 * 2.0)
    here = torch.full((1, 3, 2, 1, 1), 7.25)
    assert torch.allclose(left_over(torch.zeros_like(here), u, here, GRID), torch.tensor(2.0 * 1.5))
    there, home = sitk.TranslationTransform(3, (3.0, 0.0, 0.0)), sitk.TranslationTransform(3, (-3.0, 0.0, 1.0))
    assert np.allclose(missed_by_transforms(there, home, GRID).array, 1.0)


def test_the_report_and_tg132_ask_the_same_code():
    u, back = (torch.zeros(1, 3, *GRID.shape) for _ in range(2))
    u[:, 1], back[:, 1], back[:, 0] = 2.0, -2.0, 0.5
    report = Report("", "fast", "auto", "cpu", "1")
    measure_field(report, u, back, GRID, torch.ones(1, 1, *GRID.shape, dtype=torch.bool))
    assert np.allclose([report.inverse_error_mm, report.max_inverse_error_mm], 1.0)
    there, home = sitk.TranslationTransform(3, (3.0, 0.0, 0.0)), sitk.TranslationTransform(3, (-3.0, 0.0, 1.0))
    figures = tg132.consistency_figures(there, home, GRID, GRID, 2.0)
    assert np.allclose([figure.value for figure in figures], 1.0)


def test_an_inverse_that_is_true_only_where_it_was_solved_is_told():
    """A step between two voxels: each field's own voxels come back, and points between them do not."""
    grid = Grid.from_shape((12, 12), 1.0)
    u = torch.zeros(1, 2, 12, 12)
    u[:, 1] = torch.tensor([0, 0.9, 1.8, 2.7, 3.6, 3.6, 2.7, 1.8, 0.9, 0, 0, 0]) * 0.95
    back = invert(u)
    report = Report("", "fast", "auto", "cpu", "1")
    measure_field(report, u, back, grid, torch.ones(1, 1, 12, 12, dtype=torch.bool))
    there, home = (Transform.from_field(field, grid, np.eye(3)) for field in (u, back))
    figures = tg132.consistency_figures(there, home, grid, grid, 2.0)
    assert report.max_inverse_error_mm > 0.2
    assert np.isclose(report.max_inverse_error_mm, figures[1].value, atol=0.01)
    assert np.isclose(report.inverse_error_mm, figures[0].value, atol=0.01)
