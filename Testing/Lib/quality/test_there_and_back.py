"""One piece of code follows there and back, whoever asks."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
import torch

from DeepRegistrationLib.geometry.image import Grid
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
