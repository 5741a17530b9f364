"""How far a result is off is found whatever the contrast; and that the affine alone was better is said."""

from functools import cache

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy import ndimage

from DeepRegistrationLib import fields, register
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.geometry.transform import Transform
from DeepRegistrationLib.phantom.demo_pair import head_phantom
from DeepRegistrationLib.quality.error_estimate import BLOCK, Searcher, estimate_errors
from DeepRegistrationLib.quality.report import Report
from DeepRegistrationLib.quality.verdict import affine_fits_better

SIZE = (70, 88, 70)
SPACING = 2.7


@cache
def head():
    """(labels, T1, T2), and where the head is."""
    labels, t1, t2 = head_phantom(SIZE, SPACING)
    return t1, t2, Image((labels.array > 0).astype(np.float32), labels.grid)


def inverted(image):
    return Image(np.where(image.array > 20, image.array.max() - image.array, 0).astype(np.float32), image.grid)


def off_by(grid, mm, seed=0):
    """A smooth transform that is off by ``mm`` on average over the head."""
    u = fields.smooth(torch.randn(1, 3, *grid.shape, generator=torch.Generator().manual_seed(seed)), 10.0)
    inside = torch.from_numpy(head()[2].array > 0.5)
    u *= mm / SPACING / u.square().sum(1).sqrt()[0][inside].mean()
    return Transform.from_field(u, grid)


def estimates(fixed, moving, transforms):
    return estimate_errors(fixed, moving, transforms, head()[2]).errors


@pytest.mark.parametrize("contrast", ["same", "inverted", "T2"])
def test_the_error_of_a_known_field_is_estimated_within_a_factor_of_two(contrast):
    t1, t2, _ = head()
    fixed = {"same": t1, "inverted": inverted(t1), "T2": t2}[contrast]
    still, three, eight = estimates(fixed, t1, (None, off_by(t1.grid, 3.0), off_by(t1.grid, 8.0)))
    assert still < SPACING / 2
    assert 1.5 < three < 6
    assert 4 < eight < 16


@pytest.mark.parametrize("shape", [(120, 140), (1, 120, 140)], ids=["2-D", "one slice"])
def test_planes_are_measured_likewise(shape):
    noise = np.random.default_rng(0).normal(size=(120, 140)).astype(np.float32)
    image = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(noise), 3.0))
    image = Image(image.reshape(shape), Grid.from_shape(shape))
    inside = Image(np.ones(shape, np.float32), image.grid)
    shift = [3.0, 0.0, 0.0][: len(shape)]
    found = estimate_errors(image, image, (None, sitk.TranslationTransform(len(shape), shift)), inside)
    step, (still, moved) = found.step, found.errors
    assert still < step / 2
    assert 1.5 < moved < 6


@pytest.mark.parametrize("shape", [(30, 25), (18, 3, 22)])
@pytest.mark.parametrize("every", [1, 2])
def test_blocks_are_compared_as_a_direct_loop_compares_them(shape, every):
    generator = torch.Generator().manual_seed(0)
    searcher = Searcher(
        torch.rand(shape, generator=generator), torch.ones(shape, dtype=torch.bool), (1.0,) * len(shape)
    )
    a, b = searcher.features, torch.rand(searcher.features.shape, generator=generator)
    size = torch.tensor(shape)
    here, there = ((torch.rand(5, len(shape), generator=generator) * size).long() for _ in range(2))
    reach = [r if every == 1 else min(r, 1) for r in searcher.reach]
    arms = [torch.zeros(len(shape), dtype=torch.long)]
    for axis in (axis for axis, n in enumerate(shape) if n > 2 * BLOCK):
        for side in (-BLOCK, BLOCK):
            arms.append(torch.zeros(len(shape), dtype=torch.long))
            arms[-1][axis] = side
    moves = torch.cartesian_prod(*[torch.arange(-r, r + 1) * every for r in reach])

    def at(x, index):
        return x.view(*shape, -1)[tuple(torch.minimum(index.clamp_min(0), size - 1))]

    wanted = [
        [sum((at(a, p + arm) - at(b, q + m + arm)).square().sum() for arm in arms) for m in moves]
        for p, q in zip(here, there, strict=True)
    ]
    found = searcher._costs(a, b, here, there, every)
    torch.testing.assert_close(found, torch.tensor(wanted), rtol=1e-4, atol=1e-4)


def test_nothing_to_look_for_is_not_measured():
    grid = Grid.from_shape((30, 30, 30))
    flat, inside = Image(np.zeros(grid.shape, np.float32), grid), Image(np.ones(grid.shape, np.float32), grid)
    away = sitk.TranslationTransform(3, [500.0, 0, 0])
    assert np.isnan(estimate_errors(flat, flat, (away,), inside).errors[0])


@pytest.mark.parametrize("shape", [(120, 140), (1, 120, 140), (60, 60, 60)], ids=["2-D", "one slice", "3-D"])
def test_a_part_that_lies_far_off_is_told_and_where_it_is(shape):
    ndim = len(shape)
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=shape), [1.5 * (n > 1) for n in shape])
    image = Image(noise.astype(np.float32), Grid.from_shape(shape))
    inside = Image(np.ones(shape, np.float32), image.grid)
    u = np.zeros((1, ndim, *shape), np.float32)
    u[0, -2] = 0.2 * shape[-2] * np.clip((np.arange(shape[-1]) / shape[-1] - 0.6) / 0.1, 0, 1)
    bent = Transform.from_field(torch.from_numpy(u), image.grid)
    found = estimate_errors(image, image, (bent, None), inside)
    assert found.errors[0] < 2 * found.step  # blind to it
    assert 0.06 < found.lost < 0.4
    assert 0.7 < image.grid.to_index(found.lost_at[None])[0, -1] / shape[-1] < 1
    whole = estimate_errors(image, image, (None, bent), inside)
    assert whole.lost == 0
    assert whole.lost_at is None


def test_the_place_of_two_lost_parts_is_in_one_of_them():
    shape = (120, 200)
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=shape), 2.0).astype(np.float32)
    lost = np.broadcast_to(np.abs(np.arange(200) - 100) > 70, shape)
    image = Image(noise, Grid.from_shape(shape))
    smeared = Image(np.where(lost, ndimage.gaussian_filter(noise, 12.0), noise), image.grid)
    found = estimate_errors(image, smeared, (None,), Image(np.ones(shape, np.float32), image.grid))
    assert found.lost > 0.1
    assert lost[tuple(image.grid.to_index(found.lost_at).round().astype(int))]


def test_points_outside_of_the_moving_image_do_not_count():
    t1 = head()[0]
    half = t1.grid.cropped(np.zeros(3, int), np.array([SIZE[0], SIZE[1], SIZE[2] // 2]))
    part = Image(np.ascontiguousarray(t1.array[:, :, : SIZE[2] // 2]), half)
    assert estimates(t1, part, (None,))[0] < SPACING / 2


def report(**changes):
    values = {"similarity_before": 0.2, "similarity_after": 0.4, "error_step_mm": 3.0, **changes}
    return Report("none", "fast", "auto", "cpu", "1.0", **values)


def test_a_result_worse_than_the_affine_is_said():
    found, reasons = report(points_error_mm=4.0, affine_points_error_mm=2.0).judge()
    assert found == "check"
    assert "The alignment as a whole alone fits better: with it points lie 2.0 mm off, not 4.0 mm" in reasons[0]
    assert (
        report(points_error_mm=2.1, affine_points_error_mm=2.0).judge()[0] == "good"
    )  # within what the estimate misses


@pytest.mark.parametrize(("error", "better"), [(0.11, False), (0.24, False), (0.26, True)])
def test_a_small_part_of_a_voxel_is_no_reason_to_prefer_the_affine_alone(error, better):
    found = report(points_error_mm=error, affine_points_error_mm=0.0, error_step_mm=1.0)
    assert affine_fits_better(found) == better
    assert (found.judge()[0] == "good") != better


def test_a_large_error_is_said_and_one_not_measured_is_not():
    found, reasons = report(points_error_mm=16.0, affine_points_error_mm=18.0).judge()
    assert found == "check"
    assert "16.0 mm from where they belong" in reasons[0]
    lines = dict(report().lines())
    assert report().judge()[0] == "good"
    assert lines["Points found again"] == "not measured"


def test_a_field_given_that_spoils_the_alignment_is_found_by_a_registration():
    t1 = head()[0]
    spoiled = register(t1, t1, initial_transform=off_by(t1.grid, 6.0), refine="none", method="none", device="cpu")
    assert affine_fits_better(spoiled.report)
    assert spoiled.report.judge()[0] != "good"
    assert "fits better" in " ".join(spoiled.report.judge()[1])
