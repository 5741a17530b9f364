"""What is said of a result depends neither on the size of voxels or intensities nor on what was not measured."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.inputs.content_mask import coarse_content, content_of
from DeepRegistrationLib.quality.doubt import measure_doubt
from DeepRegistrationLib.quality.measurements import measure_field
from DeepRegistrationLib.quality.report import Report
from DeepRegistrationLib.quality.there_and_back import missed_by_transforms
from DeepRegistrationLib.quality.verdict import mm
from DeepRegistrationLib.refinement.levels import normalize
from Testing.Lib.test_pipeline import blobs

SHAPE = (24, 26, 28)


def report(**changes):
    values = {"similarity_before": 0.1, "similarity_after": 0.3, "similarity": "nmi", "doubt_percent": 5.0}
    return Report("none", "fast", "auto", "cpu", "1.0", **{**values, **changes})


def shift(grid, voxels):
    return sitk.TranslationTransform(grid.ndim, (grid.matrix[:-1, :-1] @ np.full(grid.ndim, voxels)).tolist())


def doubt(scale=1.0, offset=0.0, spacing=1.0, missing=0.0):
    grid = Grid.from_shape(SHAPE, spacing)
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    # It fades into its background: the surface of a ball would be an edge that both halves share.
    ball = np.clip(1.3 - sum(axis**2 for axis in axes), 0, 1)
    first, second = ((picture - picture.mean()) * ball for picture in (blobs(SHAPE, k)[0, 0].numpy() for k in (0, 1)))
    half = np.where(np.arange(SHAPE[0])[:, None, None] < 12, first, second)
    fixed, moving = (Image(a.astype(np.float64) * scale + offset, grid) for a in (first, half))
    there, back = shift(grid, 0.2), shift(grid, missing - 0.2)
    return measure_doubt(fixed, moving, there, missed_by_transforms(there, back, grid))


@pytest.mark.parametrize(("scale", "offset"), [(1e-12, 0.0), (1.0, 5000.0), (1.0, 32768.0), (1e30, 0.0), (0.1, -3e3)])
def test_doubt_does_not_depend_on_the_intensities_scale_or_offset(scale, offset):
    plain, other = doubt(), doubt(scale, offset)
    assert 15 < plain.percent < 85
    assert abs(other.percent - plain.percent) < 1
    assert np.abs(other.image.array - plain.image.array).mean() < 0.01


@pytest.mark.parametrize("spacing", [1e-4, 0.1, 10.0])
def test_doubt_does_not_depend_on_the_size_of_voxels(spacing):
    for missing in (0.0, 0.8, 2.0):
        assert abs(doubt(spacing=spacing, missing=missing).percent - doubt(missing=missing).percent) < 1
    assert doubt(spacing=spacing, missing=2.0).percent > 90


def test_padding_far_below_every_value_is_no_edge():
    grid = Grid.from_shape(SHAPE)
    picture = blobs(SHAPE)[0, 0].numpy() - 1000
    seen = np.zeros(SHAPE, bool)
    seen[4:-4, 5:-5, 3:-3] = True
    padded = Image(np.where(seen, picture, -3024), grid)
    found = measure_doubt(padded, Image(picture, grid), None, mask=seen)
    assert found.percent < 5
    assert measure_doubt(Image(picture, grid), padded, None, moving_mask=seen).percent < 5


@pytest.mark.parametrize("scale", [1e-12, 1e-30, 1e12])
def test_intensities_of_any_size_are_normalized_alike(scale):
    image = blobs((20, 24)).double() / 1000
    assert torch.allclose(normalize(image * scale), normalize(image), atol=1e-4)


def test_the_displacement_is_that_of_the_content():
    image = torch.zeros((1, 1, *SHAPE))
    image[..., 8:16, 8:16, 8:16] = 100
    content = content_of(image)
    assert torch.equal(content, image > 0)
    assert bool(content_of(torch.rand(1, 1, *SHAPE)).any())
    u = torch.zeros((1, 3, *SHAPE))
    u[:, 0, :, :, 20:] = 1.5
    u[:, 0, 8:16, 8:16, 8:16] = 0.5
    found = report()
    measure_field(found, u, torch.zeros_like(u), Grid.from_shape(SHAPE, 2.0), content)
    assert abs(found.max_deformation_mm - 1.0) < 1e-5
    assert coarse_content(content, (6, 6, 6)).sum() in range(1, 60)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"similarity_before": 0.9, "similarity_after": 0.6, "similarity_interpolated": 0.5}, "good"),
        ({"similarity_before": 0.9, "similarity_after": 0.4, "similarity_interpolated": 0.5}, "bad"),
        ({"similarity_before": 0.3, "similarity_after": 0.2}, "bad"),
        ({"similarity_before": 0.3, "similarity_after": 0.3, "similarity_interpolated": 0.3}, "good"),
        ({"inverse_error_mm": 0.2, "working_spacing_mm": (0.1, 0.1, 0.1)}, "check"),
        ({"inverse_error_mm": 0.2, "working_spacing_mm": (1.0, 1.0, 3.0)}, "good"),
        ({"inverse_error_mm": 1.5, "working_spacing_mm": (2.0, 2.0, 2.0)}, "good"),
    ],
)
def test_the_verdict_is_relative_to_the_voxel_and_to_what_interpolation_does(changes, verdict):
    assert report(**changes).judge()[0] == verdict


def test_what_was_not_measured_is_said_to_be_so_and_is_no_zero():
    bare = Report("none", "fast", "auto", "cpu", "1.0")
    values = json.loads(json.dumps(bare.as_dict(), allow_nan=False))
    for name in ("inverse_error_mm", "max_inverse_error_mm", "max_displacement_mm", "folding_percent", "doubt_percent"):
        assert values[name] is None
    lines = dict(bare.lines())
    assert "not measured" in lines["Inverse error"]
    assert "not measured" in lines["In doubt"]
    u = torch.zeros((1, 3, *SHAPE)) + 500.0
    measure_field(bare, u, u, Grid.from_shape(SHAPE), torch.ones((1, 1, *SHAPE), dtype=torch.bool))
    assert np.isnan(bare.inverse_error_mm)
    assert any("could not be measured" in warning for warning in bare.warnings)


def test_lengths_keep_two_digits_however_small():
    assert [mm(x) for x in (12.34, 0.034, 0.00012, 0.0)] == ["12.3 mm", "0.034 mm", "0.00012 mm", "0.0 mm"]
    assert mm(50.4, 0) == "50 mm"
    assert mm(float("nan")) == "not measured"
